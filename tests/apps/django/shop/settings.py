"""Settings: one application (this package itself), one SQLite file at the environment property DB_PATH."""

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

if not os.environ.get("DB_PATH"):
    raise ImproperlyConfigured("DB_PATH is not set: give the path of the database file as an environment property.")

VERSION = (Path(__file__).parents[1] / "VERSION").read_text(encoding="utf-8").strip()
SECRET_KEY = "of a test application, nothing is signed with it"
TIME_ZONE = "UTC"
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["shop"]
MIDDLEWARE = ["shop.middleware.stamp"]
ROOT_URLCONF = "shop.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DB_PATH"]}}
