"""Years of charging, made by the database itself: what a query costs must not depend on how much is stored.

Only on PostgreSQL: it makes ten million rows in minutes. Whoever charges in the run finds the rows in the same tables,
of the same charge points. Times spread over the year before, so that monthly partitions fill as they would have.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Max, Min

from csms.benchmark.rows import HISTORY, tenant
from stations.models import ChargePoint, Command, ConnectionAttempt, IdTag, MeterValue, OcppMessage, Transaction
from tenants.scope import tenant_scope

# Meter values of a transaction; each has one message in the log, and every tenth one command and one handshake.
READINGS, RARE = 10, 10
# A million transactions fill the year.
SPAN, STEP = timedelta(days=360), timedelta(seconds=31)
TABLES = (Transaction, MeterValue, OcppMessage, Command, ConnectionAttempt)
SAMPLED = [
    {"value": "1834562.4", "measurand": "Energy.Active.Import.Register", "unit": "Wh", "location": "Outlet"},
    {"value": "10987.5", "measurand": "Power.Active.Import", "unit": "W", "location": "Outlet"},
]

# `n` counts the transactions of the whole history; charge_point is the first of charge_points that follow each other.
_TRANSACTIONS = """
WITH made AS (
    INSERT INTO stations_transaction (
        tenant_id, charge_point_id, connector_id, id_tag, id_tag_key, id_tag_status, parent_id_tag, started_at,
        started_received_at, started_at_text, meter_start_wh, stopped_at, stopped_received_at, meter_stop_wh,
        energy_wh, stop_reason, stop_id_tag, stop_id_tag_status, stop_received, flags, orphan_ref
    )
    SELECT %(tenant)s, %(charge_point)s + n %% %(charge_points)s, 1 + n %% 2, %(history)s, %(history)s, 'Accepted', '',
        at, at, '', n, at + interval '50 minutes', at + interval '50 minutes', n + 9000, 9000, 'Local', '', '', true,
        '[]', ''
    FROM generate_series(%(first)s, %(last)s) AS n, LATERAL (SELECT %(begin)s + n * %(step)s AS at) AS time
    RETURNING id
)
SELECT min(id), max(id) FROM made
"""
_METER_VALUES = """
INSERT INTO stations_metervalue (
    tenant_id, charge_point_id, connector_id, transaction_id, transaction_ref, timestamp, received_at, energy_wh,
    power_w, sampled_value, digest
)
SELECT %(tenant)s, %(charge_point)s + n %% %(charge_points)s, 1 + n %% 2, %(transaction)s + n - %(first)s, '', at, at,
    n + reading * 900, 10987.5, %(sampled)s::jsonb, n
FROM generate_series(%(first)s, %(last)s) AS n, generate_series(0, %(readings)s - 1) AS reading,
    LATERAL (SELECT %(begin)s + n * %(step)s + reading * interval '5 minutes' AS at) AS time
"""
_MESSAGES = """
INSERT INTO stations_ocppmessage (
    tenant_id, charge_point_id, incoming, message_type, action, message_id, payload, received_at, error
)
SELECT %(tenant)s, %(charge_point)s + n %% %(charge_points)s, true, 2, 'MeterValues', n::text, %(sampled)s,
    %(begin)s + n * %(step)s, ''
FROM generate_series(%(first)s, %(last)s) AS n
"""
_COMMANDS = """
INSERT INTO stations_command (
    tenant_id, charge_point_id, action, payload, requested_by, reason, status, message_id, warnings, response,
    created_at, expires_at, sent_at, answered_at
)
SELECT %(tenant)s, %(charge_point)s + n %% %(charge_points)s, 'ChangeAvailability',
    '{"connectorId":0,"type":"Operative"}', 'history', '', 'answered', n::text, '[]', '{"status":"Accepted"}',
    at, at, at, at
FROM generate_series(%(first)s, %(last)s, %(rare)s) AS n, LATERAL (SELECT %(begin)s + n * %(step)s AS at) AS time
"""
_ATTEMPTS = """
INSERT INTO stations_connectionattempt (
    tenant_id, charge_point_id, identity, at, address, accepted, http_status, reason, remedy, security_profile,
    subprotocols, user_agent, tls_version, tls_cipher, client_certificate
)
SELECT %(tenant)s, id, identity, %(begin)s + n * %(step)s, '127.0.0.1', true, 101, '', '', 1, 'ocpp1.6', 'history',
    '', '', ''
FROM generate_series(%(first)s, %(last)s, %(rare)s) AS n
JOIN stations_chargepoint ON id = %(charge_point)s + n %% %(charge_points)s
"""


def grow(first: int, last: int) -> int:
    """Add the history's meter values `first` to `last` - 1 (whole transactions); how many there are now.

    They are numbered over the whole history, so that it can be made in several steps.
    """
    owner = tenant()
    with tenant_scope(owner), transaction.atomic(), connection.cursor() as cursor:
        ids = ChargePoint.objects.aggregate(first=Min("pk"), last=Max("pk"))
        facts: dict[str, Any] = {
            "tenant": owner.pk,
            "charge_point": ids["first"],
            # Made by one statement in an empty table, they follow each other.
            "charge_points": ids["last"] - ids["first"] + 1,
            "first": first // READINGS,
            "last": last // READINGS - 1,
            "begin": datetime.now(UTC) - SPAN,
            "step": STEP,
            "sampled": json.dumps(SAMPLED),
            "history": HISTORY,
            "readings": READINGS,
            "rare": RARE,
        }
        cursor.execute(_TRANSACTIONS, facts)
        lowest, highest = cursor.fetchone()
        if highest - lowest != facts["last"] - facts["first"]:
            raise ValueError("The ids of the history's transactions do not follow each other: somebody else charges.")
        for statement in (_METER_VALUES, _MESSAGES, _COMMANDS, _ATTEMPTS):
            cursor.execute(statement, facts | {"transaction": lowest})
    return last


def tidy() -> None:
    """What autovacuum would have done by and by."""
    with connection.cursor() as cursor:
        for model in TABLES:
            cursor.execute(f"VACUUM (ANALYZE) {connection.ops.quote_name(model._meta.db_table)}")


def places() -> dict[str, Any]:
    """What paths of lists need: somebody in the middle of each, and the cursor of a page far behind."""
    with tenant_scope(tenant()):
        charge_point = ChargePoint.objects.order_by("pk")[ChargePoint.objects.count() // 2]
        own = Transaction.objects.filter(id_tag=HISTORY)
        ids = own.aggregate(first=Min("pk"), last=Max("pk"))
        middle = (ids["first"] + ids["last"]) // 2
        return {
            "charge_point": charge_point.identity,
            "charge_point_id": charge_point.pk,
            "transaction": middle,
            "id_tag": IdTag.objects.order_by("pk").values_list("id_tag", flat=True)[0],
            "cursor": base64.urlsafe_b64encode(json.dumps([False, middle]).encode()).decode().rstrip("="),
        }
