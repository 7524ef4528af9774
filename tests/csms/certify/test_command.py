"""`manage.py certify`: what it prints and writes, and with which status it ends."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.conftest import Csms
from tests.servers import free_port

KEY = "CSMS_CERTIFY_API_KEY"


def certify(*arguments: str, **options: Any) -> str:
    """What it prints. Errors: CommandError."""
    out = StringIO()
    call_command("certify", *arguments, stdout=out, stderr=out, **options)
    return out.getvalue()


def failure(*arguments: str) -> tuple[int, str]:
    """Exit status and sentence."""
    with pytest.raises(CommandError) as error:
        certify(*arguments)
    return error.value.returncode, str(error.value)


@pytest.fixture
def against(csms: Csms, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv(KEY, csms.tenant.api_key)
    return ["--url", f"http://127.0.0.1:{csms.server.port}", "--tenant", csms.tenant.slug]


def test_a_run_prints_the_tables_and_writes_the_reports(csms: Csms, against: list[str], tmp_path: Path) -> None:
    files = [tmp_path / f"report.{suffix}" for suffix in ("json", "html", "pdf")]
    reports = [argument for file in files for argument in ("--report", str(file))]
    printed = certify(*against, "--only", "061,TC_064_CSMS", "--only", "021", *reports)
    assert "TC_064_CSMS   Passed" in printed
    assert "3/34 (31 not run)" in printed
    assert "OCPP response time" in printed
    assert "Passed: All 3 cases passed." in printed
    shown = json.loads(files[0].read_text())
    assert shown["passed"] is True
    assert [one["id"] for one in shown["cases"]] == ["TC_021_CSMS", "TC_061_CSMS", "TC_064_CSMS"]
    assert shown["configuration"]["Tenant"] == csms.tenant.slug
    assert shown["configuration"]["Security profile"] == "1"
    assert shown["software"]["Product"].startswith("CSMS")
    secret = csms.tenant.api_key.partition(".")[2]
    assert secret
    assert not [text for text in (printed, *(file.read_text("latin-1") for file in files)) if secret in text]


def test_a_failed_case_ends_it_with_1(against: list[str]) -> None:
    # Charge points that look for another tenant's path are not let in.
    status, sentence = failure(*against, "--only", "061", "--ocpp-url", against[1].replace("http", "ws") + "/ocpp/no/")
    assert (status, sentence) == (1, "1 of 1 case failed.")


def test_the_list_needs_no_deployment() -> None:
    printed = certify("--list", "--profile", "CORE")
    assert "TC_004_1_CSMS" in printed
    assert "34 cases" in printed


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--tenant", "x"], "--url is missing"),
        (["--url", "ftp://x", "--tenant", "x"], "--url must look like http://HOST:PORT"),
        (["--url", "http://x:99999", "--tenant", "x"], "--url must look like"),
        (["--url", "http://me:secret@x", "--tenant", "x"], "user name or password"),
        (["--url", "http://x"], "--tenant is missing"),
        (["--url", "http://x", "--tenant", "x", "--only", "999"], "There is no case TC_999_CSMS"),
        (["--url", "http://x", "--tenant", "x", "--only", "boot"], "'boot' is no id of a case"),
        (["--url", "http://x", "--tenant", "x", "--profile", "Billing"], "There is no profile 'Billing'"),
        (["--url", "http://x", "--tenant", "x", "--timeout", "0"], "--timeout must be above 0"),
        (["--url", "http://x", "--tenant", "x", "--report", "r.doc"], "must end in .json, .html, .pdf"),
        (["--url", "http://x", "--tenant", "x", "--security-profile", "2"], "need an https:// URL"),
        (["--url", "https://x", "--tenant", "x", "--security-profile", "3"], "Security profile 3 needs --mtls-url"),
        (["--url", "http://x", "--tenant", "x", "--tls-url", "ws://x"], "--tls-url must look like wss://HOST"),
        (["--url", "http://x", "--tenant", "x", "--mtls-url", "wss://me:secret@x"], "user name or password"),
        (["--url", "https://x", "--tenant", "x", "--ca", "/no/such/file"], "--ca /no/such/file cannot be read"),
    ],
)
def test_bad_usage_ends_with_2_and_a_sentence(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
) -> None:
    monkeypatch.setenv(KEY, "abc.def")
    status, said = failure(*arguments)
    assert status == 2
    assert sentence in said
    assert "secret" not in said.replace("user name or password", "")


def test_no_key_ends_with_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY, raising=False)
    assert failure("--url", "http://x", "--tenant", "x") == (
        2,
        "There is no API key: set CSMS_CERTIFY_API_KEY, or give --api-key.",
    )


def test_an_unreachable_deployment_ends_with_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "abc.def")
    port = free_port()
    status, sentence = failure("--url", f"http://127.0.0.1:{port}", "--tenant", "x")
    assert (status, sentence) == (2, f"127.0.0.1:{port} cannot be reached: Connection refused.")


def test_a_key_that_is_not_accepted_ends_with_2(against: list[str]) -> None:
    status, sentence = failure(*against, "--api-key", "abcdefghijkl.wrong")
    assert status == 2
    assert "does not accept the API key (HTTP 401)" in sentence


def test_a_key_of_another_tenant_ends_with_2(against: list[str]) -> None:
    status, sentence = failure(*against[:3], "another")
    assert (status, sentence) == (2, "The API key belongs to the tenant live, not to another.")


@pytest.mark.parametrize("scopes", ["read,manage", "read,operate", "operate"])
def test_a_key_without_the_scopes_ends_with_2(csms: Csms, against: list[str], scopes: str) -> None:
    made = csms.server.create_tenant(f"scopes-{scopes.replace(',', '-')}", api_key=scopes)
    against[3] = made["tenant"]
    status, sentence = failure(*against, "--api-key", made["api_key"])
    assert status == 2
    assert "it needs read, operate and manage" in sentence
