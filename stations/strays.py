"""Handshakes whose URL names no tenant: kept for the platform's people, and for the tenant that is most likely meant.

They are written one row for what is dialled alike from one address, at most so many; whoever decides on the handshake
limits how often (stations/doorkeeper.py, stations/screening.py).
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING

from django.db import DatabaseError, transaction

from csms.proxies import address_group
from stations import near_misses
from stations.connection_attempts import printable, record_stray
from stations.models import StrayHandshake
from tenants.scope import platform_scope, tenant_scope

if TYPE_CHECKING:
    from stations.handshake import Refusal, Request

logger = logging.getLogger(__name__)

EXPECTED = "The URL is ws://HOST/ocpp/TENANT/IDENTITY; TENANT is the tenant's slug, in small letters."


def note(request: Request, refusal: Refusal, now: datetime) -> None:
    """Keep the handshake, and in the tenant of the charge point that it means as well; never raises DatabaseError."""
    try:
        with platform_scope(), transaction.atomic():
            near = near_misses.of_no_tenant(request)
            meant = "" if near is None else f"{near.charge_point.tenant.slug}/{near.charge_point.identity}"
            StrayHandshake.objects.add(
                now,
                path=printable(request.path) or "/",
                address=address_group(request.address)[:64],
                reason=refusal.reason,
                remedy=f"{refusal.remedy} {EXPECTED if near is None else near.sentence}",
                meant=meant,
                user_agent=printable(request.user_agent),
                subprotocols=printable(", ".join(request.subprotocols)),
            )
            if near is not None:
                with tenant_scope(near.charge_point.tenant_id):
                    record_stray(request, near.charge_point, refusal, near.sentence, now)
    except DatabaseError as error:
        logger.warning("A handshake without a tenant was not kept (%s)", type(error).__name__)
