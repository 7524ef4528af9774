"""Handshakes by the dozen: those that are plainly right are let in together, in one transaction.

Context: after a power cut, or a restart of ours, thousands dial at once, and what judging one of them costs is mostly
the way to the database and back.
Choice: plain is a charge point that shows just what is in force for it, a password that no slow hash is needed for
(inside TLS also where that is not asked for), or none where none is asked for. Little but those rules of
stations/handshake.py that ask the database nothing is left to look at, and they are asked here too. Consequence:
whoever is not plain, or is refused, is judged for itself.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from django.db import DatabaseError

from stations import attempt_limits, credentials, rivals, security_profiles
from stations.connection_attempts import printable
from stations.handshake import (
    Accepted,
    Refused,
    Request,
    accepted,
    authenticated,
    chosen_subprotocol,
    given_password,
    presented_profile,
)
from stations.models import ChargePoint, PasswordChange
from stations.models.charge_point import SecurityProfile
from stations.take_over import Arrival, take_over
from tenants.models import Tenant
from tenants.scope import platform_scope, tenant_scope

logger = logging.getLogger(__name__)


def let_in(requests: Sequence[Request], owner: str) -> list[Accepted | None]:
    """The acceptances of those of `requests` that are plainly right; None for who has to be judged for itself.

    `owner` is the ServerProcess that has the sockets. No limits are looked at: the caller knows that none holds.
    Runs in a thread of its own, outside the lanes. Whatever goes wrong, they are judged one by one.
    """
    found: list[Accepted | None] = [None] * len(requests)
    by_tenant: dict[str, dict[str, int]] = {}
    for number, request in enumerate(requests):
        if request.path_is_valid:
            # Of two with one identity the second replaces the first, which is a question of its own.
            by_tenant.setdefault(request.tenant_slug, {}).setdefault(request.identity, number)
    try:
        with platform_scope():
            tenants = Tenant.objects.in_bulk(list(by_tenant), field_name="slug")
        for slug, tenant in tenants.items():
            numbers = list(by_tenant[slug].values())
            with tenant_scope(tenant.pk):
                for number, one in zip(numbers, _of_tenant(tenant, [requests[n] for n in numbers], owner), strict=True):
                    found[number] = one
    except DatabaseError as error:
        logger.warning("Handshakes are judged one by one: together they failed (%s)", type(error).__name__)
    return found


def changing_passwords(charge_points: Collection[ChargePoint]) -> set[int]:
    """Ids of those of `charge_points` that may have a newer password than the one in force."""
    changes = PasswordChange.objects.filter(charge_point__in=[charge_point.pk for charge_point in charge_points])
    return set(changes.order_by().values_list("charge_point_id", flat=True))


def is_plain(request: Request, charge_point: ChargePoint | None, changing: Collection[int]) -> bool:
    """Whether nothing but the tenant's rules is left to look at; `changing` as of changing_passwords."""
    profile = presented_profile(request)
    if charge_point is None or charge_point.pk in changing:
        return False
    if profile != charge_point.security_profile and not _may_be_higher(charge_point, profile):
        return False
    if profile not in (SecurityProfile.BASIC, SecurityProfile.TLS_BASIC):
        return profile == SecurityProfile.NONE
    try:
        password = given_password(request)
    except Refused:
        return False
    if password is None:
        return False
    accept_hexadecimal = charge_point.accept_hexadecimal_password
    return credentials.quickly(charge_point.password_hash, password, accept_hexadecimal=accept_hexadecimal) is True


def _may_be_higher(charge_point: ChargePoint, profile: SecurityProfile) -> bool:
    """Whether TLS around the password is all that is more than asked for, and nobody is about to ask for it."""
    return (
        (charge_point.security_profile, profile) == (SecurityProfile.BASIC, SecurityProfile.TLS_BASIC)
        and not charge_point.exact_security_profile
        and charge_point.pending_security_profile is None
    )


def _of_tenant(tenant: Tenant, requests: Sequence[Request], owner: str) -> list[Accepted | None]:
    now = datetime.now(UTC)
    rows = ChargePoint.objects.filter(identity__in=[request.identity for request in requests])
    known = {row.identity: row for row in rows}
    changing = changing_passwords(known.values())
    arrivals: list[Arrival] = []
    numbers: list[int] = []
    subprotocols: list[str | None] = []
    for number, request in enumerate(requests):
        charge_point = known.get(request.identity)
        if charge_point is None or not is_plain(request, charge_point, changing):
            continue
        try:
            subprotocol = chosen_subprotocol(request, charge_point)
            profile = presented_profile(request)
            authenticated(tenant, request, charge_point, profile, changes=())
        except Refused:
            continue
        if security_profiles.expected(charge_point, profile) != charge_point.security_profile:
            # It comes with the profile that it is being raised to.
            continue
        if rivals.put_off(charge_point, request.address, printable(request.user_agent), now) is None:
            arrivals.append(Arrival(charge_point, request, profile, held_to=charge_point.security_profile, plain=True))
            numbers.append(number)
            subprotocols.append(subprotocol)
    found: list[Accepted | None] = [None] * len(requests)
    if arrivals:
        all_taken = take_over(arrivals, owner, now)
        attempt_limits.note_good(tenant, [arrival.request for arrival in arrivals])
        for number, arrival, subprotocol, taken in zip(numbers, arrivals, subprotocols, all_taken, strict=True):
            if taken is not None:
                found[number] = accepted(tenant, arrival.charge_point, subprotocol, taken)
    return found
