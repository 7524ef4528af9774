"""From sampled values as sent to rows: one row a MeterValue element, the usual measurands normalised.

On the hot path: a MeterValues of ten samples has some ten microseconds here, so this is one plain loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from csms.ocppj.frames import dumps
from csms.ocppj.times import parse_time
from stations.batch import Batch
from stations.bulk import Json
from stations.models import ChargePoint
from stations.same_reading import digest, number_text

ENERGY = "Energy.Active.Import.Register"
POWER = "Power.Active.Import"
SOC = "SoC"
# What a unit is multiplied by to give Wh or W; no unit is the usual one (OCPP 1.6 section 7.47).
SCALE = {
    ENERGY: {"": 1, "wh": 1, "kwh": 1000},
    POWER: {"": 1, "w": 1, "kw": 1000},
    SOC: {"": 1, "percent": 1, "%": 1},
}
PHASES = {"L1", "L2", "L3", "L1-N", "L2-N", "L3-N"}
# How far the context of a value makes it the present one; what is not named here is an ordinary sample.
ORDINARY = 2
RANKS = {"Interruption.Begin": 0, "Interruption.End": 0, "Transaction.Begin": 1, "Transaction.End": 3}
# numeric(15, 3)
ENERGY_LIMIT = Decimal(10) ** 12
MILLI = Decimal("0.001")
NEVER = datetime.min.replace(tzinfo=UTC)
OLDEST_CREDIBLE = datetime(2010, 1, 1, tzinfo=UTC)
CLOCK_AHEAD = timedelta(days=1)

SampledValue = dict[str, Any]
# transaction_id, transaction_ref and matched_by of a reading, from its time and whether that is one to go by.
OwnerAt = Callable[[datetime, bool], tuple[int | None, str, str]]


def record(
    batch: Batch,
    charge_point: ChargePoint,
    connector_id: int,
    owner_at: OwnerAt,
    elements: Iterable[dict[str, Any]],
    now: datetime,
) -> None:
    """Add one row for each MeterValue element of `elements` (OCPP JSON) to the batch.

    `owner_at(time, credible)` says whose it is, as `matching.Readings.of`. A time that cannot be read becomes the time
    of receipt; a value that is not a number stays in `sampled_value` only.
    """
    zone = charge_point.zone
    latest = now + CLOCK_AHEAD
    for element in elements:
        sampled = element.get("sampledValue") or []
        energy, power, soc = normalise(sampled)
        text = dumps(sampled)
        given = parse_time(element.get("timestamp"), zone)
        at = given or now
        credible = given is not None and OLDEST_CREDIBLE <= given <= latest
        batch.add_meter_value(
            charge_point.pk,
            connector_id,
            *owner_at(at, credible),
            at,
            now,
            None if energy is None else str(energy),
            power,
            soc,
            Json(text),
            digest(text, len(sampled)),
        )


def normalise(sampled: list[SampledValue]) -> tuple[Decimal | None, float | None, float | None]:
    """`(energy_wh, power_w, soc_percent)` of one element.

    The overall value wins; where only phases are given (L1, L2, L3) energy and power are their sum. The Outlet is the
    place billing knows; a value measured elsewhere counts only when there is none from the Outlet. Of several values
    of one measurand the present one counts, by its context (RANKS), whatever the order; of the same context the last.
    """
    overall: dict[tuple[str, bool], Decimal] = {}
    phases: dict[tuple[str, bool], dict[str, Decimal]] = {}
    ranks: dict[tuple[tuple[str, bool], str | None], int] = {}
    for sample in sampled:
        measurand = sample.get("measurand") or ENERGY
        scale = SCALE.get(measurand)
        if scale is None or sample.get("format") == "SignedData":
            continue
        factor = scale.get((sample.get("unit") or "").lower())
        value = number(sample.get("value"))
        if factor is None or value is None:
            continue
        key = (measurand, (sample.get("location") or "Outlet") == "Outlet")
        phase = sample.get("phase")
        rank = RANKS.get(sample.get("context") or "", ORDINARY)
        if rank < ranks.get((key, phase), 0):
            continue
        ranks[key, phase] = rank
        if phase is None:
            overall[key] = value * factor
        elif phase in PHASES:
            phases.setdefault(key, {})[phase] = value * factor
    energy = _chosen(ENERGY, overall, phases)
    power = _chosen(POWER, overall, phases)
    soc = overall.get((SOC, True), overall.get((SOC, False)))
    if energy is not None:
        energy = energy.quantize(MILLI) if abs(energy) < ENERGY_LIMIT else None
    return energy, None if power is None else float(power), None if soc is None else float(soc)


def _chosen(
    measurand: str, overall: dict[tuple[str, bool], Decimal], phases: dict[tuple[str, bool], dict[str, Decimal]]
) -> Decimal | None:
    for at_outlet in (True, False):
        key = (measurand, at_outlet)
        if key in overall:
            return overall[key]
        if key in phases:
            return sum(phases[key].values(), Decimal(0))
    return None


def number(value: object) -> Decimal | None:
    """A value as sent (text or JSON number) as a finite decimal, else None."""
    try:
        result = Decimal(value if isinstance(value, str) else str(value))
    except InvalidOperation:
        return None
    return result if result.is_finite() and -300 < result.adjusted() < 300 else None


def sample_key(sample: SampledValue) -> tuple[str, ...]:
    """What makes two readings of one instant the same reading, with the defaults filled in."""
    return (
        sample.get("measurand") or ENERGY,
        sample.get("context") or "Sample.Periodic",
        sample.get("phase") or "",
        sample.get("location") or "Outlet",
        number_text(str(sample.get("value"))),
    )


def without_known(
    elements: Iterable[dict[str, Any]], known: dict[datetime, set[tuple[str, ...]]], charge_point: ChargePoint
) -> list[dict[str, Any]]:
    """The elements of a transactionData less the readings that MeterValues brought already.

    `known` maps an instant to the sample_key of each reading stored for it.
    """
    new = []
    for element in elements:
        seen = known.get(parse_time(element.get("timestamp"), charge_point.zone) or NEVER, set())
        samples = [sample for sample in element.get("sampledValue") or [] if sample_key(sample) not in seen]
        if samples:
            new.append({**element, "sampledValue": samples})
    return new
