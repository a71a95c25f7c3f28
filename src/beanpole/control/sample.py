"""The application that an environment gets when nobody gave it one: a page that says so, standard library only."""

from __future__ import annotations

import io
import zipfile

_APPLICATION = '''"""The sample application of Beanpole."""


def application(environ, start_response):
    body = (
        "<!doctype html><title>Beanpole</title>"
        "<h1>Your environment works</h1><p>Deploy your own application with <code>eb deploy</code> "
        "or <code>beanpole deploy</code>.</p>"
    ).encode()
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]
'''


def bundle() -> bytes:
    """A zip with the same bytes each time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("application.py", (2020, 1, 1, 0, 0, 0)), _APPLICATION)
    return buffer.getvalue()
