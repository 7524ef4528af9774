"""What a charge costs: a pure function of its facts, a tariff and the time zone of its site.

Context: an accountant must get the same cent from the same facts years later, on any machine, and a driver must be
told why. Choice: integers throughout (mWh, seconds, units of billing/currencies.py), a price for each dimension at each
instant by the first element that matches, and rounding once, at the end, by the rule that `ROUNDING` prints. The charge
is cut where a price may change: at local times, days and clock changes, thresholds of energy and duration, crossings of
power and current. Energy at a cut is interpolated on the register, so the parts add up to the whole whatever the cuts.
Consequence: splitting readings or periods further never changes the sum.

Rules T1 to T15 are those of OCPI 2.2.1 (release-2.2.1-bugfixes), Tariffs and CDRs, with these of ours where the text is
silent: a parking component counts as used when one was active, also at price 0; the step is that of the last period in
which the dimension had a volume; grace is the first so many seconds of parking of the whole charge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

from billing.charge import HOUR, CannotRate, Charge, Register, Reserved
from billing.currencies import MICRO, of_units, rounded
from billing.tariffs import Dimension, Element, Limit, PriceComponent, ReservationKind, Restrictions, Tariff

# Of these rules; a sealed result names the version by which it was made.
VERSION = 1
ROUNDING = (
    "Each line is rounded half away from zero to the digits of the currency (ISO 4217); tax is worked out for each "
    "rate on the sum of its rounded lines and rounded the same way."
)
# Cost in units of billing/currencies.py: of a mWh at one micro a kWh, of a second at one micro an hour.
UNITS_PER_MILLIWH, UNITS_PER_SECOND, UNITS_PER_FLAT = 9, 2500, 9 * MICRO


@dataclass(frozen=True, slots=True)
class Period:
    """A part of the charge in which no price changes; `prices` has a component for each dimension that has a price."""

    start: int
    end: int
    energy_milliwh: int
    parked: bool
    in_grace: bool
    prices: dict[Dimension, PriceComponent]

    @property
    def seconds(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Line:
    """What is charged for one thing at one price. `kind` is energy, time, parking, fixed, reservation or adjustment.

    `quantity` in mWh or seconds, None for a flat price; `surplus` is what of it the step size added. `cost` is exact,
    in the currency's main unit and on the basis of the tariff's prices, `amount` the same rounded.
    """

    kind: str
    price_micro: int
    vat_ppm: int | None
    cost: Fraction
    amount: Fraction
    quantity: int | None = None
    surplus: int = 0
    dimension: Dimension | None = None


@dataclass(frozen=True, slots=True)
class Price:
    """An amount with and without VAT; `incl_vat` None where the tariff names no VAT for a part of it."""

    excl_vat: Fraction
    incl_vat: Fraction | None


@dataclass(frozen=True, slots=True)
class Tax:
    """Of all lines of one rate."""

    vat_ppm: int
    net: Fraction
    tax: Fraction


@dataclass(frozen=True, slots=True)
class Rated:
    """The result. Volumes as they were, `billed_*` with what step sizes added, of what had a price."""

    total: Price
    lines: tuple[Line, ...]
    taxes: tuple[Tax, ...]
    periods: tuple[Period, ...]
    energy_milliwh: int
    seconds: int
    parked_seconds: int
    billed_energy_milliwh: int
    billed_seconds: int
    billed_parked_seconds: int
    version: int = VERSION
    by_kind: dict[str, Price] = field(default_factory=dict)


def rate(charge: Charge, tariff: Tariff, zone: ZoneInfo) -> Rated:
    """Price `charge`. Raises CannotRate for a stop before the start, a falling register, no readings at all."""
    lines: list[Line] = []
    periods: tuple[Period, ...] = ()
    energy = seconds = parked = 0
    billed = {Dimension.ENERGY: 0, Dimension.TIME: 0, Dimension.PARKING_TIME: 0}
    if charge.reservation is not None:
        lines += _reservation_lines(charge.reservation, tariff, zone)
    if charge.reservation is None or not charge.reservation.expired:
        register = Register(charge)
        periods = tuple(_merged(_periods(charge, register, tariff, zone)))
        energy = register.last - register.first
        seconds = charge.stopped_at - charge.started_at
        parked = sum(period.seconds for period in periods if period.parked)
        for line in _lines(periods):
            lines.append(line)
            if line.dimension in billed:
                billed[line.dimension] += line.quantity or 0
    lines = [_rounded(line, tariff.currency) for line in lines]
    lines += _adjustments(lines, tariff)
    return Rated(
        total=_limited(_priced(lines, tariff), tariff),
        lines=tuple(lines),
        taxes=tuple(_taxes(lines, tariff)),
        periods=periods,
        energy_milliwh=energy,
        seconds=seconds,
        parked_seconds=parked,
        billed_energy_milliwh=billed[Dimension.ENERGY],
        billed_seconds=billed[Dimension.TIME],
        billed_parked_seconds=billed[Dimension.PARKING_TIME],
        by_kind={
            kind: _priced([line for line in lines if line.kind == kind], tariff)
            for kind in ("energy", "time", "parking", "fixed", "reservation")
        },
    )


# --- where prices may change ------------------------------------------------------------------------------------------
def _periods(charge: Charge, register: Register, tariff: Tariff, zone: ZoneInfo) -> Iterator[Period]:
    elements = [element for element in tariff.elements if element.restrictions.reservation is None]
    restrictions = [element.restrictions for element in elements]
    names = _measured(restrictions)
    cuts = {(moment, register.at(moment)) for moment in _moments(charge, register, restrictions, tariff, zone, names)}
    for limit in {value for r in restrictions for value in (r.min_energy_milliwh, r.max_energy_milliwh) if value}:
        moment = register.reached(limit)
        if moment is not None:
            cuts.add((moment, register.first + limit))
    grace_left = tariff.grace_seconds
    ordered = sorted(cuts)
    for (start, before), (end, after) in pairwise(ordered):
        parked = any(begin <= start < finish for begin, finish in charge.parked)
        in_grace = parked and grace_left > 0
        if in_grace:
            grace_left -= end - start
        state = _State(
            local=datetime.fromtimestamp(start, zone),
            energy_milliwh=before - register.first,
            duration_seconds=start - charge.started_at,
            power=register.middle("power_milliw", start, end) if "power_milliw" in names else None,
            current=register.middle("current_milliamp", start, end) if "current_milliamp" in names else None,
        )
        prices = dict(_prices(elements, state))
        prices.pop(Dimension.TIME if parked else Dimension.PARKING_TIME, None)
        if in_grace:
            prices.pop(Dimension.PARKING_TIME, None)
        yield Period(start, end, after - before, parked, in_grace, prices)


def _measured(restrictions: Sequence[Restrictions]) -> list[str]:
    """Which of power and current the tariff asks for at all."""
    names = []
    if any(r.min_power_milliw is not None or r.max_power_milliw is not None for r in restrictions):
        names.append("power_milliw")
    if any(r.min_current_milliamp is not None or r.max_current_milliamp is not None for r in restrictions):
        names.append("current_milliamp")
    return names


def _moments(
    charge: Charge,
    register: Register,
    restrictions: Sequence[Restrictions],
    tariff: Tariff,
    zone: ZoneInfo,
    names: Sequence[str],
) -> set[int]:
    """Every second of the charge at which a price may change, its ends included."""
    start, stop = charge.started_at, charge.stopped_at
    moments = {start, stop, *(moment for span in charge.parked for moment in span)}
    moments |= {
        start + limit for r in restrictions for limit in (r.min_duration_seconds, r.max_duration_seconds) if limit
    }
    moments |= local_moments(restrictions, zone, start, stop)
    for name in names:
        moments |= {reading.at for reading in register.readings}
        for r in restrictions:
            for bound in ("min", "max"):
                limit = getattr(r, f"{bound}_{name}")
                if limit is not None:
                    moments.update(register.crossings(name, limit))
    grace_left = tariff.grace_seconds
    for begin, finish in sorted(charge.parked):
        begin, finish = max(begin, start), min(finish, stop)
        if grace_left > 0 and finish > begin:
            moments.add(min(begin + grace_left, finish))
            grace_left -= finish - begin
    return {moment for moment in moments if start <= moment <= stop}


def local_moments(restrictions: Sequence[Restrictions], zone: ZoneInfo, start: int, stop: int) -> set[int]:
    """The instants from `start` to `stop` at which a local time, day or date of a restriction begins or ends.

    A local time that occurs twice begins twice, one that never occurs is left out; where the clock changes is an
    instant of its own, for what it skips may lie inside of a window.
    """
    minutes = {
        minute % (24 * 60) for r in restrictions for minute in (r.start_minute, r.end_minute) if minute is not None
    }
    if minutes or any(r.has_local_day for r in restrictions):
        # A window that is open on one side ends with the day.
        minutes.add(0)
    if not minutes:
        return set()
    found = set(_clock_changes(zone, start, stop))
    day = datetime.fromtimestamp(start, zone).date() - timedelta(days=1)
    last = datetime.fromtimestamp(stop, zone).date() + timedelta(days=1)
    while day <= last:
        for minute in minutes:
            naive = datetime(day.year, day.month, day.day, minute // 60, minute % 60)  # noqa: DTZ001 - local time
            for fold in (0, 1):
                moment = naive.replace(tzinfo=zone, fold=fold)
                if moment.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == naive:
                    found.add(int(moment.timestamp()))
        day += timedelta(days=1)
    return {moment for moment in found if start <= moment <= stop}


def _clock_changes(zone: ZoneInfo, start: int, stop: int) -> Iterator[int]:
    """The seconds at which the zone's offset changes."""
    low = start
    while low < stop:
        high = min(low + 24 * HOUR, stop)
        if _offset(zone, low) != _offset(zone, high):
            before, after = low, high
            while after - before > 1:
                middle = (before + after) // 2
                before, after = (middle, after) if _offset(zone, middle) == _offset(zone, low) else (before, middle)
            yield after
        low = high


