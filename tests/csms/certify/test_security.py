"""The cases of the security extension against the product itself, on all three ports."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from csms.certify.options import Options
from csms.certify.registry import choose
from csms.certify.results import Outcome
from csms.certify.runner import run
from tests.csms.certify.secure import secure, secure_options, secure_server
from tests.csms.test_tls import TlsServer
from tests.servers import CsmsServer

__all__ = ["secure"]


def usual(server: TlsServer, **changes: Any) -> Options:
    """A run with the patience of a user's."""
    return secure_options(server, timeout_seconds=10.0, sight_seconds=5.0, **changes)


async def test_all_cases_of_the_row_pass(secure: TlsServer) -> None:
    report = await run(usual(secure), choose(profiles=["security"]))
    assert [(one.id, one.reason) for one in report.cases if one.outcome != Outcome.PASSED] == []
    assert report.passed
    assert len(report.cases) == 15
    assert [one.warnings for one in report.cases if one.warnings] == []
    assert report.configuration["Security profiles covered"] == "0, 1, 2, 3"
    # No transactions, so everything goes.
    assert report.left_behind == []
    assert secure.csms.get("certificate-authorities/")["results"] == []
    assert secure.csms.get("root-certificates/")["results"] == []
    found = secure.csms.get("charge-points/", page_size=500)["results"]
    assert [row["identity"] for row in found if row["identity"].startswith("certify-")] == []


async def test_the_authority_that_signed_before_signs_again(secure: TlsServer) -> None:
    members = {"name": "Depot", "kind": "issuing", "key_type": "ec_p256", "signs_requests": True}
    before = secure.csms.post("certificate-authorities/", members)
    report = await run(usual(secure), choose(["077"]))
    assert [(one.outcome, one.reason) for one in report.cases] == [(Outcome.PASSED, "")]
    (after,) = secure.csms.get("certificate-authorities/")["results"]
    assert (after["id"], after["signs_requests"]) == (before["id"], True)
    secure.csms.request("DELETE", f"certificate-authorities/{before['id']}/")


@pytest.mark.parametrize("profile", [2, 3])
async def test_cases_about_no_profile_are_played_in_that_of_the_run(secure: TlsServer, profile: int) -> None:
    given = usual(secure, security_profile=profile)
    report = await run(given, choose(["001", "061", "075_1", "085", "088"]))
    assert [(one.id, one.reason) for one in report.cases if one.outcome != Outcome.PASSED] == []
    assert report.configuration["Security profile"] == str(profile)


async def test_what_needs_a_port_that_was_not_given_is_not_applicable(secure: TlsServer) -> None:
    given = usual(secure, tls_url="", mtls_url="")
    report = await run(given, choose(["074", "083", "086", "087", "088"]))
    assert [(one.outcome, one.reason) for one in report.cases] == [
        (Outcome.NOT_APPLICABLE, "The case is about security profile 3; the run covers 0 and 1."),
        (
            Outcome.NOT_APPLICABLE,
            "The case raises the security profile from 1 to 2 or 2 to 3; the run covers 0 and 1.",
        ),
        (Outcome.NOT_APPLICABLE, "The case is about security profile 2 or 3; the run covers 0 and 1."),
        (Outcome.NOT_APPLICABLE, "The case is about security profile 3; the run covers 0 and 1."),
        (Outcome.PASSED, ""),
    ]
    assert report.passed


async def test_raising_the_profile_begins_where_the_run_does(secure: TlsServer) -> None:
    wire_url = f"wss://localhost:{secure.tls_port}/ocpp/{secure.csms.tenant.slug}/"
    report = await run(usual(secure, ocpp_url=wire_url, tls_url=""), choose(["083"]))
    assert [(one.outcome, one.reason) for one in report.cases] == [(Outcome.PASSED, "")]
    assert report.configuration["Security profiles covered"] == "2, 3"


async def test_passwords_are_in_no_frame_of_a_report(secure: TlsServer) -> None:
    (case,) = choose(["073"])

    async def fails_at_the_end(running: object) -> None:
        await case.play(running)  # type: ignore[arg-type]
        raise KeyError("now the frames are shown")

    report = await run(usual(secure), [type(case)(case.id, case.title, case.row, fails_at_the_end)])
    (result,) = report.cases
    values = [line.text for line in result.frames if "AuthorizationKey" in line.text]
    assert len(values) >= 4
    assert [text for text in values if re.search(r'"value": "[^*]', text)] == []
    assert [line.text for line in result.frames if re.search(r'"password": "[^*]', line.text)] == []


@pytest.mark.parametrize(("kind", "missing"), [("ec", "AES128-GCM-SHA256"), ("rsa", "ECDHE-ECDSA-AES128-GCM-SHA256")])
async def test_a_server_with_one_certificate_fails_the_case_of_the_suites(
    new_csms_server: Callable[..., CsmsServer], tmp_path: Path, kind: str, missing: str
) -> None:
    server = await asyncio.to_thread(secure_server, new_csms_server, tmp_path, f"only-{kind}", kinds=(kind,))
    report = await run(usual(server), choose(["086"]))
    (result,) = report.cases
    assert result.outcome == Outcome.FAILED
    assert result.reason.startswith(f"The CSMS does not serve the cipher suite {missing} (")
