"""The XML documents that clients of S3 send."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from beanpole.aws.errors import AwsError
from beanpole.services.s3.conditions import ALWAYS, Conditions
from beanpole.services.s3.router import check_key

_DECLARES = re.compile(r"<!(DOCTYPE|ENTITY)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ToDelete:
    """One object of a Delete document; `refused` says why it is not even tried."""

    key: str
    conditions: Conditions = ALWAYS
    refused: AwsError | None = None


def parse_delete(body: bytes) -> tuple[list[ToDelete], bool]:
    """The objects that a Delete document names, and whether it wants to hear of failures only."""
    root = _parse(body, "Delete")
    wanted = [_to_delete(item) for item in root if item.tag == "Object"]
    if not 1 <= len(wanted) <= 1000:
        raise _malformed("Delete needs 1 to 1000 Objects")
    return wanted, _text(root, "Quiet", "false").strip().lower() == "true"


def parse_complete(body: bytes) -> list[tuple[int, str]]:
    """The parts that a CompleteMultipartUpload document names: number and ETag without quotes."""
    parts = [item for item in _parse(body, "CompleteMultipartUpload") if item.tag == "Part"]
    found: list[tuple[int, str]] = []
    for part in parts:
        number = _text(part, "PartNumber").strip()
        if not re.fullmatch("[0-9]{1,5}", number):
            raise _malformed("PartNumber must be a number")
        found.append((int(number), _text(part, "ETag").strip().strip('"').lower()))
    return found


def check_create_bucket(body: bytes) -> None:
    """Refuse what is no wish for a new bucket: a file whose upload names a bucket where its key should be."""
    if body:
        _parse(body, "CreateBucketConfiguration")


def _to_delete(item: ET.Element) -> ToDelete:
    key, etag = _text(item, "Key"), item.findtext("ETag")
    try:
        check_key(key)
        if item.findtext("VersionId", "null") != "null" or {"LastModifiedTime", "Size"} & {part.tag for part in item}:
            what = "Beanpole's S3 deletes by key and ETag, not by version, time or size."
            raise AwsError("NotImplemented", what, 501)
    except AwsError as error:
        return ToDelete(key, refused=error)
    return ToDelete(key, ALWAYS if etag is None else Conditions(match=etag))


def _parse(body: bytes, root_name: str) -> ET.Element:
    """The root, with its namespaces taken off."""
    try:
        source = body.decode()
        if _DECLARES.search(source):  # entities are how a small document becomes a huge one
            raise _malformed("it has a document type declaration")
        root = ET.fromstring(source)  # noqa: S314  (without declarations there is nothing to expand or fetch)
    except (UnicodeDecodeError, ET.ParseError, ValueError):
        raise _malformed("it cannot be parsed") from None
    for item in root.iter():
        item.tag = str(item.tag).rpartition("}")[2]
    if root.tag != root_name:
        raise _malformed(f"its root must be {root_name}")
    return root


def _text(item: ET.Element, name: str, default: str | None = None) -> str:
    found = item.findtext(name, default)
    if found is None:
        raise _malformed(f"{item.tag} needs {name}")
    return found


def _malformed(why: str) -> AwsError:
    return AwsError("MalformedXML", f"The XML document is not what the operation takes: {why}.")
