"""Every case of the certificate's functionality rows that the product claims has a test of its name."""

from __future__ import annotations

import re

from tests.certification import (
    test_core_commands,
    test_core_sessions,
    test_firmware,
    test_local_auth_list,
    test_reservation,
    test_security_certificates,
    test_security_credentials,
    test_security_logs,
    test_smart_charging,
)

CORE = (
    "001 003 004_1 004_2 005_1 007 010 011_1 011_2 012 013 014 017_1 017_2 018_1 019_1 019_2 021 023_1 023_2 023_3 024 "
    "026 028 030 031 032_1 037_1 037_3 039 040_1 040_2 061 064"
).split()


def test_the_34_core_cases_each_have_one_test() -> None:
    names = [name for module in (test_core_sessions, test_core_commands) for name in vars(module)]
    found = [match[1] for name in names if (match := re.match(r"test_tc_(\d{3}(?:_\d)?)_", name))]
    assert len(CORE) == 34
    assert sorted(found) == sorted(CORE)


def test_the_5_smart_charging_cases_each_have_one_test() -> None:
    found = [match[1] for name in vars(test_smart_charging) if (match := re.match(r"test_tc_(\d{3})_", name))]
    assert sorted(found) == ["056", "057", "059", "066", "067"]


def test_the_10_reservation_cases_each_have_one_test() -> None:
    found = [match[1] for name in vars(test_reservation) if (match := re.match(r"test_tc_(\d{3}(?:_\d)?)_", name))]
    assert sorted(found) == "046 047 048_1 048_2 048_3 048_4 049 051 052 053".split()


def test_the_6_local_list_cases_each_have_one_test() -> None:
    found = [match[1] for name in vars(test_local_auth_list) if (match := re.match(r"test_tc_(\d{3}_\d)_", name))]
    assert sorted(found) == "042_1 042_2 043_1 043_3 043_4 043_5".split()


def test_the_5_firmware_management_cases_each_have_one_test() -> None:
    found = [match[1] for name in vars(test_firmware) if (match := re.match(r"test_tc_(\d{3}_\d)_", name))]
    assert sorted(found) == ["044_1", "044_2", "044_3", "045_1", "045_2"]


def test_the_3_cases_of_security_logs_and_signed_firmware_each_have_one_test() -> None:
    found = [match[1] for name in vars(test_security_logs) if (match := re.match(r"test_tc_(\d{3})_", name))]
    assert sorted(found) == ["079", "080", "081"]


def test_the_7_certificate_cases_each_have_one_test() -> None:
    names = vars(test_security_certificates)
    found = [match[1] for name in names if (match := re.match(r"test_tc_(\d{3}(?:_\d)?)_", name))]
    assert sorted(found) == ["074", "075_1", "075_2", "076", "077", "078", "087"]


def test_the_4_cases_of_passwords_profiles_and_the_subprotocol_have_tests() -> None:
    found = {match[1] for name in vars(test_security_credentials) if (match := re.match(r"test_tc_(\d{3})_", name))}
    assert found == {"073", "083", "085", "088"}
