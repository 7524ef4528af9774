"""Reading and writing timestamps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from csms.ocppj.times import format_time, parse_time

NOON = datetime(2024, 5, 1, 12, 0, 0, tzinfo=UTC)


class TestParse:
    """OCPP 1.6 section 3.15 and errata v4.0 3.10: receivers handle fractions, offsets and zones of all kinds."""

    @pytest.mark.parametrize(
        ("text", "moment"),
        [
            ("2024-05-01T12:00:00Z", NOON),
            ("2024-05-01T12:00:00.Z", NOON),
            ("2024-05-01T12:00:00.1Z", NOON.replace(microsecond=100_000)),
            ("2024-05-01T12:00:00.123Z", NOON.replace(microsecond=123_000)),
            ("2024-05-01T12:00:00.123456Z", NOON.replace(microsecond=123_456)),
            ("2024-05-01T12:00:00.123456789Z", NOON.replace(microsecond=123_456)),
            ("2024-05-01T12:00:00.1234567890123Z", NOON.replace(microsecond=123_456)),
            ("2024-05-01T12:00:00,5Z", NOON.replace(microsecond=500_000)),
            ("2024-05-01T14:00:00+02:00", NOON),
            ("2024-05-01T14:00:00+0200", NOON),
            ("2024-05-01T14:00:00+02", NOON),
            ("2024-05-01T14:00:00.000+02", NOON),
            ("2024-05-01T06:30:00-05:30", NOON),
            ("2024-05-01T12:00:00-00:00", NOON),
            ("2024-05-01t12:00:00z", NOON),
            ("2024-05-01 12:00:00Z", NOON),
            ("2024-05-01 14:00:00 +02:00", NOON),
            ("2024-05-01T12:00Z", NOON),
            ("2024-05-01T12:00", NOON),
            ("2024-05-01T12:00:00", NOON),
            ("2024-05-01T12:00:00.000", NOON),
            ("  2024-05-01T12:00:00Z\n", NOON),
            ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
            ("2024-05-01T24:00:00Z", datetime(2024, 5, 2, tzinfo=UTC)),
            ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
            ("9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ],
    )
    def test_reads(self, text: str, moment: datetime) -> None:
        parsed = parse_time(text)
        assert parsed == moment
        assert parsed is not None
        assert parsed.tzinfo is UTC

    @pytest.mark.parametrize(
        "text",
        [
            "",
            " ",
            "now",
            "2024-05-01",
            "12:00:00",
            "2024-13-01T12:00:00Z",
            "2024-02-30T12:00:00Z",
            "2024-05-01T25:00:00Z",
            "2024-05-01T24:00:01Z",
            "2024-05-01T12:60:00Z",
            "2024-05-01T12:00:61Z",
            "2024-05-01T12:00:00+25:00",
            "2024-05-01T12:00:00+2",
            "2024-05-01T12:00:00Z trailing",
            "0000-01-01T00:00:00Z",
            "0001-01-01T00:00:00+02:00",
            "9999-12-31T23:59:59-01:00",
            "9999-12-31T24:00:00Z",
            "٢٠٢٤-05-01T12:00:00Z",
            "20240501T120000Z",
            # As long as the usual form, with its T and Z.
            "2024-W18-3T12:00:00Z",
            "2024-05-01T120000.12345Z",
            1714564800,
            1714564800.5,
            True,
            None,
            [],
            {},
        ],
    )
    def test_none_for_nonsense(self, text: object) -> None:
        assert parse_time(text) is None

    def test_text_without_zone_is_taken_in_the_zone_given(self) -> None:
        assert parse_time("2024-05-01T14:00:00", ZoneInfo("Europe/Berlin")) == NOON
        assert parse_time("2024-05-01T13:00", timezone(timedelta(hours=1))) == NOON

    def test_zone_in_the_text_outranks_the_zone_given(self) -> None:
        assert parse_time("2024-05-01T12:00:00Z", ZoneInfo("Europe/Berlin")) == NOON


class TestFormat:
    """OCPP 1.6 section 3.15; we send `YYYY-MM-DDThh:mm:ss.mmmZ`, always three digits."""

    def test_three_digits_even_when_zero(self) -> None:
        assert format_time(NOON) == "2024-05-01T12:00:00.000Z"

    def test_fraction_is_cut_not_rounded(self) -> None:
        assert format_time(NOON.replace(microsecond=999_999)) == "2024-05-01T12:00:00.999Z"

    def test_switch_leaves_the_fraction_out(self) -> None:
        assert format_time(NOON.replace(microsecond=999_999), milliseconds=False) == "2024-05-01T12:00:00Z"

    def test_other_zones_become_utc(self) -> None:
        assert format_time(NOON.astimezone(ZoneInfo("Asia/Kathmandu"))) == "2024-05-01T12:00:00.000Z"

    def test_naive_datetime_is_a_mistake(self) -> None:
        with pytest.raises(ValueError, match="time zone"):
            format_time(NOON.replace(tzinfo=None))
