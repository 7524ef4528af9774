"""Who may call the API: keys, signed-in members, and those limited to sites."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from stations.models import ChargePoint, Command, IdTag
from tenants.models import ApiKey, AuditEntry, IdempotencyRecord, Membership, Role, Site
from tenants.scope import tenant_scope
from tests.stations.api.conftest import ALL_SCOPES, Api, Owner

pytestmark = pytest.mark.django_db

COMMAND = {"action": "ClearCache"}
COMMANDS = "/api/v1/charge-points/SAME/commands/"


def signed_in(owner: Owner | None, role: str = Role.OWNER, *, sites: tuple[Site, ...] = (), **options: Any) -> Client:
    """A browser in which a member of the tenant is signed in."""
    user = User.objects.create(username=f"person-{User.objects.count()}")
    if owner is not None:
        with tenant_scope(owner.tenant):
            Membership.objects.create(user=user, role=role).sites.set(sites)
    client = Client(**options)
    client.force_login(user)
    return client


class TestSession:
    def test_member_reads_with_the_session(self, a: Owner) -> None:
        found = signed_in(a).get("/api/v1/charge-points/").json()["results"]
        assert [row["identity"] for row in found] == ["SAME"]

    @pytest.mark.parametrize(
        ("role", "command", "write"),
        [("owner", 202, 201), ("admin", 202, 201), ("operator", 202, 403), ("viewer", 403, 403), ("billing", 403, 403)],
    )
    def test_role_decides(self, a: Owner, role: str, command: int, write: int) -> None:
        client = signed_in(a, role)
        assert client.get("/api/v1/charge-points/").status_code == 200
        assert client.post(COMMANDS, COMMAND, content_type="application/json").status_code == command
        assert client.put("/api/v1/id-tags/X/", {}, content_type="application/json").status_code == write

    def test_writing_needs_the_csrf_token(self, a: Owner) -> None:
        client = signed_in(a, enforce_csrf_checks=True)
        refused = client.post(COMMANDS, COMMAND, content_type="application/json")
        assert (refused.status_code, refused.json()["code"]) == (403, "csrf_failed")
        assert refused["Content-Type"] == "application/problem+json"
        client.get("/admin/login/")
        client.cookies["csrftoken"] = token = "t" * 32
        headers = {"X-CSRFToken": token}
        assert client.post(COMMANDS, COMMAND, content_type="application/json", headers=headers).status_code == 202

    def test_api_key_needs_no_csrf_token(self, a: Owner) -> None:
        client = Client(enforce_csrf_checks=True)
        headers = {"Authorization": f"Api-Key {a.api.key}"}
        assert client.post(COMMANDS, COMMAND, content_type="application/json", headers=headers).status_code == 202

    def test_who_works_for_no_tenant_is_told_so(self, a: Owner) -> None:
        response = signed_in(None).get("/api/v1/charge-points/")
        assert (response.status_code, response.json()["code"]) == (403, "no_tenant")

    def test_idempotency_key_belongs_to_the_person(self, a: Owner) -> None:
        for client in (signed_in(a), signed_in(a)):
            answers = [
                client.post(COMMANDS, COMMAND, content_type="application/json", headers={"Idempotency-Key": "k"})
                for _ in range(2)
            ]
            assert answers[0].content == answers[1].content
        with tenant_scope(a.tenant):
            assert Command.objects.count() == IdempotencyRecord.objects.count() == 2

    def test_actor_and_address_are_noted(self, a: Owner) -> None:
        signed_in(a).put("/api/v1/id-tags/X/", {}, content_type="application/json", REMOTE_ADDR="192.0.2.7")
        with tenant_scope(a.tenant):
            entry = AuditEntry.objects.get()
        assert (entry.actor, entry.address, entry.object_label) == ("person-0", "192.0.2.7", "X")
        assert entry.user is not None

    def test_key_of_another_tenant_beside_a_session_is_refused(self, a: Owner, b: Owner) -> None:
        headers = {"Authorization": f"Api-Key {b.api.key}"}
        response = signed_in(a).get("/api/v1/charge-points/", headers=headers)
        assert (response.status_code, response.json()["code"]) == (400, "two_identities")
        same = signed_in(a).get("/api/v1/charge-points/", headers={"Authorization": f"Api-Key {a.api.key}"})
        assert same.status_code == 200


class TestLimitedToSites:
    """A key for the site `yard` in a tenant that also has `depot` (with SAME)."""

    @pytest.fixture
    def yard(self, a: Owner) -> Api:
        with tenant_scope(a.tenant):
            site = Site.objects.create(slug="yard", name="Yard")
            ChargePoint.objects.create(identity="YARD", site=site)
            ChargePoint.objects.create(identity="NOWHERE")
            tags = {name: IdTag.objects.create(id_tag=name) for name in ("EVERYWHERE", "AT-YARD", "AT-DEPOT", "BOTH")}
            tags["AT-YARD"].sites.set([site])
            tags["AT-DEPOT"].sites.set([a.charge_point.site])
            tags["BOTH"].sites.set([site, a.charge_point.site])
            _, key = ApiKey.issue(a.tenant, "yard", ALL_SCOPES, sites=[site])
        return Api(key)

    def test_only_charge_points_there_exist(self, yard: Api) -> None:
        assert [row["identity"] for row in yard("GET", "charge-points/").json()["results"]] == ["YARD"]
        for path in ("", "connectors/", "configuration/", "commands/", "messages/", "connection-attempts/"):
            assert yard("GET", f"charge-points/YARD/{path}").status_code == 200
            assert yard("GET", f"charge-points/SAME/{path}").status_code == 404

    def test_commands_go_there_only(self, yard: Api) -> None:
        assert yard("POST", "charge-points/SAME/commands/", COMMAND).status_code == 404
        sent = yard("POST", "commands/bulk/", {**COMMAND, "filter": {}}).json()["commands"]
        assert [command["charge_point"] for command in sent] == ["YARD"]

    def test_charge_point_can_be_registered_there_only(self, yard: Api) -> None:
        assert yard("PUT", "charge-points/NEW/", {"site": "yard"}).status_code == 201
        for site in (None, "depot"):
            response = yard("PUT", "charge-points/OTHER/", {"site": site})
            assert response.json()["errors"][0]["pointer"] == "/site"
        assert yard("PATCH", "charge-points/NEW/", {"site": None}).status_code == 400
        # Another site's identity is taken, which is all that is said about it.
        assert yard("PUT", "charge-points/SAME/", {"site": "yard"}).json()["code"] == "identity_taken"

    def test_id_tags_that_may_charge_there_are_seen(self, yard: Api) -> None:
        seen = [row["id_tag"] for row in yard("GET", "id-tags/").json()["results"]]
        assert seen == ["BOTH", "AT-YARD", "EVERYWHERE", "SameTag"]
        assert yard("GET", "id-tags/AT-DEPOT/").status_code == 404

    def test_id_tags_of_other_sites_too_cannot_be_changed(self, yard: Api) -> None:
        assert yard("PATCH", "id-tags/AT-YARD/", {"status": "Blocked"}).status_code == 200
        for id_tag in ("EVERYWHERE", "BOTH"):
            for method, body in (("PATCH", {"status": "Blocked"}), ("PUT", {"sites": ["yard"]}), ("DELETE", None)):
                response = yard(method, f"id-tags/{id_tag}/", body)
                assert (response.status_code, response.json()["code"]) == (403, "site_not_allowed")
        assert yard("PATCH", "id-tags/AT-YARD/", {"sites": []}).status_code == 400
        assert yard("POST", "id-tags/", {"id_tag": "NEW"}).status_code == 400
        assert yard("POST", "id-tags/", {"id_tag": "NEW", "sites": ["yard"]}).status_code == 201

    def test_sites_are_the_own_ones(self, yard: Api) -> None:
        assert [row["slug"] for row in yard("GET", "sites/").json()["results"]] == ["yard"]
        assert yard("POST", "sites/", {"slug": "more", "name": "More"}).status_code == 403
        assert yard("PATCH", "sites/depot/", {"name": "Mine"}).status_code == 404

    def test_keys_made_reach_no_further(self, yard: Api, a: Owner) -> None:
        for sites in ([], ["depot"], ["yard", "depot"]):
            body = {"name": "n", "scopes": ["read"], "sites": sites}
            assert yard("POST", "api-keys/", body).status_code == 400
        made = yard("POST", "api-keys/", {"name": "n", "scopes": ["read"], "sites": ["yard"]})
        assert made.status_code == 201
        assert [row["name"] for row in yard("GET", "api-keys/").json()["results"]] == ["n", "yard"]
        unlimited = a.api("GET", "api-keys/").json()["results"][-1]
        assert yard("DELETE", f"api-keys/{unlimited['id']}/").status_code == 404

    def test_member_is_limited_alike(self, a: Owner, yard: Api) -> None:
        with tenant_scope(a.tenant):
            site = Site.objects.get(slug="yard")
        found = signed_in(a, sites=(site,)).get("/api/v1/charge-points/").json()["results"]
        assert [row["identity"] for row in found] == ["YARD"]


class TestKeys:
    def test_made_listed_used_and_revoked(self, a: Owner) -> None:
        made = a.api("POST", "api-keys/", {"name": "export", "scopes": ["read", "billing"], "sites": ["depot"]})
        body = made.json()
        assert (made.status_code, body["scopes"], body["sites"]) == (201, ["read", "billing"], ["depot"])
        assert made["Location"] == f"http://testserver/api/v1/api-keys/{body['id']}/"
        key = Api(body["key"])
        assert key("GET", "charge-points/").status_code == 200
        assert key("GET", "api-keys/").json()["code"] == "missing_scope"
        shown = a.api("GET", f"api-keys/{body['id']}/").json()
        assert "key" not in shown
        assert shown["last_used_at"] is not None
        assert a.api("DELETE", f"api-keys/{body['id']}/").json()["revoked_at"] is not None
        assert key("GET", "charge-points/").status_code == 401

    def test_secret_is_stored_nowhere(self, a: Owner) -> None:
        body = {"name": "export", "scopes": ["read"]}
        answers = [a.api("POST", "api-keys/", body, **{"Idempotency-Key": "k"}) for _ in range(2)]
        assert answers[0].content == answers[1].content
        secret = answers[0].json()["key"].partition(".")[2]
        with tenant_scope(a.tenant):
            record = IdempotencyRecord.objects.get()
            assert secret.encode() not in bytes(record.response_body or b"")
            assert secret not in str(list(AuditEntry.objects.values())) + str(list(ApiKey.objects.values()))

    def test_nobody_grants_what_they_do_not_hold(self, a: Owner) -> None:
        _, text = ApiKey.issue(
            a.tenant, "manager", ["read", "manage"], expires_at=datetime.now(UTC) + timedelta(days=1)
        )
        manager = Api(text)
        soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        refused = manager("POST", "api-keys/", {"name": "n", "scopes": ["read", "operate"], "expires_at": soon})
        assert refused.json()["errors"][0]["pointer"] == "/scopes/1"
        for expires_at in (None, "2090-01-01T00:00:00Z", "2020-01-01T00:00:00Z"):
            response = manager("POST", "api-keys/", {"name": "n", "scopes": ["read"], "expires_at": expires_at})
            assert response.json()["errors"][0]["pointer"] == "/expires_at"
        assert manager("POST", "api-keys/", {"name": "n", "scopes": ["read"], "expires_at": soon}).status_code == 201

    @pytest.mark.parametrize("scopes", [[], ["everything"], "read", [["read"]], [1], None])
    def test_bad_scopes_are_400(self, a: Owner, scopes: Any) -> None:
        assert a.api("POST", "api-keys/", {"name": "n", "scopes": scopes}).status_code == 400


class TestSites:
    def test_made_changed_and_deleted(self, a: Owner) -> None:
        body = {"slug": "yard", "name": "Yard", "latitude": 52.5200081, "longitude": 13.4, "time_zone": "Europe/Berlin"}
        made = a.api("POST", "sites/", body)
        assert (made.status_code, made["Location"]) == (201, "http://testserver/api/v1/sites/yard/")
        assert made.json() == body | {"address": "", "latitude": 52.520008}
        assert a.api("PUT", "sites/yard/", {"slug": "yard", "name": "Y"}).json()["time_zone"] == ""
        assert a.api("PATCH", "sites/yard/", {"slug": "garden"}).json()["slug"] == "garden"
        assert a.api("DELETE", "sites/garden/").status_code == 204
        assert a.api("GET", "sites/garden/").status_code == 404

    def test_slug_is_unique_and_well_formed(self, a: Owner) -> None:
        assert a.api("POST", "sites/", {"slug": "depot", "name": "D"}).json()["code"] == "slug_taken"
        for slug in ("", "UPPER", "-x", "a b", "x" * 64, "ü", 5, None):
            assert a.api("POST", "sites/", {"slug": slug, "name": "D"}).status_code == 400

    def test_one_in_use_stays(self, a: Owner) -> None:
        with tenant_scope(a.tenant):
            site = Site.objects.create(slug="yard", name="Yard")
            ApiKey.issue(a.tenant, "limited", ["read"], sites=[site])
        for slug in ("depot", "yard"):
            response = a.api("DELETE", f"sites/{slug}/")
            assert (response.status_code, response.json()["code"]) == (409, "site_in_use")
