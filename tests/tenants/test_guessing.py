"""Guessing at the sign-in page and of API keys is held up and told, and locks nobody out from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import OperationalError
from django.test import Client, override_settings

from stations.models import SecurityEvent
from tenants import guessing
from tenants.models import ApiKey, AuditEntry, Guessing, Membership, Role, Tenant
from tenants.scope import platform_scope, tenant_scope
from tenants.tasks import forget_guessing
from tests.conftest import Tenants
from tests.stations.admin.people import client_of, new_user, sign_in_superuser, text_of, url

PASSWORD = "correct horse battery staple"
WRONG = "hunter2"
HOME, ELSEWHERE = "192.0.2.7", "198.51.100.9"
HELD_UP = "Too many attempts have failed from here. Try again in 5 minutes."


@pytest.fixture(autouse=True)
def limits(settings: Any, db: None) -> Iterator[None]:
    settings.CSMS_FAILED_SIGN_INS_PER_ACCOUNT = settings.CSMS_FAILED_API_KEYS_PER_KEY = 3
    settings.CSMS_FAILED_SIGN_INS_PER_ADDRESS = settings.CSMS_FAILED_API_KEYS_PER_ADDRESS = 6
    # A real one takes its time, which is not what is tested here.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def olga(in_tenant_a: Tenant) -> User:
    user = new_user("olga", password=PASSWORD)
    Membership.objects.create(user=user, role=Role.OWNER)
    return user


def try_password(username: str, password: str = WRONG, address: str = HOME, client: Client | None = None) -> Any:
    fields = {"username": username, "password": password}
    return (client or Client()).post("/admin/login/", fields, REMOTE_ADDR=address)


def statuses(*attempts: Any) -> list[int]:
    return [attempt.status_code for attempt in attempts]


class TestSignIn:
    def test_account_is_held_up_from_the_address_that_guesses(self, olga: User) -> None:
        assert statuses(*(try_password("olga") for _ in range(4))) == [200, 200, 200, 429]
        refused = try_password("olga", PASSWORD)
        assert (refused.status_code, refused["Retry-After"]) == (429, "300")
        assert HELD_UP in text_of(refused)
        assert "_auth_user_id" not in refused.client.session

    def test_nobody_is_locked_out_from_elsewhere(self, olga: User) -> None:
        for _ in range(5):
            try_password("olga")
        assert try_password("olga", PASSWORD, ELSEWHERE).status_code == 302

    def test_others_at_the_address_are_not_held_up_by_one_account(self, olga: User) -> None:
        new_user("otto", password=PASSWORD)
        for _ in range(20):
            try_password("olga")
        assert try_password("otto", PASSWORD).status_code == 302

    def test_address_that_tries_many_accounts_is_held_up(self, olga: User) -> None:
        assert statuses(*(try_password(f"name-{number}") for number in range(7))) == [200] * 6 + [429]
        assert try_password("olga", PASSWORD).status_code == 429
        assert try_password("olga", PASSWORD, ELSEWHERE).status_code == 302

    def test_browser_that_signed_the_account_in_before_is_not_held_up_by_its_neighbours(self, olga: User) -> None:
        browser = Client()
        assert try_password("olga", PASSWORD, client=browser).status_code == 302
        browser.post("/admin/logout/")
        for number in range(8):
            try_password("olga")
            try_password(f"name-{number}")
        assert try_password("olga", PASSWORD).status_code == 429
        assert try_password("otto", PASSWORD, client=browser).status_code == 429
        assert try_password("olga", PASSWORD, client=browser).status_code == 302

    def test_browser_that_signed_in_before_guesses_no_faster(self, olga: User) -> None:
        browser = Client()
        try_password("olga", PASSWORD, client=browser)
        found = statuses(*(try_password("olga", client=browser) for _ in range(5)))
        assert found == [200, 200, 200, 429, 429]

    def test_name_is_the_same_in_other_letters(self, olga: User) -> None:
        found = [try_password(name) for name in ("olga", "OLGA", " olga ", "Olga")]
        assert statuses(*found) == [200, 200, 200, 429]

    def test_ipv6_network_is_one_address(self, olga: User) -> None:
        found = [try_password("olga", address=f"2001:db8:1:2::{number}") for number in range(1, 5)]
        assert statuses(*found) == [200, 200, 200, 429]
        assert try_password("olga", PASSWORD, "2001:db8:1:3::1").status_code == 302

    def test_behind_a_trusted_proxy_the_caller_counts_and_not_the_proxy(self, olga: User, settings: Any) -> None:
        settings.CSMS_TRUSTED_PROXIES = ["127.0.0.1"]

        def through_proxy(password: str, address: str) -> int:
            fields = {"username": "olga", "password": password}
            answer = Client().post("/admin/login/", fields, headers={"X-Forwarded-For": address})
            return int(answer.status_code)

        assert [through_proxy(WRONG, HOME) for _ in range(4)] == [200, 200, 200, 429]
        assert through_proxy(PASSWORD, ELSEWHERE) == 302
        # Nobody else is believed.
        settings.CSMS_TRUSTED_PROXIES = []
        assert [through_proxy(WRONG, f"192.0.2.{number}") for number in range(4)] == [200, 200, 200, 429]

    def test_slips_are_forgotten_with_the_right_password(self, olga: User) -> None:
        for _ in range(4):
            assert statuses(*(try_password("olga") for _ in range(2))) == [200, 200]
            assert try_password("olga", PASSWORD).status_code == 302

    def test_right_passwords_of_many_people_behind_one_address_do_not_count(self, olga: User) -> None:
        assert statuses(*(try_password("olga", PASSWORD) for _ in range(20))) == [302] * 20

    def test_page_can_be_read_while_held_up(self, olga: User) -> None:
        for _ in range(5):
            try_password("olga")
        assert Client().get("/admin/login/", REMOTE_ADDR=HOME).status_code == 200

    def test_cache_that_is_down_keeps_nobody_out(self, olga: User) -> None:
        nowhere = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1/0"}
        with override_settings(CACHES={"default": nowhere}):
            assert try_password("olga").status_code == 200
            assert try_password("olga", PASSWORD).status_code == 302


class TestApiKey:
    @pytest.fixture
    def key(self, in_tenant_a: Tenant) -> tuple[ApiKey, str]:
        return ApiKey.issue(in_tenant_a, "billing", ["read"])

    def ask(self, text: str, address: str = HOME) -> Any:
        return Client().get("/api/v1/sites/", headers={"Authorization": f"Api-Key {text}"}, REMOTE_ADDR=address)

    def test_guesser_is_held_up(self, key: tuple[ApiKey, str]) -> None:
        found = [self.ask(f"{number:012}.secret") for number in range(7)]
        assert statuses(*found) == [401] * 6 + [429]
        assert (found[-1]["Content-Type"], found[-1]["Retry-After"]) == ("application/problem+json", "300")
        assert found[-1].json()["code"] == "too_many_attempts"
        assert self.ask("000000000000.secret", ELSEWHERE).status_code == 401

    def test_secret_of_one_key_is_held_up(self, key: tuple[ApiKey, str]) -> None:
        found = [self.ask(f"{key[0].prefix}.secret{number}") for number in range(5)]
        assert statuses(*found) == [401, 401, 401, 429, 429]

    def test_right_key_is_let_in_whatever_others_do_at_its_address(self, key: tuple[ApiKey, str]) -> None:
        for number in range(20):
            self.ask(f"{key[0].prefix}.secret{number}")
            self.ask(f"{number:012}.secret")
        assert self.ask(key[1]).status_code == 200

    def test_program_with_an_old_key_is_not_its_neighbours_fault(self, key: tuple[ApiKey, str]) -> None:
        for _ in range(20):
            self.ask(f"{key[0].prefix}.old")
        assert self.ask("000000000000.secret").status_code == 401

    def test_owners_are_told(self, key: tuple[ApiKey, str]) -> None:
        for _ in range(10):
            self.ask(f"{key[0].prefix}.old")
        entries = [
            (entry.action, entry.object_type, entry.address, entry.changes)
            for entry in AuditEntry.objects.order_by("pk")
        ]
        assert entries == [
            ("api_key_failed", "tenants.apikey", HOME, {"attempts": [None, 1]}),
            ("api_key_held_up", "tenants.apikey", HOME, {"attempts": [None, 3]}),
        ]
        alert = SecurityEvent.objects.alerts().get()
        assert (alert.type, alert.identity, alert.address) == ("api_key_guessing", key[0].prefix, HOME)


class TestTelling:
    def test_owner_finds_it_in_the_audit_log_and_on_the_dashboard(self, olga: User) -> None:
        for _ in range(6):
            try_password("olga")
        entries = AuditEntry.objects.order_by("pk")
        assert [(entry.action, entry.changes["attempts"]) for entry in entries] == [
            ("sign_in_failed", [None, 1]),
            ("sign_in_failed", [None, 2]),
            ("sign_in_held_up", [None, 3]),
        ]
        assert {(entry.actor, entry.object_label, entry.address, entry.user) for entry in entries} == {
            ("somebody", "olga", HOME, None)
        }
        assert Guessing.objects.values_list("kind", "account", "address", "times").get() == ("sign_in", "olga", HOME, 3)
        page = text_of(client_of(olga).get(url("index")))
        assert "password guessing" in page
        assert f"Too many sign-ins with a wrong password: somebody may be guessing it. From {HOME}." in page
        # What concerns the platform is not a tenant's to see.
        assert "Guessing at passwords and API keys" not in page
        assert client_of(olga).get(url("tenants_guessing_changelist")).status_code == 403

    def test_every_tenant_of_the_person_is_told_and_no_other(self, tenants: Tenants) -> None:
        user = new_user("olga", password=PASSWORD)
        with tenant_scope(tenants.tenant_b):
            Membership.objects.create(user=user)
        for _ in range(3):
            try_password("olga")
        with platform_scope():
            assert set(AuditEntry.objects.values_list("tenant__slug", flat=True)) == {"beta"}
            assert [event.tenant.slug for event in SecurityEvent.objects.all()] == ["beta"]

    def test_account_tried_from_many_addresses_is_an_alert_and_stays_open(self, olga: User) -> None:
        for number in range(1, 9):
            for _ in range(2):
                try_password("olga", address=f"203.0.113.{number}")
        assert SecurityEvent.objects.alerts().get().type == "password_guessing"
        assert Guessing.objects.values_list("account", "address").get() == ("olga", "several")
        assert try_password("olga", PASSWORD, ELSEWHERE).status_code == 302

    def test_platform_administrator_sees_what_concerns_no_tenant(self, tenants: Tenants) -> None:
        for number in range(8):
            try_password(f"hunter{number}")
        row = Guessing.objects.get()
        assert (row.account, row.address, row.times) == ("", HOME, 6)
        root = sign_in_superuser()
        for page in (url("index"), url("tenants_guessing_changelist")):
            shown = text_of(root.get(page))
            assert HOME in shown
            # What was typed leads nowhere, and may be a password.
            assert "hunter" not in shown
        with platform_scope():
            assert not AuditEntry.objects.exists()

    def test_database_that_cannot_keep_it_changes_no_answer(self, olga: User, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*args: Any) -> None:
            raise OperationalError

        monkeypatch.setattr(guessing, "_tell", fail)
        assert statuses(*(try_password("olga") for _ in range(4))) == [200, 200, 200, 429]

    def test_old_rows_go(self, tenants: Tenants) -> None:
        now = datetime.now(UTC)
        for days in (91, 89):
            Guessing.objects.add("sign_in", "", HOME, now - timedelta(days=days), 5)
        assert forget_guessing() == 1
        assert Guessing.objects.get().last_at == now - timedelta(days=89)
