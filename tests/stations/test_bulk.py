"""Many rows in one statement: every value arrives as it was given, on either database."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stations.batch import MESSAGE_COLUMNS, METER_VALUE_COLUMNS
from stations.bulk import insert_rows, update_rows
from stations.models import ChargePoint, Command, Connector, MeterValue, OcppMessage
from tenants.models import Tenant
from tests.conftest import Tenants
from tests.stations.rows import as_tenant, new_charge_point

pytestmark = pytest.mark.usefixtures("in_tenant_a")

AT = datetime(2026, 3, 1, 12, 0, 0, 123456, UTC)
# What a charge point may have put into a text: all but NUL, which no frame's text can hold, and lone surrogates.
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    return new_charge_point()


def message(charge_point: ChargePoint, text: str, latency_ms: float | None = None) -> tuple[Any, ...]:
    return (charge_point.tenant_id, charge_point.pk, True, 2, text, text, text, AT, latency_ms, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NULL",
        "null",
        '"',
        "\\",
        '\\"',
        "{a,b}",
        "a,b",
        " a ",
        "\n\r\t",
        "'",
        "%s",
        "ü€😀",
        '["x\\ny", {"a": "\\u0041"}]',
    ],
)
def test_text_arrives_as_it_was(charge_point: ChargePoint, text: str) -> None:
    insert_rows(OcppMessage, MESSAGE_COLUMNS, [message(charge_point, text), message(charge_point, "other", 1.5)])
    row, other = OcppMessage.objects.order_by("id")
    assert (row.action, row.message_id, row.payload, row.error) == (text,) * 4
    assert (row.incoming, row.received_at, row.latency_ms, other.latency_ms) == (True, AT, None, 1.5)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(TEXTS, min_size=1, max_size=5))
def test_any_texts_arrive_in_their_order(charge_point: ChargePoint, texts: list[str]) -> None:
    OcppMessage.objects.all()._raw_delete(OcppMessage.objects.db)
    insert_rows(OcppMessage, MESSAGE_COLUMNS, [message(charge_point, text) for text in texts])
    assert list(OcppMessage.objects.order_by("id").values_list("payload", flat=True)) == texts


def test_numbers_nulls_and_json_arrive_as_they_were(charge_point: ChargePoint) -> None:
    sampled = [{"value": 'a"b\\c', "unit": "Wh"}, {"value": "1,5"}]
    rows = [
        (
            charge_point.tenant_id,
            charge_point.pk,
            1,
            None,
            "-1",
            "",
            AT,
            AT,
            "12.345",
            11000.5,
            None,
            sampled,
            -(2**63),
        ),
        (charge_point.tenant_id, charge_point.pk, -2, None, "", "", AT, AT, None, None, 80.0, [], 2**63 - 1),
    ]
    insert_rows(MeterValue, METER_VALUE_COLUMNS, rows)
    first, second = MeterValue.objects.order_by("id")
    assert (first.energy_wh, first.power_w, first.soc_percent, first.digest) == (
        Decimal("12.345"),
        11000.5,
        None,
        -(2**63),
    )
    assert (first.sampled_value, first.transaction_ref, first.timestamp) == (sampled, "-1", AT)
    assert (second.energy_wh, second.soc_percent, second.sampled_value, second.connector_id) == (None, 80.0, [], -2)


def test_row_that_is_there_already_stays_as_it_was(charge_point: ChargePoint) -> None:
    row = (charge_point.tenant_id, charge_point.pk, 1, None, "", "", AT, AT, "1", None, None, [], 7)
    insert_rows(MeterValue, METER_VALUE_COLUMNS, [row])
    insert_rows(MeterValue, METER_VALUE_COLUMNS, [(*row[:8], "2", *row[9:])])
    assert [found.energy_wh for found in MeterValue.objects.all()] == [1]


def test_update_sets_the_columns_of_each_row_and_leaves_the_rest(charge_point: ChargePoint) -> None:
    rows = [charge_point, new_charge_point("CP-2"), new_charge_point("CP-3")]
    columns = ("description", "connected_at", "connected", "connection_generation")
    update_rows(ChargePoint, columns, [(rows[0].pk, 'a"b', AT, True, 7), (rows[2].pk, "c", None, False, 8)])
    found = list(ChargePoint.objects.order_by("pk").values_list(*columns))
    assert found == [('a"b', AT, True, 7), ("", None, True, 1), ("c", None, False, 8)]
    assert [row.identity for row in ChargePoint.objects.order_by("pk")] == ["CP-1", "CP-2", "CP-3"]


def test_update_leaves_a_row_that_has_changed_meanwhile(charge_point: ChargePoint) -> None:
    other = new_charge_point("CP-2", connection_generation=5)
    changes = [(charge_point.pk, "as found", 1), (other.pk, "changed", 4)]
    update_rows(ChargePoint, ("description",), changes, unless_changed=("connection_generation",))
    assert list(ChargePoint.objects.order_by("pk").values_list("description", flat=True)) == ["as found", ""]


def test_update_of_another_tenants_row_changes_nothing(charge_point: ChargePoint, tenants: Tenants) -> None:
    theirs = as_tenant(tenants.tenant_b, new_charge_point)
    update_rows(ChargePoint, ("description",), [(theirs.pk, "ours")])
    assert as_tenant(tenants.tenant_b, lambda: ChargePoint.objects.get().description) == ""


@pytest.mark.parametrize("value", [None, {}, [], "text", 7, 1.5, True, {"a": [2**70, 'q"\\']}])
def test_any_json_arrives_in_an_update(charge_point: ChargePoint, value: Any) -> None:
    command = Command.objects.create(
        charge_point=charge_point, action="Reset", payload={}, created_at=AT, expires_at=AT
    )
    update_rows(Command, ("response", "message_id"), [(command.pk, value, "m")])
    assert Command.objects.values_list("response", "message_id").get() == (value, "m")


def test_row_that_is_there_already_is_replaced_in_the_columns_named(charge_point: ChargePoint) -> None:
    unset = ("error_code", "vendor_id", "vendor_error_code")
    columns = ("tenant_id", "charge_point_id", "connector_id", "status", "info", "status_at", *unset)
    key = (charge_point.tenant_id, charge_point.pk)
    rows = [(*key, number, "Available", "as it was", AT, "", "", "") for number in (1, 2)]
    insert_rows(Connector, columns, rows, replace=("status",))
    changed = [(*key, 2, "Faulted", "as it is", None, "", "", "")]
    insert_rows(Connector, columns, changed, replace=("status", "status_at"))
    found = Connector.objects.order_by("connector_id").values_list("connector_id", "status", "info", "status_at")
    assert list(found) == [(1, "Available", "as it was", AT), (2, "Faulted", "as it was", None)]
