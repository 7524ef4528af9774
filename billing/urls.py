"""Paths of the billing API."""

from __future__ import annotations

from django.urls import path

from billing.api import preview, tariffs

urlpatterns = [
    path("tariffs/", tariffs.TariffList.as_view()),
    path("tariffs/preview/", preview.TariffPreview.as_view()),
    path("tariffs/<str:code>/", tariffs.TariffDetail.as_view()),
    path("tariffs/<str:code>/versions/", tariffs.TariffVersionList.as_view()),
    path("tariffs/<str:code>/versions/<int:number>/", tariffs.TariffVersionDetail.as_view()),
]
