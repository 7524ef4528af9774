"""The Local Authorization List Management profile of OCPP 1.6, which the central system begins.

To the charge point: GetLocalListVersion, SendLocalList. What we believe is installed changes on Accepted only, whoever
asked for the update: a sync (stations/local_auth_lists.py), which may take several requests, or an operator with a
payload of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import connection
from ocpp.v16 import call_result

from stations.batch import open_batch
from stations.local_auth_entries import Limits
from stations.models import ChargePoint, Command, LocalAuthList, LocalAuthListEntry
from stations.models.command import CommandStatus
from stations.models.local_auth_list import FINGERPRINTS, MAX_VERSION, UNANSWERED, info_fingerprint
from stations.refusal import CommandRefused

KEYS_PER_QUERY = 500
ROWS_PER_QUERY = 2000
MAX_INT64 = 2**63 - 1
INSTALLED = (
    "installed_version", "installed_complete", "installed_at", "installed_length", "installed_fingerprint",
    "installed_by",
)  # fmt: skip
# Ends of a command that never reached the charge point.
NOT_SENT = (CommandStatus.EXPIRED, CommandStatus.WITHDRAWN)


# --- GetLocalListVersion ----------------------------------------------------------------------------------------------
def get_local_list_version_conf(command: Command, conf: call_result.GetLocalListVersion, now: datetime) -> None:
    """Keep the version that the charge point reported; -1 is "not supported" and 0 "empty", not versions.

    A version that we did not believe is noted on the command and shown as drift; entries are never guessed from it. It
    only tells that a list is empty where we knew nothing, or that an update without an answer was not taken.
    Source: OCPP 1.6 ed. 2, 5.10, 6.27, 6.28; errata v4.0 3.52.
    """
    row = LocalAuthList.objects.of(command.charge_point_id, lock=True)
    version = max(-MAX_INT64, min(MAX_INT64, int(conf.list_version)))
    row.reported_version, row.reported_at = version, now
    columns = ["reported_version", "reported_at"]
    if version == 0 and row.installed_version is None:
        row.installed_version, row.installed_complete, row.installed_at = 0, True, now
        columns += ["installed_version", "installed_complete", "installed_at"]
    elif row.installed_version == version and row.outcome in UNANSWERED:
        row.outcome, row.outcome_at = "", now
        columns += ["outcome", "outcome_at"]
    row.save(update_fields=columns)
    if row.drift:
        detail = f"The charge point reports version {version}; we believed that it has {row.installed_version}."
        command.warnings = [*command.warnings, {"code": "list_version_differs", "detail": detail}]


# --- SendLocalList ----------------------------------------------------------------------------------------------------
def send_local_list_complete(charge_point: ChargePoint, payload: dict[str, Any]) -> dict[str, Any]:
    """Fill in the next listVersion where it was left out; what was given stays, whatever it is.

    Source: OCPP 1.6 ed. 2, 5.15; errata v4.0 3.52.
    """
    if "listVersion" in payload:
        return payload
    # Inside a transaction nobody else gets this version before it ends.
    row = LocalAuthList.objects.of(charge_point.pk, lock=connection.in_atomic_block)
    return {**payload, "listVersion": versions(row, 1)[0]}


def versions(row: LocalAuthList, number: int) -> range:
    """The next `number` versions of a list. Raises CommandRefused `list_versions_exhausted`."""
    first = row.next_version
    if first + number - 1 > MAX_VERSION:
        raise CommandRefused(
            "list_versions_exhausted",
            "There is no greater listVersion left. Send a full list with a listVersion of your choice.",
        )
    return range(first, first + number)


def send_local_list_warnings(charge_point: ChargePoint, payload: dict[str, Any]) -> list[tuple[str, str]]:
    """What the charge point is likely to refuse or not to heed. Two queries, and one more for a differential list.

    Source: OCPP 1.6 ed. 2, 5.15, 9.2; errata v4.0 3.52.
    """
    found: list[tuple[str, str]] = []
    version: int = payload["listVersion"]
    entries: list[dict[str, Any]] = payload.get("localAuthorizationList") or []
    full = payload["updateType"] == "Full"
    row = LocalAuthList.objects.filter(charge_point=charge_point).first()
    if version < 1:
        found.append(("list_version_below_one", f"A list of version {version} cannot be sent; versions begin at 1."))
    elif row is not None and version <= row.present_version:
        found.append(
            ("list_version_not_greater", f"Version {version} is not greater than the present {row.present_version}.")
        )
    elif row is not None and version <= row.highest_version:
        found.append(("list_version_used", f"Version {row.highest_version} has been used for an earlier request."))
    without_info = sum("idTagInfo" not in entry for entry in entries)
    if full and without_info:
        found.append(("entries_without_id_tag_info", f"{without_info} entries of the full list have no idTagInfo."))
    keys = {entry["idTag"].upper() for entry in entries}
    if len(keys) < len(entries):
        found.append(("duplicate_id_tags", "An id tag is listed more than once; capital and small letters are one."))
    found += _beyond_limits(Limits.of(charge_point), row, len(entries), len(keys), full)
    return found


def _beyond_limits(
    limits: Limits, row: LocalAuthList | None, entries: int, length: int, full: bool
) -> list[tuple[str, str]]:
    found = []
    if limits.supported is False:
        found.append(("feature_not_reported", "The charge point does not report LocalAuthListManagement."))
    if limits.enabled is False:
        found.append(("local_auth_list_disabled", "LocalAuthListEnabled is false: the list has no effect until then."))
    if limits.request_length is not None and entries > limits.request_length:
        found.append(
            (
                "longer_than_request_limit",
                f"{entries} entries are more than the {limits.request_length} of SendLocalListMaxLength.",
            )
        )
    if full and limits.list_length is not None and length > limits.list_length:
        found.append(
            (
                "longer_than_list_limit",
                f"{length} entries are more than the {limits.list_length} of LocalAuthListMaxLength.",
            )
        )
    if entries and (limits.request_length is None or limits.list_length is None):
        found.append(
            ("list_limits_unknown", "How many entries the charge point takes is not known: read its configuration.")
        )
    if not full and (row is None or not row.certain):
        found.append(
            ("installed_list_uncertain", "What is installed is not known for certain; a full list would make it so.")
        )
    return found


def send_local_list_queued(command: Command) -> None:
    """Note the version as used: no later request gets it, not even when this one is never sent.

    Source: OCPP 1.6 ed. 2, 5.15.
    """
    version = command.payload["listVersion"]
    row = LocalAuthList.objects.of(command.charge_point_id)
    LocalAuthList.objects.filter(pk=row.pk, highest_version__lt=version).update(highest_version=version)


def send_local_list_conf(command: Command, conf: call_result.SendLocalList, now: datetime) -> None:
    """Accepted: believe that the list is installed. Anything else changes no entry and withdraws what was to follow.

    Nothing is sent again by itself; a full list is offered where the standard recommends one.
    Source: OCPP 1.6 ed. 2, 5.15, 6.41, 6.42, 7.44.
    """
    row = LocalAuthList.objects.of(command.charge_point_id, lock=True)
    if row.installed_by_id is not None and command.pk < row.installed_by_id:
        # An answer so late that a newer list is installed: the two may have mixed.
        row.outcome, row.outcome_at = "unknown", now
        row.save(update_fields=["outcome", "outcome_at"])
        return
    row.outcome, row.outcome_at = str(conf.status)[:50], now
    columns = ["outcome", "outcome_at"]
    if conf.status == "Accepted":
        _install(row, command, now)
        columns += INSTALLED
        if row.highest_version >= MAX_VERSION:
            # An operator began anew with a version of their own.
            row.highest_version = command.payload["listVersion"]
            columns.append("highest_version")
    else:
        _withdraw_following(command, row.outcome)
    row.save(update_fields=columns)


def send_local_list_without_answer(command: Command, now: datetime) -> None:
    """Whether the charge point took the list is not known, unless it was never sent; what was to follow is withdrawn.

    Source: OCPP 1.6 ed. 2, 5.15.
    """
    if command.status not in NOT_SENT:
        row = LocalAuthList.objects.of(command.charge_point_id, lock=True)
        row.outcome = command.status if command.status in UNANSWERED else "unknown"
        row.outcome_at = now
        row.save(update_fields=["outcome", "outcome_at"])
    _withdraw_following(command, command.status)


def _withdraw_following(command: Command, outcome: str) -> None:
    """Withdraw the later parts of the same sync: each only makes sense on top of the one before."""
    if command.batch_id is None:
        return
    following = Command.objects.filter(
        batch_id=command.batch_id,
        charge_point_id=command.charge_point_id,
        action=command.action,
        pk__gt=command.pk,
        status=CommandStatus.QUEUED,
    )
    word = outcome.replace("_", " ")
    detail = f"Not sent: an earlier part of the list (command {command.pk}) ended with {word}."
    rows = list(following.only("pk", "tenant_id", "warnings"))
    for row in rows:
        row.warnings = [*row.warnings, {"code": "earlier_part_not_accepted", "detail": detail}]
        row.status = CommandStatus.WITHDRAWN
    Command.objects.bulk_update(rows, ["status", "warnings"], batch_size=ROWS_PER_QUERY)
    with open_batch() as batch:
        batch.commands.forget(command.charge_point_id)


def _install(row: LocalAuthList, command: Command, now: datetime) -> None:
    """Bring the entries to what the charge point has after accepting `command`."""
    payload = command.payload
    given: list[dict[str, Any]] = payload.get("localAuthorizationList") or []
    entries = {entry["idTag"].upper(): entry for entry in given}
    clear = len(entries) == len(given)
    zone = command.charge_point.zone
    rows = LocalAuthListEntry.objects.filter(local_auth_list_id=row.pk)
    if payload["updateType"] == "Full":
        rows.delete()
        length = total = 0
        row.installed_complete = clear and all("idTagInfo" in entry for entry in given)
    else:
        length, total = row.installed_length, row.installed_fingerprint
        for keys in _chunks(entries):
            touched = rows.filter(key__in=keys)
            marks = list(touched.values_list("fingerprint", flat=True))
            length -= len(marks)
            total -= sum(marks)
            touched.delete()
        # A version that does not follow on the one we believe was built on something else.
        row.installed_complete = row.installed_complete and clear and row.installed_version is not None
    added = [
        LocalAuthListEntry(
            tenant_id=row.tenant_id,
            local_auth_list=row,
            id_tag=entry["idTag"],
            key=key,
            info=entry["idTagInfo"],
            fingerprint=info_fingerprint(key, entry["idTagInfo"], now, zone),
        )
        for key, entry in entries.items()
        if "idTagInfo" in entry
    ]
    LocalAuthListEntry.objects.bulk_create(added, batch_size=ROWS_PER_QUERY)
    row.installed_length = length + len(added)
    row.installed_fingerprint = (total + sum(entry.fingerprint for entry in added)) % FINGERPRINTS
    row.installed_version = payload["listVersion"]
    row.installed_at = now
    row.installed_by = command


def _chunks(keys: Iterable[str]) -> Iterable[list[str]]:
    listed = list(keys)
    return (listed[start : start + KEYS_PER_QUERY] for start in range(0, len(listed), KEYS_PER_QUERY))