def _offset(zone: ZoneInfo, moment: int) -> timedelta | None:
    return datetime.fromtimestamp(moment, zone).utcoffset()


# --- which price holds ------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _State:
    """What restrictions are judged by, at the beginning of a stretch in which none of it changes sides."""

    local: datetime
    energy_milliwh: int
    duration_seconds: int
    power: Fraction | None
    current: Fraction | None


def _prices(elements: Iterable[Element], state: _State) -> Iterator[tuple[Dimension, PriceComponent]]:
    """T1: for each dimension the component of the first element that has one and whose restrictions all match."""
    wanted = set(Dimension)
    for element in elements:
        offered = [component for component in element.components if component.dimension in wanted]
        if offered and _matches(element.restrictions, state):
            for component in offered:
                wanted.discard(component.dimension)
                yield component.dimension, component


def _matches(r: Restrictions, state: _State) -> bool:
    return (
        _in_time(r, state.local.hour * 60 + state.local.minute)
        and _on_day(r, state.local.date())
        and _within(state.energy_milliwh, r.min_energy_milliwh, r.max_energy_milliwh)
        and _within(state.duration_seconds, r.min_duration_seconds, r.max_duration_seconds)
        and _within(state.power, r.min_power_milliw, r.max_power_milliw)
        and _within(state.current, r.min_current_milliamp, r.max_current_milliamp)
    )


