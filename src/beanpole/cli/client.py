"""Our API as a client sees it: where it is, with which keys, and what its refusals mean for a person.

Of a local control plane the address and the keys are in its home. With AWS_ENDPOINT_URL set (and no --home given) they
come from the AWS variables, files and profiles as for any AWS client: that is how a remote control plane is used.
"""

from __future__ import annotations

import configparser
import json
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from beanpole.cli.errors import CommandFailed, Misused, Refused, Unreachable, WrongKeys
from beanpole.cli.holder import no_folder_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from beanpole.home import Home

CONNECT_TIMEOUT = 5.0
"""Seconds to reach the API. It is on this machine or one hop away."""

READ_TIMEOUT = 60.0
"""Seconds for an answer. Registering a version takes the longest: a large bundle is checked and taken apart."""

REGION = "local-1"
"""Signed for where nothing says otherwise; a control plane accepts any region that its clients sign for."""

WRONG_KEYS = {
    "InvalidClientTokenId",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "IncompleteSignature",
    "RequestTimeTooSkewed",
    "RequestExpired",
    "AccessDenied",
}
WRONG_INPUT = {"ValidationError", "ConfigurationValidationException", "MissingParameter"}
NOT_BUILT = {"UnsupportedOperation", "InvalidAction", "UnknownService"}
NOT_HERE = {"InvalidRequestException", "ElasticBeanstalkServiceException"}
"""Elastic Beanstalk says these of environments without enhanced health."""

WRONG_STATES = tuple(
    (re.compile(sentence), remedy)
    for sentence, remedy in (
        (
            r"Environment named (\S+) is in an invalid state for this operation",
            r"Something is under way: follow it with `beanpole events -f \1`, or stop it with `beanpole abort \1`.",
        ),
        (r"Environment named (\S+) has no (?:earlier )?release", r"`beanpole releases \1` shows those that it has."),
        (r"Environment named (\S+) has no operation in progress", r"`beanpole status \1` shows how it is."),
        (r"The update of environment (\S+) is being reverted", r"Follow it with `beanpole events -f \1`."),
        (
            r"The update of environment (\S+) cannot be aborted any more",
            r"`beanpole rollback \1` goes back when it ended.",
        ),
        (r"Environment named (\S+) has no new version that is being", r"`beanpole status \1` shows how it is."),
        (r"No Environment found|No Application", "`beanpole list` shows what there is."),
    )
)
"""Refusals that have no code of their own, by how their sentences begin: something is not there, or in no state for
this. With the remedy for each."""


@dataclass(frozen=True)
class Endpoint:
    """`source` says where this was found, in words for an error. Without a key, botocore looks for one."""

    url: str
    region: str
    source: str
    access_key: str | None = None
    secret: str | None = field(default=None, repr=False)
    pid: int | None = None
    """Of a local control plane."""


