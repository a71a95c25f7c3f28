"""The object service: S3's wire in, rows and blobs behind it."""

from beanpole.services.s3.objects import ObjectRow
from beanpole.services.s3.service import OBJECT_LIMIT, S3

__all__ = ["OBJECT_LIMIT", "S3", "ObjectRow"]
