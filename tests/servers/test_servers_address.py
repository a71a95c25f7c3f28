"""Addresses from words and from an SSH configuration, and what is said of those that are none."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest

from beanpole.fleet.servers.address import Address, AddressError

GOOD = {
    "admin@10.0.0.5:2222": ("10.0.0.5", "admin", 2222),
    "admin@10.0.0.5": ("10.0.0.5", "admin", 22),
    " web1.example.com:23 ": ("web1.example.com", getpass.getuser(), 23),
    "admin@[2001:db8::1]:2222": ("2001:db8::1", "admin", 2222),
    "admin@2001:db8::1": ("2001:db8::1", "admin", 22),
    "deploy_user@web-1_a": ("web-1_a", "deploy_user", 22),
    "dev.ops@localhost": ("localhost", "dev.ops", 22),
}


@pytest.mark.parametrize("words", GOOD)
def test_words_are_read(words: str) -> None:
    address = Address.from_words(words)
    assert (address.host, address.user, address.port) == GOOD[words]
    assert Address.from_words(str(address)) == address
    assert Address.from_json(address.to_json()) == address


@pytest.mark.parametrize(
    "words",
    [
        "", "@", "admin@", "@web1", "admin@web1:", "admin@web1:ssh", "admin@web1:0", "admin@web1:65536", "admin@web 1",
        "-oProxyCommand=x@web1", "admin@-web1", "admin@10.0.0.256", "admin@10.0.0", "admin@[2001:db8::1",
        "admin@[web1]", "ssh://admin@web1", "admin@web1/path", "ad min@web1", "admin@web1\0", "a:b@web1",
        "admin@w..b", "admin@web1:２２",
    ],
)  # fmt: skip
def test_words_that_are_no_address_are_refused_with_what_to_write(words: str) -> None:
    with pytest.raises(AddressError) as caught:
        Address.from_words(words)
    assert caught.value.cause and "admin@10.0.0.5" in caught.value.remedy


def test_all_that_an_address_holds_survives_json() -> None:
    address = Address("h", "u", 23, Path("/k"), "a@j1,b@[::1]:9", Path("/jk"), "/agent.sock")
    assert Address.from_json(address.to_json()) == address
    assert [(each.host, each.user, each.port, each.key) for each in address.jumps()] == [
        ("j1", "a", 22, Path("/jk")),
        ("::1", "b", 9, Path("/jk")),
    ]


@pytest.mark.parametrize("value", [{}, {"host": "h"}, {"host": "h", "user": "u", "colour": "red"}])
def test_json_that_is_no_address_is_refused(value: dict[str, str]) -> None:
    with pytest.raises(AddressError):
        Address.from_json(value)


def test_a_bad_jump_host_is_refused_at_once() -> None:
    with pytest.raises(AddressError, match="999"):
        Address("h", "u", jump="admin@10.0.0.999")


CONFIG = """
Host web*
    User deploy
    Port 2200
    ProxyJump bastion
    IdentityFile {folder}/missing
    IdentityFile {folder}/key
Host web1
    HostName 10.0.0.5
Host bastion
    HostName bastion.example.com
    User jumper
    IdentityFile {folder}/jump_key
    IdentityAgent /agent.sock
Host odd
    ProxyCommand nc %h %p
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config"
    path.write_text(CONFIG.format(folder=tmp_path))
    (tmp_path / "key").touch()
    (tmp_path / "jump_key").touch()
    return path


def test_a_name_of_an_ssh_configuration_is_what_ssh_would_use(config: Path) -> None:
    address = Address.from_config("web1", config)
    assert (str(address), address.key) == ("deploy@10.0.0.5:2200", config.parent / "key")
    assert (address.jump, address.jump_key) == ("jumper@bastion.example.com", config.parent / "jump_key")
    assert Address.from_config("bastion", config).agent == "/agent.sock"


def test_user_and_port_that_are_named_have_precedence(config: Path) -> None:
    assert str(Address.from_config("root@web1:22", config)) == "root@10.0.0.5"


def test_a_name_that_no_configuration_has_is_taken_as_it_is(config: Path) -> None:
    address = Address.from_config("other.example.com", config)
    assert (address.host, address.user, address.port) == ("other.example.com", getpass.getuser(), 22)


def test_what_a_configuration_cannot_say_here_is_told(config: Path) -> None:
    with pytest.raises(AddressError, match="ProxyCommand") as caught:
        Address.from_config("odd", config)
    assert "ProxyJump" in caught.value.remedy
    config.write_text("Host web1\n  Port many\n")
    with pytest.raises(AddressError, match="line 2"):
        Address.from_config("web1", config)
    with pytest.raises(AddressError, match="no SSH configuration"):
        Address.from_config("web1", config.parent / "nothing")
