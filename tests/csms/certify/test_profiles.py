"""The cases of the optional profiles against the product itself: all of them pass, and leave nothing behind."""

from __future__ import annotations

import pytest

from csms.certify.registry import Row, choose
from csms.certify.results import Outcome
from csms.certify.runner import run
from tests.conftest import Csms
from tests.csms.certify.interposer import asks
from tests.csms.certify.test_faults import certification_case, options, played

ROWS = {
    Row.FIRMWARE_MANAGEMENT: 5,
    Row.SMART_CHARGING: 5,
    Row.RESERVATION: 10,
    Row.LOCAL_AUTH_LIST_MANAGEMENT: 6,
    Row.REMOTE_TRIGGER: 2,
}


@pytest.mark.parametrize(("row", "cases"), ROWS.items())
async def test_all_cases_of_the_row_pass(csms: Csms, row: Row, cases: int) -> None:
    report = await run(options(csms, timeout_seconds=10.0, sight_seconds=5.0), choose(profiles=[row]))
    assert [(one.id, one.reason) for one in report.cases if one.outcome != Outcome.PASSED] == []
    assert report.passed
    assert len(report.cases) == cases
    assert [one.warnings for one in report.cases if one.warnings] == []


async def test_nothing_stays_wanted_in_the_library_or_reserved(csms: Csms) -> None:
    ids = ["043_5", "046", "047", "048_4", "051", "052", "056", "057", "059", "067"]
    before = library(csms)
    report = await run(options(csms, timeout_seconds=10.0, sight_seconds=5.0), choose(ids))
    assert [(one.id, one.reason) for one in report.cases if one.outcome != Outcome.PASSED] == []
    (sentence,) = report.left_behind
    identity = sentence.split()[2]
    assert library(csms) == before
    assert csms.get(f"charge-points/{identity}/installed-profiles/")["results"] == []
    statuses = {row["status"] for row in csms.get("reservations/", charge_point=identity)["results"]}
    assert statuses == {"Used", "Expired", "Rejected", "Cancelled"}
    local_list = csms.get(f"local-auth-lists/{identity}/")
    assert (local_list["source"], local_list["status"]) == (None, "not_managed")


async def test_a_case_that_fails_half_way_takes_its_profile_out_of_the_library_and_its_list_back(csms: Csms) -> None:
    before = library(csms)
    report = await played(csms, certification_case("056"), asks("SetChargingProfile", "connectorId", 2))
    assert report.cases[0].outcome == Outcome.FAILED
    assert library(csms) == before
    report = await played(csms, certification_case("043_5"), asks("SendLocalList", "listVersion", 0))
    assert report.cases[0].outcome == Outcome.FAILED
    lists = csms.get("local-auth-lists/", page_size=500)["results"]
    # Other tests of this server have lists of their own.
    wanted = [row["charge_point"] for row in lists if row["source_kind"] is not None]
    assert [identity for identity in wanted if identity.startswith("certify-")] == []


def library(csms: Csms) -> list[int]:
    return [row["id"] for row in csms.get("charging-profiles/", page_size=500)["results"]]
