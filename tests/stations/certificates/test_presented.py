"""Which client certificate lets a charge point in: judged by a handshake, as if OpenSSL had verified the chain."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from django.core.cache import cache

from stations import handshake
from stations.certificates import authorities, issuing, presented
from stations.handshake import Accepted, Refusal, Request
from stations.models import Certificate, CertificateAuthority, ChargePoint, ConnectionAttempt, SecurityEvent
from tenants.models import Tenant
from tenants.scope import tenant_scope
from tests import x509 as made
from tests.conftest import Tenants
from tests.stations.certificates.rows import NOW, ask, authority, issued, leaf_below, presented_chain
from tests.stations.rows import new_charge_point


@pytest.fixture(autouse=True)
def _no_attempts_yet() -> None:
    cache.clear()


@pytest.fixture
def tenant(tenants: Tenants) -> Tenant:
    return tenants.tenant_a


@pytest.fixture
def charge_point(tenant: Tenant) -> ChargePoint:
    with tenant_scope(tenant):
        return new_charge_point(security_profile=3, connected=False)


def connect(chain: list[bytes], identity: str = "CP-1", slug: str = "alpha", **members: Any) -> str:
    """The reason of the refusal, or "accepted"."""
    defaults: dict[str, Any] = {
        "tenant_slug": slug, "identity": identity, "path_is_valid": True, "subprotocols": ["ocpp1.6"],
        "authorization": None, "address": "192.0.2.1", "secure": True, "user_agent": "test",
        "tls": {"tls_version": "TLSv1.3", "client_cert_chain": chain},
    }  # fmt: skip
    decision = handshake.decide(Request(**defaults | members), "process-1")
    assert isinstance(decision, Accepted | Refusal)
    return decision.reason if isinstance(decision, Refusal) else "accepted"


def trusted(tenant: Tenant, root: made.Identity, **members: Any) -> CertificateAuthority:
    with tenant_scope(tenant):
        return authorities.import_authority("Factory", "ada", NOW, kind="trusted", certificate=root.pem, **members)


class TestFactoryCertificate:
    @pytest.fixture
    def root(self, tmp_path: Path) -> made.Identity:
        return made.make(tmp_path, "Factory", ca=True)

    def chain(self, root: made.Identity, cn: str = "CP-1", organization: str = "") -> list[bytes]:
        return [leaf_below(root, cn, organization), root.certificate.public_bytes(Encoding.DER)]

    def test_first_use_is_kept_and_the_attempt_says_which(
        self, tenant: Tenant, charge_point: ChargePoint, root: made.Identity
    ) -> None:
        trusted(tenant, root)
        chain = self.chain(root, "cp-1")
        assert connect(chain) == "accepted"
        assert connect(chain) == "accepted"
        with tenant_scope(tenant):
            row, attempt = Certificate.objects.get(), ConnectionAttempt.objects.latest("id")
        assert (row.state, row.origin, row.subject, row.charge_point_id) == (
            "in_use", "presented", "CN=cp-1", charge_point.pk,
        )  # fmt: skip
        assert attempt.client_certificate == (f"CN=cp-1; serial number {row.serial_number}; SHA-256 {row.fingerprint}")

    @pytest.mark.parametrize(
        ("cn", "fields", "outcome"),
        [
            ("CP-2", {}, "certificate_of_another"),
            ("SN-9", {"serial_number": "sn-9"}, "accepted"),
            ("CP-1", {"serial_number": "sn-9"}, "certificate_of_another"),
            ("Boot-7", {"charge_point_serial_number": "BOOT-7"}, "accepted"),
            ("", {}, "certificate_of_another"),
        ],
    )
    def test_cn_must_be_the_serial_number(
        self, tenant: Tenant, charge_point: ChargePoint, root: made.Identity, cn: str, fields: dict[str, str],
        outcome: str,
    ) -> None:  # fmt: skip
        trusted(tenant, root)
        with tenant_scope(tenant):
            ChargePoint.objects.update(**fields)
        chain = self.chain(root, cn) if cn else [root.certificate.public_bytes(Encoding.DER)] * 2
        assert connect(chain) == outcome

    def test_root_of_another_tenant_lets_nobody_in(
        self, tenants: Tenants, charge_point: ChargePoint, root: made.Identity
    ) -> None:
        row = trusted(tenants.tenant_b, root)
        assert connect(self.chain(root)) == "certificate_untrusted"
        trusted(tenants.tenant_a, root)
        assert connect(self.chain(root)) == "accepted"
        with tenant_scope(tenants.tenant_b):
            assert row.name == "Factory"
            assert not Certificate.objects.exists()

    def test_root_that_was_switched_off_lets_nobody_in(
        self, tenant: Tenant, charge_point: ChargePoint, root: made.Identity
    ) -> None:
        trusted(tenant, root, active=False)
        assert connect(self.chain(root)) == "certificate_untrusted"

    def test_leaf_alone_is_no_chain(self, tenant: Tenant, charge_point: ChargePoint, root: made.Identity) -> None:
        trusted(tenant, root)
        assert connect([root.certificate.public_bytes(Encoding.DER)]) == "certificate_untrusted"

    def test_organization_is_checked_where_that_is_switched_on(
        self, tenant: Tenant, charge_point: ChargePoint, root: made.Identity
    ) -> None:
        trusted(tenant, root, check_organization=True, organization="Ours")
        assert connect(self.chain(root, organization="Theirs")) == "certificate_organization"
        assert connect(self.chain(root, organization="OURS")) == "accepted"

    def test_imported_list_revokes(self, tenant: Tenant, charge_point: ChargePoint, root: made.Identity) -> None:
        row, chain = trusted(tenant, root), self.chain(root)
        serial = x509.load_der_x509_certificate(chain[0]).serial_number
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW).build()
        builder = x509.CertificateRevocationListBuilder().last_update(NOW).next_update(NOW + timedelta(days=1))
        builder = builder.add_revoked_certificate(entry)
        listed = builder.issuer_name(root.certificate.subject).sign(root.key, hashes.SHA256())
        text = listed.public_bytes(Encoding.PEM).decode()
        with tenant_scope(tenant):
            assert authorities.import_revocations(row, text, NOW) == 1
        assert connect(chain) == "certificate_revoked"
        with tenant_scope(tenant):
            assert SecurityEvent.objects.get().type == "certificate_revoked"
        forged = builder.issuer_name(root.certificate.subject).sign(made.new_key(), hashes.SHA256())
        with tenant_scope(tenant), pytest.raises(authorities.AuthorityRefused, match="not signed by this authority"):
            authorities.import_revocations(row, forged.public_bytes(Encoding.PEM).decode(), NOW)

    def test_unknown_charge_point_is_admitted_only_as_its_own(self, tenant: Tenant, root: made.Identity) -> None:
        trusted(tenant, root)
        tenant.unknown_charge_points = "pending"
        tenant.save()
        assert connect(self.chain(root, "NEW"), "OTHER") == "certificate_of_another"
        assert connect(self.chain(root, "NEW"), "NEW") == "accepted"
        with tenant_scope(tenant):
            assert ChargePoint.objects.get().security_profile == 3


class TestOwnCertificate:
    def test_old_one_stays_good_until_it_is_revoked(self, tenant: Tenant, charge_point: ChargePoint) -> None:
        with tenant_scope(tenant):
            authority("Sub", parent=authority("Root", signs_requests=False))
            old, new = issued(charge_point), issued(charge_point)
        assert connect(presented_chain(old)) == "accepted"
        assert connect(presented_chain(new)) == "accepted"
        with tenant_scope(tenant):
            assert [Certificate.objects.get(pk=each.pk).state for each in (old, new)] == ["accepted", "in_use"]
        assert connect(presented_chain(old)) == "accepted"
        with tenant_scope(tenant):
            assert issuing.revoke(old, "ada", "", NOW)
            assert not issuing.revoke(old, "ada", "", NOW)
        assert connect(presented_chain(old)) == "certificate_revoked"
        assert connect(presented_chain(new)) == "accepted"

    @pytest.mark.parametrize(
        ("state", "outcome"),
        [("issued", "accepted"), ("sent", "accepted"), ("accepted", "accepted"), ("rejected", "certificate_rejected")],
    )
    def test_state_decides(self, tenant: Tenant, charge_point: ChargePoint, state: str, outcome: str) -> None:
        with tenant_scope(tenant):
            authority()
            certificate = issued(charge_point)
            Certificate.objects.update(state=state)
        assert connect(presented_chain(certificate)) == outcome

    def test_one_of_another_charge_point_is_refused_whatever_its_cn(
        self, tenant: Tenant, charge_point: ChargePoint
    ) -> None:
        with tenant_scope(tenant):
            authority()
            other = new_charge_point("CP-2", charge_point_serial_number="CP-1", security_profile=3)
            assert ask(other) == "Accepted"
            certificate = issued(other)
            Certificate.objects.update(subject="CN=CP-1")
        assert connect(presented_chain(certificate)) == "certificate_of_another"

    def test_one_without_a_record_is_refused(self, tenant: Tenant, charge_point: ChargePoint) -> None:
        with tenant_scope(tenant):
            authority()
            certificate = issued(charge_point)
            chain = presented_chain(certificate)
            certificate.delete()
        assert connect(chain) == "certificate_unknown"

    def test_unknown_factory_certificate_does_not_take_the_place_of_one_that_was_accepted(
        self, tenant: Tenant, charge_point: ChargePoint, tmp_path: Path
    ) -> None:
        root = made.make(tmp_path, "Factory", ca=True)
        trusted(tenant, root)
        known, fresh = leaf_below(root, "CP-1"), leaf_below(root, "CP-1")
        above = root.certificate.public_bytes(Encoding.DER)
        assert connect([known, above]) == "accepted"
        with tenant_scope(tenant):
            authority()
            issued(charge_point)
        assert connect([fresh, above]) == "accepted"
        with tenant_scope(tenant):
            Certificate.objects.filter(origin="issued").update(state="accepted")
        assert connect([leaf_below(root, "CP-1"), above]) == "certificate_unknown"
        assert connect([known, above]) == "accepted"

    def test_check_of_the_cn_can_be_switched_off_for_what_was_given_to_this_charge_point(
        self, tenant: Tenant, charge_point: ChargePoint
    ) -> None:
        with tenant_scope(tenant):
            authority(check_common_name=False)
            certificate = issued(charge_point)
            ChargePoint.objects.update(serial_number="changed")
        assert connect(presented_chain(certificate)) == "accepted"
        with tenant_scope(tenant):
            CertificateAuthority.objects.update(check_common_name=True)
        assert connect(presented_chain(certificate)) == "certificate_of_another"

    def test_disabled_charge_point_stays_out(self, tenant: Tenant, charge_point: ChargePoint) -> None:
        with tenant_scope(tenant):
            authority()
            certificate = issued(charge_point)
            ChargePoint.objects.update(disabled=True)
        assert connect(presented_chain(certificate)) == "disabled"


class TestProfile:
    def test_none_on_profile_3_is_401(self, charge_point: ChargePoint) -> None:
        assert connect([]) == "certificate_missing"
        assert handshake.REFUSALS["certificate_missing"].status == 401

    def test_password_is_not_looked_at(self, tenant: Tenant, charge_point: ChargePoint) -> None:
        with tenant_scope(tenant):
            authority()
            certificate = issued(charge_point)
        assert connect(presented_chain(certificate), authorization=b"Bearer nonsense") == "accepted"

    def test_certificate_does_not_replace_the_password_of_a_lower_profile(
        self, tenant: Tenant, charge_point: ChargePoint
    ) -> None:
        with tenant_scope(tenant):
            authority()
            certificate = issued(charge_point)
            ChargePoint.objects.update(security_profile=2)
        assert connect(presented_chain(certificate)) in ("wrong_password", "no_credentials", "profile_differs")

    def test_garbage_instead_of_a_certificate_is_refused(self, charge_point: ChargePoint) -> None:
        assert connect([b"garbage"]) == "certificate_unreadable"


def test_client_roots_are_those_of_all_tenants_that_are_in_use_each_once(tenants: Tenants, tmp_path: Path) -> None:
    shared, own, off = (made.make(tmp_path, name, ca=True) for name in ("Shared", "Own", "Off"))
    old = made.make(tmp_path, "Old", ca=True, valid_to=NOW - made.DAY / 2)
    for tenant in tenants:
        with tenant_scope(tenant):
            for name, root, active in (("1", shared, True), ("2", old, True), ("3", off, False)):
                authorities.import_authority(name, "ada", NOW, kind="trusted", certificate=root.pem, active=active)
    with tenant_scope(tenants.tenant_a):
        authorities.import_authority("4", "ada", NOW, kind="external", certificate=own.pem)
    found = x509.load_pem_x509_certificates(presented.client_roots().encode())
    assert sorted(str(each.subject.rfc4514_string()) for each in found) == ["CN=Own", "CN=Shared"]
    # A suspended tenant keeps its sockets.
    tenants.tenant_a.suspend(NOW)
    assert len(x509.load_pem_x509_certificates(presented.client_roots().encode())) == 2
