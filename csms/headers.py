"""Headers that every answer of Django has: what a page may load, who may keep an answer, and for how long it is https.

Context: the policy of the pages people work with has to allow what django-unfold needs (docs/decisions.md); an answer
of the API is no page at all, and nothing but a program should ever make something of it.
Choice: by what the answer is. The admin's pages may evaluate expressions, other pages may not, and what is no page may
do nothing. Whoever says nothing else about caching says `no-store`: answers are a tenant's, and change all the time.
HSTS is said to who came by https, also through a trusted proxy, where CSMS_PUBLIC_URL is https: it holds for every port
of the host, so an installation that people reach by http must not say it for the sake of its charge points' port.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from tenants.api.requests import peer_of

ADMIN = "/admin/"
# Alpine, inside django-unfold, evaluates expressions written in attributes.
OF_THE_ADMIN = {"script-src": ["'unsafe-eval'"]}
OF_NO_PAGE = {
    "default-src": ["'none'"],
    "base-uri": ["'none'"],
    "form-action": ["'none'"],
    "frame-ancestors": ["'none'"],
}


class HeadersMiddleware:
    """Comes after CSPMiddleware in MIDDLEWARE, which writes the policy that this one chooses."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self._respond(request)
        return _with_headers(request, self.get_response(request))

    async def _respond(self, request: HttpRequest) -> HttpResponseBase:
        return _with_headers(request, await self.get_response(request))


def _with_headers(request: HttpRequest, response: Any) -> HttpResponseBase:
    if not response.get("Content-Type", "").startswith("text/html"):
        response._csp_config = OF_NO_PAGE
    elif request.path.startswith(ADMIN):
        response._csp_update = OF_THE_ADMIN
    if not response.has_header("Cache-Control"):
        response["Cache-Control"] = "no-store"
    seconds = settings.CSMS_HSTS_SECONDS
    if seconds and settings.CSMS_PUBLIC_URL.startswith("https://") and peer_of(request).secure:
        response["Strict-Transport-Security"] = f"max-age={seconds}"
    return response
