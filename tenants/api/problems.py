"""Every error of the API as RFC 9457 problem+json: one exception, one translator.

Members: `type`, `title`, `status`, `detail`, `code` (stable, snake_case), and `errors`, a list of
{pointer, detail, code} with a JSON pointer into the request's body (or `/name` of a query parameter).
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import orjson
from django.core.exceptions import PermissionDenied, RequestDataTooBig, ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions, serializers
from rest_framework.response import Response
from rest_framework.settings import api_settings

from csms.outage import RETRY_AFTER_SECONDS, sentence_of

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
INVALID = "The request is not valid."
SIGN_IN = "Send an API key in the header `Authorization: Api-Key <prefix>.<secret>`, or sign in."


class Problem(exceptions.APIException):
    """An answer that is an error. `errors` holds {pointer, detail, code}; `headers` are added to the answer."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Iterable[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail, code)
        self.status_code = status
        self.code = code
        self.errors = list(errors)
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        return document(self.status_code, self.code, str(self.detail), self.errors)


def bad_request(pointer: str, detail: str, code: str) -> Problem:
    """400 for one member of the request."""
    return Problem(400, "invalid", INVALID, errors=[{"pointer": pointer, "detail": detail, "code": code}])


def document(status: int, code: str, detail: str, errors: Iterable[Mapping[str, str]] = ()) -> dict[str, Any]:
    """The body of a problem."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
    }
    listed = list(errors)
    if listed:
        body["errors"] = listed
    return body


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's hook: translate `error`; None leaves it to Django, whose 500 is answered in csms/urls.py."""
    problem = problem_of(error)
    if problem is None:
        return None
    response = Response(problem.body, status=problem.status_code, headers=problem.headers)
    response.content_type = CONTENT_TYPE
    return response


def problem_of(error: Exception) -> Problem | None:
    """The problem that `error` is for the caller; None for one that is a fault of ours."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, serializers.ValidationError):
        return Problem(400, "invalid", INVALID, errors=_pointed(error.get_full_details(), ""))
    if isinstance(error, ValidationError):
        return Problem(400, "invalid", INVALID, errors=_pointed_django(error))
    if isinstance(error, Http404 | exceptions.NotFound):
        return Problem(404, "not_found", "There is no such object.")
    if isinstance(error, PermissionDenied):
        return Problem(403, "permission_denied", "You may not do this.")
    if isinstance(error, RequestDataTooBig):
        return Problem(413, "body_too_large", "The body is too large.")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        logger.error("A request was answered with 507: %s", error.strerror)
        return Problem(507, "storage_full", "There is no room for the file.")
    said = sentence_of(error)
    if said is not None:
        logger.error("A request was answered with 503: the database failed (%s)", error)
        return Problem(503, "unavailable", said, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})
    if isinstance(error, exceptions.NotAuthenticated):
        headers = {"WWW-Authenticate": error.auth_header} if getattr(error, "auth_header", None) else {}
        return Problem(401, "not_authenticated", SIGN_IN, headers=headers)
    if isinstance(error, exceptions.APIException):
        headers = {}
        if getattr(error, "auth_header", None):
            headers["WWW-Authenticate"] = error.auth_header
        if isinstance(error, exceptions.Throttled) and error.wait is not None:
            headers["Retry-After"] = str(int(error.wait))
        codes = error.get_codes()
        return Problem(
            error.status_code, codes if isinstance(codes, str) else "error", str(error.detail), headers=headers
        )
    return None


def _pointed(details: Any, pointer: str) -> Iterable[dict[str, str]]:
    """DRF's nested error details as {pointer, detail, code}."""
    if isinstance(details, dict) and set(details) == {"message", "code"} and isinstance(details["code"], str):
        yield {"pointer": pointer, "detail": str(details["message"]), "code": details["code"]}
    elif isinstance(details, dict):
        for name, inner in details.items():
            below = pointer if name == api_settings.NON_FIELD_ERRORS_KEY else f"{pointer}/{_token(name)}"
            yield from _pointed(inner, below)
    else:
        for index, inner in enumerate(details):
            leaf = isinstance(inner, dict) and set(inner) == {"message", "code"}
            if inner:
                yield from _pointed(inner, pointer if leaf else f"{pointer}/{index}")


def _pointed_django(error: ValidationError) -> Iterable[dict[str, str]]:
    if hasattr(error, "error_dict"):
        for name, errors in error.error_dict.items():
            pointer = "" if name == "__all__" else f"/{_token(name)}"
            for inner in errors:
                yield {"pointer": pointer, "detail": " ".join(inner.messages), "code": inner.code or "invalid"}
    else:
        for inner in error.error_list:
            yield {"pointer": "", "detail": " ".join(inner.messages), "code": inner.code or "invalid"}


def _token(name: object) -> str:
    """A JSON pointer's reference token (RFC 6901)."""
    return str(name).replace("~", "~0").replace("/", "~1")


# --- Django's own answers ---------------------------------------------------------------------------------------------
def answer(status: int, code: str, detail: str) -> HttpResponse:
    """A problem outside DRF."""
    return HttpResponse(orjson.dumps(document(status, code, detail)), status=status, content_type=CONTENT_TYPE)


@csrf_exempt
def not_found(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    """For a path under /api/ that leads nowhere."""
    slash = "" if request.path.endswith("/") else " Paths end with a slash."
    return answer(404, "not_found", f"There is nothing at this path.{slash}")
