"""The operator's side of a case: what they order, and what they see, by REST."""

from __future__ import annotations

import asyncio
import math
from typing import Any
from urllib.parse import quote

from csms.certify.failure import CaseFailed
from csms.certify.rest import RestClient, RestRefused, Unreachable
from csms.certify.transcript import Direction, Transcript
from csms.certify.wire import shown

# The API lets a request wait this long at most.
MAX_WAIT_SECONDS = 60


class Operator:
    """The operator of one charge point. Every failing request is CaseFailed, with the server's reason in it.

    `request` reaches any resource of /api/v1/; the other methods are what most cases look at.
    """

    def __init__(self, client: RestClient, identity: str, transcript: Transcript, *, timeout_seconds: float) -> None:
        self._client = client
        self.transcript = transcript
        self.identity = identity
        self.timeout_seconds = timeout_seconds

    @property
    def path(self) -> str:
        """`charge-points/IDENTITY/`, percent-encoded."""
        return f"charge-points/{quote(self.identity, safe='')}/"

    async def request(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        """The JSON of the answer; `path` is below /api/v1/. Errors: CaseFailed."""
        line = f"{method} {path}" + (f" {shown(body)}" if body is not None else "")
        try:
            answer = await asyncio.to_thread(lambda: self._client.request(method, path, body, **params))
        except RestRefused as refused:
            self.transcript.note(Direction.OPERATOR, f"{line} -> {refused.status} {refused.code}")
            raise CaseFailed(f"The operator's request {refused}.") from None
        except Unreachable as error:
            self.transcript.note(Direction.OPERATOR, f"{line} -> {error}")
            raise CaseFailed(f"The operator's request failed: {error}") from None
        # What was looked at is evidence when an expectation about it fails; what was ordered always is.
        self.transcript.note(Direction.OPERATOR, f"{line} -> {shown(answer)}")
        return answer

    async def get(self, path: str, **params: Any) -> Any:
        """GET below /api/v1/."""
        return await self.request("GET", path, **params)

    async def command(self, action: str, payload: dict[str, Any], **members: Any) -> dict[str, Any]:
        """Ask for a request to the charge point; the command as it was queued. `members` go beside the payload."""
        command: dict[str, Any] = await self.request(
            "POST", f"{self.path}commands/", {"action": action, "payload": payload} | members
        )
        return command

    async def final(self, command: dict[str, Any]) -> dict[str, Any]:
        """The command once it is final, or as it is after the time of a step."""
        wait = min(MAX_WAIT_SECONDS, math.ceil(self.timeout_seconds))
        found: dict[str, Any] = await self.get(f"commands/{command['id']}/", wait=wait)
        return found

    async def commands(self) -> list[dict[str, Any]]:
        """The latest commands to the charge point, newest first."""
        return list((await self.get(f"{self.path}commands/", page_size=100))["results"])

    async def charge_point(self) -> dict[str, Any]:
        found: dict[str, Any] = await self.get(self.path)
        return found

    async def connector(self, connector_id: int) -> dict[str, Any]:
        """One connector. Errors: CaseFailed when the operator is shown none of this number."""
        found = await self.get(f"{self.path}connectors/")
        rows = [row for row in found["results"] if row["connector_id"] == connector_id]
        if len(rows) != 1:
            raise CaseFailed(f"The operator sees {len(rows)} connectors of number {connector_id} instead of one.")
        return dict(rows[0])

    async def configuration(self) -> dict[str, dict[str, Any]]:
        """The configuration keys as the operator sees them, by key."""
        found = await self.get(f"{self.path}configuration/")
        return {row["key"]: row for row in found["results"]}

    async def transaction(self, transaction_id: int) -> dict[str, Any]:
        found: dict[str, Any] = await self.get(f"transactions/{transaction_id}/")
        return found

    async def transactions(self, **params: Any) -> list[dict[str, Any]]:
        """The transactions of the charge point, newest first; over all cases of the run."""
        found = await self.get("transactions/", charge_point=self.identity, **params)
        return list(found["results"])

    async def messages(self, **params: Any) -> list[dict[str, Any]]:
        """The message log, newest first."""
        return list((await self.get(f"{self.path}messages/", **params))["results"])
