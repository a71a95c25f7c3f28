"""Lists of servers from a file, in each of its forms; errors name file and line."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest

from beanpole.fleet.servers.address import AddressError
from beanpole.fleet.servers.inventory import read_inventory

INI = """\
; a comment
10.0.0.9
[web]
web1 ansible_host=10.0.0.5 ansible_port=2222 colour='dark red'   # the first
web2 ansible_host=10.0.0.6 ansible_user=root
[db]
db1.example.com:23
[prod:children]
web
db
[prod:vars]
ansible_user = deploy
ansible_ssh_common_args=-o ProxyJump=jump@bastion
[web:vars]
ansible_ssh_private_key_file=/keys/web
[all:vars]
ansible_user=admin
ansible_become=true
"""


def read(tmp_path: Path, name: str, text: str) -> dict[str, tuple[str, str | None, str | None, tuple[str, ...]]]:
    path = tmp_path / name
    path.write_text(text)
    found = {}
    for entry in read_inventory(path):
        address = entry.address
        found[entry.name] = (str(address), address.jump, str(address.key) if address.key else None, entry.groups)
    return found


def test_ansible_s_ini(tmp_path: Path) -> None:
    assert read(tmp_path, "hosts", INI) == {
        "10.0.0.9": ("admin@10.0.0.9", None, None, ()),
        "web1": ("deploy@10.0.0.5:2222", "jump@bastion", "/keys/web", ("prod", "web")),
        "web2": ("root@10.0.0.6", "jump@bastion", "/keys/web", ("prod", "web")),
        "db1.example.com:23": ("deploy@db1.example.com:23", "jump@bastion", None, ("db", "prod")),
    }


def test_yaml_and_json(tmp_path: Path) -> None:
    wanted = {
        "10.0.0.5": ("admin@10.0.0.5:2222", None, None, ()),
        "web2": ("root@10.0.0.6:23", "jump@bastion", "/k", ()),
    }
    yaml = "- admin@10.0.0.5:2222\n- {name: web2, host: 10.0.0.6, user: root, port: 23, key: /k, jump: jump@bastion}\n"
    assert read(tmp_path, "hosts.yml", yaml) == wanted
    json = """[ "admin@10.0.0.5:2222",
      {"name": "web2", "host": "10.0.0.6", "user": "root", "port": "23", "key": "/k", "jump": "jump@bastion"} ]"""
    assert read(tmp_path, "hosts.json", json) == wanted
    assert read(tmp_path, "mine.json", '[{"host": "h"}]') == {"h": (f"{getpass.getuser()}@h", None, None, ())}


BAD = [
    ("hosts", "web1\nweb2 ansible_host=10.0.0.300\n", 2, "10.0.0.300"),
    ("hosts", "[web]\nweb1 ansible_connection=docker\n", 2, "ansible_connection"),
    ("hosts", "web1\n[all:vars]\nansible_password=x\n", 3, "ansible_password"),
    ("hosts", "web1 ansible_port=ssh\n", 1, "'ssh'"),
    ("hosts", "web1 root\n", 1, "'root'"),
    ("hosts", "web[1:9]\n", 1, "ranges"),
    ("hosts", "web1\n[web:kids]\n", 2, "section"),
    ("hosts", "web1\n[web:children]\nnone\n", 3, "group none"),
    ("hosts", "web1 x='open\n", 1, "quotation"),
    ("hosts", "[g:vars]\nx\n", 2, "no variable"),
    ("hosts", "web1 ansible_ssh_common_args='-o StrictHostKeyChecking=no'\n", 1, "ansible_ssh_common_args"),
    ("hosts.yml", "- web1\n- user: root\n", 2, "no host"),
    ("hosts.yml", "- web1\n- host: web2\n  colour: red\n", 2, "colour"),
    ("hosts.yml", "web1: {}\n", 1, "no list"),
    ("hosts.yml", "- web1\n- [\n", 3, "not YAML"),
    ("hosts.json", '["web1",\n "ad min@web2"]', 2, "ad min"),
    ("hosts.json", '["web1"\n "web2"]', 2, "not JSON"),
    ("hosts.json", '{"host": "web1"}', 1, "no list"),
]


@pytest.mark.parametrize(("name", "text", "line", "words"), BAD)
def test_a_fault_is_told_with_file_and_line(name: str, text: str, line: int, words: str, tmp_path: Path) -> None:
    with pytest.raises(AddressError) as caught:
        read(tmp_path, name, text)
    assert f"{name}, line {line}: " in caught.value.cause and words in caught.value.cause
    assert caught.value.remedy


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(AddressError, match="cannot be read"):
        read_inventory(tmp_path / "nothing")
