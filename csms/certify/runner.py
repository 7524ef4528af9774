"""One case after the other, on one charge point, until one fails: the next then gets a charge point of its own.

A failed case may leave anything behind (an open transaction, a command in the queue), which must not show in the next.
No failure, and no error of this tool, ends the run.
"""

from __future__ import annotations

import asyncio
import time
import tomllib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from csms.certify.case import Case
from csms.certify.charge_point import ChargePoint
from csms.certify.failure import CaseFailed, UsageError
from csms.certify.operator import Operator
from csms.certify.options import Options
from csms.certify.registry import CertificationCase
from csms.certify.rest import RestClient, RestRefused, Unreachable
from csms.certify.results import CaseResult, Outcome, Report
from csms.certify.testbed import Testbed, Testbeds
from csms.certify.transcript import Direction, Secrets, Transcript
from csms.certify.trust import Trust

PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
OPENAPI = "application/vnd.oai.openapi+json"
# Every step of a case has a limit of its own; this ends a case that would take steps for ever.
STEPS_IN_A_CASE = 60

Show = Callable[[CertificationCase, CaseResult | None], None]


def _show_nothing(case: CertificationCase, result: CaseResult | None) -> None:
    """For a run without a display."""


async def run(options: Options, cases: Sequence[CertificationCase], show: Show = _show_nothing) -> Report:
    """Play `cases`, then remove what was registered for them; `show` is told of the start (None) and end of each.

    When cancelled it still removes. Errors: UsageError when the run cannot begin.
    """
    options.check()
    runner = _Runner(options)
    report = Report(datetime.now(UTC), {}, _configuration(options, cases))
    try:
        report.software = await asyncio.to_thread(runner.look)
        for case in cases:
            show(case, None)
            result = await runner.result_of(case, report)
            report.cases.append(result)
            show(case, result)
        report.complete = True
    finally:
        report.left_behind = await asyncio.to_thread(runner.remove)
        report.finished_at = datetime.now(UTC)
    return report


class _Runner:
    def __init__(self, options: Options) -> None:
        self.options = options
        context = options.ssl_context() if options.url.startswith("https:") else None
        self.client = RestClient(
            options.url, options.api_key, timeout_seconds=options.timeout_seconds, ssl_context=context
        )
        self.secrets = Secrets([options.api_key])
        self.testbeds = Testbeds(self.client, self.secrets, Trust(self.client))
        # The test beds of the next cases by security profile; one that is not there is made.
        self.beds: dict[int, Testbed] = {}

    def look(self) -> dict[str, str]:
        """Find out whether the run can begin; the software of both sides, name and version. Blocking."""
        options = self.options
        # An unreadable CA file is better told now than by every case.
        options.endpoint(options.profile)
        try:
            self.client.request("GET", "charge-points/", page_size=1)
            bed = self.beds[options.profile] = self.testbeds.register(options.profile)
            self._may_operate(bed)
            shown = self.client.request("GET", f"charge-points/{bed.identity}/")
            software = _software(self.client)
        except Unreachable as error:
            raise UsageError(str(error)) from None
        except RestRefused as refused:
            if refused.status == 401:
                raise UsageError(f"{options.url} does not accept the API key (HTTP 401): {refused.detail}.") from None
            if refused.status == 403:
                raise UsageError(
                    f"The API key lacks a scope; it needs read, operate and manage (HTTP 403): {refused.detail}."
                ) from None
            raise UsageError(f"{options.url} is no deployment of this product, or not in order: {refused}.") from None
        slug = str(shown.get("ocpp_url", "")).split("/")[-2:-1] if isinstance(shown, dict) else []
        if slug and slug[0] != options.tenant:
            raise UsageError(f"The API key belongs to the tenant {slug[0]}, not to {options.tenant}.")
        return software

    def _may_operate(self, bed: Testbed) -> None:
        """Errors: RestRefused when the key may not send commands. An empty order does nothing."""
        try:
            self.client.request("POST", f"charge-points/{bed.identity}/commands/", {})
        except RestRefused as refused:
            if refused.status != 400:
                raise

    async def result_of(self, case: CertificationCase, report: Report) -> CaseResult:
        """Play one case."""
        profile = case.profile_in(self.options)
        if profile is None:
            return CaseResult(case.id, case.title, case.row, Outcome.NOT_APPLICABLE, 0.0, case.why_not(self.options))
        transcript = Transcript(self.secrets)
        warnings: list[str] = []
        began = time.perf_counter()
        try:
            kept = self.beds.pop(profile, None)
            bed = await asyncio.to_thread(self.testbeds.register, profile) if kept is None else kept
        except (RestRefused, Unreachable) as error:
            reason = f"The charge point of the case cannot be registered: {error}"
        else:
            reason = await self._play(case, bed, transcript, warnings, report)
        return CaseResult(
            case.id,
            case.title,
            case.row,
            Outcome.FAILED if reason else Outcome.PASSED,
            time.perf_counter() - began,
            reason=self.secrets.mask(reason),
            warnings=tuple(map(self.secrets.mask, warnings)),
            frames=tuple(transcript.lines) if reason else (),
        )

    async def _play(
        self, case: CertificationCase, bed: Testbed, transcript: Transcript, warnings: list[str], report: Report
    ) -> str:
        """The sentence by which the case failed, or "". Keeps the test bed for the next case when it is clean."""
        timeout_seconds = self.options.timeout_seconds
        endpoint = self.options.endpoint(bed.security_profile, bed.client)
        cp = ChargePoint(endpoint, bed.identity, bed.password, transcript, timeout_seconds=timeout_seconds)
        running = Case(
            self.options,
            bed,
            cp,
            Operator(self.client, bed.identity, transcript, timeout_seconds=timeout_seconds),
        )
        try:
            async with asyncio.timeout(STEPS_IN_A_CASE * timeout_seconds):
                await running.begin()
                if case.connects:
                    await running.connect()
                await case.play(running)
                await running.finish()
            if await _tidied(running):
                self.beds[bed.security_profile] = bed
            return ""
        except CaseFailed as failure:
            return str(failure)
        except TimeoutError:
            return f"The case did not end within {STEPS_IN_A_CASE * timeout_seconds:g} seconds."
        except Exception as error:
            # Such as a member that REST does not give: the case cannot be said to have passed.
            transcript.note(Direction.CONNECTION, f"error of the case: {type(error).__name__}: {error}")
            return f"The case met something it did not expect ({type(error).__name__}: {error})."
        finally:
            report.response_times += cp.response_times
            warnings += running.warnings
            await cp.abandon()

    def remove(self) -> list[str]:
        """Take away what was registered; what is left behind. Blocking."""
        try:
            return self.testbeds.remove()
        except Unreachable as error:
            return [f"The clean-up was not finished: {error}"]


