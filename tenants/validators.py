"""What a tenant's slug, currency and time zone may be. Each raises ValidationError with a sentence for people."""

from __future__ import annotations

import re
from typing import Final
from zoneinfo import available_timezones

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator

SLUG_PATTERN: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"

# Active legal tender of ISO 4217 with the number of decimals ("minor unit"). Fund codes, metals and test codes are left
# out.
_DECIMALS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF",
    2: "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC "
    "CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR "
    "JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD "
    "NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN "
    "SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VES WST XCD XCG YER ZAR ZMW ZWG",
    3: "BHD IQD JOD KWD LYD OMR TND",
}
CURRENCY_DECIMALS: Final[dict[str, int]] = {
    code: decimals for decimals, codes in sorted(_DECIMALS.items()) for code in codes.split()
}

_validate_slug_pattern = RegexValidator(
    re.compile(rf"\A{SLUG_PATTERN}\Z"),
    "Use 1 to 63 lower-case letters, digits and hyphens, with no hyphen at either end.",
    code="invalid_slug",
)


def validate_slug(value: str) -> None:
    """A name that fits a URL path and a DNS label: 1 to 63 of a-z, 0-9 and inner hyphens."""
    _validate_slug_pattern(value)


def validate_currency(value: str) -> None:
    """An ISO 4217 code of a currency in use, upper-case."""
    if value not in CURRENCY_DECIMALS:
        raise ValidationError(
            "%(value)s is not an ISO 4217 currency in use.", code="invalid_currency", params={"value": value}
        )


def validate_time_zone(value: str) -> None:
    """A name of the IANA time zone database, such as Europe/Berlin."""
    if value not in available_timezones():
        raise ValidationError("%(value)s is not an IANA time zone.", code="invalid_time_zone", params={"value": value})
