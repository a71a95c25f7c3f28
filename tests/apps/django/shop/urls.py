"""What it answers: `/` with the number of articles, `/version`, and `/health`, which needs the migrated database."""

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.urls import path

from shop.models import Article


def page(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"application": "django", "version": settings.VERSION, "articles": Article.objects.count()})


def version(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"application": "django", "version": settings.VERSION})


def health(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok" if Article.objects.exists() else "empty"})


urlpatterns = [path("", page), path("version", version), path("health", health)]
