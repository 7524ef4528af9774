"""`tariffs/`: versions that never change, what they mean in words, and every wrong body with its pointer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from billing.models import NeverChanged, Tariff, TariffVersion
from billing.tariffs import parse
from billing.wording import describe
from tenants.models import ApiKey, AuditEntry
from tenants.scope import tenant_scope
from tests.billing.test_preview import SESSION, key_with
from tests.billing.test_rating import element
from tests.stations.api.conftest import Api

pytestmark = pytest.mark.django_db


@pytest.fixture
def api(tenants: Any) -> Api:
    return key_with(tenants.tenant_a, "billing")


def body(price: Any = "0.40", **more: Any) -> dict[str, Any]:
    return {"name": "Day", "currency": "EUR", "elements": [element(f"E {price} v19")], **more}


def test_a_put_makes_the_next_version_and_older_ones_stay(api: Api, tenants: Any) -> None:
    first = api("PUT", "tariffs/day/", body("0.40"))
    assert (first.status_code, first["Location"].rpartition("/api/v1/")[2]) == (201, "tariffs/day/")
    second = api("PUT", "tariffs/day/", body("0.45"))
    assert (second.status_code, second.json()["version"]) == (200, 2)
    assert api("GET", "tariffs/day/").json()["elements"] == [element("E 0.45 v19")]
    assert api("GET", "tariffs/day/versions/1/").json()["elements"] == [element("E 0.40 v19")]
    versions = api("GET", "tariffs/day/versions/").json()["results"]
    assert [version["version"] for version in versions] == [2, 1]
    assert [row["version"] for row in api("GET", "tariffs/").json()["results"]] == [2]
    assert api("GET", "tariffs/day/versions/3/").status_code == 404
    with tenant_scope(tenants.tenant_a):
        assert list(AuditEntry.objects.order_by("pk").values_list("action", flat=True)) == ["create", "change"]


def test_what_was_read_can_be_sent_back_without_a_new_version(api: Api) -> None:
    read = api("PUT", "tariffs/day/", body(min_price="1.00", valid_from="2026-01-01T00:00:00Z"))
    again = api("PUT", "tariffs/day/", read.json(), **{"If-Match": read["ETag"]})
    assert (again.status_code, again.json()) == (200, read.json())


def test_a_change_that_starts_from_an_old_version_is_refused(api: Api) -> None:
    old = api("PUT", "tariffs/day/", body())["ETag"]
    api("PUT", "tariffs/day/", body("0.41"))
    answer = api("PUT", "tariffs/day/", body("0.42"), **{"If-Match": old})
    assert (answer.status_code, answer.json()["code"]) == (412, "changed_meanwhile")


@pytest.mark.parametrize(("path", "given", "pointer", "code"), [
    ("Day", body(), "/code", "invalid"),
    ("day", body(code="night"), "/code", "code_mismatch"),
    ("day", body(colour="red"), "/colour", "unknown_member"),
    ("day", body(name=5), "/name", "invalid"),
    ("day", body(valid_from="yesterday"), "/valid_from", "invalid_time"),
    ("day", body(valid_from="2026-02-01T00:00:00Z", valid_to="2026-01-01T00:00:00Z"), "/valid_to", "contradiction"),
    ("day", body("-1"), "/elements/0/price_components/0/price", "out_of_range"),
    ("day", {}, "/currency", "invalid"),
])  # fmt: skip
def test_what_cannot_be_is_pointed_at(api: Api, path: str, given: Any, pointer: str, code: str) -> None:
    answer = api("PUT", f"tariffs/{path}/", given)
    assert answer.status_code == 400
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]
    if path == "day":
        assert (pointer, code) in [(error["pointer"], error["code"]) for error in answer.json()["errors"]]


def test_versions_cannot_be_changed_or_deleted(api: Api, tenants: Any) -> None:
    api("PUT", "tariffs/day/", body())
    with tenant_scope(tenants.tenant_a):
        version = TariffVersion.objects.get()
        version.name = "Night"
        for attempt in (
            version.save, version.delete, TariffVersion.objects.all().delete,
            lambda: TariffVersion.objects.update(name="Night"),
        ):  # fmt: skip
            with pytest.raises(NeverChanged):
                attempt()


def test_a_preview_takes_the_version_in_force_when_the_session_began(api: Api, tenants: Any) -> None:
    api("PUT", "tariffs/day/", body("0.40", valid_to="2026-03-01T00:00:00Z"))
    api("PUT", "tariffs/day/", body("0.50", valid_from="2026-03-01T00:00:00Z", valid_to="2026-04-01T00:00:00Z"))
    api("PUT", "tariffs/day/", body("0.60", valid_from="2026-04-01T00:00:00Z"))

    def total(**moved: str) -> str:
        answer = api("POST", "tariffs/preview/", {"tariff": "day", "session": SESSION | moved})
        return answer.json()["total_cost"]["excl_vat"]

    assert total() == "10.23"
    with tenant_scope(tenants.tenant_a):
        tariff = Tariff.objects.get()
        found = [tariff.in_force(datetime(2026, month, 1, tzinfo=UTC)) for month in (2, 3, 4)]
    assert [version and version.number for version in found] == [1, 2, 3]


def test_only_the_billing_scope_may(tenants: Any) -> None:
    _, key = ApiKey.issue(tenants.tenant_a, "all but billing", ("read", "operate", "manage"))
    assert Api(key)("GET", "tariffs/").status_code == 403
    assert Api(key)("PUT", "tariffs/day/", body()).status_code == 403


def test_words_begin_with_the_price_of_a_kwh() -> None:
    tariff = parse({
        "currency": "EUR",
        "elements": [
            element("F 0.5"),
            element("E 0.39", start_time="22:00", end_time="06:00", day_of_week=["SATURDAY", "SUNDAY"]),
            element("E .49", "P 6"),
            element("T 2", reservation="RESERVATION"),
        ],
        "grace_period_minutes": 10,
        "max_price": {"incl_vat": "50"},
        "tax_included": True,
    })  # fmt: skip
    assert describe(tariff) == (
        "0.39 EUR per kWh (Saturday, Sunday, from 22:00 to 06:00); 0.49 EUR per kWh otherwise. "
        "6.00 EUR per hour of parking without charging. 0.50 EUR per charge. Reservation: 2.00 EUR per hour. "
        "The first 10 minutes of parking are free. At most 50 EUR with VAT. Prices include VAT."
    )
