"""`tariffs/preview/` over REST: the answer as a program reads it, and every wrong body with its pointer."""

from __future__ import annotations

from typing import Any

import pytest

from tenants.models import ApiKey, Tenant
from tests.stations.api.conftest import Api

pytestmark = pytest.mark.django_db

TARIFF: dict[str, Any] = {
    "code": "day",
    "currency": "EUR",
    "elements": [
        {"price_components": [{"type": "FLAT", "price": "0.50", "vat": 20, "step_size": 0}]},
        {"price_components": [{"type": "ENERGY", "price": "0.25", "vat": 10, "step_size": 100}]},
        {"price_components": [{"type": "PARKING_TIME", "price": "2.00", "vat": "20.0", "step_size": 900}]},
    ],
}
SESSION: dict[str, Any] = {
    "started_at": "2026-03-02T10:00:00+01:00",
    "stopped_at": "2026-03-02T10:40:00Z",
    "charging_ended_at": "2026-03-02T10:00:00Z",
    "time_zone": "Europe/Berlin",
    "readings": [
        {"timestamp": "2026-03-02T09:00:00Z", "energy_wh": 1000},
        {"timestamp": "2026-03-02T10:00:00Z", "energy_wh": "21450.0", "power_w": 0},
    ],
}


@pytest.fixture
def api(tenants: Any) -> Api:
    return key_with(tenants.tenant_a, "billing")


def key_with(tenant: Tenant, *scopes: str) -> Api:
    return Api(ApiKey.issue(tenant, "test", scopes)[1])


def preview(api: Api, tariff: Any = TARIFF, **session: Any) -> Any:
    return api("POST", "tariffs/preview/", {"tariff": tariff, "session": SESSION | session})


def test_a_session_is_priced_line_by_line(api: Api) -> None:
    answer = preview(api)
    assert answer.status_code == 200
    body = answer.json()
    assert body["total_cost"] == {"excl_vat": "7.13", "incl_vat": "8.04"}
    assert body["exact_cost"] == {"excl_vat": "7.125", "incl_vat": "8.0375"}
    assert body["total_energy_cost"] == {"excl_vat": "5.13", "incl_vat": "5.64"}
    assert body["total_parking_cost"] == {"excl_vat": "1.50", "incl_vat": "1.80"}
    assert body["total_fixed_cost"] == {"excl_vat": "0.50", "incl_vat": "0.60"}
    assert body["total_time_cost"] == body["total_reservation_cost"] == {"excl_vat": "0.00", "incl_vat": "0.00"}
    assert (body["total_energy_kwh"], body["billed_energy_kwh"]) == ("20.45", "20.5")
    assert (body["total_time_hours"], body["total_parking_time_hours"]) == ("1.6667", "0.6667")
    assert (body["billed_time_hours"], body["billed_parking_time_hours"]) == ("0", "0.75")
    assert body["taxes"] == [
        {"rate": "10", "net": "5.13", "tax": "0.51"},
        {"rate": "20", "net": "2.00", "tax": "0.40"},
    ]
    assert [(line["text"], line["quantity"], line["unit"], line["price"], line["cost"]) for line in body["lines"]] == [
        ("Start fee", "1", "flat", "0.5", "0.50"),
        ("Energy (0.05 kWh of it by the step size)", "20.5", "kWh", "0.25", "5.13"),
        ("Parking time (300 s of it by the step size)", "0.75", "h", "2", "1.50"),
    ]
    assert body["charging_periods"] == [
        {
            "start_date_time": "2026-03-02T09:00:00.000Z",
            "dimensions": [{"type": "ENERGY", "volume": 20.45}, {"type": "TIME", "volume": 1.0}],
            "tariff_id": "day",
        },
        {
            "start_date_time": "2026-03-02T10:00:00.000Z",
            "dimensions": [{"type": "ENERGY", "volume": 0.0}, {"type": "PARKING_TIME", "volume": 0.6667}],
            "tariff_id": "day",
        },
    ]
    assert "half away from zero" in body["rounding"]
    assert body["warnings"] == []


def test_a_part_without_vat_has_no_total_with_it(api: Api) -> None:
    tariff = {"currency": "EUR", "elements": [{"price_components": [{"type": "ENERGY", "price": 0.3}]}]}
    assert preview(api, tariff).json()["total_cost"] == {"excl_vat": "6.14", "incl_vat": None}


def test_a_reservation_that_expired_costs_no_start_fee(api: Api) -> None:
    reserved = {"price_components": [{"type": "TIME", "price": 2, "vat": 20, "step_size": 600}],
                "restrictions": {"reservation": "RESERVATION"}}  # fmt: skip
    tariff = TARIFF | {"elements": [reserved, *TARIFF["elements"]]}
    reservation = {"from": "2026-03-02T08:00:00Z", "to": "2026-03-02T09:00:00Z", "expired": True}
    body = preview(api, tariff, reservation=reservation, readings=[]).json()
    assert body["total_cost"] == body["total_reservation_cost"] == {"excl_vat": "2.00", "incl_vat": "2.40"}


@pytest.mark.parametrize(("tariff", "session", "pointer", "code"), [
    ([], {}, "/tariff", "not_an_object"),
    ("day", {}, "/tariff", "unknown_tariff"),
    ({"currency": "EUR"}, {}, "/tariff/elements", "not_a_list"),
    (TARIFF, {"stopped_at": "2026-03-02T08:00:00Z"}, "/session/stopped_at", "stop_before_start"),
    (TARIFF, {"stopped_at": "2126-03-02T08:00:00Z"}, "/session/stopped_at", "too_long"),
    (TARIFF, {"charging_ended_at": "2026-03-02T08:00:00Z"}, "/session/charging_ended_at", "out_of_range"),
    (TARIFF, {"time_zone": "Mars/Base"}, "/session/time_zone", "invalid_time_zone"),
    (TARIFF, {"readings": []}, "/session/readings", "no_readings"),
    (TARIFF, {"readings": [{"timestamp": "2026-03-02T09:00:00Z", "energy_wh": "x"}]},
     "/session/readings/0/energy_wh", "invalid"),
    (TARIFF, {"readings": [{"timestamp": "2026-03-02T09:00:00Z", "energy_wh": -1}]},
     "/session/readings/0/energy_wh", "out_of_range"),
    (TARIFF, {"readings": [{"timestamp": "2026-03-02T09:00:00Z", "energy_wh": 5},
                           {"timestamp": "2026-03-02T10:00:00Z", "energy_wh": 4}]},
     "/session/readings", "register_falls"),
    (TARIFF, {"colour": "red"}, "/session/colour", "unknown_member"),
    (TARIFF, {"reservation": {"from": "2026-03-02T08:00:00Z", "to": "2026-03-02T07:00:00Z"}},
     "/session/reservation/to", "invalid"),
])  # fmt: skip
def test_what_cannot_be_priced_is_pointed_at(
    api: Api, tariff: Any, session: dict[str, Any], pointer: str, code: str
) -> None:
    answer = preview(api, tariff, **session)
    assert answer.status_code == 400
    assert (pointer, code) in [(error["pointer"], error["code"]) for error in answer.json()["errors"]]


def test_only_the_billing_scope_may(tenants: Any) -> None:
    assert preview(key_with(tenants.tenant_a, "read", "operate", "manage")).status_code == 403
