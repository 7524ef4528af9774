"""The simulated charge points against a small central system, over real sockets: scenarios, connections, the fleet."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from ipaddress import ip_address
from pathlib import Path
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.core.management import CommandError, call_command
from ocpp.v16 import call
from ocpp.v16.enums import RegistrationStatus

from stations.simulator import SCENARIOS, FleetOptions, FleetSummary, run_fleet
from stations.simulator.clock import Clock, parse_time
from stations.simulator.meter import SUPPORTED_MEASURANDS, Meter, Vehicle
from stations.simulator.statistics import ResponseTimes
from tests.stations.small_csms import SmallCsms, small_csms

ROOT = Path(__file__).resolve().parents[2]
BOOTED = ["BootNotification", "0:Available", "1:Available"]


@pytest.fixture
async def csms() -> AsyncIterator[SmallCsms]:
    async with small_csms() as central_system:
        yield central_system


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key, in one PEM file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(1)
    )
    signed = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = tmp_path / "server.pem"
    file.write_bytes(signed.public_bytes(pem) + private)
    return file


def options(csms: SmallCsms, **given: object) -> FleetOptions:
    """One station with one connector, one round, twenty minutes in a second."""
    defaults: dict[str, object] = {
        "url": csms.url,
        "connectors": 1,
        "transactions": 1,
        "speed": 1200.0,
        "charging_minutes": (5.0, 8.0),
        "sample_interval_seconds": 0.05,
        "seed": 7,
        "call_timeout_seconds": 5.0,
    }
    return FleetOptions(**(defaults | given))


async def play(csms: SmallCsms, scenario: str, **given: object) -> FleetSummary:
    """Run one round of a scenario to its end; nothing may fail."""
    summary = await asyncio.wait_for(run_fleet(options(csms, scenarios=(scenario,), **given)), 30)
    assert not summary.failed, summary
    return summary


class TestScenarios:
    """The sequences are those of the certification cases (conformance of the central system, Core)."""

    async def test_plug_in_first(self, csms: SmallCsms) -> None:
        """TC_003."""
        summary = await play(csms, "plug-in-first")
        assert csms.story() == [
            *BOOTED,
            "1:Preparing",
            "Authorize",
            "StartTransaction",
            "1:Charging",
            "StopTransaction",
            "1:Finishing",
            "1:Available",
        ]
        assert (summary.transactions_started, summary.transactions_stopped, summary.rounds) == (1, 1, 1)
        assert csms.of("StopTransaction")[0].members["reason"] == "Local"
        assert csms.of("StopTransaction")[0].members["transaction_id"] == 1001

    async def test_identify_first(self, csms: SmallCsms) -> None:
        """TC_004_1."""
        await play(csms, "identify-first")
        assert csms.story()[3:7] == ["Authorize", "1:Preparing", "StartTransaction", "1:Charging"]

    async def test_connection_timeout_starts_nothing(self, csms: SmallCsms) -> None:
        """TC_004_2."""
        summary = await play(csms, "connection-timeout")
        assert csms.story() == [*BOOTED, "Authorize", "1:Preparing", "1:Available"]
        assert summary.transactions_started == 0

    async def test_ev_side_disconnect(self, csms: SmallCsms) -> None:
        """TC_005_1."""
        await play(csms, "ev-disconnect")
        assert csms.story()[-4:] == ["1:SuspendedEV", "StopTransaction", "1:Finishing", "1:Available"]
        assert csms.of("StopTransaction")[0].members["reason"] == "EVDisconnected"

    async def test_cached_id_sends_no_authorize(self, csms: SmallCsms) -> None:
        """TC_007."""
        await play(csms, "cached-id")
        assert csms.story()[3:6] == ["1:Preparing", "StartTransaction", "1:Charging"]
        assert not csms.of("Authorize")

    async def test_unknown_tag_is_refused(self, csms: SmallCsms) -> None:
        """TC_023_1."""
        summary = await play(csms, "unknown-tag")
        assert csms.story() == [*BOOTED, "1:Preparing", "Authorize", "1:Available"]
        assert summary.refused_id_tags == 1

    async def test_unknown_tag_that_is_accepted_is_a_failure(self, csms: SmallCsms) -> None:
        class Everything(set):
            def __contains__(self, item: object) -> bool:
                return True

        csms.known_id_tags = Everything()
        summary = await run_fleet(options(csms, scenarios=("unknown-tag",)))
        assert summary.failed
        assert summary.problems == ["SIM0001: an idTag nobody knows was accepted"]

    async def test_power_loss_stops_after_the_boot(self, csms: SmallCsms) -> None:
        """TC_032_1."""
        summary = await play(csms, "power-loss")
        second_boot = csms.story().index("BootNotification", 1)
        assert csms.story()[second_boot:] == [
            "BootNotification",
            "0:Available",
            "1:Finishing",
            "StopTransaction",
            "1:Available",
        ]
        assert csms.of("StopTransaction")[0].members["reason"] == "PowerLoss"
        assert (summary.connects, summary.reconnects, summary.connections_lost) == (2, 1, 0)

    async def test_offline_replay_keeps_order_and_times_and_does_not_boot(self, csms: SmallCsms) -> None:
        """TC_039, and OCPP-J 1.6, 5.4."""
        summary = await play(csms, "offline-replay")
        assert summary.reconnects == 1
        assert len(csms.of("BootNotification")) == 1
        times = [
            one.members.get("timestamp") or one.members["meter_value"][0]["timestamp"]
            for one in csms.received
            if one.action in ("StartTransaction", "MeterValues", "StopTransaction")
        ]
        assert times == sorted(times)
        assert csms.received[-1].action == "StatusNotification"
        stopped_at = parse_time(csms.of("StopTransaction")[0].members["timestamp"])
        reported_at = parse_time(csms.of("StatusNotification")[-1].members["timestamp"])
        # Thirty seconds offline after the stop, 1,200 times as fast.
        assert reported_at - stopped_at >= timedelta(seconds=30 / 1200)
        assert all(one.members["transaction_id"] == 1001 for one in csms.of("MeterValues"))

    @pytest.mark.parametrize(
        ("seed", "error_code", "story"),
        [
            (3, "ConnectorLockFailure", ["1:Preparing", "1:Faulted", "1:Preparing", "1:Available"]),
            (1, "GroundFailure", ["1:Charging", "1:Faulted", "StopTransaction", "1:Finishing", "1:Available"]),
        ],
    )
    async def test_faults_recover(self, csms: SmallCsms, seed: int, error_code: str, story: list[str]) -> None:
        """TC_024, and a fault that ends a transaction; the seed decides which."""
        await play(csms, "faults", seed=seed)
        faulted = [one.members for one in csms.of("StatusNotification") if one.members["status"] == "Faulted"]
        assert [one["error_code"] for one in faulted] == [error_code]
        assert csms.story()[-len(story) :] == story

    async def test_repeat_sends_the_same_start_with_the_same_and_with_a_new_id(self, csms: SmallCsms) -> None:
        await play(csms, "repeat")
        first, second, third = csms.of("StartTransaction")
        assert first.members == second.members == third.members
        assert first.message_id == second.message_id != third.message_id

    async def test_repeat_notices_a_second_transaction(self, csms: SmallCsms) -> None:
        numbers = itertools.count(5)
        csms.transaction_id = lambda *facts: next(numbers)  # type: ignore[method-assign]
        summary = await run_fleet(options(csms, scenarios=("repeat",)))
        assert summary.failed
        assert "got different transactionIds" in summary.problems[0]

    async def test_mixed_fleet(self, csms: SmallCsms) -> None:
        summary = await play(csms, "mixed", stations=20, connectors=2, transactions=3, ramp_seconds=0.3)
        assert (summary.stations, summary.rounds) == (20, 60)
        assert summary.transactions_started == summary.transactions_stopped > 30
        assert set(csms.handshakes) == {f"SIM{number:04d}" for number in range(1, 21)}

    async def test_deauthorized_start_is_stopped(self, csms: SmallCsms) -> None:
        """TC_037_3."""
        await play(csms, "cached-id", id_tags=("NOT-KNOWN",))
        assert csms.of("StopTransaction")[0].members["reason"] == "DeAuthorized"

    def test_every_scenario_is_described(self) -> None:
        assert all(scenario.description for scenario in SCENARIOS.values())
        assert len(SCENARIOS) == 13


class TestRegistration:
    """OCPP 1.6 section 4.2."""

    async def test_pending_then_accepted(self, csms: SmallCsms) -> None:
        csms.registrations = [(RegistrationStatus.pending, 3600), (RegistrationStatus.rejected, 3600)]
        running = asyncio.create_task(run_fleet(options(csms, scenarios=("plug-in-first",))))
        await csms.wait_for_action("BootNotification")
        # Nothing but what is asked for, until accepted; a triggered boot does not wait for the interval.
        assert (await csms.send(call.TriggerMessage("Heartbeat"))).status == "Accepted"
        assert (await csms.send(call.RemoteStartTransaction("SIM-TAG"))).status == "Rejected"
        for boots in (2, 3):
            assert (await csms.send(call.TriggerMessage("BootNotification"))).status == "Accepted"
            await csms.wait_for_action("BootNotification", boots)
        summary = await running
        assert not summary.failed
        assert [one.action for one in csms.received][:4] == [
            "BootNotification",
            "Heartbeat",
            "BootNotification",
            "BootNotification",
        ]

    async def test_boots_again_after_the_interval(self, csms: SmallCsms) -> None:
        csms.registrations = [(RegistrationStatus.pending, 1)]
        await play(csms, "connection-timeout")
        assert csms.story()[:3] == ["BootNotification", "BootNotification", "0:Available"]

    async def test_heartbeats_at_the_interval_given(self, csms: SmallCsms) -> None:
        csms.heartbeat_seconds = 1
        stop = asyncio.Event()
        running = asyncio.create_task(run_fleet(options(csms, scenarios=("idle",), speed=1.0), stop=stop))
        await csms.wait_for_action("Heartbeat", 2)
        stop.set()
        assert not (await running).failed

    async def test_clock_is_set_by_the_central_system(self, csms: SmallCsms) -> None:
        csms.clock_offset = timedelta(days=-400)
        await play(csms, "plug-in-first")
        started_at = parse_time(csms.of("StartTransaction")[0].members["timestamp"])
        assert timedelta(days=399) < Clock().now() - started_at < timedelta(days=401)


class TestLine:
    """OCPP-J 1.6, 3 and 5; whitepaper 2."""

    async def test_sends_credentials_and_encodes_the_identity(self, csms: SmallCsms) -> None:
        csms.passwords["CP 1/A"] = b"secret-of-sixteen"
        await play(csms, "connection-timeout", identities=("CP 1/A",), password="secret-of-sixteen")
        assert csms.handshakes == ["CP 1/A"]

    @pytest.mark.parametrize("status", [401, 403, 404])
    async def test_refusal_ends_the_station_with_its_status(self, csms: SmallCsms, status: int) -> None:
        csms.refuse_with = status
        summary = await asyncio.wait_for(run_fleet(options(csms)), 10)
        assert summary.failed
        assert summary.refused_handshakes == {str(status): 1}
        assert summary.gave_up == {"SIM0001": f"refused with HTTP {status}"}

    async def test_tls(self, certificate: Path) -> None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
        async with small_csms(tls) as csms:
            await play(csms, "connection-timeout", ca_file=str(certificate))
            await play(csms, "connection-timeout", insecure=True)
            summary = await asyncio.wait_for(run_fleet(options(csms)), 10)
        assert summary.gave_up["SIM0001"].startswith("certificate: self")

    async def test_unreachable_server(self) -> None:
        summary = await asyncio.wait_for(
            run_fleet(FleetOptions(url="ws://127.0.0.1:1/ocpp/demo/", patience_seconds=0)), 10
        )
        assert summary.failed
        assert summary.unreachable == 1
        assert "not reachable" in summary.gave_up["SIM0001"]

    async def test_server_that_does_not_agree_to_the_subprotocol(self, csms: SmallCsms) -> None:
        csms.subprotocol = None
        summary = await asyncio.wait_for(run_fleet(options(csms, patience_seconds=0)), 10)
        assert summary.problems == ["SIM0001: the server did not agree to ocpp1.6"]

    async def test_reconnects_without_boot_when_the_server_hangs_up(self, csms: SmallCsms) -> None:
        running = asyncio.create_task(run_fleet(options(csms, scenarios=("plug-in-first",), charging_minutes=(60, 60))))
        await csms.wait_for_status(1, "Charging")
        csms.stations["SIM0001"].connection.transport.abort()
        summary = await running
        assert not summary.failed
        assert (summary.connects, summary.connections_lost) == (2, 1)
        assert len(csms.of("BootNotification")) == 1
        assert len(csms.of("StopTransaction")) == 1

    async def test_callerror_on_a_transaction_message_is_repeated_and_reported(self, csms: SmallCsms) -> None:
        csms.errors["StopTransaction"] = 1
        running = asyncio.create_task(run_fleet(options(csms, scenarios=("plug-in-first",))))
        await csms.wait_for_status(1, "Available")
        assert (await csms.send(call.ChangeConfiguration("TransactionMessageRetryInterval", "0"))).status == "Accepted"
        summary = await running
        assert summary.call_errors == {"StopTransaction: InternalError": 1}
        assert summary.transactions_stopped == 1
        assert summary.failed

    async def test_unanswered_call_is_a_timeout(self, csms: SmallCsms) -> None:
        csms.silences["Authorize"] = 1
        summary = await run_fleet(options(csms, scenarios=("plug-in-first",), call_timeout_seconds=0.2))
        assert summary.timeouts == {"Authorize": 1}
        assert summary.failed


class TestFleet:
    async def test_stop_ends_transactions_and_delivers_them(self, csms: SmallCsms) -> None:
        stop = asyncio.Event()
        seen = []
        opts = options(csms, stations=10, scenarios=("plug-in-first",), transactions=None, charging_minutes=(600, 600))
        running = asyncio.create_task(run_fleet(opts, seen.append, stop=stop))
        await csms.wait_for_action("MeterValues", 30)
        stop.set()
        summary = await running
        assert not summary.failed
        assert summary.transactions_started == summary.transactions_stopped == 10
        assert [csms.story().count(word) for word in ("StopTransaction", "1:Finishing")] == [10, 10]
        assert seen[-1].connected == seen[-1].charging == 0
        assert seen[-1].messages == sum(action.count for action in summary.actions)

    async def test_duration_ends_the_run(self, csms: SmallCsms) -> None:
        summary = await run_fleet(options(csms, stations=3, transactions=None, duration_seconds=1.0, connectors=2))
        assert not summary.failed
        assert 1.0 <= summary.seconds < 10.0

    async def test_scenarios_are_dealt_out_in_turn_and_ids_come_from_credentials(self, csms: SmallCsms) -> None:
        credentials = {"A": "password-of-A-0000", "B": "password-of-B-0000", "C": "password-of-C-0000"}
        csms.passwords = {identity: password.encode() for identity, password in credentials.items()}
        summary = await run_fleet(
            options(csms, stations=2, credentials=credentials, scenarios=("unknown-tag", "connection-timeout"))
        )
        assert not summary.failed
        assert sorted(csms.handshakes) == ["A", "B"]
        assert {one.identity for one in csms.of("Authorize") if one.members["id_tag"] == "SIM-TAG"} == {"B"}

    async def test_one_call_at_a_time(self, csms: SmallCsms) -> None:
        """OCPP-J 1.6, 4.1.1: with slow answers, no CALL comes before the last one is answered."""
        open_calls: set[str] = set()
        most = 0

        async def slow(identity: str, action: str, members: dict, message_id: str) -> None:
            nonlocal most
            open_calls.add(message_id)
            most = max(most, len(open_calls))
            await asyncio.get_running_loop().run_in_executor(None, lambda: None)
            open_calls.discard(message_id)

        csms.record = slow  # type: ignore[method-assign]
        await play(csms, "plug-in-first")
        assert most == 1

    @pytest.mark.parametrize(
        "wrong",
        [
            {"url": "http://x/"},
            {"stations": 0},
            {"connectors": 0},
            {"speed": 0},
            {"charging_minutes": (5, 1)},
            {"transactions": 0},
            {"id_tags": ("x" * 21,)},
            {"sample_interval_seconds": -1},
        ],
    )
    def test_senseless_options(self, wrong: dict) -> None:
        with pytest.raises(ValueError, match=r"\.$"):
            FleetOptions(**({"url": "ws://x/"} | wrong))

    async def test_unknown_scenario(self) -> None:
        with pytest.raises(ValueError, match="There is no scenario 'nonsense'"):
            await run_fleet(FleetOptions(url="ws://x/", scenarios=("nonsense",)))


class TestMeter:
    def test_register_is_monotone_over_transactions_and_matches_the_power(self) -> None:
        meter, car = Meter(Random(1), 22_080), Vehicle(50_000, 20, 11_000)
        before = meter.register_wh
        energy_wh = meter.advance(3600, car)
        assert energy_wh == pytest.approx(11_000)
        assert meter.register_wh - before in (10_999, 11_000, 11_001)
        meter.cut()
        assert meter.advance(3600, None) == 0
        assert meter.register_wh - before in (10_999, 11_000, 11_001)

    def test_tapers_above_80_percent_and_stops_when_full(self) -> None:
        car = Vehicle(50_000, 79.9, 11_000)
        assert car.accepts_w(22_000) == 11_000
        car.soc_percent = 90
        assert car.accepts_w(22_000) == pytest.approx(11_000 * 0.54)
        meter = Meter(Random(1), 22_080)
        meter.advance(40 * 3600, car)
        assert (car.full, meter.power_w) == (True, 0.0)

    def test_limit(self) -> None:
        meter, car = Meter(Random(1), 22_080), Vehicle(50_000, 20, 11_000)
        assert meter.advance(3600, car, 4_000) == pytest.approx(4_000)
        assert meter.advance(3600, car, 0) == 0

    def test_samples_every_phase(self) -> None:
        meter, car = Meter(Random(1), 22_080), Vehicle(50_000, 20, 11_000, phases=3)
        meter.advance(60, car)
        sampled = meter.sample(SUPPORTED_MEASURANDS, "Sample.Periodic", car)
        kinds = [(one["measurand"], one.get("phase")) for one in sampled]
        assert kinds == [
            ("Energy.Active.Import.Register", None),
            ("Power.Active.Import", None),
            *(("Current.Import", phase) for phase in ("L1", "L2", "L3")),
            *(("Voltage", phase) for phase in ("L1-N", "L2-N", "L3-N")),
            ("SoC", None),
            ("Power.Offered", None),
            ("Current.Offered", None),
            ("Frequency", None),
        ]
        assert all(isinstance(one["value"], str) for one in sampled)


class TestResponseTimes:
    def test_percentiles_within_four_percent(self) -> None:
        times = ResponseTimes()
        for milliseconds in range(1, 1001):
            times.add(milliseconds / 1000)
        assert (times.count, times.max_seconds) == (1000, 1.0)
        assert times.mean_seconds == pytest.approx(0.5005)
        assert 0.95 <= times.percentile_seconds(95) <= 0.95 * 1.04


class TestCommand:
    async def run(self, csms: SmallCsms, *arguments: str) -> str:
        out = StringIO()
        fast = ["--speed", "1200", "--charging-minutes", "2", "4", "--transactions", "1", "--connectors", "1"]
        await asyncio.to_thread(call_command, "simulate", "--url", csms.url, *fast, *arguments, stdout=out)
        return out.getvalue()

    async def test_json_is_all_there_is_on_stdout(self, csms: SmallCsms) -> None:
        summary = json.loads(await self.run(csms, "--json", "--stations", "2", "--scenario", "plug-in-first"))
        assert (summary["stations"], summary["transactions_stopped"], summary["failed"]) == (2, 2, False)
        assert {action["action"] for action in summary["actions"]} >= {"BootNotification", "StopTransaction"}

    async def test_summary_tables(self, csms: SmallCsms) -> None:
        text = await self.run(csms, "--identity", "A", "--identity", "B", "--scenario", "identify-first")
        assert "Transactions stopped" in text
        assert "StopTransaction" in text
        assert "Nothing failed" in text

    async def test_quiet(self, csms: SmallCsms) -> None:
        assert await self.run(csms, "--quiet", "--scenario", "connection-timeout") == ""

    async def test_failure_is_exit_code_1(self, csms: SmallCsms) -> None:
        csms.refuse_with = 401
        with pytest.raises(CommandError, match="Handshake refused with 401: 1") as failure:
            await self.run(csms, "--quiet")
        assert failure.value.returncode == 1

    async def test_credentials_file(self, csms: SmallCsms, tmp_path: Path) -> None:
        lines = tmp_path / "credentials.jsonl"
        lines.write_text('{"identity": "A", "password": "password-of-A-0000"}\n{"B": "password-of-B-0000"}\n')
        csms.passwords = {"A": b"password-of-A-0000", "B": b"password-of-B-0000"}
        await self.run(csms, "--quiet", "--credentials", str(lines), "--scenario", "connection-timeout")
        assert sorted(csms.handshakes) == ["A", "B"]

    def test_unreadable_credentials(self, tmp_path: Path) -> None:
        (tmp_path / "broken").write_text("secret nonsense")
        with pytest.raises(CommandError, match="neither a JSON object nor lines") as failure:
            call_command("simulate", "--credentials", str(tmp_path / "broken"))
        assert "secret" not in str(failure.value)

    def test_list_of_scenarios(self) -> None:
        out = StringIO()
        call_command("simulate", "--list-scenarios", stdout=out)
        assert [line.split()[0] for line in out.getvalue().splitlines() if line[0] != " "] == list(SCENARIOS)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    async def test_signal_ends_in_good_order(self, csms: SmallCsms, number: signal.Signals) -> None:
        arguments = ["--url", csms.url, "--stations", "3", "--connectors", "1", "--scenario", "cached-id", "--json"]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "manage.py",
            "simulate",
            *arguments,
            cwd=ROOT,
            env=os.environ,
            stdout=asyncio.subprocess.PIPE,
        )
        await csms.wait_for(lambda: csms.story().count("1:Charging") == 3)
        process.send_signal(number)
        output, _ = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 0
        assert json.loads(output)["transactions_stopped"] == 3
