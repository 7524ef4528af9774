"""What a handshake decides where a test from outside cannot be: TLS, proxies, full tenants, a database that is away."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.cache import cache
from django.db import OperationalError
from pytest_django import Settings

from csms.proxies import peer
from stations import attempt_limits, credentials, departures, handshake, take_over
from stations.handshake import Accepted, Refusal, Request
from stations.models import ChargePoint, ConnectionAttempt
from stations.take_over import Arrival
from tenants.models import Tenant
from tenants.scope import tenant_scope
from tests.conftest import Tenants
from tests.stations.rows import new_charge_point
from tests.stations.upgrade import basic

PASSWORD = "0123456789abcdef"


@pytest.fixture(autouse=True)
def _no_attempts_yet() -> None:
    cache.clear()


@pytest.fixture
def tenant(tenants: Tenants) -> Tenant:
    return tenants.tenant_a


def register(tenant: Tenant, identity: str = "CP-1", **fields: Any) -> ChargePoint:
    password_hash = credentials.hashed(PASSWORD.encode(), generated=True)
    with tenant_scope(tenant):
        return new_charge_point(identity, **{"password_hash": password_hash, "connected": False} | fields)


def request(identity: str = "CP-1", password: str | None = PASSWORD, **members: Any) -> Request:
    authorization = None if password is None else basic(identity, password)[1].encode()
    defaults: dict[str, Any] = {
        "tenant_slug": "alpha", "identity": identity, "path_is_valid": True, "subprotocols": ["ocpp1.6"],
        "authorization": authorization, "address": "192.0.2.1", "secure": False, "user_agent": "test",
    }  # fmt: skip
    return Request(**defaults | members)


def decide(asked: Request) -> Accepted | str:
    """The acceptance, or the reason of the refusal."""
    decision = handshake.decide(asked, "process-1")
    return decision.reason if isinstance(decision, Refusal) else decision


def accepted(asked: Request) -> Accepted:
    decision = decide(asked)
    assert isinstance(decision, Accepted), decision
    return decision


CERTIFICATE = {"client_cert_chain": [b"garbage"]}


class TestProfile:
    @pytest.mark.parametrize(
        ("profile", "secure", "tls", "reason"),
        [
            (1, True, {}, "profile_differs"),
            (2, False, {}, "profile_too_low"),
            (3, True, {}, "profile_too_low"),
            (1, True, {"client_cert_chain": ["PEM"]}, "profile_differs"),
        ],
    )
    def test_connection_of_another_profile_is_refused(
        self, tenant: Tenant, profile: int, secure: bool, tls: dict[str, Any], reason: str
    ) -> None:
        register(tenant, security_profile=profile, exact_security_profile=True)
        assert decide(request(secure=secure, tls=tls)) == reason

    @pytest.mark.parametrize(
        ("profile", "members", "expected"),
        [
            (1, {"secure": True}, 2),
            (1, {"secure": True, "password": "wrong-password-1234"}, "wrong_password"),
            (1, {"secure": True, "password": None}, "no_credentials"),
            (2, {}, "profile_too_low"),
            (3, {"secure": True}, "profile_too_low"),
            (3, {"secure": True, "password": None}, "certificate_missing"),
            (2, {"secure": True, "password": None, "tls": CERTIFICATE}, "wrong_password"),
            (2, {"secure": True, "password": "wrong-password-1234", "tls": CERTIFICATE}, "wrong_password"),
            (2, {"secure": True, "tls": CERTIFICATE}, "certificate_unreadable"),
            (1, {"secure": True, "tls": CERTIFICATE}, "certificate_unreadable"),
            (0, {"secure": True}, 2),
            (0, {"secure": True, "password": "wrong-password-1234"}, "wrong_password"),
            (0, {"secure": True, "password": None}, 0),
            (0, {"secure": True, "password": None, "tls": CERTIFICATE}, "certificate_unreadable"),
        ],
    )
    def test_new_charge_point_may_come_with_a_higher_profile_and_what_that_asks_for(
        self, tenant: Tenant, profile: int, members: dict[str, Any], expected: int | str
    ) -> None:
        tenant.allow_security_profile_0 = True
        tenant.save()
        register(tenant, security_profile=profile)
        decision = decide(request(**members))
        if isinstance(expected, str):
            assert decision == expected
            return
        assert isinstance(decision, Accepted)
        with tenant_scope(tenant):
            assert ConnectionAttempt.objects.get().security_profile == expected
            # What it is held to stays what its operator said.
            assert ChargePoint.objects.get().security_profile == profile

    def test_higher_profile_counts_for_what_the_tenant_allows(self, tenant: Tenant) -> None:
        tenant.allow_security_profile_1 = False
        tenant.save()
        register(tenant)
        assert decide(request()) == "profile_not_allowed"
        accepted(request(secure=True))

    def test_password_that_nobody_asked_for_proves_nothing(self, tenant: Tenant) -> None:
        register(tenant, security_profile=0, password_hash="")
        tenant.allow_security_profile_0 = True
        tenant.save()
        assert decide(request(secure=True)) == "profile_differs"
        accepted(request())

    def test_password_over_tls_is_profile_2(self, tenant: Tenant) -> None:
        register(tenant, security_profile=2)
        accepted(request(secure=True, tls={"tls_version": "TLSv1.3", "cipher_suite": "X"}))
        with tenant_scope(tenant):
            attempt = ConnectionAttempt.objects.get()
        assert (attempt.security_profile, attempt.tls_version, attempt.tls_cipher) == (2, "TLSv1.3", "X")

    def test_profile_1_may_be_forbidden_by_the_tenant(self, tenant: Tenant) -> None:
        register(tenant)
        tenant.allow_security_profile_1 = False
        tenant.save()
        assert decide(request()) == "profile_not_allowed"
        assert decide(request("NEW")) == "unknown_identity"

    def test_profile_0_does_not_satisfy_a_charge_point_over_tls(self, tenant: Tenant) -> None:
        register(tenant, security_profile=0, exact_security_profile=True)
        tenant.allow_security_profile_0 = True
        tenant.save()
        assert decide(request(secure=True)) == "profile_differs"
        accepted(request(password=None))


class TestPassword:
    @pytest.mark.parametrize("allowed", [True, False])
    def test_hexadecimal_text_is_the_password_only_where_that_is_allowed(self, tenant: Tenant, allowed: bool) -> None:
        digits = "00112233445566778899AABBCCDDEEFF"
        stored = credentials.hashed(bytes.fromhex(digits), generated=True)
        register(tenant, password_hash=stored, accept_hexadecimal_password=allowed)
        binary = basic("CP-1", bytes.fromhex(digits))[1].encode()
        accepted(request(authorization=binary))
        assert isinstance(decide(request(password=digits)), Accepted) == allowed

    @pytest.mark.parametrize("generated", [True, False], ids=["generated", "typed"])
    def test_attempt_says_how_long_a_wrong_password_was_and_nothing_else_of_it(
        self, tenant: Tenant, generated: bool
    ) -> None:
        register(tenant, password_hash=credentials.hashed(PASSWORD.encode(), generated=generated))
        assert decide(request(password="73519264")) == "wrong_password"
        with tenant_scope(tenant):
            attempt = ConnectionAttempt.objects.get()
        assert attempt.remedy.endswith("A password of 8 bytes arrived.")
        assert "73519264" not in attempt.remedy

    @pytest.mark.parametrize("allowed", [True, False])
    def test_unknown_one_is_admitted_with_a_weak_password_where_that_is_allowed(
        self, tenant: Tenant, allowed: bool
    ) -> None:
        tenant.unknown_charge_points, tenant.allow_weak_passwords = "pending", allowed
        tenant.save()
        decision = decide(request("NEW", password="73519264"))
        assert isinstance(decision, Accepted) if allowed else decision == "wrong_password"


class TestPath:
    @pytest.mark.parametrize(
        ("path", "recorded"),
        [("CP%00", "CP%00"), ("%FF", "%FF"), ("K" * 49, "K" * 49), ("", "alpha"), ("a/b", "b")],
    )
    def test_unusable_path_is_recorded_with_its_tenant(self, tenant: Tenant, path: str, recorded: str) -> None:
        scope = {
            "type": "websocket", "path": "", "raw_path": f"/ocpp/alpha/{path}".encode(), "client": ("192.0.2.1", 1),
            "scheme": "ws", "headers": [(b"sec-websocket-protocol", b"ocpp1.6")],
        }  # fmt: skip
        assert decide(handshake.read(scope)) == "bad_path"
        with tenant_scope(tenant):
            attempt = ConnectionAttempt.objects.get()
        assert (attempt.identity, attempt.reason, attempt.http_status) == (recorded, "bad_path", 400)


class TestTakeOver:
    def test_each_accepted_handshake_is_a_new_generation(self, tenant: Tenant) -> None:
        row = register(tenant)
        first, second = accepted(request()), accepted(request())
        assert (first.link.generation, second.link.generation) == (2, 3)
        assert (first.link.charge_point_id, first.link.tenant_id) == (row.pk, tenant.pk)
        with tenant_scope(tenant):
            row.refresh_from_db()
        assert (row.connected, row.connection_owner, row.remote_address) == (True, "process-1", "192.0.2.1")

    def test_end_of_an_older_connection_leaves_the_newer_one_alone(self, tenant: Tenant) -> None:
        row, now = register(tenant), datetime.now(UTC)
        older, newer = accepted(request()), accepted(request())
        with tenant_scope(tenant):
            departures.release(row, now, generation=older.link.generation)
            row.refresh_from_db()
            assert (row.connected, row.disconnected_at) == (True, None)
            departures.release(row, now, generation=newer.link.generation)
            row.refresh_from_db()
            assert (row.connected, row.connection_owner, row.disconnected_at) == (False, "", now)

    @pytest.mark.parametrize("meanwhile", [False, True])
    def test_socket_accepted_since_the_charge_point_was_read_is_told_to_go(
        self, tenant: Tenant, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any, meanwhile: bool
    ) -> None:
        row, told = register(tenant), []
        monkeypatch.setattr(take_over.commands, "notify", lambda ids, message: told.append(message["generation"]))
        with tenant_scope(tenant), django_capture_on_commit_callbacks(execute=True):
            if meanwhile:
                ChargePoint.objects.update(connected=True, connection_generation=row.connection_generation + 1)
            arrival = Arrival(row, request(), handshake.SecurityProfile.BASIC, held_to=1, plain=False)
            take_over.take_over([arrival], "process-1", datetime.now(UTC))
        assert told == ([3] if meanwhile else [])


class TestAdmission:
    @pytest.fixture
    def welcoming(self, tenant: Tenant) -> Tenant:
        tenant.unknown_charge_points = "pending"
        tenant.save()
        return tenant

    def test_stranger_is_registered_with_its_password_hashed(self, welcoming: Tenant) -> None:
        accepted(request("NEW"))
        with tenant_scope(welcoming):
            row = ChargePoint.objects.get()
        assert (row.identity, row.registration_status, row.security_profile) == ("NEW", "Pending", 1)
        assert row.password_hash.startswith("scrypt$")
        assert PASSWORD not in row.password_hash

    def test_full_tenant_admits_nobody(self, welcoming: Tenant) -> None:
        register(welcoming)
        welcoming.max_charge_points = 1
        welcoming.save()
        assert decide(request("NEW")) == "tenant_limit"
        accepted(request("CP-1"))

    @pytest.mark.parametrize(
        ("identity", "password", "reason"),
        [
            ("NEW", None, "no_credentials"),
            ("NEW", "short", "wrong_password"),
            ("NEW", "x" * 41, "wrong_password"),
            ("A:B", PASSWORD, "wrong_username"),
        ],
    )
    def test_stranger_without_usable_credentials_is_not_registered(
        self, welcoming: Tenant, identity: str, password: str | None, reason: str
    ) -> None:
        assert decide(request(identity, password)) == reason
        with tenant_scope(welcoming):
            assert not ChargePoint.objects.exists()

    def test_registered_identity_with_a_colon_cannot_use_a_password(self, tenant: Tenant) -> None:
        register(tenant, "A:B")
        assert decide(request("A:B", authorization=None)) == "colon_in_identity"


class TestFailuresOfOurs:
    def test_database_that_is_away_is_503(self, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
        def away(*_: Any) -> Any:
            raise OperationalError("connection refused")

        register(tenant)
        monkeypatch.setattr(handshake, "_decide", away)
        decision = handshake.decide(request(), "process-1")
        assert isinstance(decision, Refusal)
        assert (decision.status, decision.reason) == (503, "unavailable")
        assert "connection refused" not in decision.body

    def test_cache_that_is_away_keeps_nobody_out(self, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
        class Away:
            def __getattr__(self, name: str) -> Any:
                raise ConnectionError("no cache")

        register(tenant)
        monkeypatch.setattr(attempt_limits, "cache", Away())
        assert decide(request(password="wrong-password-1234")) == "wrong_password"
        accepted(request())

    @pytest.mark.parametrize("refusal", handshake.REFUSALS.values(), ids=lambda refusal: refusal.reason)
    def test_every_refusal_is_an_error_with_a_remedy(self, refusal: Refusal) -> None:
        assert 400 <= refusal.status < 600
        assert refusal.remedy.endswith(".")
        names = {name for name, _ in refusal.headers}
        assert (b"www-authenticate" in names) == (refusal.status == 401)
        assert (b"retry-after" in names) == (refusal.status in (429, 503))


class TestConstantTime:
    @pytest.mark.parametrize("stored", ["", "generated", "typed"])
    def test_failure_costs_the_same_whether_the_identity_is_known_or_not(
        self, monkeypatch: pytest.MonkeyPatch, stored: str
    ) -> None:
        password_hash = stored and credentials.hashed(PASSWORD.encode(), generated=stored == "generated")
        schemes: list[str] = []
        digest = credentials._digest
        monkeypatch.setattr(
            credentials, "_digest", lambda scheme, *rest: (schemes.append(scheme), digest(scheme, *rest))[1]
        )
        assert not credentials.matches(password_hash, b"wrong-password-1234", accept_hexadecimal=True)
        assert schemes.count("scrypt") == 1

    def test_generated_password_that_is_right_costs_no_slow_hash(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stored = credentials.hashed(PASSWORD.encode(), generated=True)
        monkeypatch.setattr(credentials.hashlib, "scrypt", None)
        assert credentials.matches(stored, PASSWORD.encode(), accept_hexadecimal=True)


class TestProxy:
    HEADERS = {b"x-forwarded-for": b"203.0.113.9, 10.0.0.7", b"x-forwarded-proto": b"https"}

    def test_forwarded_headers_are_believed_from_a_trusted_proxy_only(self, settings: Settings) -> None:
        settings.CSMS_TRUSTED_PROXIES = ["10.0.0.0/8"]
        proxied = peer({"client": ("10.0.0.8", 1), "scheme": "ws"}, self.HEADERS)
        assert (proxied.address, proxied.secure) == ("203.0.113.9", True)
        direct = peer({"client": ("192.0.2.5", 1), "scheme": "ws"}, self.HEADERS)
        assert (direct.address, direct.secure) == ("192.0.2.5", False)

    def test_address_that_the_client_put_in_front_is_not_believed(self, settings: Settings) -> None:
        settings.CSMS_TRUSTED_PROXIES = ["10.0.0.0/8"]
        forwarded = {b"x-forwarded-for": b"127.0.0.1, 203.0.113.9"}
        assert peer({"client": ("10.0.0.8", 1), "scheme": "ws"}, forwarded).address == "203.0.113.9"
