"""Currencies by ISO 4217, and amounts in them: integers inside, decimals of the currency's digits outside.

Context: a currency has 0, 2, 3 or 4 digits behind the point, and locale data disagree with the standard about some.
Choice: the standard's exponents. Amounts are whole numbers of *units*, a nine-millionth of a micro: mWh times a price
in micros a kWh, and seconds times a price in micros an hour, are whole numbers of them, so nothing is rounded before
the end. Rounding is half away from zero, once, to the currency's digits.
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

MICRO = 1_000_000
UNITS_PER_MICRO = 9_000_000
UNITS = MICRO * UNITS_PER_MICRO
# Exponents of ISO 4217 that are not 2.
_EXPONENTS = {
    **dict.fromkeys(
        (
            "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF",
            "XOF", "XPF",
        ),
        0,
    ),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}  # fmt: skip
_CODE = re.compile(r"[A-Z]{3}\Z")


def is_code(text: str) -> bool:
    """Whether `text` has the form of a currency's code."""
    return _CODE.match(text) is not None


def digits_of(currency: str) -> int:
    """Digits behind the point of an amount in `currency` (ISO 4217)."""
    return _EXPONENTS.get(currency, 2)


def rounded(amount: Fraction, currency: str) -> Fraction:
    """`amount`, in the currency's main unit, rounded half away from zero to the currency's digits."""
    scale = 10 ** digits_of(currency)
    scaled = abs(amount) * scale
    whole = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
    return Fraction(whole if amount >= 0 else -whole, scale)


def of_units(units: int) -> Fraction:
    """An amount in units as one in the currency's main unit."""
    return Fraction(units, UNITS)


def text_of(amount: Fraction, digits: int) -> str:
    """`amount` as a decimal with this many digits, which must be enough to write it exactly."""
    scaled = amount * 10**digits
    if scaled.denominator != 1:
        raise ValueError(f"{amount} has more than {digits} digits")
    return f"{Decimal(scaled.numerator).scaleb(-digits):.{digits}f}"


def nearest_text(amount: Fraction, most_digits: int) -> str:
    """`amount` as a decimal without needless zeros, rounded half away from zero to at most this many digits."""
    scale = 10**most_digits
    scaled = abs(amount) * scale
    whole = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
    text = f"{Decimal(whole).scaleb(-most_digits):.{most_digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return f"-{text}" if amount < 0 and whole else text
