"""Somebody who sends commands by REST all the time, and remembers which were accepted."""

from __future__ import annotations

import asyncio
import http.client
import json
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any, Self

from csms.drills.fleet import leave

TIMEOUT_SECONDS = 30
# One that may be repeated, one that must not be.
ACTIONS: Sequence[tuple[str, dict[str, Any]]] = (("ClearCache", {}), ("UnlockConnector", {"connectorId": 1}))


class Operator:
    """Posts `per_second` commands to charge points chosen by chance, at servers chosen by chance.

    `accepted` has the ids of the commands that were answered 202: they must exist for ever after. `answers` counts HTTP
    statuses, 0 for none.
    """

    def __init__(
        self, ports: Sequence[int], api_key: str, identities: Sequence[str], *, per_second: float, seed: int
    ) -> None:
        self.accepted: list[int] = []
        self.answers: Counter[int] = Counter()
        self._ports, self._key, self._identities = ports, api_key, identities
        self._pause = 1 / per_second
        self._random = random.Random(seed)  # noqa: S311 - a drill is to be repeatable, not secret
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._work())]
        return self

    async def __aexit__(self, *_: object) -> None:
        await leave(self._tasks)

    async def stop(self) -> None:
        """No more commands; returns when the last has been answered."""
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def _work(self) -> None:
        while not self._stopping:
            status, body = await asyncio.to_thread(self._post, *self._choice())
            self.answers[status] += 1
            if status == http.client.ACCEPTED:
                self.accepted.append(body["id"])
            await asyncio.sleep(self._pause)

    def _choice(self) -> tuple[int, str, str, dict[str, Any]]:
        chance = self._random
        return (chance.choice(self._ports), chance.choice(self._identities), *chance.choice(ACTIONS))

    def _post(self, port: int, identity: str, action: str, payload: dict[str, Any]) -> tuple[int, Any]:
        body = {"action": action, "payload": payload}
        return request(port, self._key, "POST", f"charge-points/{identity}/commands/", body)


def request(port: int, key: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """A REST request: the status, 0 without an answer, and the answer's JSON if the status is good."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    headers = {"Authorization": f"Api-Key {key}", "Content-Type": "application/json"}
    try:
        connection.request(method, f"/api/v1/{path}", None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        text = response.read()
        return response.status, json.loads(text) if response.status < 300 else None
    except (OSError, http.client.HTTPException):
        return 0, None
    finally:
        connection.close()
