"""Local authorization lists: say what is wanted, see how the charge point stands to it, send what lies between.

Context: a list may need several requests, any of which the charge point may refuse or leave unanswered.
Choice: a sync queues all its requests at once, as one batch of commands with rising versions; the profile's functions
(stations/ocpp/local_auth_list_management.py) take in the answers and withdraw what follows a part that failed.
Consequence: repeating a sync does no harm, and nothing is ever sent again by itself after a failure: the operator is
offered a full list. What changes later is sent automatically only where an operator switched that on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import models, transaction

from csms.ocppj.payloads import Problem
from stations import commands
from stations.local_auth_entries import KEYS_PER_QUERY, Difference, Limits, Sum, difference, load_sites, wanted_sum
from stations.models import (
    ChargePoint,
    Command,
    CommandBatch,
    IdTag,
    LocalAuthList,
    LocalAuthListIdTag,
    LocalAuthListSite,
)
from stations.models.charge_point import RegistrationStatus
from stations.models.command import OPEN_STATUSES, CommandStatus
from stations.models.local_auth_list import UNANSWERED, ListSource
from stations.ocpp.local_auth_list_management import versions
from stations.refusal import CommandRefused
from tenants.models import Site

logger = logging.getLogger(__name__)

ACTION = "SendLocalList"
FULL, DIFFERENTIAL = "Full", "Differential"
BY_ITSELF = "automatic sync"
MAX_ID_TAGS = 100_000
ROWS_PER_INSERT = 2000


class ListState(models.TextChoices):
    """How a charge point stands to the list that is wanted; the first that applies."""

    SENDING = "sending", "Being sent"
    NOT_SUPPORTED = "not_supported", "Not supported by the charge point"
    VERSION_MISMATCH = "version_mismatch", "The charge point refused the version: send the full list"
    FAILED = "failed", "The last list was refused or not answered: send the full list"
    DRIFT = "drift", "The charge point reports another version than we believe: send the full list"
    NOT_MANAGED = "not_managed", "No list is wanted"
    UNKNOWN = "unknown", "What is installed is not known: send the full list"
    DIFFERS = "differs", "Differs from what is wanted"
    IN_SYNC = "in_sync", "In sync"


# A difference cannot be trusted to lead to the wanted list.
NEEDS_FULL = {ListState.VERSION_MISMATCH, ListState.FAILED, ListState.DRIFT, ListState.UNKNOWN}


# --- what is wanted ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Source:
    """Where entries come from: the members of one kind count. No site means that of the charge point."""

    kind: ListSource
    id_tags: Sequence[int] = ()
    groups: Sequence[str] = ()
    sites: Sequence[Site] = ()


def find_id_tags(rows: models.QuerySet[IdTag], id_tags: Sequence[str]) -> tuple[list[int], list[int]]:
    """Keys of the registered tags among `rows` that have these names, each once, and the indexes of unknown names."""
    upper = [id_tag.upper() for id_tag in id_tags]
    wanted = list(dict.fromkeys(upper))
    found: dict[str, int] = {}
    for start in range(0, len(wanted), KEYS_PER_QUERY):
        chunk = rows.filter(key__in=wanted[start : start + KEYS_PER_QUERY])
        found.update(chunk.order_by().values_list("key", "pk"))
    unknown = [index for index, key in enumerate(upper) if key not in found]
    return [found[key] for key in wanted if key in found], unknown


@transaction.atomic
def want(
    charge_point: ChargePoint, source: Source | None, now: datetime, *, sync_automatically: bool | None = None
) -> LocalAuthList:
    """Make `source` the origin of the entries wanted at `charge_point`; None: nothing is wanted. Nothing is sent."""
    row = LocalAuthList.objects.of(charge_point.pk, lock=True)
    row.charge_point = charge_point
    row.source = "" if source is None else source.kind
    row.groups = list(source.groups) if source is not None and source.kind == ListSource.GROUPS else []
    row.desired_at = None if source is None else now
    row.sync_automatically = (
        source is not None and row.sync_automatically if sync_automatically is None else sync_automatically
    )
    row.save(update_fields=["source", "groups", "desired_at", "sync_automatically"])
    LocalAuthListSite.objects.filter(local_auth_list_id=row.pk).delete()
    LocalAuthListIdTag.objects.filter(local_auth_list_id=row.pk).delete()
    if source is not None and source.kind == ListSource.SITES:
        LocalAuthListSite.objects.bulk_create(
            LocalAuthListSite(local_auth_list=row, site=site) for site in source.sites
        )
    if source is not None and source.kind == ListSource.ID_TAGS:
        LocalAuthListIdTag.objects.bulk_create(
            [LocalAuthListIdTag(local_auth_list=row, id_tag_id=pk) for pk in source.id_tags],
            batch_size=ROWS_PER_INSERT,
        )
    return row


# --- how it stands ----------------------------------------------------------------------------------------------------
def list_of(charge_point: ChargePoint) -> LocalAuthList:
    """The row of `charge_point`; one that is not saved when there is none."""
    row = LocalAuthList.objects.filter(charge_point_id=charge_point.pk).first() or LocalAuthList()
    row.charge_point = charge_point
    return row


def states(rows: Iterable[LocalAuthList], now: datetime) -> dict[int, tuple[ListState, int]]:
    """State and number of entries wanted, by the charge point's key; `rows` have their charge points."""
    rows = list(rows)
    load_sites([row for row in rows if row.source == ListSource.SITES])
    sending = _being_sent([row.charge_point_id for row in rows])
    known: dict[Any, Sum] = {}
    found = {}
    for row in rows:
        wanted = wanted_sum(row, now, known) if row.source else Sum(0, 0)
        same = (wanted.length, wanted.fingerprint) == (row.installed_length, row.installed_fingerprint)
        found[row.charge_point_id] = (_state(row, row.charge_point_id in sending, same), wanted.length)
    return found


