"""A tariff in words, the price of a kWh first, as people read it before they plug in."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from billing.currencies import MICRO, nearest_text
from billing.tariffs import WEEKDAYS, Dimension, Element, Limit, PriceComponent, ReservationKind, Restrictions, Tariff

# A price of energy first, then what time costs, then the rest.
_ORDER = (Dimension.ENERGY, Dimension.TIME, Dimension.PARKING_TIME, Dimension.FLAT)
_UNITS = {
    Dimension.ENERGY: " per kWh", Dimension.TIME: " per hour of charging",
    Dimension.PARKING_TIME: " per hour of parking without charging", Dimension.FLAT: " per charge",
}  # fmt: skip
_LEAST_DIGITS = 2


def describe(tariff: Tariff) -> str:
    """One sentence for each price: "0.39 EUR per kWh (from 22:00 to 06:00); 0.49 EUR per kWh otherwise." and so on."""
    sentences = list(_prices(tariff, None))
    for kind, words in (
        (ReservationKind.RESERVATION, "Reservation"),
        (ReservationKind.RESERVATION_EXPIRES, "Reservation that expires"),
    ):
        sentences += [f"{words}: {sentence}" for sentence in _prices(tariff, kind)]
    if tariff.grace_seconds:
        sentences.append(
            f"The first {nearest_text(Fraction(tariff.grace_seconds, 60), 2)} minutes of parking are free."
        )
    for limit, words in ((tariff.min_price, "At least"), (tariff.max_price, "At most")):
        if limit is not None:
            sentences.append(f"{words} {_limit(limit, tariff.currency)}.")
    sentences.append("Prices include VAT." if tariff.tax_included else "Prices exclude VAT.")
    return " ".join(sentences)


def _prices(tariff: Tariff, kind: ReservationKind | None) -> Iterator[str]:
    elements = [element for element in tariff.elements if element.restrictions.reservation is kind]
    for dimension in _ORDER:
        parts = list(_of_dimension(elements, dimension, tariff.currency, kind))
        if parts:
            yield "; ".join(parts) + "."


def _of_dimension(
    elements: list[Element], dimension: Dimension, currency: str, kind: ReservationKind | None
) -> Iterator[str]:
    """Up to the first element that always matches: what comes after it never counts."""
    conditional = False
    for element in elements:
        component = element.component(dimension)
        if component is None:
            continue
        when = ", ".join(_conditions(element.restrictions))
        unit = " per hour" if kind and dimension is Dimension.TIME else "" if kind else _UNITS[dimension]
        price = f"{_price(component, currency)}{unit}"
        if not when:
            yield f"{price} otherwise" if conditional else price
            return
        conditional = True
        yield f"{price} ({when})"


def _price(component: PriceComponent, currency: str) -> str:
    if component.price_micro == 0:
        return "free"
    text = nearest_text(Fraction(component.price_micro, MICRO), 6)
    whole, _, digits = text.partition(".")
    return f"{whole}.{digits:0<{_LEAST_DIGITS}} {currency}"


def _limit(limit: Limit, currency: str) -> str:
    sides = ((limit.excl_vat_micro, "without VAT"), (limit.incl_vat_micro, "with VAT"))
    return ", ".join(
        f"{nearest_text(Fraction(micro, MICRO), 6)} {currency} {words}" for micro, words in sides if micro is not None
    )


def _conditions(r: Restrictions) -> Iterator[str]:
    if r.weekdays is not None:
        yield ", ".join(WEEKDAYS[day].capitalize() for day in sorted(r.weekdays))
    if r.has_local_time:
        start, end = r.start_minute or 0, 24 * 60 if r.end_minute is None else r.end_minute
        yield f"from {start // 60:02}:{start % 60:02} to {end // 60:02}:{end % 60:02}"
    if r.start_date is not None:
        yield f"from {r.start_date.isoformat()}"
    if r.end_date is not None:
        yield f"before {r.end_date.isoformat()}"
    for least, most, scale, unit in (
        (r.min_energy_milliwh, r.max_energy_milliwh, MICRO, "kWh"),
        (r.min_power_milliw, r.max_power_milliw, MICRO, "kW"),
        (r.min_current_milliamp, r.max_current_milliamp, 1000, "A"),
        (r.min_duration_seconds, r.max_duration_seconds, 60, "minutes"),
    ):
        if least is not None:
            yield f"from {nearest_text(Fraction(least, scale), 3)} {unit} on"
        if most is not None:
            yield f"below {nearest_text(Fraction(most, scale), 3)} {unit}"
