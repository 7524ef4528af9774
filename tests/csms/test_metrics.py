"""The figures at /metrics: exact, of all processes, for nobody else, and without a word that identifies anyone."""

from __future__ import annotations

import asyncio
import io
import json
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from django.core.handlers.asgi import ASGIRequest
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from csms.metrics import exposition, figures, installation
from csms.metrics.figures import Figures
from stations.models import ChargePoint, Command
from tenants.models import Tenant
from tenants.scope import platform_scope
from tests.conftest import Csms, LiveTenant
from tests.fake_charge_point import CallErrorReceived, ConnectionRefused, FakeChargePoint
from tests.servers import REPOSITORY, CsmsServer, wait_until

Labels = tuple[str, ...]
TOKEN = "MarkToken-0123456789"


def scrape(server: CsmsServer) -> str:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = httpx.get(f"{server.http_url}/metrics", headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return answer.text


def samples(text: str, name: str, *labels: str) -> dict[Labels, float]:
    """The samples called `name` by the values of `labels`, or of none."""
    return {
        tuple(sample.labels[label] for label in labels): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


def messages(server: CsmsServer) -> dict[Labels, float]:
    return samples(scrape(server), "csms_messages_total", "direction", "action", "outcome", "code")


# --- a running server -------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def csms(_make_csms_server: Callable[..., CsmsServer]) -> Iterator[Csms]:
    """A server of its own: every figure was made here."""
    server = _make_csms_server(env={"CSMS_METRICS_TOKEN": TOKEN}).start()
    yield Csms(server, LiveTenant("figures", server.create_tenant("figures")["api_key"]))
    server.close()


async def test_every_frame_of_a_conversation_is_counted_once_by_what_became_of_it(csms: Csms) -> None:
    cp = await asyncio.to_thread(csms.charge_point, "MarkIdentity-1")
    id_tag = await asyncio.to_thread(csms.id_tag, "MARKIDTAG1")
    with pytest.raises(ConnectionRefused):
        await FakeChargePoint(csms.server.ws_url("figures"), cp.identity, "MarkWrong-123456").connect()
    assert await asyncio.to_thread(messages, csms.server) == {}
    async with cp:
        await cp.boot()
        for _ in range(3):
            await cp.heartbeat()
        await cp.authorize(id_tag)
        status = {"connectorId": 1, "errorCode": "NoError", "status": "Available"}
        await cp.send_call("StatusNotification", status, "MarkMessage-1")
        await cp.answer_for("MarkMessage-1")
        await cp.send_call("StatusNotification", status, "MarkMessage-1")
        await cp.answer_for("MarkMessage-1")
        for action, payload in (("MarkAction", {}), ("Authorize", {})):
            with pytest.raises(CallErrorReceived):
                await cp.call(action, payload)
        await cp.send_raw("MarkFrame")
        cp.on("ClearCache", {"status": "Accepted"})
        command = await asyncio.to_thread(csms.command, cp.identity, "ClearCache", {}, 10)
        assert command["status"] == "answered"
        connected = samples(await asyncio.to_thread(scrape, csms.server), "csms_connections", "tenant")
        assert connected == {("figures",): 1, ("other",): 0}
    expected = {
        ("from_charge_point", "BootNotification", "result", ""): 1,
        ("from_charge_point", "Heartbeat", "result", ""): 3,
        ("from_charge_point", "Authorize", "result", ""): 1,
        ("from_charge_point", "Authorize", "refused", "ProtocolError"): 1,
        ("from_charge_point", "StatusNotification", "result", ""): 1,
        ("from_charge_point", "StatusNotification", "repeated", ""): 1,
        ("from_charge_point", "unknown", "refused", "NotImplemented"): 1,
        ("from_charge_point", "", "ignored", ""): 1,
        ("to_charge_point", "ClearCache", "sent", ""): 1,
        ("to_charge_point", "ClearCache", "result", ""): 1,
    }
    counted: dict[Labels, float] = {}

    def all_are_counted() -> bool:
        counted.clear()
        counted.update(messages(csms.server))
        return sum(counted.values()) >= sum(expected.values())

    await asyncio.to_thread(wait_until, all_are_counted, describe="the last frame in the figures")
    assert counted == expected
    text = await asyncio.to_thread(scrape, csms.server)
    assert samples(text, "csms_answer_seconds_count") == {(): 6}
    assert samples(text, "csms_handshakes_total", "outcome") == {("accepted",): 1, ("wrong_password",): 1}
    assert samples(text, "csms_handshake_seconds_count") == {(): 2}
    assert samples(text, "csms_batch_seconds_count") == samples(text, "csms_batch_items_count")
    assert samples(text, "csms_commands", "status") == {("queued",): 0, ("sent",): 0}
    assert samples(text, "csms_part_up", "part")[("database",)] == 1
    (resident,) = samples(text, "csms_process_resident_bytes", "kind").items()
    assert resident[0] == ("server",)
    assert resident[1] > 2**24


async def test_nobody_is_named_and_no_secret_told(csms: Csms) -> None:
    cp = await asyncio.to_thread(csms.charge_point, "MarkIdentity-2")
    async with cp:
        await cp.boot()
        for name in ("MarkAction2", "StartTransaction\n", 'quote"', "x" * 300):
            with pytest.raises(CallErrorReceived):
                await cp.call(name, {})
        text = await asyncio.to_thread(scrape, csms.server)
    assert samples(text, "csms_messages_total", "action", "outcome")[("unknown", "refused")] >= 4
    assert "mark" not in text.lower()
    assert cp.password not in text
    assert "quote" not in text


def test_page_is_found_by_the_token_only(csms: Csms) -> None:
    url = f"{csms.server.http_url}/metrics"
    for shown in (None, f"Bearer {TOKEN}x", "Bearer", TOKEN, f"Basic {TOKEN}"):
        answer = httpx.get(url, headers={"Authorization": shown} if shown else {}, timeout=30)
        assert answer.status_code == 404
        assert "csms_" not in answer.text


@pytest.mark.redis
def test_any_of_two_processes_answers_for_both(new_csms_server: Callable[..., CsmsServer]) -> None:
    server = new_csms_server(processes=2, env={"CSMS_METRICS_TOKEN": TOKEN}).start()
    csms = Csms(server, LiveTenant("pair", server.create_tenant("pair")["api_key"]))
    stations = [csms.charge_point(password=secrets.token_hex(8)) for _ in range(12)]
    processes = {("server",): 2}

    def both_serve() -> bool:
        kinds = samples(scrape(server), "csms_process_resident_bytes", "kind", "pid")
        return len(kinds) == sum(processes.values())

    wait_until(both_serve, timeout_seconds=60, describe="the second process")

    async def converse() -> set[Labels]:
        for station in stations:
            await station.connect()
            await station.heartbeat()
        # Whichever process is asked.
        told = {tuple(sorted(figures_of(await asyncio.to_thread(scrape, server)).items())) for _ in range(6)}
        for station in stations:
            await station.close()
        return told

    def figures_of(text: str) -> Mapping[str, float]:
        heartbeats = samples(text, "csms_messages_total", "action", "outcome")[("Heartbeat", "result")]
        return {"heartbeats": heartbeats, "connections": samples(text, "csms_connections", "tenant")[("pair",)]}

    assert asyncio.run(converse()) == {(("connections", 12.0), ("heartbeats", 12.0))}


# --- who may read -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("address", "headers", "allowed"),
    [
        ("127.0.0.1", {}, True),
        ("::1", {}, True),
        ("10.0.0.9", {}, True),
        ("10.0.0.9", {"X-Forwarded-For": "10.0.0.8"}, True),
        ("10.0.0.9", {"X-Forwarded-For": "192.0.2.7"}, False),
        ("10.0.0.9", {"X-Forwarded-For": "127.0.0.1, 192.0.2.7"}, False),
        ("10.0.0.9", {"Forwarded": "for=192.0.2.7"}, False),
        ("192.0.2.7", {}, False),
        ("192.0.2.7", {"X-Forwarded-For": "127.0.0.1"}, False),
        ("127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}, False),
        ("127.0.0.1", {"Via": "1.1 somebody"}, False),
        ("", {}, False),
    ],
)
def test_without_a_token_only_this_machine_and_trusted_proxies_read(
    address: str, headers: dict[str, str], allowed: bool, settings: Any
) -> None:
    settings.CSMS_METRICS_TOKEN = ""
    settings.CSMS_TRUSTED_PROXIES = ["10.0.0.0/24"]
    sent = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": "/metrics", "headers": sent, "client": (address, 1)}
    assert exposition.may_read(ASGIRequest(scope, io.BytesIO())) is allowed


# --- bounds -----------------------------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_fifty_tenants_have_a_line_and_the_rest_share_one(django_assert_num_queries: Any) -> None:
    with platform_scope():
        made = [Tenant.objects.create(slug=f"tenant-{number}", name="T") for number in range(60)]
        other = Tenant.objects.create(slug="other", name="Named like the rest")
    metric = Metric("csms_connections", "…", "gauge")
    for number, tenant in enumerate(made):
        metric.add_sample(metric.name, {"tenant": str(tenant.pk)}, float(number))
    metric.add_sample(metric.name, {"tenant": str(other.pk)}, 1000.0)
    with django_assert_num_queries(1):
        capped = {sample.labels["tenant"]: sample.value for sample in exposition._by_tenant(metric).samples}
    assert capped == {f"tenant-{number}": number for number in range(11, 60)} | {"other": 1000 + sum(range(11))}


@pytest.mark.django_db
def test_open_commands_are_asked_with_two_queries_however_many_there_are(
    in_tenant_a: Tenant, django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {"action": "Reset", "payload": {}, "requested_by": "x", "expires_at": "2030-01-01T00:00:00Z"}
    online = ChargePoint.objects.create(identity="ON", connected=True)
    offline = ChargePoint.objects.create(identity="OFF")
    for number, charge_point in enumerate((offline, offline, online)):
        Command.objects.create(charge_point=charge_point, created_at=f"2026-01-0{number + 1}T00:00:00Z", **rows)
    with django_assert_num_queries(2):
        found = installation._open_commands()
    assert (found["queued"].number, found["sent"].number) == (3, 0)
    assert found["queued"].oldest_seconds - found["queued"].oldest_connected_seconds == 2 * 24 * 3600
    monkeypatch.setattr(installation, "MOST_COMMANDS", 2)
    assert installation._open_commands()["queued"].number == 2


# --- processes that end -----------------------------------------------------------------------------------------------
COUNTS = """
import sys
from pathlib import Path
from csms.metrics import counting, figures
figures.begin(Path(sys.argv[1]))
counting.connected(7)
counting.handshake("accepted", 0.1)
print("ready", flush=True)
sys.stdin.read()
"""


def test_dead_process_keeps_its_counters_and_loses_its_connections(tmp_path: Path) -> None:
    def collected() -> dict[str, float]:
        figures.forget_dead(tmp_path)
        found = [s for metric in MultiProcessCollector(None, path=str(tmp_path)).collect() for s in metric.samples]
        return {s.name: s.value for s in found if s.name in ("csms_connections", "csms_handshakes_total")}

    command = [sys.executable, "-c", COUNTS, str(tmp_path)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": REPOSITORY}
    with subprocess.Popen(command, **pipes) as first, subprocess.Popen(command, **pipes) as second:
        for process in (first, second):
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        assert collected() == {"csms_connections": 2, "csms_handshakes_total": 2}
        first.kill()
        first.wait()
        assert collected() == {"csms_connections": 1, "csms_handshakes_total": 2}
        figures.tidy(tmp_path)
        assert collected() == {"csms_connections": 1, "csms_handshakes_total": 2}
        second.kill()
    figures.tidy(tmp_path)
    assert list(tmp_path.iterdir()) == []


# --- dashboard and alerts ---------------------------------------------------------------------------------------------
@pytest.fixture
def known_names(db: None) -> set[str]:
    """Every sample that a server can tell, and Prometheus' own."""
    registry = CollectorRegistry()
    Figures(registry)
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
    installation.forget()
    families = [*registry.collect(), *installation.collect()]
    return {family.name + suffix for family in families for suffix in suffixes[family.type]} | {"up"}


def metric_names(expression: str) -> set[str]:
    """The metrics that a PromQL expression reads: words that are no function, keyword, label or text."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\{[^}]*\}", "", bare)
    bare = re.sub(r"\[[^\]]*\]", "", bare)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", bare)
    words = re.findall(r"(?<![\w.])([a-zA-Z_:]\w*)(?!\w)(?!\s*\()", bare)
    return set(words) - {"and", "or", "unless", "bool", "inf", "by", "without"}


def expressions(value: Any) -> Iterator[str]:
    """Every `expr` in a document."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "expr":
                yield inner
            else:
                yield from expressions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from expressions(inner)


def test_metric_names_are_found_in_promql() -> None:
    expression = 'histogram_quantile(0.99, sum by (le) (rate(a_bucket{x="y"}[5m]))) > 2.5 and on (job) up == 0'
    assert metric_names(expression) == {"a_bucket", "up"}


@pytest.mark.parametrize("name", ["grafana/csms.json", "alerts.yml"])
def test_dashboard_and_alerts_read_metrics_that_exist(name: str, known_names: set[str]) -> None:
    text = (REPOSITORY / "deploy" / name).read_text()
    read = list(expressions(json.loads(text) if name.endswith(".json") else yaml.safe_load(text)))
    assert len(read) >= 6
    for expression in read:
        names = metric_names(expression)
        assert names, expression
        assert names <= known_names, expression


def test_dashboard_panels_have_numbers_and_places_of_their_own() -> None:
    panels = json.loads((REPOSITORY / "deploy/grafana/csms.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [
        (column, row)
        for panel in panels
        for column in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for row in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(places)) == len(places)
    assert max(column for column, _ in places) < 24


def test_scrape_example_names_the_page() -> None:
    jobs = yaml.safe_load((REPOSITORY / "deploy/prometheus.yml").read_text())["scrape_configs"]
    assert [job["metrics_path"] for job in jobs] == ["/metrics"]
