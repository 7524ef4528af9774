"""What needs attention: contradictions between facts that we hold, one row of KINDS for each kind.

Context: a charge point says one thing and something else happens; nobody looks at every row to find it. Choice: each
kind is a query over what is stored already, so that nothing has to be kept in step, and what is mended is gone from the
list at once; it knows its severity, its sentence, where to look, and what to do. Consequence: the list, its counts, the
dashboard and REST read one table, and a kind more is a row more. Queries are over charge points, open transactions and
what is recent, by their indexes; never over all meter values, and counts stop at COUNTED.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Case, DateTimeField, DecimalField, Exists, F, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce

from stations.models import ChargePoint, Command, ConfigurationKey, Connector, LogRequest, MeterValue, RefusedIdTag
from stations.models import Transaction as Tx
from stations.models.command import CommandStatus
from stations.models.connector import ChargePointStatus

INFO, WARNING, CRITICAL = SEVERITIES = ("info", "warning", "critical")
# A count goes no further: from here on it is "10000+".
COUNTED = 10_000
# A StopTransaction may come a moment after the status that it belongs to.
IN_STEP = timedelta(minutes=1)
# After a boot the charge point has this long to go on with its transaction, or to end it.
AFTER_BOOT = timedelta(minutes=5)
# So many intervals without energy, and at least so long.
INTERVALS, INTERVAL_SECONDS, WITHOUT_ENERGY = 3, 900, timedelta(minutes=10)
INTERVAL_KEY = "MeterValueSampleInterval"
MOST_INTERVALS = 50
REGISTER = DecimalField(max_digits=18, decimal_places=3)
REFUSED_WITHIN, COMMANDS_WITHIN, UPLOADS_WITHIN = timedelta(days=1), timedelta(days=1), timedelta(days=7)
# How long after the answer "Accepted" the effect of a command may take.
EFFECT_WITHIN = {
    "RemoteStartTransaction": timedelta(minutes=5),
    "Reset": timedelta(minutes=10),
    "TriggerMessage": timedelta(minutes=2),
    "ExtendedTriggerMessage": timedelta(minutes=2),
}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of contradiction.

    `rows(now)` gives a query whose rows have `since`; `station`, `connector` and `target` say how a row leads to its
    charge point, to its connector (None: none) and to what to look at, a name of TARGETS. `text(row)` is the sentence.
    """

    code: str
    severity: str
    label: str
    remedy: str
    rows: Callable[[datetime], QuerySet[Any]]
    text: Callable[[Any], str]
    target: str
    station: str = "charge_point"
    connector: str | None = None

    def query(self, now: datetime, site_ids: Collection[int] | None, charge_point_id: int | None) -> QuerySet[Any]:
        """The rows that may be seen by someone limited to `site_ids` (None: all sites), of one charge point or all."""
        rows = self.rows(now)
        path = "" if self.station == "" else f"{self.station}__"
        if site_ids is not None:
            rows = rows.filter(**{f"{path}site__in": site_ids})
        if charge_point_id is not None:
            rows = rows.filter(**{"pk" if self.station == "" else f"{self.station}_id": charge_point_id})
        return rows


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of the list. `pk` is that of what `kind.target` names; (since, kind, pk) tells it from all others."""

    kind: Kind
    pk: int
    charge_point: ChargePoint
    connector_id: int | None
    since: datetime
    text: str


# --- the queries ------------------------------------------------------------------------------------------------------
def _lost(now: datetime) -> QuerySet[Any]:
    rows = ChargePoint.objects.filter(connected=False, disabled=False, connected_at__isnull=False)
    running = Tx.objects.open().filter(charge_point=OuterRef("pk"))
    return rows.annotate(
        since=Coalesce("disconnected_at", "last_seen_at", "connected_at"),
        running=Subquery(running.order_by("-id").values("pk")[:1]),
    )


def _never_connected(now: datetime) -> QuerySet[Any]:
    return ChargePoint.objects.filter(connected=False, disabled=False, connected_at__isnull=True).annotate(
        since=F("created_at")
    )


def _available(now: datetime) -> QuerySet[Any]:
    free = Connector.objects.filter(
        charge_point=OuterRef("charge_point"), connector_id=OuterRef("connector_id"),
        status=ChargePointStatus.AVAILABLE, status_at__gt=OuterRef("started_at"),
    ).exclude(status_received_at__gt=now - IN_STEP)  # fmt: skip
    return Tx.objects.open().annotate(since=Subquery(free.values("status_at")[:1])).filter(since__isnull=False)


def _booted(now: datetime) -> QuerySet[Any]:
    went_on = MeterValue.objects.filter(transaction=OuterRef("pk"), timestamp__gt=OuterRef("charge_point__booted_at"))
    return (
        Tx.objects.open()
        .filter(charge_point__booted_at__gt=F("started_received_at"), charge_point__booted_at__lte=now - AFTER_BOOT)
        .exclude(Exists(went_on))
        .annotate(since=F("charge_point__booted_at"))
    )


def _without_energy(now: datetime) -> QuerySet[Any]:
    charging = Connector.objects.filter(
        charge_point=OuterRef("charge_point"), connector_id=OuterRef("connector_id"), status=ChargePointStatus.CHARGING
    )
    running = Tx.objects.open().filter(charge_point__connected=True)
    interval = ConfigurationKey.objects.filter(key=INTERVAL_KEY)
    texts = interval.filter(charge_point__in=running.order_by().values("charge_point"), value__isnull=False)
    reported = list(texts.order_by().values_list("value", flat=True).distinct()[:MOST_INTERVALS])
    seconds = {text: int(text) for text in reported if text.isascii() and text.isdigit() and len(text) < 7}
    # 0 sends no samples: nothing can be said of it.
    silent = [text for text, value in seconds.items() if value == 0]
    cutoffs = [When(interval=text, then=Value(_cutoff(now, value))) for text, value in seconds.items() if value]
    values = MeterValue.objects.filter(transaction=OuterRef("pk")).order_by("-timestamp")
    registers = values.filter(energy_wh__isnull=False)
    before = values.filter(timestamp__lte=OuterRef("cutoff"))
    rows = running.annotate(
        interval=Subquery(interval.filter(charge_point=OuterRef("charge_point")).values("value")[:1]),
        cutoff=Case(*cutoffs, default=Value(_cutoff(now, INTERVAL_SECONDS)), output_field=DateTimeField()),
        charging_since=Subquery(charging.values("status_received_at")[:1]),
    ).exclude(interval__in=silent)
    rows = rows.filter(started_received_at__lte=F("cutoff"), charging_since__lte=F("cutoff"))
    return (
        rows.annotate(
            register_wh=Coalesce(Subquery(registers.values("energy_wh")[:1]), "meter_start_wh", output_field=REGISTER),
            register_before_wh=Coalesce(
                Subquery(registers.filter(timestamp__lte=OuterRef("cutoff")).values("energy_wh")[:1]),
                "meter_start_wh",
                output_field=REGISTER,
            ),
            since=Coalesce(Subquery(before.values("timestamp")[:1]), "started_at"),
        )
        .filter(register_wh__lte=F("register_before_wh"))
        .exclude(Exists(values.filter(timestamp__gt=OuterRef("cutoff"), power_w__gt=0)))
    )


def _cutoff(now: datetime, interval_seconds: int) -> datetime:
    return now - max(INTERVALS * timedelta(seconds=interval_seconds), WITHOUT_ENERGY)


def _refused_cards(now: datetime) -> QuerySet[Any]:
    return RefusedIdTag.objects.filter(last_at__gte=now - REFUSED_WITHIN).annotate(since=F("first_at"))


def _without_effect(now: datetime) -> QuerySet[Any]:
    late = Q()
    for action, within in EFFECT_WITHIN.items():
        late |= Q(action=action, answered_at__lte=now - within)
    return (
        Command.objects.filter(late, status=CommandStatus.ANSWERED, effect__isnull=True, response__status="Accepted")
        .filter(created_at__gte=now - COMMANDS_WITHIN)
        .annotate(since=F("answered_at"))
    )


def _unanswered(now: datetime) -> QuerySet[Any]:
    later = Command.objects.filter(
        charge_point=OuterRef("charge_point"), action=OuterRef("action"), pk__gt=OuterRef("pk"),
        status__in=(CommandStatus.ANSWERED, CommandStatus.ERROR),
    )  # fmt: skip
    return (
        Command.objects.filter(status__in=(CommandStatus.UNKNOWN, CommandStatus.TIMED_OUT), effect__isnull=True)
        .filter(created_at__gte=now - COMMANDS_WITHIN)
        .exclude(Exists(later))
        .annotate(since=Coalesce("sent_at", "created_at"))
    )


def _undelivered(now: datetime) -> QuerySet[Any]:
    return LogRequest.objects.filter(
        status="Uploaded", to_us=True, upload__isnull=True, created_at__gte=now - UPLOADS_WITHIN
    ).annotate(since=Coalesce("finished_at", "status_at", "created_at"))


# --- the table --------------------------------------------------------------------------------------------------------
KINDS: dict[str, Kind] = {
    kind.code: kind
    for kind in (
        Kind("offline", WARNING, "Offline", "Its page says why: the last refused handshake and what to do about it. If "
             "there is none, nothing has reached us: look at its power and network.", _lost,
             lambda row: "Not connected" + (f"; transaction {row.running} is recorded as running" if row.running
                                             else ""),
             "charge_point", station=""),
        Kind("never_connected", INFO, "Never connected", "Enter the URL and the password at the charge point; its page "
             "shows them, and why it was refused if it has tried.", _never_connected,
             lambda row: "Has never been connected", "charge_point", station=""),
        Kind("available_with_transaction", WARNING, "Available, yet charging", "Its StopTransaction is missing. Wait "
             "for it if the charge point was offline; else close the record.", _available,
             lambda row: f"Connector {row.connector_id} is Available while transaction {row.pk} is open",
             "transaction", connector="connector_id"),
        Kind("booted_during_transaction", WARNING, "Booted while charging", "It has restarted and said nothing of the "
             "transaction since. Look whether the car still charges; else close the record.", _booted,
             lambda row: f"Booted after transaction {row.pk} began, and has sent no meter value of it since",
             "transaction", connector="connector_id"),
        Kind("charging_without_energy", WARNING, "Charging without energy", "Look at the car and the cable, at "
             "charging profiles that limit to 0, and at MeterValueSampleInterval.", _without_energy,
             lambda row: f"Connector {row.connector_id} is Charging, but the register of transaction {row.pk} stands "
                         "still or is not reported", "transaction", connector="connector_id"),
        Kind("refused_card", INFO, "Refused card", "Let it in on the page of refused cards, or tell the driver.",
             _refused_cards, lambda row: f"Card {row.id_tag} was refused {row.times} "
                                         f"time{'' if row.times == 1 else 's'} ({row.reason.replace('_', ' ')})",
             "refused_id_tag"),
        Kind("command_without_effect", WARNING, "Command without effect", "The charge point accepted it and nothing "
             "followed. Look at its messages of that time; send it again if it is still wanted.", _without_effect,
             lambda row: f"{row.action} was accepted, but nothing came of it", "command"),
        Kind("command_unanswered", WARNING, "Command without answer", "Nobody knows whether it was carried out. Look "
             "at the charge point's state before sending it again.", _unanswered,
             lambda row: f"{row.action} got no answer ({row.status.replace('_', ' ')})"
                         + (f", sent {row.attempts} times" if row.attempts > 1 else ""), "command"),
        Kind("upload_missing", WARNING, "Upload not received", "The charge point says Uploaded, and no file has "
             "reached us. Look whether it can reach our address for files; ask again.", _undelivered,
             lambda row: f"{row.log_type or 'Diagnostics'} {row.pk}: it says Uploaded, but no file has come",
             "log_request"),
    )
}  # fmt: skip
STUCK = ("available_with_transaction", "booted_during_transaction")
ORDER = {code: number for number, code in enumerate(KINDS)}


def chosen(kind: str | None = None, severity: str | None = None) -> list[Kind]:
    """The kinds of this code and severity; None: any."""
    return [
        each
        for each in KINDS.values()
        if (kind is None or each.code == kind) and (severity is None or each.severity == severity)
    ]


def counts(now: datetime, site_ids: Collection[int] | None, charge_point_id: int | None = None) -> dict[str, int]:
    """How many there are of each kind, by code; more than COUNTED of one kind are COUNTED + 1."""
    return {
        kind.code: len(kind.query(now, site_ids, charge_point_id).order_by().values_list("pk")[: COUNTED + 1])
        for kind in KINDS.values()
    }


def doubts(now: datetime, transaction_ids: Collection[int]) -> dict[int, list[Kind]]:
    """Why these transactions are most likely stuck although they are open, by id; one query, none without ids."""
    if not transaction_ids:
        return {}
    kinds = [KINDS[code] for code in STUCK]
    stuck = {kind.code: Exists(kind.rows(now).filter(pk=OuterRef("pk"))) for kind in kinds}
    rows = Tx.objects.filter(pk__in=transaction_ids).order_by().annotate(**stuck).values_list("pk", *STUCK)
    return {
        pk: [kind for kind, is_one in zip(kinds, found, strict=True) if is_one] for pk, *found in rows if any(found)
    }


Position = tuple[datetime, int, int]


def findings(
    now: datetime,
    site_ids: Collection[int] | None,
    kinds: Collection[Kind],
    size: int,
    *,
    charge_point_id: int | None = None,
    beyond: Position | None = None,
    backwards: bool = False,
) -> list[Finding]:
    """At most `size` findings, the newest first, from `beyond` (position()) on, or before it when `backwards`."""
    found: list[Finding] = []
    for kind in kinds:
        rows = kind.query(now, site_ids, charge_point_id)
        if beyond is not None:
            rows = rows.filter(_after(kind, beyond, backwards))
        order = ("since", "pk") if backwards else ("-since", "-pk")
        rows = rows.order_by(*order)
        if kind.station:
            rows = rows.select_related(kind.station)
        found.extend(_finding(kind, row) for row in rows[:size])
    # Of one moment: later kinds first, as "newest first" of their numbers.
    found.sort(key=position, reverse=not backwards)
    found = found[:size]
    return found[::-1] if backwards else found


def position(finding: Finding) -> Position:
    """Where a finding stands in the list."""
    return finding.since, ORDER[finding.kind.code], finding.pk


def _after(kind: Kind, beyond: Position, backwards: bool) -> Q:
    since, number, pk = beyond
    operator = "gt" if backwards else "lt"
    wanted = Q(**{f"since__{operator}": since})
    own = ORDER[kind.code]
    if own == number:
        wanted |= Q(**{"since": since, f"pk__{operator}": pk})
    elif (own > number) == backwards:
        wanted |= Q(since=since)
    return wanted


def _finding(kind: Kind, row: Any) -> Finding:
    return Finding(
        kind,
        row.pk,
        row if kind.station == "" else getattr(row, kind.station),
        None if kind.connector is None else getattr(row, kind.connector),
        row.since,
        kind.text(row),
    )
