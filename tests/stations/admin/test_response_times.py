"""Response times from the message log: the figures of the OCA's certificates."""

from __future__ import annotations

from datetime import timedelta

import pytest

from stations.admin.response_times import Figures, figures, response_times
from stations.models import Command, OcppMessage
from stations.models.message import MessageType
from tenants.models import Tenant
from tests.stations.rows import NOW, new_charge_point

HOUR = timedelta(hours=1)


@pytest.mark.usefixtures("in_tenant_a")
def test_figures_of_the_last_day_with_authorize_on_its_own_line() -> None:
    charge_point, other = new_charge_point(), new_charge_point("CP-2")

    def log(latency_ms: float | None, action: str = "Heartbeat", **fields: object) -> None:
        defaults = {"charge_point": charge_point, "incoming": False, "message_type": MessageType.CALLRESULT}
        times = {"received_at": NOW - HOUR, "latency_ms": latency_ms}
        OcppMessage.objects.create(action=action, payload="{}", **{**defaults, **times, **fields})

    log(500, received_at=NOW - 25 * HOUR)
    log(7, charge_point=other)
    log(None, incoming=True, message_type=MessageType.CALL)
    for latency_ms in (10, 20, 30):
        log(latency_ms)
    log(40, "Authorize")
    log(5, "Authorize", message_type=MessageType.CALLERROR)
    log(250, "GetConfiguration", incoming=True)
    for status in ("timed_out", "answered"):
        Command.objects.create(
            charge_point=charge_point, action="Reset", payload={}, requested_by="x", status=status,
            created_at=NOW - HOUR, expires_at=NOW,
        )  # fmt: skip

    times = response_times(charge_point, NOW)

    assert times.ours == [
        Figures("All requests", 5, 21.0, 40, 40),
        Figures("Authorize", 2, 22.5, 40, 40),
        Figures("Heartbeat", 3, 20.0, 30, 30),
    ]
    assert times.theirs[1:] == [Figures("GetConfiguration", 1, 250.0, 250, 250)]
    assert times.timeouts == 1
    assert times.complete


def test_charge_point_without_messages_has_no_figures(in_tenant_a: Tenant) -> None:
    times = response_times(new_charge_point(), NOW)
    assert (times.ours, times.theirs, times.timeouts) == ([], [], 0)


@pytest.mark.parametrize(("count", "p95"), [(1, 1), (19, 19), (20, 19), (100, 95), (101, 96)])
def test_95th_percentile_is_the_nearest_rank(count: int, p95: float) -> None:
    assert figures("Heartbeat", [float(number) for number in range(1, count + 1)]).p95_ms == p95
