"""What a case needs before it begins: a charge point with a password, and an id tag of every state.

Everything has a name no other run has, and is removed at the end as far as the product lets it be: a charge point with
transactions is kept by design, and is disabled then.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import quote

from csms.certify.authority import ClientIdentity
from csms.certify.charge_point import timestamp
from csms.certify.options import BASIC_AUTHENTICATION, TLS_BASIC_AUTHENTICATION, TLS_CLIENT_CERTIFICATE
from csms.certify.rest import RestClient, RestRefused
from csms.certify.transcript import Secrets
from csms.certify.trust import Trust

WITH_PASSWORD = (BASIC_AUTHENTICATION, TLS_BASIC_AUTHENTICATION)


@dataclass(frozen=True, slots=True)
class IdTags:
    """Id tags of every state; `valid` and `same_parent` belong to the group `parent`, `unknown` is not registered."""

    valid: str
    same_parent: str
    parent: str
    expired: str
    blocked: str
    unknown: str


@dataclass(frozen=True, slots=True)
class Testbed:
    """The charge point, its password (None in security profiles without one) and id tags of some cases.

    `serial_number` is what the CN of its certificate must be (the tool's own names it in other letters), `client` what
    it shows in TLS, `trust` the authorities of the run.
    """

    identity: str
    password: str | None
    id_tags: IdTags
    security_profile: int
    trust: Trust
    serial_number: str = ""
    client: ClientIdentity | None = None


@dataclass
class Testbeds:
    """Registers test beds and takes them away again. Blocking. Errors: RestRefused, Unreachable.

    All test beds of a run have the same id tags; a new one is made when a case has failed, and then the transactions of
    the one before are closed, so that no id tag stays in use.
    """

    client: RestClient
    secrets: Secrets
    trust: Trust
    _identities: list[str] = field(default_factory=list)
    _id_tags: IdTags | None = None

    def register(self, security_profile: int) -> Testbed:
        """A new test bed, whose charge point has this security profile."""
        for identity in self._identities[-1:]:
            self._close_transactions(identity)
        identity = f"certify-{secrets.token_hex(4)}"
        password = secrets.token_hex(10) if security_profile in WITH_PASSWORD else None
        members: dict[str, Any] = {
            "description": "Charge point of a certification run",
            "security_profile": security_profile,
        }
        if password is not None:
            self.secrets.add(password)
            members["password"] = password
        # The CN of a certificate is a serial number, which need not be the identity of the URL.
        serial_number, client = f"SN-{secrets.token_hex(6)}", None
        if security_profile == TLS_CLIENT_CERTIFICATE:
            client = self.trust.own().client(serial_number.swapcase())
            members["serial_number"] = serial_number
        # Noted before it exists: what fails half-way is removed as well.
        self._identities.append(identity)
        self.client.request("PUT", _charge_point(identity), members)
        id_tags = self._id_tags or self._register_id_tags()
        # Where nothing was said, the identity counts.
        serial_number = serial_number if client is not None else identity
        return Testbed(identity, password, id_tags, security_profile, self.trust, serial_number, client)

    def _register_id_tags(self) -> IdTags:
        tags = self._id_tags = _new_id_tags(secrets.token_hex(4).upper())
        past = timestamp(datetime.now(UTC) - timedelta(days=1))
        for id_tag, members in (
            (tags.valid, {"parent_id_tag": tags.parent}),
            (tags.same_parent, {"parent_id_tag": tags.parent}),
            (tags.expired, {"expiry_date": past}),
            (tags.blocked, {"status": "Blocked"}),
        ):
            body = {"status": "Accepted", "description": "Id tag of a certification run"} | members
            self.client.request("PUT", _id_tag(id_tag), body)
        return tags

    def remove(self) -> list[str]:
        """Take away everything registered; sentences about what is left behind, and why."""
        left: list[str] = []
        for identity in self._identities:
            self._attempt(partial(self._remove_charge_point, identity, left), left)
        if (tags := self._id_tags) is not None:
            for id_tag in (tags.valid, tags.same_parent, tags.expired, tags.blocked):
                self._attempt(partial(self.client.request, "DELETE", _id_tag(id_tag)), left)
        # Last: certificates go with their charge points, and keep their authorities until then.
        self.trust.remove(lambda step: self._attempt(step, left), left)
        self._identities.clear()
        self._id_tags = None
        return left

    def _remove_charge_point(self, identity: str, left: list[str]) -> None:
        path = _charge_point(identity)
        for command in self.client.request("GET", f"{path}commands/", status="queued")["results"]:
            self._attempt(partial(self.client.request, "DELETE", f"commands/{command['id']}/"), left)
        self._close_transactions(identity)
        try:
            self.client.request("DELETE", path)
        except RestRefused as refused:
            if refused.status != 409:
                raise
            self.client.request("PATCH", path, {"disabled": True})
            left.append(f"Charge point {identity} has transactions and is kept, disabled.")

    def _close_transactions(self, identity: str) -> None:
        running = self.client.request("GET", "transactions/", charge_point=identity, active="true")["results"]
        for tx in running:
            self.client.request("POST", f"transactions/{tx['id']}/close/", {"reason": "End of a certification case"})

    def _attempt(self, step: Callable[[], Any], left: list[str]) -> None:
        """One step of the clean-up; what is gone already is no failure, and no failure keeps the next step back."""
        try:
            step()
        except RestRefused as refused:
            if refused.status != 404:
                left.append(f"{refused}.")


def _charge_point(identity: str) -> str:
    return f"charge-points/{quote(identity, safe='')}/"


def _id_tag(id_tag: str) -> str:
    return f"id-tags/{quote(id_tag, safe='')}/"


def _new_id_tags(token: str) -> IdTags:
    return IdTags(
        valid=f"CT{token}V",
        same_parent=f"CT{token}S",
        parent=f"CT{token}P",
        expired=f"CT{token}E",
        blocked=f"CT{token}B",
        unknown=f"CT{token}X",
    )