def state_of(row: LocalAuthList, found: Difference) -> ListState:
    """The state of one list whose difference is known."""
    return _state(row, bool(_being_sent([row.charge_point_id])), len(found) == 0)


def _being_sent(charge_point_ids: list[int]) -> set[int]:
    rows = Command.objects.filter(charge_point_id__in=charge_point_ids, action=ACTION, status__in=OPEN_STATUSES)
    return set(rows.order_by().values_list("charge_point_id", flat=True).distinct())


def _state(row: LocalAuthList, sending: bool, same: bool) -> ListState:
    if sending:
        return ListState.SENDING
    if row.not_supported:
        return ListState.NOT_SUPPORTED
    if row.outcome == "VersionMismatch":
        return ListState.VERSION_MISMATCH
    if row.outcome == "Failed" or row.outcome in UNANSWERED or row.outcome not in ("", "Accepted"):
        return ListState.FAILED
    if row.drift:
        return ListState.DRIFT
    if not row.source:
        return ListState.NOT_MANAGED
    if not row.certain:
        return ListState.UNKNOWN
    return ListState.IN_SYNC if same else ListState.DIFFERS


def warnings(length: int, limits: Limits) -> list[tuple[str, str]]:
    """What keeps a list of `length` entries from being sent, or from having an effect, as (code, sentence)."""
    found = []
    if limits.supported is False:
        found.append(("feature_not_reported", "The charge point does not report LocalAuthListManagement."))
    if limits.enabled is False:
        found.append(("local_auth_list_disabled", "LocalAuthListEnabled is false: the list has no effect until then."))
    if limits.list_length is not None and length > limits.list_length:
        found.append(
            (
                "longer_than_list_limit",
                f"{length} entries are more than the {limits.list_length} of LocalAuthListMaxLength: not sent.",
            )
        )
    if length and (limits.list_length is None or limits.request_length is None):
        found.append(
            ("list_limits_unknown", "How many entries the charge point takes is not known: read its configuration.")
        )
    return found


# --- sending ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Sync:
    """The commands that bring the charge point to the wanted list; none when it has that already.

    `repeated`: they were queued by an earlier sync and still lead there.
    """

    commands: list[Command]
    batch: CommandBatch | None
    update_type: str | None
    repeated: bool = False


@transaction.atomic
def sync(
    charge_point: ChargePoint,
    requested_by: str,
    full: bool | None = None,
    *,
    reason: str = "",
    batch: CommandBatch | None = None,
    now: datetime | None = None,
) -> Sync:
    """Queue what turns the installed list into the wanted one, in as many requests as the charge point needs.

    `full` None: the difference where what is installed is known for certain and the difference is not longer, else the
    full list. True sends the full list even when nothing differs. Removals go first, so that no part is too long.
    Raises CommandRefused: `no_desired_list`, `list_too_long` (LocalAuthListMaxLength), `list_being_sent` (another list
    is on its way), `installed_list_uncertain` (for `full` False), `list_versions_exhausted`, and those of enqueue.
    """
    now = now or datetime.now(UTC)
    row = LocalAuthList.objects.of(charge_point.pk, lock=True)
    row.charge_point = charge_point
    if not row.source:
        raise CommandRefused("no_desired_list", "It is not said which id tags the charge point shall have.")
    found = difference(row, now)
    target = Sum.of(entry.fingerprint for entry in found.wanted).fingerprint
    waiting = list(
        Command.objects.filter(charge_point=charge_point, action=ACTION, status__in=OPEN_STATUSES).order_by("id")
    )
    parts = [command for command in waiting if row.batch_id is not None and command.batch_id == row.batch_id]
    if parts:
        underway = _underway(row, parts, target, full)
        if underway is not None:
            return underway
        # The parts after the first go with it.
        commands.withdraw(parts[0])
    certain = row.certain and len(waiting) == len(parts)
    if full is False and not certain:
        raise CommandRefused(
            "installed_list_uncertain", "What is installed is not known for certain; only the full list can be sent."
        )
    if certain and not found and not full:
        return Sync([], None, None)
    if full is None:
        full = not certain or len(found) > len(found.wanted)
    limits = Limits.of(charge_point)
    _check_length(found, limits)
    requests = _requests(charge_point, found, full, limits)
    if batch is None:
        batch = CommandBatch.objects.create(action=ACTION, requested_by=requested_by[:200], created_at=now)
    queued = [
        commands.enqueue(
            charge_point, ACTION, {"listVersion": version, **request}, requested_by, reason=reason, batch=batch
        )
        for version, request in zip(versions(row, len(requests)), requests, strict=True)
    ]
    row.batch, row.target_fingerprint = batch, target
    row.save(update_fields=["batch", "target_fingerprint"])
    return Sync(queued, batch, FULL if full else DIFFERENTIAL)


