"""Reservation: a connector kept free for one id tag and its group until a date.

What ends a reservation happens at the charge point; here it is recorded. Each transition is one conditional UPDATE, so
that the charge point's message, the operator and the job may meet on a row and the first of them holds.

| From      | On                                                                     | To                       |
|-----------|------------------------------------------------------------------------|--------------------------|
| (none)    | ReserveNow queued, by whichever way                                    | Requested                |
| any       | ReserveNow with the same reservationId queued: replaced                | Requested                |
| Requested | its answer, also a late one                                            | the word of the answer   |
| Requested | CALLERROR, withdrawn, expired before it was sent                       | Rejected                 |
| Requested | no answer, connection lost: the charge point may have made it          | Requested, until its date |
| Accepted  | CancelReservation answered Accepted, or Rejected (there is none)       | Cancelled                |
| Accepted  | its connector, or connector 0, Faulted or Unavailable                  | Faulted, Unavailable     |
| Accepted  | a start of its id tag or group on its connector, without reservationId | Used                     |
| any       | StartTransaction with its reservationId                                | Used                     |
| Requested, Accepted | its date                                                     | Expired                  |

A replacement that is never sent gives the earlier reservation back: the charge point still has it. Requested and
Accepted are live: they may keep a connector from others. Nothing is sent at the end of a reservation unless the
operator cancels it.
Source: OCPP 1.6 ed. 2, 4.8, 5.1, 5.13, 7.39.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Self

from django.db import models
from django.db.models import F, Q

from stations.models.charge_point import ChargePoint
from stations.models.command import Command
from stations.models.transaction import Flag, Transaction
from tenants.scoped import TenantManager, TenantModel, TenantQuerySet, tenant_foreign_key

MAX_RESERVATION_ID = 2**31 - 1
# How far a charge point's clock may be off before a start at the edge of a reservation is taken for another one.
CLOCK_TOLERANCE = timedelta(minutes=1)


class ReservationStatus(models.TextChoices):
    """What a ReserveNow is answered with (OCPP 1.6 section 7.39), and how a reservation ends."""

    REQUESTED = "Requested"
    ACCEPTED = "Accepted"
    FAULTED = "Faulted"
    OCCUPIED = "Occupied"
    REJECTED = "Rejected"
    UNAVAILABLE = "Unavailable"
    CANCELLED = "Cancelled"
    EXPIRED = "Expired"
    USED = "Used"


class EndReason(models.TextChoices):
    """Why a reservation is live no more."""

    REFUSED = "refused", "The charge point refused it"
    CALL_ERROR = "call_error", "The charge point answered ReserveNow with an error"
    NOT_SENT = "not_sent", "The charge point did not connect in time; ReserveNow was never sent"
    WITHDRAWN = "withdrawn", "ReserveNow was withdrawn before it was sent"
    USED = "used", "A transaction was started under it"
    EXPIRED = "expired", "Its time is over"
    CANCELLED = "cancelled", "It was cancelled"
    CANCEL_REJECTED = "cancel_rejected", "The charge point refused to cancel it: it has no such reservation"
    OUT_OF_SERVICE = "out_of_service", "The connector went out of service"


LIVE = (ReservationStatus.REQUESTED, ReservationStatus.ACCEPTED)
REFUSALS = (
    ReservationStatus.FAULTED, ReservationStatus.OCCUPIED, ReservationStatus.REJECTED, ReservationStatus.UNAVAILABLE,
)  # fmt: skip
# Statuses of a connector that end what is reserved on it (OCPP 1.6 section 5.13).
ENDING_STATUSES = ("Faulted", "Unavailable")
# What a replacement hides, as long as it is not sent.
REPLACED = (
    "connector_id", "id_tag", "parent_id_tag", "expiry_date", "status", "command_id", "cancel_command_id",
    "requested_by", "requested_at", "accepted_at",
)  # fmt: skip
_TIMES = ("expiry_date", "requested_at", "accepted_at")


class ReservationNumber(TenantModel):
    """A reservationId that was given out: the key of the table, from a sequence that no transaction gives back."""

    tenant = tenant_foreign_key(db_index=False)
    id = models.AutoField(primary_key=True)

    class Meta(TenantModel.Meta):
        indexes = [models.Index(fields=["tenant", "id"], name="reservation_number_of_tenant")]

    def __str__(self) -> str:
        return str(self.pk)


class ReservationQuerySet(TenantQuerySet["Reservation"]):
    def new_id(self) -> int:
        """A reservationId that nobody in the open tenant has or had; 31 bits, positive."""
        while True:
            number = ReservationNumber.objects.create().pk
            # An operator may have chosen the same number by hand.
            if not self.filter(reservation_id=number).exists():
                return int(number)

    def live(self, now: datetime) -> Self:
        return self.filter(status__in=LIVE, expiry_date__gt=now)

    def in_status(self, status: str, now: datetime) -> Self:
        """Rows that are in `status` at `now`, whether or not the job has written it."""
        over = Q(status__in=LIVE, expiry_date__lte=now)
        if status == ReservationStatus.EXPIRED:
            return self.filter(Q(status=status) | over)
        return self.filter(status=status).exclude(over)

    # --- asked --------------------------------------------------------------------------------------------------------
    def request(self, command: Command, **facts: Any) -> Reservation:
        """The Requested reservation of a queued ReserveNow; replaces the one that has its reservationId there.

        `facts`: reservation_id, connector_id, id_tag, parent_id_tag, expiry_date, requested_at. The caller has opened a
        transaction.
        """
        facts |= {
            "id_tag_key": facts["id_tag"].upper(), "status": ReservationStatus.REQUESTED, "command": command,
            "cancel_command": None, "transaction": None, "requested_by": command.requested_by, "accepted_at": None,
            "ended_at": None, "end_reason": "", "replaced": None,
        }  # fmt: skip
        key = {"charge_point": command.charge_point, "reservation_id": facts.pop("reservation_id")}
        row, created = self.select_for_update().get_or_create(**key, defaults=facts)
        if not created:
            facts["replaced"] = row.as_replaced() if row.is_live(facts["requested_at"]) else None
            for name, value in facts.items():
                setattr(row, name, value)
            row.save()
        return row

    # --- answered -----------------------------------------------------------------------------------------------------
    def answer(self, command: Command, status: str, now: datetime) -> Reservation | None:
        """Record the charge point's answer to the ReserveNow of `command`; None when it changes nothing any more.

        What a newer ReserveNow replaced, a transaction used, or the operator cancelled meanwhile stays as it is.
        """
        row = self._unanswered(command).first()
        if row is None:
            return None
        if status != ReservationStatus.ACCEPTED:
            row.status = ReservationStatus(status) if status in REFUSALS else ReservationStatus.REJECTED
            row.ended_at, row.end_reason = now, EndReason.REFUSED
        else:
            row.accepted_at = now
            row.status, row.ended_at, row.end_reason = ReservationStatus.ACCEPTED, None, ""
        row.at(now)
        row.replaced = None
        # Where it is still that of this command: the operator may be replacing it in another process.
        names = ("status", "accepted_at", "ended_at", "end_reason", "replaced")
        return row if self._unanswered(command).update(**{name: getattr(row, name) for name in names}) else None

    def never_made(self, command: Command, reason: EndReason, now: datetime) -> None:
        """Close what is certain not to have been made; what the charge point had under that id before is back."""
        row = self._unanswered(command).first()
        if row is not None and row.replaced is not None and reason in (EndReason.NOT_SENT, EndReason.WITHDRAWN):
            self._unanswered(command).update(**row.given_back())
        elif row is not None:
            self._unanswered(command)._end(ReservationStatus.REJECTED, reason, now)

    def _unanswered(self, command: Command) -> Self:
        """The reservation of this ReserveNow until its charge point has answered, also when its date has passed."""
        waiting = (ReservationStatus.REQUESTED, ReservationStatus.EXPIRED)
        return self.filter(command=command, accepted_at__isnull=True, status__in=waiting)

    # --- ended --------------------------------------------------------------------------------------------------------
    def use(self, tx: Transaction, now: datetime) -> int:
        """Tie `tx`, which has just started, to the reservation that it ends; gives 1, or 0 for none.

        With a reservationId the charge point has said which one, and it holds whatever our record says: it may have
        expired here while the charge point was offline. 0 and less are what some send for none, and an unknown one
        ends nothing. Without an id: "a transaction is started for the reserved idTag or parentIdTag and on the reserved
        connector or any connector when the reserved connectorId is 0" (OCPP 1.6 section 5.13).
        """
        if tx.reservation_id is not None and tx.reservation_id > MAX_RESERVATION_ID:
            return 0
        if tx.reservation_id is not None and tx.reservation_id > 0:
            named = self.filter(charge_point_id=tx.charge_point_id, reservation_id=tx.reservation_id)
            unused = named.exclude(status=ReservationStatus.USED)
            return unused._end(ReservationStatus.USED, EndReason.USED, now, transaction=tx)
        started_at = now if Flag.CLOCK_SUSPECT in tx.flags else tx.started_at
        candidates = self.filter(
            charge_point_id=tx.charge_point_id,
            status__in=LIVE,
            connector_id__in=(0, tx.connector_id),
            # A transaction that a charge point reports hours later was not started under what was reserved since.
            requested_at__lte=started_at + CLOCK_TOLERANCE,
            expiry_date__gt=started_at - CLOCK_TOLERANCE,
        ).order_by("-connector_id", "pk")
        for reservation in candidates:
            if reservation.is_for(tx):
                rows = self.filter(pk=reservation.pk, status__in=LIVE)
                return rows._end(ReservationStatus.USED, EndReason.USED, now, transaction=tx)
        return 0

    def cancelled(self, command: Command, accepted: bool, now: datetime) -> None:
        """Record the answer to a CancelReservation. Rejected means that the charge point has none by that id."""
        rows = self.filter(
            # Not one that was asked for again after this CancelReservation.
            Q(command__isnull=True) | Q(command_id__lt=command.pk),
            charge_point_id=command.charge_point_id,
            reservation_id=command.payload["reservationId"],
        )
        if accepted:
            rows.filter(status__in=(*LIVE, ReservationStatus.EXPIRED))._end(
                ReservationStatus.CANCELLED, EndReason.CANCELLED, now
            )
        else:
            rows.expire(now)
            rows.filter(status__in=LIVE)._end(ReservationStatus.CANCELLED, EndReason.CANCEL_REJECTED, now)

    def out_of_service(self, charge_point_id: int, connector_id: int, status: str, now: datetime) -> int:
        """End what is reserved on a connector that is Faulted or Unavailable; connector 0 is the charge point itself.

        A reservation of any connector (0) outlives the fault of one of them.
        """
        rows = self.filter(charge_point_id=charge_point_id, status=ReservationStatus.ACCEPTED, expiry_date__gt=now)
        if connector_id != 0:
            rows = rows.filter(connector_id=connector_id)
        return rows._end(ReservationStatus(status), EndReason.OUT_OF_SERVICE, now)

    def expire(self, now: datetime) -> int:
        """Close what is over at `now`; the number of rows."""
        rows = self.filter(status__in=LIVE, expiry_date__lte=now)
        return rows._end(ReservationStatus.EXPIRED, EndReason.EXPIRED, F("expiry_date"))

    def _end(self, status: ReservationStatus, reason: EndReason, at: datetime | F, **values: Any) -> int:
        return self.update(status=status, end_reason=reason, ended_at=at, replaced=None, **values)


class Reservation(TenantModel):
    """One reservation; `reservation_id` is the OCPP reservationId, `connector_id` 0 means any connector.

    `status` as stored may be behind by the seconds that the job for expiry takes: ask `at(now)`. `expiry_date` is what
    went on the wire. `replaced` holds what a replacement with the same id hides until it has been sent.
    """

    tenant = tenant_foreign_key(db_index=False)
    charge_point = models.ForeignKey(ChargePoint, on_delete=models.CASCADE, related_name="reservations", db_index=False)
    reservation_id = models.IntegerField()
    connector_id = models.IntegerField()
    id_tag = models.CharField(max_length=20)
    # Upper case may be longer than what it was made of: "ß" becomes "SS".
    id_tag_key = models.CharField(max_length=60, editable=False)
    parent_id_tag = models.CharField(max_length=20, blank=True)
    expiry_date = models.DateTimeField()
    status = models.CharField(max_length=11, choices=ReservationStatus.choices, default=ReservationStatus.REQUESTED)
    end_reason = models.CharField(max_length=20, choices=EndReason.choices, blank=True)
    transaction = models.ForeignKey(Transaction, null=True, on_delete=models.SET_NULL, related_name="reservations")
    command = models.ForeignKey(Command, null=True, on_delete=models.SET_NULL, related_name="reservations")
    cancel_command = models.ForeignKey(Command, null=True, on_delete=models.SET_NULL, related_name="+")
    requested_by = models.CharField(max_length=200)
    requested_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    replaced = models.JSONField(null=True, editable=False)

    objects = TenantManager.from_queryset(ReservationQuerySet)()

    class Meta(TenantModel.Meta):
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["charge_point", "reservation_id"], name="reservation_id_per_charge_point")
        ]
        indexes = [
            models.Index(fields=["charge_point", "-id"], name="reservation_newest_of_station"),
            models.Index(fields=["tenant", "-id"], name="reservation_newest_of_tenant"),
            models.Index(fields=["tenant", "reservation_id"], name="reservation_by_number"),
            models.Index(fields=["tenant", "id_tag_key", "-id"], name="reservation_by_id_tag"),
            models.Index(
                fields=["expiry_date"], condition=Q(status__in=["Requested", "Accepted"]), name="reservation_expiry"
            ),
        ]

    def __str__(self) -> str:
        return str(self.reservation_id)

    def is_live(self, now: datetime) -> bool:
        return self.status in LIVE and self.expiry_date > now

    def at(self, now: datetime) -> Self:
        """This row as it is at `now`, not saved: Expired once its date has passed."""
        if self.status in LIVE and self.expiry_date <= now:
            self.status, self.end_reason = ReservationStatus.EXPIRED, EndReason.EXPIRED
            self.ended_at = self.expiry_date
        return self

    def is_for(self, tx: Transaction) -> bool:
        """Whether `tx` was started by the reserving id tag, or by one of the group that ReserveNow named."""
        if self.id_tag_key == tx.id_tag_key:
            return True
        return bool(self.parent_id_tag) and self.parent_id_tag.upper() == tx.parent_id_tag.upper()

    def as_replaced(self) -> dict[str, Any]:
        """What a replacement hides, as JSON."""
        values = {name: getattr(self, name) for name in REPLACED}
        return values | {name: values[name] and values[name].isoformat() for name in _TIMES}

    def given_back(self) -> dict[str, Any]:
        """The values of the reservation that a replacement, which was never sent, had hidden."""
        values: dict[str, Any] = {
            name: datetime.fromisoformat(value) if name in _TIMES and value else value
            for name, value in (self.replaced or {}).items()
        }
        ended: dict[str, Any] = {"ended_at": None, "end_reason": "", "replaced": None}
        return values | {"id_tag_key": values["id_tag"].upper()} | ended
