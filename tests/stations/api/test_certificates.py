"""Certificates over REST: what goes in, what comes out, and that a private key never does."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from stations.certificates import issuing, signing
from stations.models import Certificate, CertificateAuthority, CertificateRequest, Command
from tenants.models import ApiKey, AuditEntry, Site
from tenants.scope import tenant_scope
from tests import x509 as made
from tests.stations.api.conftest import Api, Owner
from tests.stations.certificates.rows import NOW, ask, csr_text

pytestmark = pytest.mark.django_db

OURS = {"name": "Depot", "kind": "issuing", "key_type": "ec_p256", "signs_requests": True}
ROOT_TYPE = "CentralSystemRootCertificate"


def refused(answer: Any) -> tuple[int, str, list[str]]:
    body = answer.json()
    return answer.status_code, body["code"], [error["pointer"] for error in body.get("errors", [])]


class TestAuthorities:
    def test_root_and_intermediate_of_ours(self, a: Owner) -> None:
        answer = a.api("POST", "certificate-authorities/", OURS | {"signs_requests": False, "organization": "Ours"})
        root = answer.json()
        assert (answer.status_code, answer["Location"]) == (
            201, f"http://testserver/api/v1/certificate-authorities/{root['id']}/",
        )  # fmt: skip
        assert (root["subject"], root["signature_scheme"], root["key"]) == ("CN=Depot,O=Ours", "ecdsa", "EC 256")
        sub = a.api("POST", "certificate-authorities/", OURS | {"name": "Sub", "parent": root["id"]}).json()
        above, below = (x509.load_pem_x509_certificate(each["certificate"].encode()) for each in (root, sub))
        below.verify_directly_issued_by(above)
        assert a.api("GET", f"certificate-authorities/{sub['id']}/").json() == sub
        listed = a.api("GET", "certificate-authorities/?kind=issuing&active=true").json()["results"]
        assert [row["name"] for row in listed] == ["Sub", "Depot"]

    def test_private_key_never_comes_out(self, a: Owner) -> None:
        made_one = a.api("POST", "certificate-authorities/", OURS)
        with tenant_scope(a.tenant):
            row = CertificateAuthority.objects.get()
            audit = str(list(AuditEntry.objects.values()))
        secret = bytes(row.private_key or b"").decode()
        shown = [made_one, a.api("GET", "certificate-authorities/"), a.api("GET", f"certificate-authorities/{row.pk}/")]
        for text in [*(each.content.decode() for each in shown), audit]:
            assert "private" not in text.lower()
            assert secret not in text

    @pytest.mark.parametrize(
        ("body", "code", "pointers"),
        [
            ({"name": "X", "kind": "issuing"}, "invalid", ["/key_type"]),
            (OURS | {"certificate": "x"}, "invalid", ["/certificate"]),
            ({"name": "X", "kind": "trusted"}, "invalid", ["/certificate"]),
            ({"name": "X", "kind": "trusted", "certificate": "x"}, "unreadable", ["/certificate"]),
            (OURS | {"signature_scheme": "pss"}, "scheme_does_not_fit", ["/signature_scheme"]),
            (OURS | {"parent": 4711}, "not_found", ["/parent"]),
            (OURS | {"key_type": "rsa_1024"}, "invalid", ["/key_type"]),
        ],
    )
    def test_what_cannot_be_is_pointed_at(self, a: Owner, body: dict[str, Any], code: str, pointers: list[str]) -> None:
        answer = a.api("POST", "certificate-authorities/", body)
        assert answer.status_code == 400
        assert [error["pointer"] for error in answer.json()["errors"]] == pointers
        if code != "invalid":
            assert answer.json()["errors"][0]["code"] == code

    def test_somebody_elses_is_trusted_once_and_never_signs(self, a: Owner, tmp_path: Path) -> None:
        root = made.make(tmp_path, "Factory", ca=True)
        body = {"name": "Factory", "kind": "trusted", "certificate": root.pem}
        signing_one = a.api("POST", "certificate-authorities/", body | {"signs_requests": True})
        assert refused(signing_one)[2] == ["/signs_requests"]
        assert a.api("POST", "certificate-authorities/", body).status_code == 201
        again = a.api("POST", "certificate-authorities/", body | {"name": "Again"})
        assert again.json()["errors"][0]["code"] == "already_there"
        leaf = made.make(tmp_path, "Leaf").pem
        no_authority = a.api("POST", "certificate-authorities/", body | {"name": "Leaf", "certificate": leaf})
        assert no_authority.json()["errors"][0]["code"] == "not_an_authority"

    def test_settings_are_changed_and_audited_and_the_last_to_sign_takes_over(self, a: Owner) -> None:
        first = a.api("POST", "certificate-authorities/", OURS).json()["id"]
        second = a.api("POST", "certificate-authorities/", OURS | {"name": "B"}).json()["id"]
        assert not a.api("GET", f"certificate-authorities/{first}/").json()["signs_requests"]
        body = {"signs_requests": True, "renew_days_before": 30, "name": "A"}
        changed = a.api("PATCH", f"certificate-authorities/{first}/", body).json()
        assert {name: changed[name] for name in body} == body
        assert not a.api("GET", f"certificate-authorities/{second}/").json()["signs_requests"]
        with tenant_scope(a.tenant):
            entry = AuditEntry.objects.filter(action="change").get()
        assert entry.changes["renew_days_before"] == [None, 30]
        assert refused(a.api("PATCH", f"certificate-authorities/{first}/", {"name": "B"}))[2] == ["/name"]

    def test_delete_only_what_signed_nothing(self, a: Owner) -> None:
        root = a.api("POST", "certificate-authorities/", OURS).json()["id"]
        sub = a.api("POST", "certificate-authorities/", OURS | {"name": "Sub", "parent": root}).json()["id"]
        assert refused(a.api("DELETE", f"certificate-authorities/{root}/"))[:2] == (409, "in_use")
        with tenant_scope(a.tenant):
            Certificate.objects.create(
                charge_point=a.charge_point, authority_id=sub, origin="issued", chain="", created_at=NOW
            )
        assert refused(a.api("DELETE", f"certificate-authorities/{sub}/"))[:2] == (409, "in_use")
        with tenant_scope(a.tenant):
            Certificate.objects.all().delete()
        assert a.api("DELETE", f"certificate-authorities/{sub}/").status_code == 204
        assert a.api("DELETE", f"certificate-authorities/{root}/").status_code == 204

    def test_those_limited_to_a_site_look_but_do_not_change(self, a: Owner) -> None:
        made_one = a.api("POST", "certificate-authorities/", OURS).json()["id"]
        with tenant_scope(a.tenant):
            row, key = ApiKey.issue(a.tenant, "limited", ("read", "operate", "manage"))
            row.sites.set([Site.objects.get()])
        limited = Api(key)
        path = f"certificate-authorities/{made_one}/"
        assert limited("GET", path).status_code == 200
        for method, target, body in (
            ("POST", "certificate-authorities/", OURS), ("PATCH", path, {"active": False}), ("DELETE", path, None),
            ("POST", f"{path}crl/", {"crl": "x"}),
            ("POST", "root-certificates/", {"name": "R", "certificate_type": ROOT_TYPE, "certificate": "x"}),
        ):  # fmt: skip
            assert refused(limited(method, target, body))[:2] == (403, "site_not_allowed")


class TestRequests:
    @pytest.fixture
    def root(self, tmp_path: Path) -> made.Identity:
        return made.make(tmp_path, "External", ca=True)

    def waiting(self, a: Owner, root: made.Identity, key: Any) -> dict[str, Any]:
        """An open request of the charge point for an issuer elsewhere, as REST shows it."""
        body = {"name": "External", "kind": "external", "certificate": root.pem, "signs_requests": True}
        assert a.api("POST", "certificate-authorities/", body).status_code == 201
        with tenant_scope(a.tenant):
            assert ask(a.charge_point, csr_text(key, "SAME")) == "Accepted"
        (row,) = a.api("GET", "certificate-requests/?state=waiting&charge_point=SAME").json()["results"]
        return dict(row)

    def signed(self, root: made.Identity, request: dict[str, Any]) -> str:
        csr = x509.load_pem_x509_csr(request["csr"].encode())
        leaf = signing.issue(
            csr.public_key(), "SAME", "Ours", root.certificate, root.key, "ecdsa", datetime.now(UTC), made.DAY
        )
        return leaf.public_bytes(Encoding.PEM).decode()

    def test_external_issuer_signs_and_its_chain_is_sent_without_the_root(self, a: Owner, root: made.Identity) -> None:
        request = self.waiting(a, root, made.new_key())
        chain = self.signed(root, request)
        answer = a.api("POST", "certificates/", {"request": request["id"], "chain": root.pem + chain})
        certificate = answer.json()
        assert (answer.status_code, certificate["state"], certificate["origin"]) == (201, "sent", "imported")
        assert (certificate["chain"], certificate["charge_point"]) == (chain, "SAME")
        with tenant_scope(a.tenant):
            assert Command.objects.get(pk=certificate["command"]).payload == {"certificateChain": chain}
        closed = a.api("GET", f"certificate-requests/{request['id']}/").json()
        assert (closed["state"], closed["certificate"]) == ("signed", certificate["id"])
        again = a.api("POST", "certificates/", {"request": request["id"], "chain": chain})
        assert refused(again)[:2] == (409, "not_open")
        assert a.api("GET", "certificates/?state=sent").json()["results"] == [certificate]
        assert a.api("GET", "certificates/?state=expired").json()["results"] == []

    def test_chain_of_somebody_else_is_refused(self, a: Owner, root: made.Identity, tmp_path: Path) -> None:
        request = self.waiting(a, root, made.new_key())
        stranger = made.make(tmp_path, "Stranger", ca=True)
        for chain, code in (
            ("x", "unreadable"), (root.pem, "no_leaf"), (self.signed(stranger, request) + stranger.pem, "wrong_issuer"),
        ):  # fmt: skip
            answer = a.api("POST", "certificates/", {"request": request["id"], "chain": chain})
            assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, code)
        with tenant_scope(a.tenant):
            assert not Certificate.objects.exists()

    def test_request_can_be_closed_by_hand(self, a: Owner, root: made.Identity) -> None:
        request = self.waiting(a, root, made.new_key())
        assert a.api("DELETE", f"certificate-requests/{request['id']}/").json()["state"] == "closed"
        assert refused(a.api("DELETE", f"certificate-requests/{request['id']}/"))[:2] == (409, "not_open")

    def test_revoked_one_stays_in_the_record(self, a: Owner) -> None:
        a.api("POST", "certificate-authorities/", OURS)
        with tenant_scope(a.tenant):
            ask(a.charge_point)
            certificate = issuing.issue(CertificateRequest.objects.get().pk, NOW)
        assert certificate is not None
        answer = a.api("DELETE", f"certificates/{certificate.pk}/")
        assert (answer.status_code, answer.json()["state"]) == (200, "revoked")
        assert answer.json()["revoked_by"] == "API key test"
        assert refused(a.api("DELETE", f"certificates/{certificate.pk}/"))[:2] == (409, "revoked_already")


class TestChargePoint:
    def test_renewal_is_a_command(self, a: Owner) -> None:
        answer = a.api("POST", "charge-points/SAME/certificate-renewal/", {"reason": "Old"})
        command = answer.json()
        assert (answer.status_code, command["action"], command["payload"], command["reason"]) == (
            202, "ExtendedTriggerMessage", {"requestedMessage": "SignChargePointCertificate"}, "Old",
        )  # fmt: skip

    def test_install_of_a_kept_root_and_of_a_text(self, a: Owner, tmp_path: Path) -> None:
        root = made.make(tmp_path, "Root", ca=True)
        body = {"name": "Kept", "certificate_type": ROOT_TYPE, "certificate": root.pem.replace("\n", "\\n")}
        kept = a.api("POST", "root-certificates/", body).json()
        assert (kept["certificate"], kept["subject"]) == (root.pem, "CN=Root")
        path = "charge-points/SAME/installed-certificates/"
        command = a.api("POST", path, {"root_certificate": kept["id"]}).json()
        assert command["payload"] == {"certificateType": ROOT_TYPE, "certificate": root.pem}
        text = {"certificate_type": "ManufacturerRootCertificate", "certificate": "odd\r\n"}
        assert a.api("POST", path, text).json()["payload"] == {
            "certificateType": "ManufacturerRootCertificate", "certificate": "odd\n",
        }  # fmt: skip
        assert a.api("GET", path).json()["results"] == []
        assert a.api("POST", path, {"root_certificate": 4711}).status_code == 400
        assert a.api("POST", path, {}).status_code == 400
        assert refused(a.api("POST", "root-certificates/", body))[2] == ["/name"]
        assert a.api("DELETE", f"root-certificates/{kept['id']}/").status_code == 204
