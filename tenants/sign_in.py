"""The sign-in page of the admin, with its limits (tenants/guessing.py)."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponseBase
from unfold.forms import AuthenticationForm

from tenants import guessing
from tenants.api.requests import address_of

HELD_UP = "Too many attempts have failed from here. Try again in {} minutes."


class SignInForm(AuthenticationForm):
    """Name and password; a wrong one is counted, and beyond the limits none is looked at."""

    held_up = False

    def clean(self) -> dict[str, Any]:
        if "username" not in self.cleaned_data or "password" not in self.cleaned_data:
            return dict(super().clean())
        request: Any = self.request
        address = address_of(request) or ""
        username = self.cleaned_data["username"]
        attempt = guessing.sign_in(username, address, request.COOKIES.get(guessing.DEVICE_COOKIE, ""))
        count = guessing.begin(attempt)
        if count.held_up:
            self.held_up = True
            guessing.failed(attempt, count, address)
            raise ValidationError(HELD_UP.format(guessing.WINDOW_SECONDS // 60), code="too_many_attempts")
        try:
            cleaned = dict(super().clean())
        except ValidationError:
            guessing.failed(attempt, count, address)
            raise
        guessing.succeeded(attempt, count)
        return cleaned


def sign_in(request: HttpRequest) -> HttpResponseBase:
    """The admin's page, and 429 with Retry-After for whoever is held up."""
    response: Any = admin.site.login(request)
    form = (getattr(response, "context_data", None) or {}).get("form")
    if getattr(form, "held_up", False):
        response.status_code = 429
        response["Retry-After"] = str(guessing.WINDOW_SECONDS)
    elif request.method == "POST" and response.status_code == 302 and request.user.is_authenticated:
        response.set_cookie(
            guessing.DEVICE_COOKIE,
            guessing.device_cookie(request.user.get_username()),
            max_age=guessing.DEVICE_SECONDS,
            path=settings.LOGIN_URL,
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Lax",
        )
    return response
