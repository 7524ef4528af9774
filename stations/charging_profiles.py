"""Charging profiles: what changes in our record of a charge point when it takes, replaces or drops one.

Context: a charge point never tells which profiles it has; it only says yes or no to what it is asked.
Choice: an InstalledProfile is `believed` from the moment SetChargingProfile is Accepted. It becomes `confirmed` when a
composite schedule of the charge point is the one that we compute, and this profile decides a part of it; it is only
`believed` again when a later one disagrees where it should have decided. Nobody is asked for either by itself.
Consequence: a timeout or a CALLERROR changes nothing here, and the rows stay true only as long as nobody else (a local
controller, a service technician) sets profiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q

from csms.ocppj.payloads import order_call
from stations.batch import Batch, flush_open_batch, open_batch
from stations.composite_comparison import Answer, differences
from stations.composite_schedule import (
    NOMINAL_VOLTAGE_V,
    Candidate,
    ConnectorState,
    Schedule,
    composite,
    composite_of_charge_point,
)
from stations.models import ChargePoint, ChargingProfile, Command, Connector, InstalledProfile, Transaction
from stations.models.charging_profile import InstalledState, Purpose
from stations.models.transaction import MAX_TRANSACTION_ID

# Where an action has its charging profile.
PROFILE_MEMBER = {"SetChargingProfile": "csChargingProfiles", "RemoteStartTransaction": "chargingProfile"}


# --- requests ---------------------------------------------------------------------------------------------------------
def with_library_profile(action: str, payload: Mapping[str, Any], row: ChargingProfile) -> dict[str, Any]:
    """`payload` of SetChargingProfile or RemoteStartTransaction with a profile of the library in its place.

    Nothing is added but chargingProfileId. A remote start never has a transactionId (errata v4.0 3.41): one that stands
    in the library is left out there. KeyError for another action.
    """
    profile = row.as_sent
    if action == "RemoteStartTransaction":
        profile.pop("transactionId", None)
    return {**payload, PROFILE_MEMBER[action]: profile}


def with_profile_id(action: str, payload: dict[str, Any]) -> dict[str, Any]:
    """`payload` with a new chargingProfileId if its profile has none; it may be anything, so nothing is relied on."""
    member = PROFILE_MEMBER[action]
    profile = payload.get(member)
    if not isinstance(profile, dict) or "chargingProfileId" in profile:
        return payload
    return {**payload, member: {"chargingProfileId": new_profile_id(), **profile}}


def in_order(profile: Mapping[str, Any]) -> dict[str, Any]:
    """`profile` with its members in the order in which they go on the wire; a JSON column does not keep it."""
    action = "SetChargingProfile"
    ordered: dict[str, Any] = order_call(action, {PROFILE_MEMBER[action]: profile})[PROFILE_MEMBER[action]]
    return ordered


def without_ids(profile: Mapping[str, Any]) -> dict[str, Any]:
    """What makes two profiles the same one: everything but the id and the transaction that are put in when sending."""
    return {name: value for name, value in profile.items() if name not in ("chargingProfileId", "transactionId")}


def new_profile_id() -> int:
    """A chargingProfileId that means no other profile: the next number of the library, taken and left empty."""
    with transaction.atomic():
        row = ChargingProfile.objects.create(profile={})
        number = row.pk
        row.delete()
    return number


# --- what the charge point has ----------------------------------------------------------------------------------------
def install(
    command: Command, connector_id: int, profile: Mapping[str, Any], tx: Transaction | None, now: datetime
) -> InstalledProfile:
    """Record that the charge point has `profile` on `connector_id`, and no longer what that replaced.

    Replaced is what has the same chargingProfileId, or the same purpose and stackLevel on the same connector. A
    TxDefaultProfile of one connector leaves the one of connector 0 in place: that still holds for the other connectors.
    Source: OCPP 1.6 ed. 2, 5.16.2, 3.13.2.
    """
    profile_id, purpose = profile["chargingProfileId"], profile["chargingProfilePurpose"]
    level = profile["stackLevel"]
    with open_batch() as batch:
        batch.transactions.note_profile(command.charge_point_id)
    with transaction.atomic():
        replaced_by(command.charge_point_id, connector_id, profile).delete()
        return InstalledProfile.objects.create(
            charge_point_id=command.charge_point_id,
            connector_id=connector_id,
            charging_profile_id=profile_id,
            library=ChargingProfile.objects.filter(pk=profile_id).first(),
            profile=dict(profile),
            purpose=purpose,
            stack_level=level,
            transaction=tx,
            installed_at=now,
            command=command,
        )


def replaced_by(charge_point_id: int, connector_id: int | None, profile: Mapping[str, Any]) -> Any:
    """The rows that `profile` takes the place of when it is set on `connector_id`."""
    same_level = Q(
        connector_id=connector_id, purpose=profile["chargingProfilePurpose"], stack_level=profile["stackLevel"]
    )
    return InstalledProfile.objects.filter(
        Q(charging_profile_id=profile["chargingProfileId"]) | same_level, charge_point_id=charge_point_id
    )


def installed_by_remote_start(command: Command, tx: Transaction, now: datetime) -> None:
    """The profile that came with the RemoteStartTransaction behind `tx` now holds for it (errata v4.0 3.42).

    Only a TxProfile can: what a charge point makes of another purpose there, the specification does not say.
    """
    profile = command.payload.get("chargingProfile")
    if profile is not None and profile["chargingProfilePurpose"] == Purpose.TX_PROFILE:
        install(command, tx.connector_id, profile, tx, now)


def transaction_ended(batch: Batch, tx: Transaction) -> None:
    """Drop the TxProfiles of a transaction that is over, and those set on its connector for an unknown one.

    One look-up a batch tells whether its charge point has any. Source: OCPP 1.6 ed. 2, 3.13.2.
    """
    if not batch.transactions.has_profiles(tx.charge_point_id):
        return
    of_unknown = Q(transaction__isnull=True, purpose=Purpose.TX_PROFILE, connector_id=tx.connector_id)
    InstalledProfile.objects.filter(Q(transaction=tx) | of_unknown, charge_point_id=tx.charge_point_id).delete()


def matching_criteria(charge_point_id: int, payload: Mapping[str, Any]) -> Any:
    """The rows that a ClearChargingProfile.req means: its id alone, else all that match every criterion given.

    Source: OCPP 1.6 ed. 2, 5.5, 6.11; errata v4.0 3.25, 3.26.
    """
    rows = InstalledProfile.objects.filter(charge_point_id=charge_point_id)
    if "id" in payload:
        return rows.filter(charging_profile_id=payload["id"])
    columns = {"connectorId": "connector_id", "chargingProfilePurpose": "purpose", "stackLevel": "stack_level"}
    return rows.filter(**{column: payload[name] for name, column in columns.items() if name in payload})


def transaction_of(charge_point: ChargePoint, connector_id: int, profile: Mapping[str, Any]) -> Transaction | None:
    """The transaction that a TxProfile is for: the one it names, else the one that runs on the connector."""
    flush_open_batch()
    named = profile.get("transactionId")
    rows = Transaction.objects.filter(charge_point=charge_point)
    if named is not None:
        return rows.filter(pk=named).first() if 1 <= named <= MAX_TRANSACTION_ID else None
    return rows.filter(connector_id=connector_id, stopped_at__isnull=True).order_by("-pk").first()


# --- the composite schedule -------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Installation:
    """The profiles of a charge point with what they depend on: running transactions and connectors, by number."""

    candidates: list[Candidate]
    running: dict[int, Transaction]
    connectors: list[int]

    @classmethod
    def of(cls, charge_point: ChargePoint) -> Installation:
        """As the database has it now: three queries."""
        flush_open_batch()
        rows = InstalledProfile.objects.filter(charge_point=charge_point).order_by("installed_at", "pk")
        transactions = Transaction.objects.open().filter(charge_point=charge_point).order_by("pk")
        running = {tx.connector_id: tx for tx in transactions if tx.connector_id > 0}
        known = Connector.objects.filter(charge_point=charge_point, connector_id__gt=0)
        return cls(
            [Candidate(row.connector_id, row.profile) for row in rows],
            running,
            sorted({*known.values_list("connector_id", flat=True), *running}),
        )

    def schedule(self, connector_id: int, *, start: datetime, duration_seconds: int, unit: str) -> Schedule:
        """The composite schedule of a connector, or of the charge point as a whole (0); as `composite_schedule`."""
        asked: dict[str, Any] = {
            "start": start,
            "duration_seconds": duration_seconds,
            "unit": unit,
            "nominal_voltage_v": NOMINAL_VOLTAGE_V,
        }
        if connector_id > 0:
            state = self._state(connector_id)
            return composite(
                self.candidates,
                connector_id=connector_id,
                transaction_start=state.transaction_start,
                transaction_id=state.transaction_id,
                **asked,
            )
        connectors = [self._state(number) for number in self.connectors]
        return composite_of_charge_point(self.candidates, connectors=connectors, **asked)

    def compare(self, connector_id: int, answer: Answer) -> tuple[bool | None, Schedule]:
        """Whether a charge point's answer is the schedule that we compute, and which of ours that is; see `agrees`.

        Many charge points answer for connector 0 with their ChargePointMaxProfile, whatever the connectors may draw.
        That is as good an answer, but it says nothing about the other profiles. Errors: as `composite_schedule`.
        """
        asked: dict[str, Any] = {
            "start": answer.start,
            "duration_seconds": answer.duration_seconds,
            "unit": answer.unit,
        }
        ours = self.schedule(connector_id, **asked)
        agreed = agrees(ours, answer)
        if agreed is False and connector_id == 0:
            ours = replace(self, connectors=[]).schedule(0, **asked)
            agreed = agrees(ours, answer)
        return agreed, ours

    def _state(self, connector_id: int) -> ConnectorState:
        tx = self.running.get(connector_id)
        return ConnectorState(connector_id) if tx is None else ConnectorState(connector_id, tx.started_at, tx.pk)


def composite_schedule(
    charge_point: ChargePoint, connector_id: int, *, start: datetime, duration_seconds: int, unit: str
) -> Schedule:
    """What we expect the charge point to answer to GetCompositeSchedule, from the profiles that it has.

    `unit` is "A" or "W", converted at 230 V between phase and neutral. Connector 0 is the charge point as a whole.
    Errors: ValueError or OverflowError when a profile cannot be computed with: it has a time that no calendar has.
    """
    return Installation.of(charge_point).schedule(
        connector_id, start=start, duration_seconds=duration_seconds, unit=unit
    )


def agrees(ours: Schedule, answer: Answer) -> bool | None:
    """Whether the charge point's schedule is the one that we compute; None where we know of no limit at all.

    What it limits beyond that is no disagreement: its hardware has limits of its own.
    """
    if any(difference.kind != "only_theirs" for difference in differences(ours, answer)):
        return False
    return True if ours.limited else None


def take_in_agreement(charge_point: ChargePoint, ours: Schedule, agreed: bool, now: datetime) -> list[int]:
    """Confirm the profiles that decide a part of `ours`, or take their confirmation back; their chargingProfileIds."""
    ids = sorted({profile_id for decision in ours.decisions for profile_id in decision.charging_profile_ids})
    rows = InstalledProfile.objects.filter(charge_point=charge_point, charging_profile_id__in=ids)
    if agreed:
        rows.update(state=InstalledState.CONFIRMED, confirmed_at=now)
    else:
        rows.update(state=InstalledState.BELIEVED)
    return ids
