"""All paths of the installation over HTTP. Websockets are routed in csms/asgi.py."""

from __future__ import annotations

import sys
from typing import Any

from django.contrib import admin
from django.core.exceptions import BadRequest, DisallowedHost, RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import include, path, re_path
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularSwaggerView

from billing.urls import urlpatterns as billing_patterns
from csms import health, outage
from csms.metrics import exposition
from stations.urls import urlpatterns as station_patterns
from tenants.api import problems
from tenants.api.document import SchemaView
from tenants.api.urls import urlpatterns as tenant_patterns
from tenants.sign_in import sign_in

API = "/api/"


@csrf_exempt
def charge_point_by_http(request: HttpRequest, path: str) -> HttpResponse:
    """A charge point's URL opened without a websocket: by a browser, or by a charge point set to the wrong protocol."""
    text = "This is the address of a charge point: connect with a WebSocket and the subprotocol ocpp1.6.\n"
    return HttpResponse(
        text,
        status=426,
        content_type="text/plain; charset=utf-8",
        headers={"Upgrade": "websocket", "Connection": "Upgrade"},
    )


# --- errors outside of views: problems under /api/, pages elsewhere ---------------------------------------------------
TOO_LARGE = {
    RequestDataTooBig: "What was sent is larger than this installation takes.",
    TooManyFieldsSent: "What was sent has more fields than this installation takes.",
    TooManyFilesSent: "More files were sent than this installation takes.",
}


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400; 413 for what is too large, which Django takes for the same."""
    too_large = next((said for kind, said in TOO_LARGE.items() if isinstance(exception, kind)), None)
    if request.path.startswith(API):
        if too_large is not None:
            return problems.answer(413, "too_large", too_large)
        return problems.answer(400, "bad_request", "The request is malformed, or this host name is not served.")
    if too_large is not None:
        return render(request, "413.html", {"sentence": too_large}, status=413)
    said = str(exception) if isinstance(exception, BadRequest) else ""
    context = {"wrong_host": isinstance(exception, DisallowedHost), "sentence": said}
    return render(request, "400.html", context, status=400)


def forged(request: HttpRequest, reason: str = "") -> HttpResponse:
    """403 for a form without the token that this installation gave out; called by the check against forgery."""
    if request.path.startswith(API):
        return problems.answer(403, "csrf_failed", "The CSRF token is missing or wrong.")
    return render(request, "403_csrf.html", {"reason": reason}, status=403)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith(API):
        return problems.answer(403, "permission_denied", "You may not do this.")
    return defaults.permission_denied(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return problems.not_found(request) if request.path.startswith(API) else defaults.page_not_found(request, exception)


def failed(request: HttpRequest, *args: Any) -> HttpResponse:
    """500, never with internals; 503 when it was the database, of a person's session as well."""
    said = outage.sentence_of(sys.exc_info()[1])
    if said is not None:
        return _unavailable(request, said)
    if request.path.startswith(API):
        return problems.answer(500, "internal_error", "Something went wrong here. It has been logged.")
    return defaults.server_error(request)


def _unavailable(request: HttpRequest, said: str) -> HttpResponse:
    if request.path.startswith(API):
        response = problems.answer(503, "unavailable", said)
    else:
        response = HttpResponse(render_to_string("503.html", {"sentence": said}), status=503)
    response["Retry-After"] = str(outage.RETRY_AFTER_SECONDS)
    return response


handler400 = "csms.urls.bad_request"
handler403 = "csms.urls.forbidden"
handler404 = "csms.urls.not_found"
handler500 = "csms.urls.failed"

urlpatterns = [
    path("", RedirectView.as_view(url="/admin/")),
    path("healthz/", health.liveness),
    path("readyz/", health.readiness),
    path("metrics", exposition.page),
    path("admin/login/", sign_in),
    path("admin/", admin.site.urls),
    path("tenants/", include("tenants.urls")),
    path("api/v1/", include((station_patterns + tenant_patterns + billing_patterns, "api"))),
    path("api/schema/", SchemaView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    re_path(r"^api/.*$", problems.not_found),
    re_path(r"^ocpp/(?P<path>.*)$", charge_point_by_http),
]
