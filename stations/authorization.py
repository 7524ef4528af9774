"""Is this idTag allowed? Used by Authorize, StartTransaction and StopTransaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q

from csms.ocppj.times import format_time
from stations.batch import Batch, flush_open_batch, open_batch
from stations.models import ChargePoint, IdTag, Transaction
from stations.models.refused_id_tag import Refusal

ACCEPTED = "Accepted"
BLOCKED = "Blocked"
EXPIRED = "Expired"
INVALID = "Invalid"
CONCURRENT_TX = "ConcurrentTx"
REASONS = {
    BLOCKED: Refusal.BLOCKED,
    EXPIRED: Refusal.EXPIRED,
    INVALID: Refusal.OTHER_SITE,
    CONCURRENT_TX: Refusal.CONCURRENT,
}
# What is said to whoever sends a request for a card that would be refused.
WARNINGS = {
    BLOCKED: ("id_tag_blocked", "The id tag {} is blocked."),
    EXPIRED: ("id_tag_expired", "The id tag {} has expired."),
    INVALID: ("id_tag_not_accepted", "The id tag {} is not registered, or not allowed here."),
}


@dataclass(frozen=True, slots=True)
class Authorization:
    """The answer to one question: a status of OCPP 1.6 section 7.2, and what the charge point may remember with it."""

    status: str
    id_tag: IdTag | None = None
    expiry_date: datetime | None = None
    parent_id_tag: str = ""

    @property
    def accepted(self) -> bool:
        return self.status == ACCEPTED

    def id_tag_info(self, charge_point: ChargePoint) -> dict[str, Any]:
        """The idTagInfo of a confirmation, as on the wire."""
        info: dict[str, Any] = {}
        if self.expiry_date is not None:
            info["expiryDate"] = format_time(self.expiry_date, milliseconds=charge_point.send_milliseconds)
        if self.parent_id_tag:
            info["parentIdTag"] = self.parent_id_tag
        info["status"] = self.status
        return info


def authorize(charge_point: ChargePoint, id_tag: str, now: datetime) -> Authorization:
    """Say whether `id_tag` may charge at `charge_point` at `now`; never ConcurrentTx.

    Checked in this order: unknown, blocked, expired, not allowed at this site. Only ids of the same tenant exist.
    Source: OCPP 1.6 ed. 2, 4.2, 7.2; parent ids 3.10.
    """
    with open_batch() as batch:
        row = batch.id_tag(id_tag)
        if row is None:
            return Authorization(ACCEPTED if charge_point.accept_any_id_tag else INVALID)
        return Authorization(_status(charge_point, row, now), row, row.expiry_date, row.parent_id_tag)


def warnings_about(id_tag: str, status: str) -> list[tuple[str, str]]:
    """The warning, as (code, detail), about a request for `id_tag` whose answer would be `status`; none if Accepted."""
    if status not in WARNINGS:
        return []
    code, sentence = WARNINGS[status]
    return [(code, sentence.format(id_tag))]


def presented(charge_point: ChargePoint, id_tag: str, action: str, now: datetime) -> Authorization:
    """As `authorize`, of a card that somebody holds to the reader; a refusal is noted, with the message it came in."""
    with open_batch() as batch:
        answer = authorize(charge_point, id_tag, now)
        _note(batch, charge_point, id_tag, answer, action, now)
        return answer


def _note(
    batch: Batch, charge_point: ChargePoint, id_tag: str, answer: Authorization, action: str, now: datetime
) -> None:
    if answer.accepted:
        return
    if answer.id_tag is None:
        reason = Refusal.UNKNOWN
    else:
        reason = REASONS[answer.status]
    batch.add_refused_id_tag(charge_point.pk, id_tag, answer.status, reason.value, action, now)


def _status(charge_point: ChargePoint, id_tag: IdTag, now: datetime) -> str:
    if id_tag.blocked:
        return BLOCKED
    if id_tag.expiry_date is not None and id_tag.expiry_date <= now:
        return EXPIRED
    if not charge_point.accept_any_id_tag and id_tag.site_ids and charge_point.site_id not in id_tag.site_ids:
        return INVALID
    return ACCEPTED


def authorize_start(charge_point: ChargePoint, connector_id: int, id_tag: str, now: datetime) -> Authorization:
    """As `authorize`, with the check that only StartTransaction may fail: ConcurrentTx.

    Off unless the tenant has switched it on or the tag has a maximum of its own. Counted are transactions of the same
    tag that are really running: at a charge point that is offline the stop may be queued already, and what is still
    open on the connector that starts now has ended without a stop, so they do not count.
    The transaction a repeated request has already opened is answered before this is asked.
    """
    with open_batch() as batch:
        answer = _start(charge_point, connector_id, id_tag, now)
        _note(batch, charge_point, id_tag, answer, "StartTransaction", now)
        return answer


def _start(charge_point: ChargePoint, connector_id: int, id_tag: str, now: datetime) -> Authorization:
    authorization = authorize(charge_point, id_tag, now)
    if not authorization.accepted:
        return authorization
    row = authorization.id_tag
    limit = row.max_active_transactions if row is not None else None
    if limit is None and charge_point.tenant.concurrent_tx_enabled:
        limit = 1
    if limit is None:
        return authorization
    flush_open_batch()
    # A tag and its aliases are one; of one that nobody registered there is only its text.
    same = Q(id_tag_key=id_tag.upper()) if row is None else Q(id_tag_key=row.key) | Q(id_tag_row=row.pk)
    running = Transaction.objects.open().filter(same, charge_point__connected=True)
    if connector_id > 0:
        running = running.exclude(charge_point=charge_point, connector_id=connector_id)
    if running.count() < limit:
        return authorization
    return Authorization(CONCURRENT_TX, row, authorization.expiry_date, authorization.parent_id_tag)


def authorize_stop(charge_point: ChargePoint, tx: Transaction | None, id_tag: str, now: datetime) -> Authorization:
    """Status of the idTag in a StopTransaction: the starter and its group are accepted, whatever became of them since.

    Source: OCPP 1.6 ed. 2, 4.10.
    """
    authorization = authorize(charge_point, id_tag, now)
    if tx is None or authorization.accepted:
        return authorization
    row = authorization.id_tag
    same_tag = tx.id_tag_key == id_tag.upper() or (row is not None and tx.id_tag_row_id == row.pk)
    same_group = bool(tx.parent_id_tag) and tx.parent_id_tag.upper() == authorization.parent_id_tag.upper()
    if (same_tag and tx.id_tag_status == ACCEPTED) or same_group:
        return Authorization(ACCEPTED, authorization.id_tag, authorization.expiry_date, authorization.parent_id_tag)
    return authorization
