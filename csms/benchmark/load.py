"""`python -m csms.benchmark.load`: the load client, a process of its own so that it has a core of its own.

It knows neither Django nor the product. Orders come on stdin and reports leave on stdout, one JSON object a line:

    order    members                                            reports
    connect  host port folder stations transaction              connected
    phase    name seconds warm_up_seconds groups                begin, end, result
    quit                                                        bye, acknowledged: how many MeterValues of whom

A station of `stations` is `[identity, password, id_tag]`; a group of a phase is `{action, first, count, samples}`, with
`first` counted from the first station that was ever connected. Any failure is reported as `failed` with a sentence.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from csms.benchmark.station import NOW, LoadError, Meter, Station, Template

CONNECTS_AT_A_TIME = 20
DRAIN_SECONDS = 60
# A station with ten samples sends the first ten of these; (measurand, unit, phase, value).
READINGS = (
    ("Energy.Active.Import.Register", "Wh", None, "1834562.4"),
    ("Power.Active.Import", "W", None, "10987.5"),
    ("Current.Import", "A", "L1", "15.91"),
    ("Current.Import", "A", "L2", "15.88"),
    ("Current.Import", "A", "L3", "15.93"),
    ("Voltage", "V", "L1-N", "229.8"),
    ("Voltage", "V", "L2-N", "230.4"),
    ("Voltage", "V", "L3-N", "230.1"),
    ("SoC", "Percent", None, "57"),
    ("Temperature", "Celsius", None, "31.5"),
)


def meter_values(samples: int, transaction_id: int) -> dict[str, Any]:
    """A MeterValues.req of one MeterValue with `samples` sampled values of a running transaction."""
    sampled = []
    for number in range(samples):
        measurand, unit, phase, value = READINGS[number % len(READINGS)]
        sample = {"value": value, "context": "Sample.Periodic", "measurand": measurand}
        sampled.append(sample | ({"phase": phase} if phase else {}) | {"location": "Outlet", "unit": unit})
    return {
        "connectorId": 1,
        "transactionId": transaction_id,
        "meterValue": [{"timestamp": NOW, "sampledValue": sampled}],
    }


@dataclass
class Connected:
    station: Station
    id_tag: str
    # 1 stands for the transaction that an echo never opens.
    transaction_id: int = 1


class Load:
    """Carries out orders, one after the other; `report` writes a line for whoever gave them."""

    def __init__(self, report: Callable[..., None]) -> None:
        self._report = report
        self._stations: list[Connected] = []

    async def connect(
        self, *, host: str, port: int, folder: str, stations: list[tuple[str, str, str]], transaction: bool, **_: Any
    ) -> None:
        """Connect and boot every station; with `transaction` each starts one as well."""
        gate = asyncio.Semaphore(CONNECTS_AT_A_TIME)

        async def one(identity: str, password: str, id_tag: str) -> Connected:
            async with gate:
                connected = Connected(Station(identity), id_tag)
                station = connected.station
                await station.connect(host, port, folder, password)
                await station.ask("BootNotification", {"chargePointVendor": "Benchmark", "chargePointModel": "Load"})
                if transaction:
                    start = {"connectorId": 1, "idTag": id_tag, "meterStart": 0, "timestamp": NOW}
                    answer = await station.ask("StartTransaction", start)
                    connected.transaction_id = answer.get("transactionId", connected.transaction_id)
                return connected

        self._stations += await asyncio.gather(*(one(*station) for station in stations))
        self._report("connected", count=len(self._stations))

    async def phase(
        self, *, name: str, seconds: float, warm_up_seconds: float, groups: list[dict[str, Any]], **_: Any
    ) -> None:
        """All groups at once, each station in a closed loop. Counted is what is answered between `begin` and `end`."""
        meters = [Meter() for _ in groups]
        loops: list[asyncio.Future[bytes]] = []
        asked: list[tuple[Station, str, int]] = []
        for group, meter in zip(groups, meters, strict=True):
            for connected in self._stations[group["first"] : group["first"] + group["count"]]:
                asked.append((connected.station, group["action"], connected.station.message_id))
                template = Template(group["action"], _payload(group, connected))
                loops.append(connected.station.keep_asking(template, meter))
        finished = asyncio.gather(*loops)
        try:
            await _unless_done(finished, warm_up_seconds)
            for meter in meters:
                meter.counting = True
            self._report("begin", phase=name)
            began = perf_counter()
            await _unless_done(finished, seconds)
        finally:
            for meter in meters:
                meter.counting = meter.running = False
        lasted = perf_counter() - began
        self._report("end", phase=name)
        async with asyncio.timeout(DRAIN_SECONDS):
            await finished
        for station, action, before in asked:
            station.acknowledged[action] = station.acknowledged.get(action, 0) + station.message_id - before
        self._report(
            "result",
            phase=name,
            seconds=lasted,
            groups=[_figures(group["action"], meter) for group, meter in zip(groups, meters, strict=True)],
        )

    async def quit(self, **_: Any) -> None:
        for connected in self._stations:
            connected.station.close()
        counted = {connected.station.identity: connected.station.acknowledged for connected in self._stations}
        acknowledged = {identity: done.get("MeterValues", 0) for identity, done in counted.items()}
        self._report("bye", acknowledged={identity: count for identity, count in acknowledged.items() if count})


def _payload(group: dict[str, Any], connected: Connected) -> dict[str, Any]:
    if group["action"] == "Authorize":
        return {"idTag": connected.id_tag}
    return meter_values(group["samples"], connected.transaction_id)


async def _unless_done(finished: asyncio.Future[Any], seconds: float) -> None:
    """Let `seconds` pass; a station that fails meanwhile ends it with its LoadError."""
    await asyncio.wait([finished], timeout=seconds)
    if finished.done():
        await finished


def _figures(action: str, meter: Meter) -> dict[str, Any]:
    """What a group got: number of answers, and latencies in milliseconds."""
    ordered = sorted(meter.latencies)
    if not ordered:
        raise LoadError(f"no {action} was answered in the time given")

    def percentile(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 3)

    return {"action": action, "answers": len(ordered), "p50_ms": percentile(0.5), "p99_ms": percentile(0.99)}


async def main() -> None:
    loop = asyncio.get_running_loop()
    # An order names a thousand stations: longer than the reader's usual line.
    orders = asyncio.StreamReader(limit=64 * 1024 * 1024)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)

    def report(event: str, **members: Any) -> None:
        sys.stdout.write(json.dumps({"event": event, **members}) + "\n")
        sys.stdout.flush()

    load = Load(report)
    verbs: dict[str, Callable[..., Awaitable[None]]] = {"connect": load.connect, "phase": load.phase, "quit": load.quit}
    while line := await orders.readline():
        order = json.loads(line)
        try:
            await verbs[order["do"]](**order)
        except (LoadError, OSError, TimeoutError) as error:
            report("failed", why=str(error) or type(error).__name__)
            return
        if order["do"] == "quit":
            return


if __name__ == "__main__":
    try:
        import uvloop
    except ImportError:
        asyncio.run(main())
    else:
        uvloop.run(main())
