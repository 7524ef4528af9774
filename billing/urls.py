"""Paths of the billing API."""

from __future__ import annotations

from django.urls import path

from billing.preview import TariffPreview

urlpatterns = [
    path("tariffs/preview/", TariffPreview.as_view()),
]
