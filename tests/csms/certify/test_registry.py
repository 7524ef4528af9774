"""The table of cases against the certificates, and how cases are chosen."""

from __future__ import annotations

import re

import pytest

from csms.certify.failure import UsageError
from csms.certify.registry import CASES, SHORT_NAMES, Row, choose

# The functionality rows of the two certificates, and the cases of each: 77.
CERTIFICATE = {
    Row.CORE: "001 003 004_1 004_2 005_1 007 010 011_1 011_2 012 013 014 017_1 017_2 018_1 019_1 019_2 021 023_1 023_2 "
    "023_3 024 026 028 030 031 032_1 037_1 037_3 039 040_1 040_2 061 064",
    Row.FIRMWARE_MANAGEMENT: "044_1 044_2 044_3 045_1 045_2",
    Row.SMART_CHARGING: "056 057 059 066 067",
    Row.RESERVATION: "046 047 048_1 048_2 048_3 048_4 049 051 052 053",
    Row.LOCAL_AUTH_LIST_MANAGEMENT: "042_1 042_2 043_1 043_3 043_4 043_5",
    Row.REMOTE_TRIGGER: "054 055",
    Row.SECURITY_EXTENSION: "073 074 075_1 075_2 076 077 078 079 080 081 083 085 086 087 088",
}


def test_a_row_has_the_cases_of_the_certificate_each_once() -> None:
    listed = sorted({case.row for case in CASES})
    assert Row.CORE in listed
    for row in listed:
        ids = sorted(case.id for case in CASES if case.row == row)
        assert ids == sorted(f"TC_{short}_CSMS" for short in CERTIFICATE[row].split())
    assert sum(len(ids.split()) for ids in CERTIFICATE.values()) == 77


def test_a_case_is_the_function_of_its_id() -> None:
    for case in CASES:
        assert case.play.__name__ == f"tc_{re.sub('^TC_|_CSMS$', '', case.id)}"  # type: ignore[attr-defined]
        assert case.play.__doc__ == f"{case.title}."


def test_all_cases_are_chosen_without_a_word() -> None:
    assert choose() == CASES


@pytest.mark.parametrize("text", ["004_1", "TC_004_1_CSMS", "tc_004_1", " 004_1 "])
def test_a_case_is_chosen_by_every_form_of_its_id(text: str) -> None:
    assert [case.id for case in choose([text])] == ["TC_004_1_CSMS"]


@pytest.mark.parametrize("text", ["Core", "CORE", " core "])
def test_a_row_is_chosen_without_regard_to_case(text: str) -> None:
    assert {case.row for case in choose(profiles=[text])} == {Row.CORE}


def test_every_row_has_a_short_name() -> None:
    assert set(SHORT_NAMES.values()) == set(Row)


def test_cases_stay_in_the_order_of_the_certificate() -> None:
    assert [case.id for case in choose(["061", "001", "010"])] == ["TC_001_CSMS", "TC_010_CSMS", "TC_061_CSMS"]


def test_ids_and_rows_that_have_nothing_in_common_are_refused() -> None:
    with pytest.raises(UsageError):
        choose(["001"], ["no such row"])
    with pytest.raises(UsageError):
        choose(["999"])
