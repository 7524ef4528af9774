"""Messages against the database: tenants kept apart in one batch, failures kept to themselves, answers after COMMIT."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection
from ocpp.v16 import call_result

from csms.ocppj.errors import InternalError, NotSupported, OcppError, SecurityError
from stations import dispatch
from stations.dispatch import Item, Link, Work, answer_batch
from stations.models import Boot, ChargePoint, Connector, MeterValue, OcppMessage, Transaction
from stations.ocpp import core
from tenants.models import Tenant
from tenants.scope import tenant_scope
from tests.conftest import Tenants
from tests.stations.lane_calls import inbound, messages, meter_values, new_link, results
from tests.stations.rows import MINUTE, new_id_tag, wire


@pytest.fixture
def link(tenants: Tenants) -> Link:
    return new_link(tenants.tenant_a)


class TestTenants:
    def test_each_tenant_in_a_batch_sees_its_own_rows_only(self, tenants: Tenants) -> None:
        a, b = new_link(tenants.tenant_a), new_link(tenants.tenant_b)
        with tenant_scope(tenants.tenant_a):
            new_id_tag("TAG-1")
        with tenant_scope(tenants.tenant_b):
            new_id_tag("TAG-1", blocked=True)
        calls = [inbound(link, "Authorize", {"idTag": "TAG-1"}) for link in (a, b, a, b)]
        statuses = [result.id_tag_info["status"] for result in results(*calls)]
        assert statuses == ["Accepted", "Blocked", "Accepted", "Blocked"]

    def test_rows_written_in_a_batch_belong_to_their_own_tenant(self, tenants: Tenants) -> None:
        a, b = new_link(tenants.tenant_a), new_link(tenants.tenant_b)
        status = {"connectorId": 1, "status": "Charging", "errorCode": "NoError"}
        answer_batch(
            [inbound(link, action, payload)
             for action, payload in (("MeterValues", meter_values("7")), ("StatusNotification", status))
             for link in (a, b)]
        )  # fmt: skip
        for link in (a, b):
            with tenant_scope(link.tenant_id):
                for model in (MeterValue, Connector):
                    assert model.objects.get().charge_point_id == link.charge_point_id
                assert OcppMessage.objects.count() == 4

    def test_transaction_of_another_tenant_is_out_of_reach(self, tenants: Tenants) -> None:
        a, b = new_link(tenants.tenant_a), new_link(tenants.tenant_b)
        start = {"connectorId": 1, "idTag": "X", "meterStart": 0, "timestamp": wire(datetime.now(UTC))}
        (started,) = results(inbound(a, "StartTransaction", start))
        stop = {"transactionId": started.transaction_id, "meterStop": 5, "timestamp": wire(datetime.now(UTC))}
        results(inbound(b, "StopTransaction", stop), inbound(b, "MeterValues", meter_values("3") | {
            "transactionId": started.transaction_id}))  # fmt: skip
        with tenant_scope(tenants.tenant_a):
            assert Transaction.objects.get().active
        with tenant_scope(tenants.tenant_b):
            assert Transaction.objects.get().flags == ["orphan_stop"]
            assert MeterValue.objects.get().transaction is None

    def test_answers_stand_in_the_order_of_the_calls(self, tenants: Tenants) -> None:
        links = [new_link(tenant, f"CP-{n}") for n in range(3) for tenant in tenants]
        outcomes = results(*(inbound(link, "Authorize", {"idTag": f"T{n}"}) if n % 2 else inbound(link, "Heartbeat")
                             for n, link in enumerate(links)))  # fmt: skip
        assert [type(outcome) for outcome in outcomes] == [call_result.Heartbeat, call_result.Authorize] * 3


def python_error(*_: Any) -> Any:
    raise ValueError("secret detail")


def database_error(*_: Any) -> Any:
    # PostgreSQL refuses everything after this until the transaction is rolled back.
    with connection.cursor() as cursor:
        cursor.execute("SELECT no_such_column FROM stations_chargepoint")


def impossible_value(charge_point: ChargePoint, *_: Any) -> Any:
    Boot.objects.create(charge_point=charge_point, at=None, payload={}, status="Accepted")


FAILURES = [python_error, database_error, impossible_value]


class TestFailure:
    @pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.__name__)
    def test_call_that_fails_gets_a_reference_and_its_neighbours_their_answers(
        self, tenants: Tenants, monkeypatch: pytest.MonkeyPatch, failure: Callable[..., Any]
    ) -> None:
        links = [new_link(tenants.tenant_a, f"CP-{n}") for n in range(5)]
        monkeypatch.setitem(dispatch.FROM_CHARGE_POINT, "DataTransfer", failure)
        calls = [inbound(link, "MeterValues", meter_values(str(n))) for n, link in enumerate(links)]
        calls[2] = inbound(links[2], "DataTransfer", {"vendorId": "x"})
        outcomes = results(*calls)
        assert [isinstance(outcome, call_result.MeterValues) for outcome in outcomes] == [True, True, False, True, True]
        assert isinstance(outcomes[2], InternalError)
        assert outcomes[2].description.startswith("Reference ")
        assert "secret" not in str(outcomes[2])
        with tenant_scope(tenants.tenant_a):
            assert sorted(MeterValue.objects.values_list("energy_wh", flat=True)) == [0, 1, 3, 4]
        for link in (links[0], links[2]):
            assert len(messages(link)) == 2

    def test_failure_of_one_tenant_does_not_touch_another(
        self, tenants: Tenants, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        a, b = new_link(tenants.tenant_a), new_link(tenants.tenant_b)
        monkeypatch.setitem(dispatch.FROM_CHARGE_POINT, "DataTransfer", database_error)
        outcomes = results(inbound(a, "DataTransfer", {"vendorId": "x"}), inbound(b, "Heartbeat"))
        assert [type(outcome) for outcome in outcomes] == [InternalError, call_result.Heartbeat]

    def test_message_log_survives_the_rollback_and_the_facts_do_not(
        self, link: Link, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def stored_then_failed(*arguments: Any) -> Any:
            core.meter_values(*arguments)
            raise ValueError("after the work")

        monkeypatch.setitem(dispatch.FROM_CHARGE_POINT, "MeterValues", stored_then_failed)
        payload = meter_values("9")
        (error,) = results(inbound(link, "MeterValues", payload))
        with tenant_scope(link.tenant_id):
            assert not MeterValue.objects.exists()
        assert messages(link) == [
            ("in", "CALL", "MeterValues", payload, ""),
            ("out", "CALLERROR", "MeterValues", {}, f"InternalError: {error.description}"),
        ]

    def test_reference_leads_to_the_cause_in_the_server_log(
        self, link: Link, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setitem(dispatch.FROM_CHARGE_POINT, "Heartbeat", python_error)
        with caplog.at_level(logging.ERROR, "stations.dispatch"):
            (error,) = results(inbound(link, "Heartbeat"))
        (record,) = [record for record in caplog.records if error.description in record.getMessage()]
        assert record.exc_info is not None
        assert str(record.exc_info[1]) == "secret detail"

    @pytest.mark.parametrize(("failure", "tries"), [(impossible_value, 3), (python_error, 1)])
    def test_only_what_may_pass_is_tried_again(
        self, link: Link, monkeypatch: pytest.MonkeyPatch, failure: Callable[..., Any], tries: int
    ) -> None:
        tried: list[int] = []

        def count(*arguments: Any) -> Any:
            tried.append(1)
            return failure(*arguments)

        monkeypatch.setitem(dispatch.FROM_CHARGE_POINT, "Heartbeat", count)
        results(inbound(link, "Heartbeat"))
        assert len(tried) == tries

    def test_conflict_that_passes_is_answered_as_if_nothing_had_been(
        self, link: Link, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        failures = iter([impossible_value])

        def once(*arguments: Any) -> Any:
            failure = next(failures, None)
            return failure(*arguments) if failure else core.heartbeat(*arguments)

        monkeypatch.setitem(dispatch.FROM_CHARGE_POINT, "Heartbeat", once)
        (result,) = results(inbound(link, "Heartbeat"))
        assert isinstance(result, call_result.Heartbeat)
        assert len(messages(link)) == 2

    def test_failed_work_is_an_error_for_its_caller_only(self, link: Link) -> None:
        def fail(charge_point: ChargePoint, now: datetime) -> None:
            raise ValueError

        outcomes = results(Work(link, fail), inbound(link, "Heartbeat"), Work(link, lambda charge_point, _: 7))
        assert isinstance(outcomes[0], InternalError)
        assert isinstance(outcomes[1], call_result.Heartbeat)
        assert outcomes[2] == 7

    @pytest.mark.parametrize("transaction_id", [2**63, -(2**70), 2**200])
    def test_integer_beyond_64_bits_is_answered_logged_and_hurts_nobody(
        self, tenants: Tenants, transaction_id: int
    ) -> None:
        odd, neighbour = new_link(tenants.tenant_a, "CP-1"), new_link(tenants.tenant_a, "CP-2")
        stop = {"transactionId": transaction_id, "meterStop": 5, "timestamp": wire(datetime.now(UTC))}
        outcomes = results(inbound(odd, "StopTransaction", stop), inbound(neighbour, "Heartbeat"))
        assert [type(outcome) for outcome in outcomes] == [call_result.StopTransaction, call_result.Heartbeat]
        with tenant_scope(tenants.tenant_a):
            logged = OcppMessage.objects.get(charge_point_id=odd.charge_point_id, incoming=True)
            assert json.loads(logged.payload) == stop
            assert Transaction.objects.get().orphan_ref == str(transaction_id)[:100]


class TestRegistration:
    @pytest.mark.parametrize("status", ["Pending", "Rejected"])
    def test_only_a_boot_is_answered_before_acceptance(self, tenants: Tenants, status: str) -> None:
        link = new_link(tenants.tenant_a, registration_status=status)
        start = {"connectorId": 1, "idTag": "X", "meterStart": 0, "timestamp": wire(datetime.now(UTC))}
        refused = [inbound(link, "Heartbeat"), inbound(link, "StartTransaction", start),
                   inbound(link, "MeterValues", meter_values("1"))]  # fmt: skip
        boot = {"chargePointVendor": "A", "chargePointModel": "B"}
        *errors, booted = results(*refused, inbound(link, "BootNotification", boot))
        assert [type(error) for error in errors] == [SecurityError] * 3
        assert booted.status == status
        with tenant_scope(link.tenant_id):
            assert not MeterValue.objects.exists()
            assert not Transaction.objects.exists()

    def test_action_without_a_function_is_not_supported(self, link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delitem(dispatch.FROM_CHARGE_POINT, "DataTransfer")
        (error,) = results(inbound(link, "DataTransfer", {"vendorId": "x"}))
        assert isinstance(error, NotSupported)

    def test_deleted_charge_point_is_refused_and_its_socket_closed(self, link: Link) -> None:
        call = inbound(link, "Heartbeat")
        with tenant_scope(link.tenant_id):
            ChargePoint.objects.all().delete()
        (outcome,) = answer_batch([call])
        assert isinstance(outcome.result, SecurityError)
        assert outcome.superseded

    @pytest.mark.parametrize("fields", [{"disabled": True}, {"connection_generation": 2}])
    def test_socket_of_a_disabled_or_replaced_connection_is_to_be_closed(
        self, link: Link, fields: dict[str, Any]
    ) -> None:
        items: list[Item] = [inbound(link, "Heartbeat"), Work(link, lambda *_: None)]
        assert [outcome.superseded for outcome in answer_batch(items)] == [False, False]
        with tenant_scope(link.tenant_id):
            ChargePoint.objects.update(**fields)
        assert [outcome.superseded for outcome in answer_batch(items)] == [True, True]

    def test_every_message_is_a_sign_of_life_written_now_and_then(self, link: Link) -> None:
        def last_seen() -> datetime:
            with tenant_scope(link.tenant_id):
                at = ChargePoint.objects.get().last_seen_at
            assert at is not None
            return at

        results(inbound(link, "Heartbeat"))
        first = last_seen()
        assert datetime.now(UTC) - first < timedelta(minutes=1)
        results(inbound(link, "Heartbeat"))
        assert last_seen() == first
        with tenant_scope(link.tenant_id):
            ChargePoint.objects.update(last_seen_at=first - MINUTE)
        results(inbound(link, "Heartbeat"))
        assert last_seen() >= first


def test_error_of_a_profile_function_reaches_the_charge_point_as_it_is(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        return NotSupported("switched off", {"since": "today"})

    monkeypatch.setitem(dispatch.FROM_CHARGE_POINT, "DataTransfer", refuse)
    (error,) = results(inbound(link, "DataTransfer", {"vendorId": "x"}))
    assert isinstance(error, OcppError)
    assert messages(link)[1] == (
        "out", "CALLERROR", "DataTransfer", {"since": "today"}, "NotSupported: switched off",
    )  # fmt: skip


@pytest.mark.django_db(transaction=True)
class TestCommit:
    def test_call_whose_commit_fails_is_not_confirmed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def dangling(charge_point: ChargePoint, req: Any, now: datetime) -> Any:
            boot = Boot.objects.create(charge_point=charge_point, at=now, payload={}, status="Accepted")
            with connection.cursor() as cursor:
                # A foreign key is checked at COMMIT, when the function has long returned its confirmation.
                cursor.execute("UPDATE stations_boot SET charge_point_id = 987654321 WHERE id = %s", [boot.pk])
            return core.heartbeat(charge_point, req, now)

        tenant = Tenant.objects.create(slug="alpha", name="A")
        links = [new_link(tenant, f"CP-{n}") for n in range(3)]
        monkeypatch.setitem(dispatch.FROM_CHARGE_POINT, "Heartbeat", dangling)
        outcomes = results(
            inbound(links[0], "MeterValues", meter_values("1")), inbound(links[1], "Heartbeat"),
            inbound(links[2], "MeterValues", meter_values("2")),
        )  # fmt: skip
        expected = [call_result.MeterValues, InternalError, call_result.MeterValues]
        assert [type(outcome) for outcome in outcomes] == expected
        with tenant_scope(links[0].tenant_id):
            assert not Boot.objects.exists()
            assert MeterValue.objects.count() == 2
        assert [kind for _, kind, *_ in messages(links[1])] == ["CALL", "CALLERROR"]

    def test_database_that_fails_altogether_costs_one_answer_not_the_lane(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        link = new_link(Tenant.objects.create(slug="alpha", name="A"))

        def down(*_: Any) -> Any:
            raise DatabaseError("no database")

        with monkeypatch.context() as patch:
            patch.setattr(dispatch, "_run_group", down)
            patch.setattr(dispatch, "_log_call", down)
            (error,) = results(inbound(link, "Heartbeat"))
        assert isinstance(error, InternalError)
        (result,) = results(inbound(link, "Heartbeat"))
        assert isinstance(result, call_result.Heartbeat)
