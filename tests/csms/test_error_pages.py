"""Pages of ours for whatever is refused outside of views, and problem+json under /api/."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.test import Client, RequestFactory

from csms import urls
from tenants.models import ApiKey, Role
from tests.conftest import Tenants
from tests.stations.admin.people import new_user, sign_in, text_of, url

PROBLEM = "application/problem+json"


def is_ours(response: Any, status: int, *texts: str) -> None:
    page = text_of(response)
    assert response.status_code == status
    assert "| CSMS</title>" in page
    assert 'href="/admin/"' in page
    for text in texts:
        assert text in page


@pytest.fixture
def owner(tenants: Tenants) -> Client:
    return sign_in(tenants.tenant_a)


def test_too_many_fields_are_413(owner: Client) -> None:
    page = owner.post(url("stations_idtag_changelist"), {"_selected_action": [str(pk) for pk in range(1001)]})
    is_ours(page, 413, "more fields than this installation takes", url("stations_idtag_changelist"))


def test_too_large_is_413(owner: Client) -> None:
    is_ours(owner.post(url("stations_idtag_add"), {"description": "x" * (5 * 1024 * 1024)}), 413, "larger than")


def test_unknown_host_is_400(tenants: Tenants) -> None:
    is_ours(Client().get("/admin/", headers={"Host": "evil.example"}), 400, "CSMS_ALLOWED_HOSTS")


def test_form_without_token_is_403(tenants: Tenants) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(new_user(is_superuser=True))
    is_ours(client.post(url("stations_idtag_add"), {}), 403, "could not be trusted", url("stations_idtag_add"))


def test_malformed_body_is_400(owner: Client) -> None:
    broken = owner.generic("POST", url("stations_idtag_add"), b"x", "multipart/form-data; boundary=")
    is_ours(broken, 400, "could not be understood")


def test_refused_and_missing_pages_are_ours(tenants: Tenants) -> None:
    viewer = sign_in(tenants.tenant_a, Role.VIEWER)
    is_ours(viewer.get(url("stations_idtag_add")), 403, "Your role in this tenant does not allow it")
    is_ours(viewer.get(url("stations_idtag_change", 10**6)), 404, "There is nothing here")


def test_failure_is_500_without_internals(owner: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError("internal")

    monkeypatch.setattr("tenants.admin.traces.JobRunAdmin.get_queryset", fail)
    owner.raise_request_exception = False
    failed = owner.get(url("tenants_jobrun_changelist"))
    is_ours(failed, 500, "Something went wrong here")
    assert "internal" not in text_of(failed)


@pytest.mark.parametrize(
    ("handler", "status", "code"),
    [
        (lambda request: urls.bad_request(request, urls.RequestDataTooBig("x")), 413, "too_large"),
        (lambda request: urls.bad_request(request, urls.TooManyFieldsSent("x")), 413, "too_large"),
        (lambda request: urls.bad_request(request, ValueError("x")), 400, "bad_request"),
        (lambda request: urls.forged(request, "x"), 403, "csrf_failed"),
        (lambda request: urls.forbidden(request, ValueError("x")), 403, "permission_denied"),
        (lambda request: urls.not_found(request, ValueError("x")), 404, "not_found"),
        (lambda request: urls.failed(request), 500, "internal_error"),
    ],
)
def test_under_api_all_are_problems(handler: Any, status: int, code: str) -> None:
    response = handler(RequestFactory().post("/api/v1/charge-points/"))
    assert (response.status_code, response["Content-Type"]) == (status, PROBLEM)
    assert code.encode() in response.content


def test_api_says_413_for_a_body_that_is_too_large(tenants: Tenants) -> None:
    key = ApiKey.issue(tenants.tenant_a, "all", ["read", "manage"])[1]
    client = Client(headers={"Authorization": f"Api-Key {key}"})
    response = client.post("/api/v1/sites/", b"[" + b"1," * (3 * 1024 * 1024), content_type="application/json")
    assert (response.status_code, response["Content-Type"]) == (413, PROBLEM)


def test_refusal_is_one_line_in_the_log_and_a_failure_keeps_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    refused = logging.LogRecord("django.request", logging.WARNING, "", 0, "Forbidden", None, (ValueError, None, None))
    failed = logging.LogRecord("django.request", logging.ERROR, "", 0, "Error", None, (ValueError, None, None))
    refused.status_code, failed.status_code = 403, 500
    for record in (refused, failed):
        assert all(each.filter(record) for each in logging.getLogger("django.request").filters)
    assert refused.exc_info is None
    assert failed.exc_info is not None