class Api:
    """One control plane. The clients are made when first used, and anew when the control plane has moved."""

    def __init__(self, home: Home | None) -> None:
        """`home`: the local one to look in; None for the AWS variables."""
        self._home = home
        self._endpoint: Endpoint | None = None
        self._clients: dict[str, Any] = {}

    @classmethod
    def chosen(cls, home_option: Path | None) -> Api:
        from beanpole.home import Home

        if home_option is None and os.environ.get("AWS_ENDPOINT_URL"):
            return cls(None)
        return cls(Home.chosen(home_option))

    @property
    def home(self) -> Home | None:
        return self._home

    @property
    def endpoint(self) -> Endpoint:
        """Raises Unreachable when no control plane runs on the home."""
        if self._endpoint is None:
            self._endpoint = endpoint_of(self._home) if self._home is not None else endpoint_of_environment()
        return self._endpoint

    def forget_endpoint(self) -> None:
        """Look again at the next call: a control plane that was restarted may listen elsewhere."""
        known, self._endpoint = self._endpoint, None
        try:
            if self.endpoint != known:
                self._clients.clear()
        except Unreachable:
            self._clients.clear()

    def beanstalk(self, operation: str, **parameters: Any) -> dict[str, Any]:
        return self._call("elasticbeanstalk", operation, parameters)

    def beanpole(self, operation: str, **parameters: Any) -> dict[str, Any]:
        return self._call("beanpole", operation, parameters)

    def ec2(self, operation: str, **parameters: Any) -> dict[str, Any]:
        return self._call("ec2", operation, parameters)

    def optional(self, operation: str, **parameters: Any) -> dict[str, Any] | None:
        """An operation of Elastic Beanstalk; None where the control plane or the environment does not have it."""
        try:
            return self.beanstalk(operation, **parameters)
        except Refused as refused:
            if refused.code in NOT_BUILT | NOT_HERE:
                return None
            raise

    def pages(self, operation: str, key: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """The entries of a listing of Elastic Beanstalk, page after page."""
        token: dict[str, str] = {}
        while True:
            answer = self.beanstalk(operation, **parameters, **token)
            yield from answer.get(key, [])
            if not answer.get("NextToken"):
                return
            token = {"NextToken": answer["NextToken"]}

    def upload(self, path: Path, bucket: str, key: str, progress: Any = None) -> None:
        """Put a file into S3. `progress` is called with the number of further bytes sent, from several threads."""
        from boto3.exceptions import Boto3Error

        client = self._client("s3")
        try:
            self._translated(lambda: client.upload_file(str(path), bucket, key, Callback=progress))
        except Boto3Error as error:
            raise CommandFailed(f"The upload failed: {error}", "Try again.") from error

    def _call(self, service: str, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        from botocore import xform_name

        method = getattr(self._client(service), xform_name(operation))
        answer: dict[str, Any] = self._translated(lambda: method(**parameters))
        return answer

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self._translated(lambda: make_client(service, self.endpoint))
        return self._clients[service]

    def _translated(self, act: Any) -> Any:
        """What `act` returns. Whatever a client library raises becomes a sentence for a person."""
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, ParamValidationError
        from botocore.exceptions import ConnectionError as NotConnected
        from botocore.parsers import ResponseParserError

        try:
            return act()
        except ClientError as error:
            raise refusal(error.response, self.endpoint) from error
        except (HTTPClientError, NotConnected) as error:
            raise self._silence() from error
        except ParamValidationError as error:
            raise Misused(str(error).splitlines()[-1].strip()) from error
        except ResponseParserError as error:
            raise Unreachable(f"What answers at {self.endpoint.url} is no Beanpole.", self._how_to_reach()) from error
        except BotoCoreError as error:
            raise Unreachable(f"{error}.".replace("..", "."), self._how_to_reach()) from error

    def _silence(self) -> Unreachable:
        url, pid = self.endpoint.url, self.endpoint.pid
        if self._home is not None and pid is not None and not _lives(pid):
            return _none_runs(self._home)
        if self._home is not None:
            return Unreachable(
                f"The control plane (pid {pid}) does not answer at {url}.", f"Look at its log {self._home.log}."
            )
        return Unreachable(f"No control plane answers at {url} ({self.endpoint.source}).", self._how_to_reach())

    def _how_to_reach(self) -> str:
        if self._home is not None:
            return "Start it with `beanpole up --detach`."
        if is_loopback(self.endpoint.url):
            return "Start it with `beanpole up --detach`, or correct AWS_ENDPOINT_URL if it listens elsewhere."
        return "Correct AWS_ENDPOINT_URL and the AWS keys, or unset AWS_ENDPOINT_URL to use the local control plane."


def endpoint_of(home: Home) -> Endpoint:
    """Where the control plane of that home listens, and its first key. Raises Unreachable when none runs.

    The home's lock is not tried for that: a control plane that starts at the same moment would find it taken.
    """
    try:
        state = json.loads(home.state.read_text())
        keys = configparser.ConfigParser(interpolation=None)
        keys.read_string(home.credentials.read_text())
        endpoint = Endpoint(
            url=state["api"],
            region=state["region"],
            source=f"home {home.root}",
            access_key=keys["default"]["aws_access_key_id"],
            secret=keys["default"]["aws_secret_access_key"],
            pid=state["pid"],
        )
    except FileNotFoundError:
        raise _none_runs(home) from None
    except NotADirectoryError as no_folder:
        raise Unreachable(*no_folder_at(home)) from no_folder
    except (OSError, ValueError, KeyError, configparser.Error) as problem:
        raise Unreachable(
            f"The files of the control plane in {home.root} cannot be read: {problem}.",
            "Use the account that started it, or restart it with `beanpole down` and `beanpole up --detach`.",
        ) from problem
    if not _lives(state["pid"]):
        raise _none_runs(home)
    return endpoint


def _none_runs(home: Home) -> Unreachable:
    return Unreachable(
        f"No control plane runs on {home.root}.",
        "Start it with `beanpole up --detach`, or name another home with --home or BEANPOLE_HOME.",
    )


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's process is one, too
    return True


def endpoint_of_environment() -> Endpoint:
    """Raises Misused when AWS_ENDPOINT_URL is no address."""
    url = os.environ["AWS_ENDPOINT_URL"]
    if not url.startswith(("http://", "https://")):
        raise Misused(f"AWS_ENDPOINT_URL is no URL: {url}", "Set it as in http://127.0.0.1:8600, or unset it.")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or REGION
    return Endpoint(url=url, region=region, source="AWS_ENDPOINT_URL")


NOBODYS: dict[str, Any] = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}
"""Session variables (names in files, in the environment, default, conversion) without AWS profiles and files: what a
user has for the cloud must not decide whether the local control plane can be reached."""


def make_client(service: str, endpoint: Endpoint) -> Any:
    """A client of botocore; for S3 one of boto3, which adds uploads in parts.

    Nothing is repeated by the client: a call that changes something would be refused the second time, and reading calls
    are repeated by whoever follows.
    """
    import botocore.session
    from botocore.config import Config

    from beanpole.aws.models import client_loader

    # Keys come from variables, files or profiles; asking a cloud's metadata address for them would only cost time.
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    session = botocore.session.Session(None if endpoint.access_key is None else NOBODYS)
    session.register_component("data_loader", client_loader())
    config = Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        retries={"total_max_attempts": 3 if service == "s3" else 1},
        # A proxy for the Internet cannot reach this machine's own loopback.
        proxies={} if is_loopback(endpoint.url) else None,
        s3={"addressing_style": "path"},
    )
    options: dict[str, Any] = {"region_name": endpoint.region, "endpoint_url": endpoint.url, "config": config}
    if endpoint.access_key is not None:
        options |= {"aws_access_key_id": endpoint.access_key, "aws_secret_access_key": endpoint.secret}
    if service == "s3":
        import boto3.session

        return boto3.session.Session(botocore_session=session).client(service, **options)
    return session.create_client(service, **options)


def refusal(answer: dict[str, Any], endpoint: Endpoint) -> CommandFailed:
    """The API's error as a sentence with a remedy, and the exit status that its code means."""
    error = answer.get("Error", {})
    code, message = error.get("Code", "Unknown"), error.get("Message") or "The API refused without a reason."
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    if code in WRONG_KEYS:
        remedy = f"The keys come from: {endpoint.source}. Use those of `beanpole env`, and check this machine's clock."
        return WrongKeys(f"The control plane at {endpoint.url} does not accept the keys: {message}", remedy)
    if status >= 500:
        request_id = answer.get("ResponseMetadata", {}).get("RequestId", "unknown")
        return Refused(code, message, f"Look at the control plane's log for request {request_id}.")
    if code in NOT_BUILT:
        return Refused(code, message, "Bring the control plane and this command to the same version.")
    for sentence, remedy in WRONG_STATES:
        if found := sentence.match(message):
            return Refused(code, message, found.expand(remedy), exit_status=3)
    return Refused(code, message, exit_status=2 if code in WRONG_INPUT else 1)


def is_loopback(url: str) -> bool:
    from urllib.parse import urlsplit

    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")
