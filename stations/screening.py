"""Bad handshakes by the dozen: what is certainly to be refused is, with a few queries for all that wait.

Context: one handshake judged for itself costs queries, a slow hash and rows; some hundred guesses a second would keep
every core busy.
Choice: those that wait for their turn are looked through together. Refused are those that no slow hash is needed for:
an identity of no one, a wrong password where the right one was generated, what is wrong in form. Everybody else, and so
everybody who has the right password, goes on: to admission.let_in who is plainly right, else to handshake.decide.
Failures are counted in memory, and told to the cache at their limit. The first from each address have rows of their
own, the others are summed up (doorkeeper.py).
Consequence: a process may count to a limit for itself before the others know; the order of the reasons is that of
handshake.decide, and tests/stations/test_screening.py holds them together.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from django.conf import settings
from django.db import DatabaseError, transaction

from stations import admission, attempt_limits, credentials, strays
from stations.attempt_limits import WINDOW_SECONDS
from stations.connection_attempts import record_refused
from stations.handshake import (
    ADDRESS_HELD,
    REFUSALS,
    Refusal,
    Refused,
    Request,
    chosen_subprotocol,
    given_password,
    presented_profile,
    wrong_password,
)
from stations.models import ChargePoint
from stations.models.charge_point import SecurityProfile
from tenants.models import Tenant
from tenants.models.tenant import UnknownChargePoints
from tenants.scope import platform_scope, tenant_scope

logger = logging.getLogger(__name__)

# Rows that screened handshakes may have within WINDOW_SECONDS, of one address and in all.
ROWS_OF_ONE = 10
ROWS = 100
REMEMBERED = 200_000
BY_PASSWORD = (SecurityProfile.BASIC, SecurityProfile.TLS_BASIC)


@dataclass(frozen=True, slots=True)
class Screened:
    """What came of one request: its refusal, or None for one that has to be judged; whether the refusal has a row.

    `plain`: it may be let in together with others (stations/admission.py).
    """

    refusal: Refusal | None = None
    recorded: bool = False
    plain: bool = False


UNDECIDED = Screened()


@dataclass(eq=False)
class Screen:
    """What one event loop counts of its floods; used by one thread at a time."""

    failures: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    rows_in_all: int = 0
    _window: int = 0

    def look_through(self, requests: Sequence[Request]) -> list[Screened]:
        """One answer for each of `requests`. Whatever goes wrong, they are judged one by one."""
        found = dict.fromkeys(range(len(requests)), UNDECIDED)
        self._begin_window()
        try:
            with platform_scope():
                tenants = Tenant.objects.in_bulk({request.tenant_slug for request in requests}, field_name="slug")
            for slug, tenant in tenants.items():
                numbers = [number for number, request in enumerate(requests) if request.tenant_slug == slug]
                with tenant_scope(tenant.pk):
                    screened = self._of_tenant(tenant, [requests[number] for number in numbers])
                found.update(zip(numbers, screened, strict=True))
        except DatabaseError as error:
            logger.warning("Handshakes were not screened (%s)", type(error).__name__)
            return [UNDECIDED] * len(requests)
        for number, request in enumerate(requests):
            if request.tenant_slug not in tenants:
                refusal = REFUSALS[request.fault or "unknown_tenant"]
                recorded = self._has_row_left(request)
                found[number] = Screened(refusal, recorded)
                if recorded:
                    strays.note(request, refusal, datetime.now(UTC))
        return list(found.values())

    def _begin_window(self) -> None:
        window = int(monotonic() // WINDOW_SECONDS)
        if window != self._window or len(self.failures) > REMEMBERED:
            self._window, self.rows_in_all = window, 0
            self.failures.clear()
            self.rows.clear()

    def _of_tenant(self, tenant: Tenant, requests: Sequence[Request]) -> list[Screened]:
        now = datetime.now(UTC)
        identities = {request.identity for request in requests if request.path_is_valid}
        known = {row.identity: row for row in ChargePoint.objects.filter(identity__in=identities)}
        changing = admission.changing_passwords(known.values())
        keys = {
            key: None
            for request in requests
            for key in (
                attempt_limits.pair_key(tenant, request),
                attempt_limits.address_key(request),
                attempt_limits.good_key(tenant, request),
            )
        }
        counted = attempt_limits.look_up(list(keys))
        found = []
        to_record = []
        for request in requests:
            screened = self._one(tenant, request, known.get(request.identity), changing, counted)
            found.append(screened)
            if screened.recorded and screened.refusal is not None:
                to_record.append((request, screened.refusal))
        if to_record:
            # One commit for all of them.
            with transaction.atomic():
                for request, refusal in to_record:
                    record_refused(request, known.get(request.identity), presented_profile(request), refusal, now)
        for request, refusal in to_record:
            logger.info(
                "Handshake refused: %s, identity %r of tenant %s from %s",
                refusal.reason, request.identity, tenant.slug, request.address,
            )  # fmt: skip
        return found

    def _one(
        self,
        tenant: Tenant,
        request: Request,
        charge_point: ChargePoint | None,
        changing: set[int],
        counted: Mapping[str, Any],
    ) -> Screened:
        if attempt_limits.is_the_same(counted.get(attempt_limits.good_key(tenant, request)), request):
            return Screened(plain=admission.is_plain(request, charge_point, changing))
        pair, address = attempt_limits.pair_key(tenant, request), attempt_limits.address_key(request)
        limits = (
            (pair, settings.CSMS_FAILED_ATTEMPTS_PER_IDENTITY),
            (address, settings.CSMS_FAILED_ATTEMPTS_PER_ADDRESS),
        )
        for key, limit in limits:
            if counted.get(key, 0) + self.failures.get(key, 0) < limit or (key == address and request.known):
                continue
            if self.failures.pop(key, 0):
                # Counted by us: the other processes do not know yet.
                attempt_limits.note_reached(key, limit)
            recorded = self._has_row_left(request) and attempt_limits.is_news(key)
            return Screened(ADDRESS_HELD if key == address else REFUSALS["too_many_attempts"], recorded)
        refusal = certain_refusal(tenant, request, charge_point, changing)
        if refusal is None:
            return Screened(plain=admission.is_plain(request, charge_point, changing))
        if refusal.status in (401, 404):
            for key, _ in limits:
                self.failures[key] = self.failures.get(key, 0) + 1
        return Screened(refusal, self._has_row_left(request))

    def _has_row_left(self, request: Request) -> bool:
        group = attempt_limits.address_group(request.address)
        if self.rows_in_all >= ROWS or self.rows.get(group, 0) >= ROWS_OF_ONE:
            return False
        self.rows[group] = self.rows.get(group, 0) + 1
        self.rows_in_all += 1
        return True


def certain_refusal(
    tenant: Tenant, request: Request, charge_point: ChargePoint | None, changing: set[int]
) -> Refusal | None:
    """The refusal that handshake.decide would come to without a slow hash; None when it may come to another.

    `changing`: ids of charge points that may have a newer password than the one in force.
    """
    profile = presented_profile(request)
    if profile == SecurityProfile.TLS_CLIENT_CERTIFICATE:
        return None
    try:
        chosen_subprotocol(request, charge_point)
        password = given_password(request)
    except Refused as refused:
        return refused.refusal
    if charge_point is None:
        if tenant.unknown_charge_points != UnknownChargePoints.REFUSE:
            return None
        nobody = "not_found" if password is None and tenant.allow_security_profile_0 else "unknown_identity"
        return REFUSALS[nobody]
    required = charge_point.security_profile
    # With a higher profile than that it may be about to raise it, which is a question of its own.
    if profile > required or required == SecurityProfile.NONE or ":" in request.identity:
        return None
    if password is None:
        return REFUSALS["no_credentials" if required in BY_PASSWORD else "certificate_missing"]
    if required not in BY_PASSWORD or charge_point.pk in changing:
        return None
    wrong = credentials.quickly(charge_point.password_hash, password) is False
    return wrong_password(password).refusal if wrong else None
