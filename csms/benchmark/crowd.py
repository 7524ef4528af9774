"""Many charge points on one server: the memory of idle ones, their return after a cut, one command to all of them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from typing import Any

from csms.benchmark.processes import BenchmarkError
from csms.benchmark.results import FIRST_SOCKETS, Bulk, Memory, Plan, Results, Storm
from csms.benchmark.target import HOST, Running, Target, Tell, difference, running

SETTLE_SECONDS = 2.0
STORM_SECONDS = 620.0
BULK_SECONDS = 180.0
# An ordinary thing to ask of all charge points; its answer changes rows.
BULK_ACTION = "ChangeConfiguration"
BULK_PAYLOAD = {"key": "HeartbeatInterval", "value": "3600"}
POLL_SECONDS = 0.02


def measure(plan: Plan, target: Target, results: Results, tell: Tell) -> None:
    """The parts memory, storm and bulk, on one server. Adds to `results`. Raises BenchmarkError."""
    api_key = target.order("api_key") if "bulk" in plan.parts else ""
    with running(target) as server:
        # Not in any figure: what a server has only once exists afterwards.
        server.connect(FIRST_SOCKETS, transaction=False)
        tell(f"Connecting {plan.crowd} charge points: {target.name}")
        time.sleep(min(SETTLE_SECONDS, plan.seconds))
        before = server.server.rss_bytes()
        seconds = server.connect(FIRST_SOCKETS + plan.crowd, transaction=False)
        time.sleep(min(SETTLE_SECONDS, plan.seconds))
        if "memory" in plan.parts:
            results.memory.append(Memory(target.name, plan.crowd, before, server.server.rss_bytes(), seconds))
        if "storm" in plan.parts:
            tell(f"{plan.storm} charge points are cut off and return: {target.name}")
            results.storms.append(_storm(plan, server))
        if "bulk" in plan.parts:
            tell(f"One command to {plan.bulk} charge points: {target.name}")
            results.bulks.append(_bulk(plan, server, api_key))


def _storm(plan: Plan, server: Running) -> Storm:
    before = server.used()
    server.client.order("storm", first=0, count=plan.storm)
    server.client.report("cut")
    report = server.client.report("returned", STORM_SECONDS)
    after = server.used()
    return Storm(
        target=server.target.name,
        stations=plan.storm,
        sockets=server.connected,
        connected_seconds=report["connected_seconds"],
        p50_seconds=report["p50_seconds"],
        p99_seconds=report["p99_seconds"],
        seconds=report["seconds"],
        turned_away=report["turned_away"],
        server_cpu_seconds=after[0] - before[0],
        database_cpu_seconds=difference(before[1], after[1]),
        client_cpu_seconds=after[2] - before[2],
    )


def _bulk(plan: Plan, server: Running, api_key: str) -> Bulk:
    """Post one bulk request, and watch it at both ends: at the charge points, and in REST as who posted it would."""
    identities = [identity for identity, _, _ in server.target.stations[: plan.bulk]]
    body = {"action": BULK_ACTION, "payload": BULK_PAYLOAD, "charge_points": identities}
    server.client.order("expect", count=plan.bulk, seconds=BULK_SECONDS)
    server.client.report("expecting")
    api = _Api(server.server.port, api_key)
    # The first request of a process imports all of REST, which is no cost of a command.
    api.request("GET", "/api/v1/charge-points/?page_size=1")
    before, began = server.server.cpu_seconds(), time.monotonic()
    batch = api.request("POST", "/api/v1/commands/bulk/", body)["id"]
    accepted = time.monotonic()
    called = server.client.report("called", BULK_SECONDS + 60)
    if called["stations"] != plan.bulk or called["count"] != plan.bulk:
        raise BenchmarkError(
            f"Of {plan.bulk} commands {called['count']} were sent, to {called['stations']} charge points."
        )
    query = f"/api/v1/commands/?batch={batch}&status=answered&count=true&page_size=1"
    while api.request("GET", query)["count"] < plan.bulk:
        if time.monotonic() - began > BULK_SECONDS:
            raise BenchmarkError("Not all commands were answered.")
        time.sleep(POLL_SECONDS)
    ended = time.monotonic()
    return Bulk(
        server.target.name, BULK_ACTION, plan.bulk, accepted - began, called["last"] - began, ended - began,
        server.server.cpu_seconds() - before,
    )  # fmt: skip


class _Api:
    """The REST API of a server, with a key. Raises BenchmarkError for anything but success."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._headers = {"Authorization": f"Api-Key {key}", "Content-Type": "application/json", "Connection": "close"}

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        # Anew each time: the server closes a connection that is idle for seconds.
        connection = HTTPConnection(HOST, self._port, timeout=BULK_SECONDS)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), self._headers)
            response = connection.getresponse()
            text = response.read()
        except (OSError, HTTPException) as error:
            raise BenchmarkError(f"{method} {path}: {error}") from error
        finally:
            connection.close()
        if not 200 <= response.status < 300:
            raise BenchmarkError(f"{method} {path}: {response.status} {text[:500].decode(errors='replace')}")
        found: dict[str, Any] = json.loads(text)
        return found
