"""The well-behaved charge point beside those out of their minds: it charges, and every answer must be exact."""

from __future__ import annotations

import asyncio
import random
import time
from array import array
from dataclasses import dataclass
from typing import Any

from csms.benchmark.load import meter_values
from csms.benchmark.station import NOW, Station
from csms.fuzz.station import Account, Broken

ID_TAG, UNKNOWN_ID_TAG = "NEIGHBOUR-TAG", "NOBODY'S-TAG"
ACCEPTED = {"idTagInfo": {"status": "Accepted"}}
SAMPLES = 4
READINGS = 3
PAUSE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Charged:
    """A transaction as the neighbour lived it; Wh."""

    transaction_id: int
    meter_start_wh: int
    meter_stop_wh: int
    readings: int


class Neighbour:
    """Charges until told to stop; `latencies` are those of Authorize, in seconds."""

    def __init__(self, account: Account, seed: int) -> None:
        self.charged: list[Charged] = []
        self.answers = 0
        self.latencies = array("d")
        self._account = account
        self._station = Station(account.identity)
        self._chance = random.Random(seed)  # noqa: S311 - to be repeatable, not secret
        self._meter_wh = 0

    async def connect(self) -> None:
        account = self._account
        await self._station.connect("127.0.0.1", account.port, account.folder, account.password)
        await self._station.ask("BootNotification", {"chargePointVendor": "Fuzz", "chargePointModel": "Neighbour"})

    async def charge(self, stop: asyncio.Event) -> None:
        """Raises Broken or LoadError when an answer is not as it must be."""
        while not stop.is_set():
            await self._one_transaction()
        self._station.close()

    async def _one_transaction(self) -> None:
        began = time.perf_counter()
        await self._expect("Authorize", {"idTag": ID_TAG}, ACCEPTED)
        self.latencies.append(time.perf_counter() - began)
        await self._expect("Authorize", {"idTag": UNKNOWN_ID_TAG}, {"idTagInfo": {"status": "Invalid"}})
        start_wh = self._meter_wh
        start = {"connectorId": 1, "idTag": ID_TAG, "meterStart": start_wh, "timestamp": NOW}
        answer = await self._ask("StartTransaction", start)
        transaction_id = answer.get("transactionId")
        if answer != ACCEPTED | {"transactionId": transaction_id} or not isinstance(transaction_id, int):
            raise Broken(f"The neighbour's StartTransaction was answered {answer}.")
        for _ in range(READINGS):
            await self._expect("MeterValues", meter_values(SAMPLES, transaction_id), {})
        self._meter_wh += self._chance.randrange(1, 1000)
        stop = {
            "transactionId": transaction_id,
            "idTag": ID_TAG,
            "meterStop": self._meter_wh,
            "timestamp": NOW,
            "reason": "Local",
        }
        await self._expect("StopTransaction", stop, ACCEPTED)
        self.charged.append(Charged(transaction_id, start_wh, self._meter_wh, READINGS))
        await asyncio.sleep(PAUSE_SECONDS)

    async def _expect(self, action: str, payload: dict[str, Any], expected: dict[str, Any]) -> None:
        answer = await self._ask(action, payload)
        if answer != expected:
            raise Broken(f"The neighbour's {action} was answered {answer}.")

    async def _ask(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        answer = await self._station.ask(action, payload)
        self.answers += 1
        return answer
