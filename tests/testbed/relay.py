"""A program that delays and loses packets between a host's link and a tap in the bridge.

Many kernels come without netem. Started with: LINK TAP MILLISECONDS-PER-ROUND-TRIP PERCENT-LOST CONTROL-GROUP.
It ends when the link is gone.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import random
import select
import socket
import struct
import sys
import time
from collections import deque
from pathlib import Path

# From linux/if_packet.h, linux/if_ether.h and linux/if_tun.h; Python's socket module does not have them.
SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING, ETH_P_ALL = 263, 15, 23, 3
TUNSETIFF, TUNSETOFFLOAD = 0x400454CA, 0x400454D0
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6, TUN_F_TSO_ECN = 1, 2, 4, 8

FRAME = 70_000  # bytes: the largest frame with segmentation offload
QUEUE = 50_000  # frames under way; more are lost, as in a router
BURST = 64  # frames read from one side before the other has its turn
BUFFER = 8 << 20  # bytes of the socket's receive buffer


def packet_socket(link: str) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    made.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    made.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    made.bind((link, ETH_P_ALL))
    made.setblocking(False)
    return made


def open_tap(name: str) -> int:
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    fcntl.ioctl(tap, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN)
    os.set_blocking(tap, False)
    return tap


def relay(link: str, wire: int, tap: int, delay: float, loss: float) -> None:
    """Copies frames both ways, each `delay` seconds later, without the share `loss`, until the link is gone."""
    other = {wire: tap, tap: wire}
    queue: deque[tuple[float, int, bytes]] = deque()
    while True:
        now = time.monotonic()
        while queue and queue[0][0] <= now:
            _, to, frame = queue.popleft()
            with contextlib.suppress(OSError):  # link down or its queue full: lost, as on a wire
                os.write(to, frame)
        left = max(0.0, queue[0][0] - time.monotonic()) if queue else None
        for side in select.select([wire, tap], [], [], left)[0]:
            for _ in range(BURST):
                try:
                    frame = os.read(side, FRAME)
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno not in (errno.ENETDOWN, errno.EIO):
                        raise
                    if not (Path("/sys/class/net") / link).exists():
                        return
                    time.sleep(0.01)  # the link is down for a moment; select would return at once
                    break
                if len(queue) < QUEUE and not (loss and random.random() < loss):
                    queue.append((time.monotonic() + delay, other[side], frame))


def main(link: str, tap: str, milliseconds: str, percent: str, group: str) -> None:
    (Path(group) / "cgroup.procs").write_text(str(os.getpid()))
    with packet_socket(link) as wire:
        relay(link, wire.fileno(), open_tap(tap), float(milliseconds) / 2000, float(percent) / 100)


if __name__ == "__main__":
    main(*sys.argv[1:])