def _within(value: int | Fraction | None, least: int | None, most: int | None) -> bool:
    """Inclusive below, exclusive above; a value that is not known is within no limits."""
    if least is None and most is None:
        return True
    return value is not None and (least is None or value >= least) and (most is None or value < most)


def _in_time(r: Restrictions, minute: int) -> bool:
    if not r.has_local_time:
        return True
    start = 0 if r.start_minute is None else r.start_minute
    end = 24 * 60 if r.end_minute is None else r.end_minute
    return start <= minute < end if start < end else minute >= start or minute < end


def _on_day(r: Restrictions, day: date) -> bool:
    return (
        (r.weekdays is None or day.weekday() in r.weekdays)
        and (r.start_date is None or day >= r.start_date)
        and (r.end_date is None or day < r.end_date)
    )


def _merged(periods: Iterable[Period]) -> Iterator[Period]:
    """Neighbours with the same prices as one."""
    open_period: Period | None = None
    for period in periods:
        if open_period is None:
            open_period = period
        elif (open_period.prices, open_period.parked, open_period.in_grace) == (
            period.prices,
            period.parked,
            period.in_grace,
        ):
            energy = open_period.energy_milliwh + period.energy_milliwh
            open_period = replace(open_period, end=period.end, energy_milliwh=energy)
        else:
            yield open_period
            open_period = period
    if open_period is not None:
        yield open_period


