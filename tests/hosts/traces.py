"""What Beanpole leaves on a server: the tests begin on servers that have nothing of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from bed import Bed, Server

# Comes to the shell by its standard input, so that the shell is not itself a process with such words.
LOOK = r"""
for path in /var/lib/beanpole /run/beanpole /var/app /etc/systemd/system/beanpole-* /run/systemd/*/beanpole-*; do
    if [ -e "$path" ] || [ -L "$path" ]; then echo "path $path"; fi
done
getent passwd | sed -n 's/^\(bp-[^:]*\):.*/user \1/p'
getent group | sed -n 's/^\(bp-[^:]*\):.*/group \1/p'
systemctl list-units --all --plain --no-legend 'beanpole-*' | sed 's/^\([^ ]*\).*/unit \1/'
pgrep -af '/(var/lib|run)/beanpole' | sed 's/^/process /'
exit 0
"""


def traces(bed: Bed, name: str) -> list[str]:
    """One line for each thing of ours that is on the host."""
    return bed.exec(name, "sh", "-s", text=LOOK).splitlines()


def remove_traces(bed: Bed, servers: list[Server]) -> None:
    """Resets the hosts that have something of ours, and only those."""
    with ThreadPoolExecutor(len(servers)) as threads:
        found = list(threads.map(lambda server: traces(bed, server.name), servers))
    for server, lines in zip(servers, found, strict=True):
        if lines:
            bed.reset(server.name)
