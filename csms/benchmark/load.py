"""`python -m csms.benchmark.load`: the load client, a process of its own so that it has a core of its own.

It knows neither Django nor the product. Orders come on stdin and reports leave on stdout, one JSON object a line:

    order    members                                            reports
    connect  host port folder stations transaction sources      connected
    phase    name seconds warm_up_seconds groups                begin, end, result
    storm    first count                                        cut, returned
    expect   count seconds                                      expecting, called
    browse   host port headers pages times                      browsed
    quit                                                        bye, acknowledged: how many MeterValues of whom

A station of `stations` is `[identity, password, id_tag]`; `sources` are the addresses to dial from, in turn. A group of
a phase is `{action, first, count, samples, every}`: `first` counted from the first station that was ever connected,
`every` the seconds between two messages of a station (0: as soon as the last is answered). The action `Transaction`
is StartTransaction and StopTransaction in turn. Any failure is reported as `failed` with a sentence.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import Any

from csms.benchmark.browser import browse
from csms.benchmark.station import NOW, TRANSACTION, LoadError, Meter, Station, Template

CONNECTS_AT_A_TIME = 20
DRAIN_SECONDS = 120
# A charge point that was turned away, or found nobody, tries again after so long.
RETRY_SECONDS = 1.0
STORM_SECONDS = 600
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
BOOT = Template("BootNotification", {"chargePointVendor": "Benchmark", "chargePointModel": "Load"})


def meter_values(samples: int, transaction_id: int | str = TRANSACTION) -> dict[str, Any]:
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


def status(connector_id: int, state: str) -> Template:
    payload = {"connectorId": connector_id, "errorCode": "NoError", "status": state, "timestamp": NOW}
    return Template("StatusNotification", payload)


def start(id_tag: str) -> Template:
    return Template("StartTransaction", {"connectorId": 1, "idTag": id_tag, "meterStart": 0, "timestamp": NOW})


STATUSES_AFTER_BOOT = (status(1, "Available"), status(2, "Available"))
STOP = Template("StopTransaction", {"transactionId": TRANSACTION, "meterStop": 7000, "timestamp": NOW})


def requests_of(group: dict[str, Any], id_tag: str) -> list[Template]:
    """What a station of `group` sends in turn."""
    match group["action"]:
        case "MeterValues":
            return [Template("MeterValues", meter_values(group["samples"]))]
        case "Authorize":
            return [Template("Authorize", {"idTag": id_tag})]
        case "Transaction":
            return [start(id_tag), STOP]
        case "StatusNotification":
            return [status(1, "Preparing"), status(1, "Available")]
        case action:
            return [Template(action, {})]


@dataclass
class Connected:
    """A station and what it dials with."""

    station: Station
    password: str
    id_tag: str
    source: str | None


class Load:
    """Carries out orders, one after the other; `report` writes a line for whoever gave them."""

    def __init__(self, report: Callable[..., None]) -> None:
        self._report = report
        self._stations: list[Connected] = []
        self._where: tuple[str, int, str] = ("", 0, "")

    async def connect(
        self,
        *,
        host: str,
        port: int,
        folder: str,
        stations: list[tuple[str, str, str]],
        transaction: bool,
        sources: list[str] | None = None,
        **_: Any,
    ) -> None:
        """Connect and boot every station; with `transaction` each starts one as well."""
        gate = asyncio.Semaphore(CONNECTS_AT_A_TIME)
        self._where = host, port, folder
        addresses: list[str | None] = list(sources or []) or [None]

        async def one(number: int, identity: str, password: str, id_tag: str) -> Connected:
            async with gate:
                source = addresses[number % len(addresses)]
                connected = Connected(Station(identity), password, id_tag, source)
                await connected.station.connect(host, port, folder, password, source)
                await connected.station.keep_asking(BOOT, None)
                if transaction:
                    await connected.station.keep_asking(start(id_tag), None)
                return connected

        began, before = perf_counter(), len(self._stations)
        self._stations += await asyncio.gather(
            *(one(before + number, *station) for number, station in enumerate(stations))
        )
        self._report("connected", count=len(self._stations), seconds=perf_counter() - began)

    async def phase(
        self, *, name: str, seconds: float, warm_up_seconds: float, groups: list[dict[str, Any]], **_: Any
    ) -> None:
        """All groups at once. Counted is what is answered between `begin` and `end`."""
        meters: list[dict[str, Meter]] = []
        loops: list[asyncio.Future[bytes]] = []
        asked: list[tuple[Station, str, int]] = []
        for group in groups:
            by_action: dict[str, Meter] = {}
            meters.append(by_action)
            every = float(group.get("every", 0.0))
            chosen = self._stations[group["first"] : group["first"] + group["count"]]
            for number, connected in enumerate(chosen):
                station = connected.station
                asked.append((station, group["action"], station.message_id))
                templates = requests_of(group, connected.id_tag)
                own = [by_action.setdefault(template.action, Meter()) for template in templates]
                begin = every * number / len(chosen)
                loops.append(station.ask_in_turn(templates, own, every=every, begin=begin))
        finished = asyncio.gather(*loops)
        every_meter = [meter for by_action in meters for meter in by_action.values()]
        try:
            await _unless_done(finished, warm_up_seconds)
            for meter in every_meter:
                meter.counting = True
            self._report("begin", phase=name)
            began = perf_counter()
            await _unless_done(finished, seconds)
            # On a machine that is too slow for the time given, one answer of each is a figure all the same.
            deadline = began + seconds + DRAIN_SECONDS
            while not all(meter.latencies for meter in every_meter) and perf_counter() < deadline:
                await _unless_done(finished, 0.01)
        finally:
            for meter in every_meter:
                meter.counting = meter.running = False
        lasted = perf_counter() - began
        self._report("end", phase=name)
        for station, _action, _before in asked:
            station.rest()
        async with asyncio.timeout(DRAIN_SECONDS):
            await finished
        for station, action, before in asked:
            station.acknowledged[action] = station.acknowledged.get(action, 0) + station.message_id - before
        figures = [_figures(action, meter) for by_action in meters for action, meter in by_action.items()]
        self._report("result", phase=name, seconds=lasted, groups=figures)

    async def storm(self, *, first: int, count: int, **_: Any) -> None:
        """Cut the stations off, all at once, and let all come back: boot, and the status of two connectors each.

        One that is turned away tries again after a second. `returned` counts from the cut.
        """
        chosen = self._stations[first : first + count]
        for connected in chosen:
            connected.station.cut()
        cut_at = perf_counter()
        self._report("cut")
        turned_away = 0

        async def back(connected: Connected) -> tuple[float, float]:
            nonlocal turned_away
            host, port, folder = self._where
            books = connected.station.acknowledged
            while True:
                station = connected.station = Station(connected.station.identity)
                try:
                    await station.connect(host, port, folder, connected.password, connected.source)
                    break
                except (LoadError, OSError):
                    turned_away += 1
                    await asyncio.sleep(RETRY_SECONDS)
            let_in = perf_counter() - cut_at
            for template in (BOOT, *STATUSES_AFTER_BOOT):
                await station.keep_asking(template, None)
            station.acknowledged = books
            return let_in, perf_counter() - cut_at

        async with asyncio.timeout(STORM_SECONDS):
            times = await asyncio.gather(*(back(connected) for connected in chosen))
        let_in, answered = sorted(time for time, _ in times), sorted(time for _, time in times)
        self._report(
            "returned",
            connected_seconds=let_in[-1],
            p50_seconds=_percentile(answered, 0.5),
            p99_seconds=_percentile(answered, 0.99),
            seconds=answered[-1],
            turned_away=turned_away,
        )

    async def expect(self, *, count: int, seconds: float, **_: Any) -> None:
        """Wait until `count` stations were asked something by the server, `seconds` at most; times are monotonic."""
        for connected in self._stations:
            connected.station.asked_of_it.clear()
        self._report("expecting")
        deadline = monotonic() + seconds
        while True:
            times = sorted(at for connected in self._stations for at in connected.station.asked_of_it)
            if len(times) >= count or monotonic() > deadline:
                break
            await asyncio.sleep(0.02)
        stations = sum(1 for connected in self._stations if connected.station.asked_of_it)
        self._report("called", count=len(times), stations=stations, last=times[-1] if times else None)

    async def browse(
        self, *, host: str, port: int, headers: dict[str, str], pages: list[dict[str, str]], times: int, **_: Any
    ) -> None:
        """Read web pages one after the other, each `times` times, as one person would, and time the answers."""
        self._report("browsed", pages=await browse(host, port, headers, pages, times))

    async def quit(self, **_: Any) -> None:
        for connected in self._stations:
            connected.station.close()
        counted = {connected.station.identity: connected.station.acknowledged for connected in self._stations}
        acknowledged = {identity: done.get("MeterValues", 0) for identity, done in counted.items()}
        self._report("bye", acknowledged={identity: count for identity, count in acknowledged.items() if count})


async def _unless_done(finished: asyncio.Future[Any], seconds: float) -> None:
    """Let `seconds` pass; a station that fails meanwhile ends it with its LoadError."""
    await asyncio.wait([finished], timeout=seconds)
    if finished.done():
        await finished


def _percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _figures(action: str, meter: Meter) -> dict[str, Any]:
    """What the requests of a group got: number of answers, and latencies in milliseconds."""
    ordered = sorted(meter.latencies)
    if not ordered:
        raise LoadError(f"no {action} was answered in the time given")
    p50, p99 = (round(_percentile(ordered, share) * 1000, 3) for share in (0.5, 0.99))
    return {"action": action, "answers": len(ordered), "p50_ms": p50, "p99_ms": p99}


async def main() -> None:
    loop = asyncio.get_running_loop()
    # An order names thousands of stations: longer than the reader's usual line.
    orders = asyncio.StreamReader(limit=64 * 1024 * 1024)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)

    def report(event: str, **members: Any) -> None:
        sys.stdout.write(json.dumps({"event": event, **members}) + "\n")
        sys.stdout.flush()

    load = Load(report)
    verbs: dict[str, Callable[..., Awaitable[None]]] = {
        "connect": load.connect, "phase": load.phase, "storm": load.storm, "expect": load.expect,
        "browse": load.browse, "quit": load.quit,
    }  # fmt: skip
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