def _underway(row: LocalAuthList, parts: list[Command], target: int, full: bool | None) -> Sync | None:
    """The sync that is still open, when it leads where the new one would; None when it has to be replaced."""
    first = Command.objects.filter(batch_id=row.batch_id, charge_point_id=row.charge_point_id).order_by("id").first()
    update_type = first.payload["updateType"] if first is not None else None
    if row.target_fingerprint == target and (full is None or (update_type == FULL) == full):
        return Sync(parts, row.batch, update_type, repeated=True)
    if any(command.status == CommandStatus.SENT for command in parts):
        raise CommandRefused("list_being_sent", "Another list is being sent just now; wait for its answer.")
    return None


def _check_length(found: Difference, limits: Limits) -> None:
    length = len(found.wanted)
    if limits.list_length is not None and length > limits.list_length:
        detail = f"has {length} entries, more than the {limits.list_length} of LocalAuthListMaxLength"
        raise CommandRefused(
            "list_too_long", f"The list {detail}.", [Problem("/localAuthorizationList", detail, "list_too_long")]
        )


def _requests(charge_point: ChargePoint, found: Difference, full: bool, limits: Limits) -> list[dict[str, Any]]:
    """The requests without their versions. The first of a full list replaces, those after it add."""
    entries: list[dict[str, Any]] = [] if full else [{"idTag": id_tag} for id_tag in found.removed]
    for entry in found.wanted if full else (*found.changed, *found.added):
        entries.append({"idTag": entry.id_tag, "idTagInfo": entry.info(charge_point)})
    size = limits.request_length or max(len(entries), 1)
    requests = []
    for start in range(0, max(len(entries), 1), size):
        part = entries[start : start + size]
        request: dict[str, Any] = {"localAuthorizationList": part} if part else {}
        requests.append({**request, "updateType": FULL if full and start == 0 else DIFFERENTIAL})
    return requests


def sync_many(
    charge_points: Iterable[ChargePoint], requested_by: str, full: bool | None = None, *, reason: str = ""
) -> tuple[CommandBatch, list[tuple[ChargePoint, Sync | CommandRefused]]]:
    """`sync` for each of them, as one batch; one that is refused does not keep the others from theirs."""
    now = datetime.now(UTC)
    with transaction.atomic():
        batch = CommandBatch.objects.create(action=ACTION, requested_by=requested_by[:200], created_at=now)
        outcomes: list[tuple[ChargePoint, Sync | CommandRefused]] = []
        for charge_point in charge_points:
            try:
                outcomes.append(
                    (charge_point, sync(charge_point, requested_by, full, reason=reason, batch=batch, now=now))
                )
            except CommandRefused as refused:
                outcomes.append((charge_point, refused))
    return batch, outcomes


def due(now: datetime) -> list[LocalAuthList]:
    """The lists of the open tenant that shall follow by themselves and differ now.

    Only of connected charge points, and never after a failure, a mismatch or drift: then it is the operator's turn.
    """
    rows = LocalAuthList.objects.filter(
        sync_automatically=True,
        charge_point__connected=True,
        charge_point__disabled=False,
        charge_point__registration_status=RegistrationStatus.ACCEPTED,
    ).exclude(source="")
    found = list(rows.select_related("charge_point__tenant"))
    state = states(found, now)
    return [row for row in found if state[row.charge_point_id][0] in (ListState.DIFFERS, ListState.UNKNOWN)]


def reconcile(now: datetime) -> int:
    """Sync the lists that are `due`; the number of those sent. Twice does what once does."""
    sent = 0
    for row in due(now):
        try:
            sent += bool(sync(row.charge_point, BY_ITSELF, now=now).commands)
        except CommandRefused as refused:
            logger.info("The local list of charge point %s is not sent: %s", row.charge_point_id, refused.code)
    return sent
