"""The Core cases against the product itself: all of them pass, nothing is left that could be taken away."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from csms.certify.options import Options
from csms.certify.registry import Row, choose
from csms.certify.results import Outcome, RowOutcome
from csms.certify.runner import run
from tests.conftest import Csms
from tests.csms.certify.test_faults import options


async def test_all_core_cases_pass(csms: Csms) -> None:
    report = await run(options(csms, timeout_seconds=10.0, sight_seconds=5.0), choose(profiles=["core"]))
    assert [(one.id, one.reason) for one in report.cases if one.outcome != Outcome.PASSED] == []
    assert report.passed
    row = next(row for row in report.rows if row.row == Row.CORE)
    assert (row.outcome, row.passed, row.cases) == (RowOutcome.PASSED, 34, 34)
    everything, authorize = report.performance
    # Booted alone is four requests, and seven cases have it or Charging.
    assert everything.count > 100
    assert 10 < authorize.count < everything.count
    assert 0 < everything.minimum <= everything.average <= everything.maximum
    assert [one.warnings for one in report.cases if one.warnings] == []


async def test_the_run_takes_away_what_it_registered(csms: Csms) -> None:
    report = await run(options(csms), choose(["061"]))
    assert report.left_behind == []
    identities = [row["identity"] for row in csms.get("charge-points/", page_size=500)["results"]]
    assert not [row for row in csms.get("id-tags/", page_size=500)["results"] if row["id_tag"].startswith("CT")]
    assert not [one for one in identities if one.startswith("certify-") and not _disabled(csms, one)]


async def test_a_charge_point_with_transactions_is_kept_disabled(csms: Csms) -> None:
    report = await run(options(csms), choose(["004_1"]))
    assert report.passed
    (sentence,) = report.left_behind
    identity = sentence.split()[2]
    assert sentence == f"Charge point {identity} has transactions and is kept, disabled."
    assert _disabled(csms, identity)
    (tx,) = csms.get("transactions/", charge_point=identity)["results"]
    assert (tx["active"], tx["flags"]) == (False, [])


async def test_a_case_of_another_security_profile_is_not_applicable(csms: Csms) -> None:
    (case,) = choose(["061"])
    other = type(case)(case.id, case.title, case.row, case.play, security_profiles=(2, 3))
    report = await run(options(csms), [other])
    (result,) = report.cases
    assert result.outcome == Outcome.NOT_APPLICABLE
    assert result.reason == "The case is about security profile 2 or 3; the run covers 0 and 1."
    # Nothing failed, and nothing was shown either.
    assert not report.passed


async def test_security_profile_0_connects_without_a_password(csms: Csms) -> None:
    command = ["create_tenant", "open", "--name", "Open", "--allow-profile-0", "--api-key", "read,operate,manage"]
    api_key = json.loads(csms.server.manage(*command))["api_key"]
    given = replace(options(csms), tenant="open", api_key=api_key, security_profile=0)
    report = await run(given, choose(["001"]))
    assert [(one.outcome, one.reason) for one in report.cases] == [(Outcome.PASSED, "")]


async def test_an_error_inside_a_case_fails_that_case_and_does_not_end_the_run(csms: Csms) -> None:
    (case,) = choose(["061"])

    async def broken(running: object) -> None:
        raise KeyError("no such member")

    report = await run(options(csms), [type(case)(case.id, case.title, case.row, broken), case])
    first, second = report.cases
    assert first.outcome == Outcome.FAILED
    assert first.reason == "The case met something it did not expect (KeyError: 'no such member')."
    assert second.outcome == Outcome.PASSED


def _disabled(csms: Csms, identity: str) -> bool:
    return bool(csms.get(f"charge-points/{identity}/")["disabled"])


@pytest.mark.parametrize(
    ("url", "tenant", "wire_url", "profile"),
    [
        ("http://csms.example:8000", "acme", "ws://csms.example:8000/ocpp/acme/", 1),
        ("https://csms.example", "acme", "wss://csms.example/ocpp/acme/", 2),
    ],
)
def test_charge_points_connect_below_the_url_unless_told_otherwise(
    url: str, tenant: str, wire_url: str, profile: int
) -> None:
    given = Options(url, tenant, "key")
    given.check()
    assert (given.wire_url, given.profile) == (wire_url, profile)
