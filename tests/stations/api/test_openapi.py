"""The API does what its OpenAPI document says, whatever is sent to it.

Every operation, with all checks of schemathesis, at rows that exist. CSMS_TEST_API_EXAMPLES=100 takes its time: more
examples of each operation, and every combination that the document allows or forbids.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.cache import cache
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from stations.api import commands as commands_api
from stations.api import reservations as reservations_api
from tests.tenants.test_isolation_api import Side

# Of the suite; coverage of every member's limits is for the long run.
EXAMPLES = int(os.environ.get("CSMS_TEST_API_EXAMPLES", "2"))
LONG_RUN = "CSMS_TEST_API_EXAMPLES" in os.environ
# A document cannot say which rows exist or which members go together, so that what it allows may be refused.
EXCLUDED = [positive_data_acceptance]
# What also refuses invalid data: a precondition that cannot hold, a body that is too large.
ALSO_REFUSALS = ("412", "413")

pytestmark = [pytest.mark.django_db, pytest.mark.sqlite]

application = get_wsgi_application()
schema = schemathesis.openapi.from_wsgi("/api/schema/?format=json", application)
schema.config.phases.coverage.enabled = LONG_RUN
refused = schema.config.checks.negative_data_rejection
refused.expected_statuses = [*refused.expected_statuses, *ALSO_REFUSALS]
# A list whose rows are judged each for itself: 200, with the refusals in the answer.
ROW_BY_ROW = {"PUT /api/v1/charge-points/", "PUT /api/v1/id-tags/"}
METHODS = {"get", "post", "put", "patch", "delete"}
keys = itertools.count(1)


@pytest.fixture
def _one_connection() -> Iterator[None]:
    """Keep the connection with the test's transaction open between requests, as Django's own test client does."""
    request_started.disconnect(close_old_connections)
    request_finished.disconnect(close_old_connections)
    yield
    request_started.connect(close_old_connections)
    request_finished.connect(close_old_connections)


@pytest.fixture
def side(tenants: Any) -> Side:
    return Side(tenants.tenant_a)


@pytest.mark.usefixtures("_one_connection")
@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def test_answers_are_as_documented(case: Any, side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    for views in (commands_api, reservations_api):
        monkeypatch.setattr(views, "wait_until_final", lambda pk, seconds: None)
    cache.clear()
    valid = case.meta is None or case.meta.generation.mode.is_positive
    if valid:
        aim(case, side)
    headers = {"Authorization": f"Api-Key {side.api.key}", "Host": "testserver"}
    # Each example finds every row: what one deletes is there for the next.
    with transaction.atomic():
        excluded = [*EXCLUDED, negative_data_rejection] if case.operation.label in ROW_BY_ROW else EXCLUDED
        response = case.call_and_validate(excluded_checks=excluded, headers=headers)
        transaction.set_rollback(True)
    assert not (valid and case.method == "GET" and response.status_code == 404), "what exists was not found"


def aim(case: Any, side: Side) -> None:
    """Send a valid request at what exists: names made up lead to a 404 or a 400, which say little."""
    kind = case.operation.path.split("/")[3]
    if case.path_parameters:
        case.path_parameters = {name: 1 if name == "number" else side.names[kind] for name in case.path_parameters}
    for part in (case.body, case.query):
        if isinstance(part, dict):
            part.update(existing(part, side))
    if "Idempotency-Key" in (case.headers or {}):
        # The same key with another body is refused, as it should be.
        case.headers["Idempotency-Key"] = f"key-{next(keys)}"
    if "If-Match" in (case.headers or {}):
        case.headers["If-Match"] = "*"


def existing(members: dict[str, Any], side: Side) -> dict[str, Any]:
    names = {
        "charge_point": side.names["charge-points"],
        "charge_points": [side.names["charge-points"]],
        "site": side.names["sites"],
        "sites": [side.names["sites"]],
        "firmware_image": side.names["firmware-images"],
        "charging_profile_id": side.names["charging-profiles"],
        "transaction_id": side.names["transactions"],
    }
    return {name: value for name, value in names.items() if members.get(name)}


def test_every_operation_of_the_document_is_tried() -> None:
    document = schema.raw_schema["paths"]
    written = sum(method in METHODS for operations in document.values() for method in operations)

    assert len(list(schema.get_all_operations())) == written


@pytest.mark.parametrize("method", ["TRACE", "PATCH"])
def test_a_method_that_a_path_does_not_have_is_405_whatever_else_is_wrong(side: Side, method: str) -> None:
    answer = side.api(method, "transactions/?unknown=1")

    assert (answer.status_code, answer["Allow"]) == (405, "GET, HEAD, OPTIONS")
