"""Paths of the tenants' API."""

from __future__ import annotations

from django.urls import path

from tenants.api import api_keys, sites

urlpatterns = [
    path("sites/", sites.SiteList.as_view()),
    path("sites/<str:slug>/", sites.SiteDetail.as_view()),
    path("api-keys/", api_keys.ApiKeyList.as_view()),
    path("api-keys/<int:pk>/", api_keys.ApiKeyDetail.as_view()),
]
