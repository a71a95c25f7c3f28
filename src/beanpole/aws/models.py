"""Where the shapes of requests and answers come from.

AWS's own services: botocore's definitions. What the EB CLI sends and reads beyond the public Elastic Beanstalk model is
in `models/elasticbeanstalk/…/service-2.sdk-extras.json`, which botocore merges by itself; our own service is in
`models/beanpole/…`. Prose is left out on the server: it is nine tenths of the memory that a model takes.
"""

from __future__ import annotations

import gzip
import json
import sys
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from botocore.loaders import ExtrasProcessor, Loader
from botocore.model import ServiceModel

MODELS = Path(__file__).with_name("models")
"""A folder in the layout of botocore's data path; `AWS_DATA_PATH` may name it too."""


def load_model(service: str) -> ServiceModel:
    """The model of a service: "elasticbeanstalk", "iam", "beanpole" or any other that botocore knows.

    Takes some 5 to 60 ms each time, so ask once and keep it. Raises botocore's DataNotFoundError for an unknown name.
    """
    # Without the user's ~/.aws/models: those may change what their client sends, never what we serve.
    folders = [str(MODELS), Loader.BUILTIN_DATA_PATH]
    loader = Loader(folders, file_loader=_LeanFiles(), include_default_search_paths=False)
    folder = f"{service}/{loader.determine_latest_version(service, 'service-2')}"
    description = loader.load_data(f"{folder}/service-2")
    extras = f"{folder}/service-2.sdk-extras"
    if (MODELS / f"{extras}.json").is_file():
        ExtrasProcessor().process(description, [loader.load_data(extras)])
    return ServiceModel(description, service)


class LaterModel:
    """A model that is read when it is first asked for: EC2's takes 20 MB, and few ever call it.

    To be used in the place of a ServiceModel. Two threads may both read it; one of the two stays.
    """

    def __init__(self, service: str) -> None:
        self._service = service

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    @cached_property
    def _model(self) -> ServiceModel:
        return load_model(self._service)


def client_loader() -> Loader:
    """A botocore loader for clients that also knows the service `beanpole` and the CLI's additions.

    Use: `session = botocore.session.Session(); session.register_component("data_loader", client_loader());
    session.create_client("beanpole", region_name=…, endpoint_url=…)`.
    """
    return Loader(extra_search_paths=[str(MODELS)])


class _LeanFiles:
    """Reads model files without their prose. Has the two methods that botocore's loader wants of its `file_loader`."""

    def exists(self, path: str) -> bool:
        return Path(f"{path}.json").is_file() or Path(f"{path}.json.gz").is_file()

    def load_file(self, path: str) -> Any:
        if Path(f"{path}.json").is_file():
            with Path(f"{path}.json").open("rb") as file:
                return _load(file)
        if Path(f"{path}.json.gz").is_file():
            with gzip.open(f"{path}.json.gz") as zipped:
                return _load(zipped)
        return None


def _load(file: IO[bytes] | gzip.GzipFile) -> Any:
    return json.load(file, object_pairs_hook=_without_prose)


def _without_prose(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # A member may itself be called "documentation"; its definition is an object then, not text.
    return {sys.intern(key): value for key, value in pairs if not (key == "documentation" and isinstance(value, str))}