async def _tidied(case: Case) -> bool:
    """Whether the test bed is as it was; what goes wrong here is no failure of the case."""
    try:
        if case.cp.closed is None:
            await case.tidy()
            await case.cp.close()
        return case.leaves_testbed_clean
    except CaseFailed:
        return False


def _software(client: RestClient) -> dict[str, str]:
    """Names and versions: of the product as far as it tells, and of this tool."""
    software = {"Product": "not told", "Certification tool": f"csms certify {tool_version()}"}
    health = client.document("/healthz/")
    if isinstance(health, dict) and isinstance(health.get("version"), str):
        software["Product"] = f"CSMS {health['version']}"
        return software
    # Large, so it is asked for only where nothing else tells.
    document = client.document("/api/schema/", OPENAPI)
    info = document.get("info") if isinstance(document, dict) else None
    if isinstance(info, dict):
        software["Product"] = f"{info.get('title', '')} {info.get('version', '')}".strip()
    return software


def tool_version() -> str:
    """The version in pyproject.toml; the product is run from its checkout and not installed as a distribution."""
    project: dict[str, Any] = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def _configuration(options: Options, cases: Sequence[CertificationCase]) -> dict[str, str]:
    encrypted = any(url.startswith("wss:") for url in options.urls.values())
    further = {"with TLS": options.tls_url, "with client certificates": options.mtls_url}
    return {
        "URL": options.url,
        "Charge points connect to": options.wire_url,
        **{f"Charge points connect {how} to": url for how, url in further.items() if url},
        "Tenant": options.tenant,
        "Protocol": "OCPP 1.6-J",
        "Security profile": str(options.profile),
        "Security profiles covered": ", ".join(map(str, sorted(options.urls))),
        "Server certificate": "not verified" if options.insecure else "verified" if encrypted else "none",
        "Connectors": str(options.connectors),
        "Time-out of a step": f"{options.timeout_seconds:g} s",
        "Silence at the end of a case": f"{options.settle_seconds:g} s",
        "Cases chosen": str(len(cases)),
    }
