"""Where a command listens, and the same command on one address of the machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanpole.platforms import shell
from beanpole.platforms.ports import Port, localize, port_of

pytestmark = pytest.mark.pure

ADDRESS = "127.0.0.7"


@pytest.mark.parametrize(
    "command",
    [
        "gunicorn app:app",
        "gunicorn -w 3 project.wsgi",
        "gunicorn --bind $PORT app",
        "gunicorn --bind :$PORT app",
        "gunicorn --bind 0.0.0.0:${PORT} app",
        'gunicorn --bind "0.0.0.0:${PORT:-8000}" app',
        "gunicorn -b 0.0.0.0:$PORT -c conf.py app",
        'gunicorn --bind "${BEANPOLE_ADDRESS:-127.0.0.1}:$PORT" --workers 1 app',
        "exec gunicorn -b:$PORT app",
        "python -m gunicorn --bind=127.0.0.1:$PORT app",
        "uvicorn main:app --host 0.0.0.0 --port $PORT",
        "uvicorn main:app --port=${PORT}",
        "poetry run uvicorn main:app --port $PORT",
        "python3.11 -m uvicorn main:app --port $PORT",
        "hypercorn -b 0.0.0.0:$PORT app",
        "daphne -b 0.0.0.0 -p $PORT app",
        "waitress-serve --port=$PORT app:app",
        "waitress-serve --listen=*:$PORT app:app",
        "flask run -h 0.0.0.0 -p $PORT",
        "python manage.py runserver 0.0.0.0:$PORT",
        "python -m http.server $PORT",
        "streamlit run app.py --server.port $PORT",
        "uwsgi --http :$PORT --module app",
        "sh -c 'gunicorn -b :$PORT app'",
        'bash -lc "cd src && exec uvicorn main:app --port $PORT"',
        "./start.sh --listen-on $PORT",
        "node server.js $PORT",
        "redis-cli -p 6379 ping; gunicorn -b :$PORT app",
    ],
)
def test_follows(command: str) -> None:
    assert port_of(command) == Port.follows
    assert localize(command, ADDRESS) == command


@pytest.mark.parametrize(
    ("command", "number", "localized"),
    [
        ("gunicorn -b 0.0.0.0:8000 app", 8000, "gunicorn -b 127.0.0.7:8000 app"),
        ("gunicorn -b0.0.0.0:8000 app", 8000, "gunicorn -b127.0.0.7:8000 app"),
        ("gunicorn --bind :8000 app", 8000, "gunicorn --bind 127.0.0.7:8000 app"),
        ("gunicorn --bind=127.0.0.1:8000 app", 8000, "gunicorn --bind=127.0.0.7:8000 app"),
        ("gunicorn --bind [::]:8000 app", 8000, "gunicorn --bind 127.0.0.7:8000 app"),
        ("gunicorn --bind localhost:8000 app", 8000, "gunicorn --bind 127.0.0.7:8000 app"),
        ("gunicorn --bind '0.0.0.0:8000' app", 8000, "gunicorn --bind '127.0.0.7:8000' app"),
        ('gunicorn "--bind=0.0.0.0:8000" app', 8000, 'gunicorn "--bind=127.0.0.7:8000" app'),
        ("gunicorn --bind 8000 app", 8000, "gunicorn --bind 127.0.0.7:8000 app"),
        ("gunicorn --bind 0.0.0.0 app", 8000, "gunicorn --bind 127.0.0.7:8000 app"),
        ("gunicorn -b :8000 -b :8001 app", 8000, "gunicorn -b 127.0.0.7:8000 -b 127.0.0.7:8001 app"),
        ("gunicorn -b :8000 -b :$PORT app", 8000, "gunicorn -b 127.0.0.7:8000 -b :$PORT app"),
        ("gunicorn -b 10.0.0.5:8000 app", 8000, "gunicorn -b 10.0.0.5:8000 app"),
        ("/opt/venv/bin/gunicorn -b :80 app", 80, "/opt/venv/bin/gunicorn -b 127.0.0.7:80 app"),
        ("uvicorn a:b --host 0.0.0.0 --port 8000", 8000, "uvicorn a:b --host 127.0.0.7 --port 8000"),
        ("uvicorn a:b --port=8000 --host=::", 8000, "uvicorn a:b --port=8000 --host=127.0.0.7"),
        ("uvicorn a:b --port 8000", 8000, "uvicorn a:b --port 8000 --host 127.0.0.7"),
        ("uvicorn a:b", 8000, "uvicorn --host 127.0.0.7 a:b"),
        ("uvicorn a:b --host 0.0.0.0", 8000, "uvicorn a:b --host 127.0.0.7"),
        ("uvicorn a:b --host 10.1.1.1 --port 8000", 8000, "uvicorn a:b --host 10.1.1.1 --port 8000"),
        ("uvicorn a:b --host $HOST --port 8000", 8000, "uvicorn a:b --host $HOST --port 8000"),
        ("hypercorn a:b", 8000, "hypercorn --bind 127.0.0.7:8000 a:b"),
        ("daphne -b 0.0.0.0 -p 8001 a:b", 8001, "daphne -b 127.0.0.7 -p 8001 a:b"),
        ("waitress-serve --port=8041 a:b", 8041, "waitress-serve --port=8041 --host 127.0.0.7 a:b"),
        ("waitress-serve --listen=*:8041 a:b", 8041, "waitress-serve --listen=127.0.0.7:8041 a:b"),
        ("flask run", 5000, "flask run --host 127.0.0.7"),
        ("flask --app x run -p 5001", 5001, "flask --app x run -p 5001 --host 127.0.0.7"),
        ("flask run --host=0.0.0.0", 5000, "flask run --host=127.0.0.7"),
        ("fastapi run main.py", 8000, "fastapi run --host 127.0.0.7 main.py"),
        ("streamlit run a.py", 8501, "streamlit run --server.address 127.0.0.7 a.py"),
        ("python manage.py runserver", 8000, "python manage.py runserver 127.0.0.7:8000"),
        ("python manage.py runserver 8001", 8001, "python manage.py runserver 127.0.0.7:8001"),
        ("python manage.py runserver 0.0.0.0:8001", 8001, "python manage.py runserver 127.0.0.7:8001"),
        ("./manage.py runserver -v 3 0:8001", 8001, "./manage.py runserver -v 3 127.0.0.7:8001"),
        ("django-admin runserver --noreload :81", 81, "django-admin runserver --noreload 127.0.0.7:81"),
        ("python -m http.server", 8000, "python -m http.server --bind 127.0.0.7"),
        ("python3 -u -m http.server 8080", 8080, "python3 -u -m http.server 8080 --bind 127.0.0.7"),
        ("python -m http.server -b 0.0.0.0 8080", 8080, "python -m http.server -b 127.0.0.7 8080"),
        ("python -m http.server -d 1234 8080", 8080, "python -m http.server -d 1234 8080 --bind 127.0.0.7"),
        ("python app.py --port 5000", 5000, "python app.py --port 5000"),
        ("python app.py --host 0.0.0.0 --port 5000", 5000, "python app.py --host 127.0.0.7 --port 5000"),
        ("python app.py --bind 0.0.0.0:5000", 5000, "python app.py --bind 127.0.0.7:5000"),
        ("./server -p 9000", 9000, "./server -p 9000"),
        ("A=1 B='x y' exec uvicorn a:b --port 80", 80, "A=1 B='x y' exec uvicorn a:b --port 80 --host 127.0.0.7"),
        ("newrelic-admin run-program gunicorn -b :81 a", 81, "newrelic-admin run-program gunicorn -b 127.0.0.7:81 a"),
        ("python manage.py migrate && gunicorn -b :81 a", 81, "python manage.py migrate && gunicorn -b 127.0.0.7:81 a"),
        ("bash -c 'gunicorn -b 0.0.0.0:81 a'", 81, "bash -c 'gunicorn -b 127.0.0.7:81 a'"),
        ('sh -c "cd x && uvicorn a:b --port 81"', 81, 'sh -c "cd x && uvicorn a:b --port 81 --host 127.0.0.7"'),
        ("gunicorn -b :81 a > log 2>&1 # -b :$PORT", 81, "gunicorn -b 127.0.0.7:81 a > log 2>&1 # -b :$PORT"),
    ],
)
def test_fixed_and_on_one_address(command: str, number: int, localized: str) -> None:
    assert port_of(command) == Port.fixed(number)
    assert localize(command, ADDRESS) == localized
    assert port_of(localized) == Port.fixed(number)


@pytest.mark.parametrize(
    "command",
    [
        "",
        "python app.py",
        "./start.sh",
        "python -c 'serve(8000)'",
        "gunicorn -c gunicorn.conf.py app",
        "gunicorn --bind unix:/run/app.sock app",
        "gunicorn --bind $ADDRESS app",
        "gunicorn -b :99999 app",
        "PORT=8000 gunicorn app",
        "uvicorn a:b --uds /run/app.sock",
        "uvicorn a:b --port $APP_PORT",
        "uwsgi --ini uwsgi.ini",
        "celery worker -b redis://localhost:6379/0",
        "./tool -p 3",
        "gunicorn -b '0.0.0.0:8000",
        "sh -c",
        "sh -c 'gunicorn -b \"$A:80\" a'",
        "exec",
        "python -m",
    ],
)
def test_cannot_be_told_and_stays_as_it_is(command: str) -> None:
    assert port_of(command) == Port.unknown
    assert localize(command, ADDRESS) == command


def test_a_configuration_file_that_gunicorn_finds_by_itself() -> None:
    assert port_of("gunicorn app", configured=True) == Port.unknown
    assert port_of("gunicorn -b :$PORT app", configured=True) == Port.follows
    assert port_of("uvicorn a:b --port 80", configured=True) == Port.fixed(80)


@given(st.text(alphabet="gunicor -b:0.8$PORT{}\"'\\;&|()#\n`=", max_size=60))
def test_no_line_breaks_it(line: str) -> None:
    for text in (line, f"gunicorn --bind {line}", f"uvicorn {line} --port 8000", f"sh -c '{line}'"):
        port_of(text)
        localize(text, ADDRESS)


@given(st.text(max_size=60))
def test_what_is_not_understood_stays(line: str) -> None:
    if port_of(line).kind != "fixed":
        assert localize(line, ADDRESS) == line


@pytest.mark.parametrize(
    ("line", "commands"),
    [
        ("a b  c", [["a", "b", "c"]]),
        ("a && b || c; d | e", [["a"], ["b"], ["c"], ["d"], ["e"]]),
        ("a 'b c' \"d e\" f\\ g", [["a", "b c", "d e", "f g"]]),
        ("a \"$(b 'c d')\" ${E:-f g} `h i`", [["a", "$(b 'c d')", "${E:-f g}", "`h i`"]]),
        ("a 2>&1 &>b", [["a", "2>&1", "&>b"]]),
        ("a # b c\nd", [["a"], ["d"]]),
        ("a#b ''", [["a#b", ""]]),
        ("(a; b)", [["a"], ["b"]]),
        ("", []),
    ],
)
def test_words_of_a_line(line: str, commands: list[list[str]]) -> None:
    read = shell.commands(line)
    assert read is not None
    assert [[word.text for word in words] for words in read] == commands


@pytest.mark.parametrize("line", ["a 'b", 'a "b', "a \\", "a $(b", "a ${b", "a `b", 'a "`b"'])
def test_open_quotes_and_brackets(line: str) -> None:
    assert shell.commands(line) is None
