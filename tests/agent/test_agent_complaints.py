"""What counts as an error in a log, by what servers and frameworks really write."""

from __future__ import annotations

import pytest

from beanpole.agent.complaints import complaints

pytestmark = pytest.mark.pure

PLAIN = """\
listening on 8000
Traceback (most recent call last):
  File "/app/server.py", line 3, in <module>
    load()
ValueError: no model at /models/cats
"""
CHAINED = """\
Traceback (most recent call last):
  File "/app/db.py", line 10, in connect
    raise TimeoutError
TimeoutError

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/app/app.py", line 9, in view
    connect()
app.errors.NoDatabase: postgres:5432 does not answer
"""
GUNICORN = """\
[2026-11-02 12:00:00 +0000] [7] [INFO] Starting gunicorn 23.0.0
[2026-11-02 12:00:00 +0000] [9] [INFO] Booting worker with pid: 9
[2026-11-02 12:00:01 +0000] [9] [ERROR] Error handling request /predict
Traceback (most recent call last):
  File "gunicorn/workers/sync.py", line 134, in handle
    self.handle_request(listener, req, client, addr)
KeyError: 'breed'
[2026-11-02 12:00:31 +0000] [7] [CRITICAL] WORKER TIMEOUT (pid:9)
[2026-11-02 12:00:32 +0000] [7] [INFO] Booting worker with pid: 12
"""
UVICORN = """\
INFO:     Started server process [11]
INFO:     Application startup complete.
INFO:     127.0.0.1:5000 - "GET /ERROR HTTP/1.1" 404 Not Found
ERROR:    Exception in ASGI application
  + Exception Group Traceback (most recent call last):
  |   File "starlette/_utils.py", line 76, in collapse_excgroups
  |     yield
  | ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "/app/main.py", line 12, in predict
    |     return model.predict(x)
    | AttributeError: 'NoneType' object has no attribute 'predict'
    +------------------------------------

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/app/main.py", line 12, in predict
    return model.predict(x)
AttributeError: 'NoneType' object has no attribute 'predict'
INFO:     127.0.0.1:5001 - "GET /health HTTP/1.1" 200 OK
"""
DJANGO = """\
Watching for file changes with StatReloader
Not Found: /favicon.ico
Internal Server Error: /orders/
Traceback (most recent call last):
  File "django/core/handlers/exception.py", line 55, in inner
    response = get_response(request)
django.db.utils.OperationalError: no such column: orders.total
[02/Nov/2026 12:00:00] "GET /orders/ HTTP/1.1" 500 145
"""
LOGGING = """\
2026-11-02 12:00:00,000 INFO shop: 0 ERROR lines so far
ERROR:root:the cache is gone
2026-11-02 12:00:00,001 - shop.models - CRITICAL - no GPU
WARNING:root:ERROR rates may be high
DEBUG: CRITICAL section entered
no ERRORS here, and no errors
{"ts": 1, "level": "error", "message": "queue is full"}
{"ts": 2, "level": "info", "message": "level error"}
"""


@pytest.mark.parametrize(
    ("text", "count", "last"),
    [
        ("listening\n", 0, ""),
        (PLAIN, 1, "ValueError: no model at /models/cats"),
        (CHAINED, 1, "app.errors.NoDatabase: postgres:5432 does not answer"),
        (GUNICORN, 2, "[2026-11-02 12:00:31 +0000] [7] [CRITICAL] WORKER TIMEOUT (pid:9)"),
        (UVICORN, 1, "AttributeError: 'NoneType' object has no attribute 'predict'"),
        (DJANGO, 1, "django.db.utils.OperationalError: no such column: orders.total"),
        (LOGGING, 3, '{"ts": 1, "level": "error", "message": "queue is full"}'),
        (PLAIN + PLAIN, 2, "ValueError: no model at /models/cats"),
        ("Traceback (most recent call last):\n  File", 1, "Traceback (most recent call last):"),
    ],
    ids=["none", "plain", "chained", "gunicorn", "uvicorn", "django", "logging", "two", "cut"],
)
def test_errors_are_counted_once_each_and_the_last_one_is_told(text: str, count: int, last: str) -> None:
    found = complaints(text.splitlines())
    assert (found.count, found.last) == (count, last)


def test_the_lines_are_those_of_the_last_error() -> None:
    found = complaints((GUNICORN + PLAIN).splitlines())
    assert found.lines == tuple(PLAIN.splitlines()[1:])