# --- lines ------------------------------------------------------------------------------------------------------------
_KINDS = {
    Dimension.FLAT: "fixed", Dimension.ENERGY: "energy", Dimension.TIME: "time", Dimension.PARKING_TIME: "parking",
}  # fmt: skip


def _lines(periods: Sequence[Period]) -> Iterator[Line]:
    """T6 and T7: the flat price once, each volume at its price, what the step size adds at the last one's."""
    flat = next((period.prices[Dimension.FLAT] for period in periods if Dimension.FLAT in period.prices), None)
    if flat is not None:
        yield _line("fixed", flat)
    parking_used = any(Dimension.PARKING_TIME in period.prices for period in periods)
    for dimension in (Dimension.ENERGY, Dimension.TIME, Dimension.PARKING_TIME):
        volumes = [
            (period.prices[dimension], period.energy_milliwh if dimension is Dimension.ENERGY else period.seconds)
            for period in periods
            if dimension in period.prices
        ]
        stepped = dimension is not Dimension.TIME or not parking_used
        yield from _of_volumes(_KINDS[dimension], volumes, stepped=stepped)


def _of_volumes(kind: str, volumes: Sequence[tuple[PriceComponent, int]], *, stepped: bool) -> Iterator[Line]:
    """One line for each price and rate, in the order of their first use."""
    quantities: dict[tuple[int, int | None], int] = {}
    components: dict[tuple[int, int | None], PriceComponent] = {}
    for component, volume in volumes:
        key = (component.price_micro, component.vat_ppm)
        quantities[key] = quantities.get(key, 0) + volume
        components.setdefault(key, component)
    last = next((component for component, volume in reversed(volumes) if volume), None)
    surplus, last_key = 0, None
    if stepped and last is not None:
        step = last.step_size * (1000 if last.dimension is Dimension.ENERGY else 1)
        surplus = -sum(quantities.values()) % step if step else 0
        last_key = (last.price_micro, last.vat_ppm)
    for key, quantity in quantities.items():
        added = surplus if key == last_key else 0
        if quantity + added:
            yield _line(kind, components[key], quantity + added, added)


def _line(kind: str, component: PriceComponent, quantity: int | None = None, surplus: int = 0) -> Line:
    if quantity is None:
        units = component.price_micro * UNITS_PER_FLAT
    else:
        each = UNITS_PER_MILLIWH if component.dimension is Dimension.ENERGY else UNITS_PER_SECOND
        units = quantity * component.price_micro * each
    cost = of_units(units)
    return Line(kind, component.price_micro, component.vat_ppm, cost, cost, quantity, surplus, component.dimension)


def _reservation_lines(reserved: Reserved, tariff: Tariff, zone: ZoneInfo) -> Iterator[Line]:
    """T10: TIME of an expired one replaces that of the reservation; a FLAT alone comes on top."""
    if reserved.end < reserved.start:
        raise CannotRate("reservation_ends_before_it_begins", "The reservation ends before it begins.")
    kinds = {ReservationKind.RESERVATION_EXPIRES: reserved.expired, ReservationKind.RESERVATION: True}
    times: list[tuple[PriceComponent, int]] = []
    for kind, applies in kinds.items():
        elements = [element for element in tariff.elements if element.restrictions.reservation is kind]
        if not applies or not elements:
            continue
        restrictions = [element.restrictions for element in elements]
        moments = {reserved.start, reserved.end, *local_moments(restrictions, zone, reserved.start, reserved.end)}
        moments |= {
            reserved.start + limit
            for r in restrictions
            for limit in (r.min_duration_seconds, r.max_duration_seconds)
            if limit and limit < reserved.end - reserved.start
        }
        flat: PriceComponent | None = None
        timed: list[tuple[PriceComponent, int]] = []
        ordered = sorted(moments)
        for start, end in pairwise(ordered if len(ordered) > 1 else [reserved.start, reserved.end]):
            state = _State(datetime.fromtimestamp(start, zone), 0, start - reserved.start, None, None)
            prices = dict(_prices(elements, state))
            flat = flat or prices.get(Dimension.FLAT)
            if Dimension.TIME in prices:
                timed.append((prices[Dimension.TIME], end - start))
        if flat is not None:
            yield _reservation(_line("reservation", flat))
        times = times or timed
    for line in _of_volumes("reservation", times, stepped=True):
        yield _reservation(line)


def _reservation(line: Line) -> Line:
    """A line of the reservation: its time is no time of the charge."""
    return replace(line, dimension=None)


