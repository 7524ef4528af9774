"""SQL of the hot paths, pinned: a query too many costs every charge point, one that grows with the batch costs all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from csms.ocppj.payloads import parse_call
from stations.dispatch import InboundCall, Link, answer_batch
from stations.models import ChargePoint, Command
from stations.models.command import CommandStatus
from stations.models.transaction import SAME_INSTANT
from stations.transactions import start
from tenants.scope import tenant_scope
from tests.conftest import Tenants
from tests.stations.rows import new_charge_point, new_id_tag, wire

BATCH = 20


class Stations:
    """Charge points of one tenant, each with an accepted id tag and a running transaction on connector 1."""

    def __init__(self, tenants: Tenants) -> None:
        self.tenant_id = tenants.tenant_a.pk
        self.now = datetime.now(UTC)
        with tenant_scope(self.tenant_id):
            self.rows = [new_charge_point(f"CP-{n}", last_seen_at=self.now) for n in range(BATCH)]
            for n in range(BATCH):
                new_id_tag(f"TAG-{n}")
            self.running = [self.start(row, n) for n, row in enumerate(self.rows)]

    def start(self, charge_point: ChargePoint, number: int) -> int:
        tx, _ = start(
            charge_point, connector_id=1, id_tag=f"TAG-{number}", timestamp=wire(self.now), meter_start_wh=0,
            reservation_id=None, now=self.now,
        )  # fmt: skip
        return tx.pk

    def batch(self, size: int, payload: Callable[[int], tuple[str, dict[str, Any]]]) -> list[InboundCall]:
        calls = []
        for number in range(size):
            link = Link(self.tenant_id, self.rows[number].pk, 1, f"alpha/CP-{number}")
            action, members = payload(number)
            req, deviations = parse_call(action, members)
            received_at = datetime.now(UTC)
            calls.append(InboundCall(link, "m", action, req, members, deviations, received_at, monotonic()))
        return calls


@pytest.fixture
def stations(tenants: Tenants) -> Stations:
    return Stations(tenants)


def statements(calls: list[InboundCall]) -> list[str]:
    """The SQL of one batch, without the savepoints that stand in for BEGIN and COMMIT in a test."""
    with CaptureQueriesContext(connection) as queries:
        outcomes = answer_batch(list(calls))
    assert not any(isinstance(outcome.result, Exception) for outcome in outcomes)
    # What left in a pipeline has no text to show any more.
    return [sql for query in queries if "SAVEPOINT" not in (sql := query["sql"] or "sent in a pipeline")]


def heartbeat(stations: Stations, number: int) -> tuple[str, dict[str, Any]]:
    return "Heartbeat", {}


def authorize(stations: Stations, number: int) -> tuple[str, dict[str, Any]]:
    return "Authorize", {"idTag": f"tag-{number}"}


def meter_values(stations: Stations, number: int) -> tuple[str, dict[str, Any]]:
    names = ("Energy.Active.Import.Register", "Power.Active.Import", "Voltage", "Current.Import", "SoC")
    sampled = [{"value": "1", "measurand": name, "phase": phase} for name in names for phase in ("L1", "L2")]
    element = {"timestamp": wire(stations.now), "sampledValue": sampled}
    return "MeterValues", {"connectorId": 1, "transactionId": stations.running[number], "meterValue": [element] * 3}


def meter_values_without_id(stations: Stations, number: int) -> tuple[str, dict[str, Any]]:
    """Of the transaction that runs on connector 1."""
    action, payload = meter_values(stations, number)
    return action, payload | {"transactionId": -1}


def meter_values_of_an_idle_connector(stations: Stations, number: int) -> tuple[str, dict[str, Any]]:
    action, payload = meter_values(stations, number)
    return action, {name: member for name, member in payload.items() if name != "transactionId"} | {"connectorId": 2}


def status_notification(stations: Stations, number: int) -> tuple[str, dict[str, Any]]:
    return "StatusNotification", {"connectorId": number % 3, "status": "Charging", "errorCode": "NoError"}


def boot_notification(stations: Stations, number: int) -> tuple[str, dict[str, Any]]:
    return "BootNotification", {"chargePointVendor": "Acme", "chargePointModel": f"M{number}"}


def start_transaction(stations: Stations, number: int) -> tuple[str, dict[str, Any]]:
    at = wire(datetime.now(UTC))
    return "StartTransaction", {"connectorId": 2, "idTag": f"TAG-{number}", "meterStart": 0, "timestamp": at}


def stop_transaction(stations: Stations, number: int) -> tuple[str, dict[str, Any]]:
    at = wire(datetime.now(UTC))
    return "StopTransaction", {"transactionId": stations.running[number], "meterStop": 5, "timestamp": at}


def stop_transaction_with_data(stations: Stations, number: int) -> tuple[str, dict[str, Any]]:
    action, payload = stop_transaction(stations, number)
    element = {"timestamp": wire(stations.now), "sampledValue": [{"value": "1"}, {"value": "2", "phase": "L1"}]}
    return action, payload | {"idTag": f"TAG-{number}", "transactionData": [element] * 50}


def stop_transaction_without_id(stations: Stations, number: int) -> tuple[str, dict[str, Any]]:
    action, payload = stop_transaction(stations, number)
    return action, payload | {"transactionId": -1}


# What each costs: the charge points of the batch and the insert into the message log always, then its own.
CONSTANT = {
    heartbeat: 2,
    # The id tags with the sites they are confined to.
    authorize: 3,
    # The transactions, one insert for all elements.
    meter_values: 4,
    # The connectors, one upsert of the latest status, one insert of the history.
    status_notification: 5,
    # The tenant, the Resets that may be behind it, the update of the charge points, the insert of the boots.
    boot_notification: 6,
    # The transactions, those whose stop carried such an id before, those that are open at the charge points, whether
    # charging profiles end with them, the update.
    stop_transaction: 7,
}
# Those that name no transaction.
WITHOUT_ID = {
    # What is open at the charge points, the insert.
    meter_values_without_id: 4,
    # Also what began there last up to then.
    meter_values_of_an_idle_connector: 5,
    # As any stop, but for the transactions of the ids.
    stop_transaction_without_id: 6,
}
PER_CALL = {
    # First the tenant, the id tags with their sites, the connectors and the upsert of those that are new, the starts
    # repeated, the RemoteStartTransactions behind them, what they supersede, the insert. Then, on SQLite alone, only a
    # row that is inserted has an id.
    start_transaction: (10, {"postgresql": 0, "sqlite": 1}),
    # The id tags with their sites, the insert of the readings; and what is stored already, of each transaction.
    stop_transaction_with_data: (10, {"postgresql": 1, "sqlite": 1}),
}


@pytest.mark.parametrize("size", [1, BATCH])
@pytest.mark.parametrize(
    ("message", "count"), {**CONSTANT, **WITHOUT_ID}.items(), ids=lambda value: getattr(value, "__name__", "")
)
def test_number_of_statements_does_not_grow_with_the_batch(
    stations: Stations, message: Callable[..., Any], count: int, size: int
) -> None:
    found = statements(stations.batch(size, lambda number: message(stations, number)))
    assert len(found) == count, "\n".join(found)


@pytest.mark.parametrize("size", [1, BATCH])
@pytest.mark.parametrize(("message", "counts"), PER_CALL.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_starts_and_stops_cost_a_fixed_number_each(
    stations: Stations, message: Callable[..., Any], counts: tuple[int, dict[str, int]], size: int
) -> None:
    first, each_further = counts
    found = statements(stations.batch(size, lambda number: message(stations, number)))
    assert len(found) == first + each_further[connection.vendor] * (size - 1), "\n".join(found)


def test_starts_that_supersede_read_the_last_meter_value_of_each_and_write_all_at_once(stations: Stations) -> None:
    def on_the_same_connector(number: int) -> tuple[str, dict[str, Any]]:
        action, payload = start_transaction(stations, number)
        # Later than the one that runs, by more than a repetition in other words could be.
        return action, payload | {"connectorId": 1, "timestamp": wire(stations.now + 2 * SAME_INSTANT)}

    found = statements(stations.batch(BATCH, on_the_same_connector))
    inserts = {"postgresql": 1, "sqlite": BATCH}[connection.vendor]
    assert sum('INSERT INTO "stations_transaction"' in sql for sql in found) == inserts
    assert sum('UPDATE "stations_transaction"' in sql for sql in found) == 1
    # No connector is new; the profiles that end are asked for once.
    assert len(found) == 10 + BATCH + inserts, "\n".join(found)


def test_remote_starts_are_tied_to_their_transactions_in_one_statement(stations: Stations) -> None:
    with tenant_scope(stations.tenant_id):
        Command.objects.bulk_create(
            Command(
                tenant_id=stations.tenant_id, charge_point=row, action="RemoteStartTransaction",
                payload={"idTag": f"TAG-{number}", "connectorId": 2}, status=CommandStatus.SENT,
                created_at=stations.now, sent_at=stations.now, expires_at=stations.now,
            )
            for number, row in enumerate(stations.rows)
        )  # fmt: skip
    found = statements(stations.batch(BATCH, lambda number: start_transaction(stations, number)))
    first, each_further = PER_CALL[start_transaction]
    assert len(found) == first + 1 + each_further[connection.vendor] * (BATCH - 1), "\n".join(found)
    with tenant_scope(stations.tenant_id):
        for command in Command.objects.prefetch_related("started_transactions"):
            (tx,) = command.started_transactions.all()
            assert (tx.charge_point_id, command.effect) == (command.charge_point_id, {"transaction": tx.pk})


def test_sign_of_life_that_is_due_costs_one_statement_for_the_whole_batch(stations: Stations) -> None:
    with tenant_scope(stations.tenant_id):
        ChargePoint.objects.update(last_seen_at=None)
    assert len(statements(stations.batch(BATCH, lambda number: heartbeat(stations, number)))) == 3


def test_mixed_batch_costs_the_sum_of_its_kinds_and_no_more(stations: Stations) -> None:
    kinds = list(CONSTANT)
    found = statements(stations.batch(BATCH, lambda number: kinds[number % len(kinds)](stations, number)))
    assert len(found) == 2 + sum(count - 2 for count in CONSTANT.values()), "\n".join(found)
