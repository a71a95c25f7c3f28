"""A client that uploads byte by byte does not keep a control plane that is told to end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator

import pytest
from beanpole_site import Site, wait_for
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

pytestmark = pytest.mark.slow

SIZE = 8 * 1024 * 1024
BEGUN = 3 * 1024 * 1024


@contextlib.contextmanager
def dripping(site: Site) -> Iterator[None]:
    """An upload that has begun, and goes on with ten bytes a second for as long as the block lasts."""
    bucket = site.client().create_storage_location()["S3Bucket"]
    request = AWSRequest("PUT", f"{site.endpoint}/{bucket}/slow", headers={"x-amz-content-sha256": "UNSIGNED-PAYLOAD"})
    S3SigV4Auth(Credentials(*site.keys()), "s3", "local-1").add_auth(request)
    sent = {name: value for name, value in request.headers.items() if name.lower() != "content-length"}
    lines = [f"{name}: {value}" for name, value in (sent | {"Content-Length": SIZE}).items()]
    head = "\r\n".join([f"PUT /{bucket}/slow HTTP/1.1", f"Host: 127.0.0.1:{site.api_port}", *lines, "", ""])
    over = threading.Event()
    with socket.create_connection(("127.0.0.1", site.api_port), timeout=10) as connection:
        connection.sendall(head.encode() + b"x" * BEGUN)
        wait_for("the upload", lambda: unfinished(site))

        def drip() -> None:
            with contextlib.suppress(OSError):
                while not over.wait(0.1):
                    connection.sendall(b"x")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def unfinished(site: Site) -> list[str]:
    return [path.name for path in (site.home.objects / "incoming").glob("*")]


def test_a_stop_ends_what_takes_too_long(site: Site) -> None:
    with dripping(site):
        site.stop()
    assert unfinished(site) == []
    site.start()
    assert (
        site.client("s3").list_objects_v2(Bucket=site.client().create_storage_location()["S3Bucket"])["KeyCount"] == 0
    )


@pytest.mark.long
def test_a_second_stop_ends_it_now(site: Site) -> None:
    assert site.process is not None
    assert site.process.pid is not None
    with dripping(site):
        os.kill(site.process.pid, signal.SIGTERM)
        wait_for("the first signal's effect", lambda: not takes_connections(site), 8.0)
        os.kill(site.process.pid, signal.SIGTERM)
        site.process.join(5)
        assert site.dead()
    assert unfinished(site) == []


def takes_connections(site: Site) -> bool:
    try:
        socket.create_connection(("127.0.0.1", site.api_port), timeout=1).close()
    except OSError:
        return False
    return True