# --- sums -------------------------------------------------------------------------------------------------------------
def _rounded(line: Line, currency: str) -> Line:
    return replace(line, amount=rounded(line.cost, currency))


def _taxes(lines: Sequence[Line], tariff: Tariff) -> Iterator[Tax]:
    """For each rate, in rising order, the net sum and the tax; lines without a rate are in none."""
    for vat_ppm in sorted({line.vat_ppm for line in lines if line.vat_ppm is not None}):
        amount = sum((line.amount for line in lines if line.vat_ppm == vat_ppm), Fraction(0))
        if tariff.tax_included:
            tax = rounded(amount * vat_ppm / (MICRO + vat_ppm), tariff.currency)
            yield Tax(vat_ppm, amount - tax, tax)
        else:
            yield Tax(vat_ppm, amount, rounded(amount * vat_ppm / MICRO, tariff.currency))


def _priced(lines: Sequence[Line], tariff: Tariff) -> Price:
    amount = sum((line.amount for line in lines), Fraction(0))
    tax = sum((one.tax for one in _taxes(lines, tariff)), Fraction(0))
    if tariff.tax_included:
        return Price(amount - tax, amount)
    unknown = any(line.vat_ppm is None for line in lines)
    return Price(amount, None if unknown else amount + tax)


def _basis(limit: Limit | None, tariff: Tariff) -> Fraction | None:
    """The side of a limit that is on the basis of the tariff's prices."""
    if limit is None:
        return None
    micro = limit.incl_vat_micro if tariff.tax_included else limit.excl_vat_micro
    return None if micro is None else rounded(Fraction(micro, MICRO), tariff.currency)


def _adjustments(lines: Sequence[Line], tariff: Tariff) -> list[Line]:
    """T9: what a minimum or maximum adds or takes, split over the rates in proportion to their sums.

    Largest remainder first, so that the parts add up to the cent.
    """
    amount = sum((line.amount for line in lines), Fraction(0))
    low, high = _basis(tariff.min_price, tariff), _basis(tariff.max_price, tariff)
    wanted = amount
    if low is not None and amount < low:
        wanted = low
    if high is not None and amount > high:
        wanted = high
    if wanted == amount or not lines:
        return []
    sums: dict[int | None, Fraction] = {}
    for line in lines:
        sums[line.vat_ppm] = sums.get(line.vat_ppm, Fraction(0)) + line.amount
    if amount == 0:
        # Nothing to be in proportion to: all of it at the rate of the first line.
        sums = {lines[0].vat_ppm: Fraction(1)}
    total = sum(sums.values(), Fraction(0))
    cent = rounded_step(tariff.currency)
    difference = (wanted - amount) / cent
    shares = {vat_ppm: difference * part / total for vat_ppm, part in sums.items()}
    parts = {vat_ppm: share.numerator // share.denominator for vat_ppm, share in shares.items()}
    rest = int(difference) - sum(parts.values())
    by_remainder = sorted(shares, key=lambda vat_ppm: shares[vat_ppm] - parts[vat_ppm], reverse=True)
    for vat_ppm in by_remainder[:rest]:
        parts[vat_ppm] += 1
    return [
        Line("adjustment", 0, vat_ppm, part * cent, part * cent) for vat_ppm, part in parts.items() if part
    ]  # fmt: skip


def rounded_step(currency: str) -> Fraction:
    """The smallest amount of a currency."""
    smallest = Fraction(1, 10**6)
    while rounded(smallest, currency) == 0 or rounded(smallest, currency) != smallest:
        smallest *= 10
    return smallest


def _limited(price: Price, tariff: Tariff) -> Price:
    """The sides of min_price and max_price each clamp their own side (example 5 of the tariffs chapter)."""

    def clamped(value: Fraction | None, side: str) -> Fraction | None:
        if value is None:
            return None
        for limit, stricter in ((tariff.min_price, max), (tariff.max_price, min)):
            micro = None if limit is None else getattr(limit, side)
            if micro is not None:
                value = stricter(value, rounded(Fraction(micro, MICRO), tariff.currency))
        return value

    excl_vat = clamped(price.excl_vat, "excl_vat_micro")
    return Price(price.excl_vat if excl_vat is None else excl_vat, clamped(price.incl_vat, "incl_vat_micro"))
