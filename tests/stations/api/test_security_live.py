"""Logs asked for at the same moment, over HTTP, of a real server: every request has a requestId of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.conftest import Csms

AT_ONCE = 8


def test_request_ids_given_at_the_same_moment_differ(csms: Csms) -> None:
    identity = csms.charge_point().identity

    def ask(number: int) -> int:
        body = {"charge_point": identity, "log_type": ("SecurityLog", "DiagnosticsLog")[number % 2]}
        return int(csms.post("logs/", body)["request_id"])

    with ThreadPoolExecutor(AT_ONCE) as threads:
        given = list(threads.map(ask, range(AT_ONCE * 2)))
    assert sorted(given) == list(range(1, AT_ONCE * 2 + 1))
