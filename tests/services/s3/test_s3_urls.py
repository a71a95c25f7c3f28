"""URLs that fetch by themselves."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Any

import pytest
from served import KEY, REGION

from beanpole.aws.call import Call, Caller
from beanpole.services.s3 import S3


def test_a_presigned_url_needs_nothing_but_urllib(url: str, bucket: str, s3: S3) -> None:
    s3.put(bucket, "logs/i-1/ü b.txt", b"lines", "text/plain")
    call = Call("elasticbeanstalk", "x", {}, "id", Caller(KEY.id, KEY.user, "local"), REGION, url)
    link = s3.presigned_url(bucket, "logs/i-1/ü b.txt", call)
    with urllib.request.urlopen(link, timeout=10) as answer:
        assert answer.read() == b"lines"
        assert answer.headers["Content-Type"] == "text/plain"
        assert answer.headers["Content-Security-Policy"] == "sandbox"
    for wrong in (link.replace("i-1", "i-2"), link[:-1] + ("0" if link[-1] != "0" else "1")):
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(wrong, timeout=10)
        raised.value.close()
        assert raised.value.code == 403


def test_a_url_that_botocore_presigned(boto: Any, bucket: str, s3: S3) -> None:
    s3.put(bucket, "k", b"content")
    params = {"Bucket": bucket, "Key": "k", "ResponseContentDisposition": 'attachment; filename="a.zip"'}
    with urllib.request.urlopen(boto.generate_presigned_url("get_object", params), timeout=10) as answer:
        assert (answer.read(), answer.headers["Content-Disposition"]) == (b"content", 'attachment; filename="a.zip"')
    put = boto.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "k"})
    request = urllib.request.Request(put, data=b"replaced", method="PUT", headers={"Content-Type": "text/plain"})
    urllib.request.urlopen(request, timeout=10).close()
    assert s3.read(bucket, "k") == b"replaced"
    params["ResponseContentDisposition"] = "a\r\nSet-Cookie: x"
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(boto.generate_presigned_url("get_object", params), timeout=10)
