"""Certificates at the admin: authorities are made and imported, dialogs send what is chosen, a key never shows."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from stations.certificates import authorities, signing
from stations.models import (
    Certificate,
    CertificateAuthority,
    CertificateRequest,
    ChargePoint,
    Command,
    InstalledCertificate,
    RootCertificate,
)
from stations.models.certificate import hash_key
from tenants.models import AuditEntry, Tenant
from tests import x509 as made
from tests.stations.admin.people import sign_in, submit, text_of, url
from tests.stations.rows import NOW, new_charge_point

HASH_DATA = {"hashAlgorithm": "SHA256", "issuerNameHash": "AB", "issuerKeyHash": "cd", "serialNumber": "0F"}
ROOT_TYPE = "CentralSystemRootCertificate"


@pytest.fixture
def manager(in_tenant_a: Tenant) -> Client:
    return sign_in(in_tenant_a, "admin", username="ada")


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    return new_charge_point()


@pytest.fixture
def listed(charge_point: ChargePoint) -> InstalledCertificate:
    return InstalledCertificate.objects.create(
        charge_point=charge_point, certificate_type=ROOT_TYPE, hash_data=HASH_DATA, key=hash_key(HASH_DATA),
        reported_at=NOW,
    )  # fmt: skip


def sent(client: Client, button: str, charge_point: ChargePoint, **fields: str) -> Command:
    response = submit(client, f"stations_chargepoint_{button}", charge_point.pk, **fields)
    command = Command.objects.get()
    assert response.headers["HX-Redirect"] == url("stations_command_change", command.pk)
    return command


class TestAuthorities:
    FIELDS = {"name": "Depot", "kind": "issuing", "key_type": "ec_p256", "active": "on", "validity_days": "90"}

    def make(self, client: Client, **fields: str) -> Any:
        return client.post(url("stations_certificateauthority_add"), self.FIELDS | fields)

    def test_root_of_ours_is_made_with_an_encrypted_key_that_no_page_shows(self, manager: Client) -> None:
        assert self.make(manager, signs_requests="on", organization="Ours").status_code == 302
        row = CertificateAuthority.objects.get()
        assert (row.kind, row.subject, row.key, row.signature_scheme) == (
            "issuing",
            "CN=Depot,O=Ours",
            "EC 256",
            "ecdsa",
        )
        assert (row.signs_requests, row.validity_days, row.created_by) == (True, 90, "ada")
        assert AuditEntry.objects.get(object_type="stations.certificateauthority").action == "create"
        page = text_of(manager.get(url("stations_certificateauthority_change", row.pk)))
        assert "BEGIN CERTIFICATE" in page
        assert bytes(row.private_key or b"").decode() not in page
        assert "PRIVATE KEY" not in page

    def test_second_that_signs_takes_over(self, manager: Client) -> None:
        self.make(manager, signs_requests="on")
        self.make(manager, name="Other", signs_requests="on")
        assert list(CertificateAuthority.objects.values_list("name", "signs_requests").order_by("id")) == [
            ("Depot", False), ("Other", True),
        ]  # fmt: skip
        first = CertificateAuthority.objects.get(name="Depot")
        fields = {"name": "Depot", "active": "on", "signs_requests": "on", "validity_days": "30"}
        changed = manager.post(url("stations_certificateauthority_change", first.pk), fields)
        assert changed.status_code == 302, changed.context["errors"]
        assert CertificateAuthority.objects.get(signs_requests=True) == CertificateAuthority.objects.get(name="Depot")

    @pytest.mark.parametrize(
        ("fields", "sentence"),
        [
            ({"key_type": ""}, "Choose a key."),
            ({"certificate": "x"}, "The certificate is made here."),
            ({"signature_scheme": "pss"}, "This key cannot sign in this way."),
            ({"kind": "trusted", "key_type": ""}, "Paste the certificate of the authority."),
            ({"kind": "trusted", "key_type": "", "certificate": "x"}, "There is no PEM certificate"),
        ],
    )
    def test_what_cannot_be_is_said_at_its_field(self, manager: Client, fields: dict[str, str], sentence: str) -> None:
        assert sentence in text_of(self.make(manager, **fields))
        assert not CertificateAuthority.objects.exists()

    def test_root_of_somebody_else_is_trusted(self, manager: Client, tmp_path: Path) -> None:
        root = made.make(tmp_path, "Factory", ca=True)
        assert self.make(manager, kind="trusted", key_type="", certificate=root.pem).status_code == 302
        row = CertificateAuthority.objects.get()
        assert (row.subject, row.private_key, row.active) == ("CN=Factory", None, True)

    def test_one_with_certificates_cannot_be_deleted(self, manager: Client, charge_point: ChargePoint) -> None:
        self.make(manager)
        row = CertificateAuthority.objects.get()
        Certificate.objects.create(
            charge_point=charge_point, authority=row, origin="issued", chain="", created_at=NOW, fingerprint="1"
        )
        assert manager.post(url("stations_certificateauthority_delete", row.pk), {"post": "yes"}).status_code == 403


class TestChargePoint:
    def test_renew_sends_the_trigger_without_a_connector(self, manager: Client, charge_point: ChargePoint) -> None:
        command = sent(manager, "renew_certificate", charge_point)
        assert (command.action, command.payload) == (
            "ExtendedTriggerMessage", {"requestedMessage": "SignChargePointCertificate"},
        )  # fmt: skip

    def test_install_sends_a_kept_root_or_a_text_with_plain_line_ends(
        self, manager: Client, charge_point: ChargePoint
    ) -> None:
        fields = {"certificate_type": ROOT_TYPE, "certificate": "-----BEGIN X-----\r\nodd\r\n-----END X-----"}
        command = sent(manager, "install_certificate", charge_point, **fields)
        assert command.payload == {
            "certificateType": ROOT_TYPE, "certificate": "-----BEGIN X-----\nodd\n-----END X-----\n",
        }  # fmt: skip
        Command.objects.all().delete()
        root = RootCertificate.objects.create(
            name="Kept", certificate_type="ManufacturerRootCertificate", certificate="text\n", created_at=NOW
        )
        command = sent(manager, "install_certificate", charge_point, root=str(root.pk))
        assert command.payload == {"certificateType": "ManufacturerRootCertificate", "certificate": "text\n"}

    def test_list(self, manager: Client, charge_point: ChargePoint) -> None:
        command = sent(manager, "list_certificates", charge_point, certificate_type=ROOT_TYPE)
        assert (command.action, command.payload) == ("GetInstalledCertificateIds", {"certificateType": ROOT_TYPE})

    def test_deleting_the_last_root_is_asked_twice(
        self, manager: Client, charge_point: ChargePoint, listed: InstalledCertificate
    ) -> None:
        button = "stations_chargepoint_delete_certificate"
        response = submit(manager, button, charge_point.pk, certificate=str(listed.pk))
        assert "This is the last root it has for us." in text_of(response)
        assert not Command.objects.exists()
        command = sent(manager, "delete_certificate", charge_point, certificate=str(listed.pk), sure="on")
        assert command.payload == {"certificateHashData": HASH_DATA}
        assert [warning["code"] for warning in command.warnings] == ["last_root"]

    def test_other_hash_data_can_be_typed(self, manager: Client, charge_point: ChargePoint) -> None:
        typed = '{"hashAlgorithm": "SHA512", "issuerNameHash": "x", "issuerKeyHash": "Y", "serialNumber": "00"}'
        command = sent(manager, "delete_certificate", charge_point, hash_data=typed)
        assert command.payload["certificateHashData"]["issuerKeyHash"] == "Y"

    def test_panel_shows_certificates_requests_and_roots(
        self, manager: Client, charge_point: ChargePoint, listed: InstalledCertificate
    ) -> None:
        CertificateRequest.objects.create(
            charge_point=charge_point, csr="x", subject="CN=asked", state="failed", problem="No key.", received_at=NOW
        )
        Certificate.objects.create(
            charge_point=charge_point, origin="issued", chain="x", subject="CN=given", state="in_use", created_at=NOW,
            fingerprint="1", not_after=datetime(2099, 1, 1, tzinfo=UTC),
        )  # fmt: skip
        page = text_of(manager.get(url("stations_chargepoint_panel", charge_point.pk, "certificates")))
        for shown in ("CN=given", "in use", "CN=asked", "No key.", "0F", "SHA256", "CP-1"):
            assert shown in page


class TestLists:
    def test_revoke_needs_a_reason_and_is_for_good(self, manager: Client, charge_point: ChargePoint) -> None:
        row = Certificate.objects.create(
            charge_point=charge_point, origin="issued", chain="", created_at=NOW, fingerprint="1"
        )
        submit(manager, "stations_certificate_revoke", row.pk, why="")
        assert Certificate.objects.get().state == "issued"
        submit(manager, "stations_certificate_revoke", row.pk, why="Stolen")
        row.refresh_from_db()
        assert (row.state, row.revoked_by, row.reason) == ("revoked", "ada", "Stolen")
        assert manager.get(url("stations_certificate_change", row.pk)).status_code == 200

    def test_chain_of_an_external_issuer_is_imported(
        self, manager: Client, charge_point: ChargePoint, tmp_path: Path
    ) -> None:
        root = made.make(tmp_path, "External", ca=True)
        leaf = made.make(tmp_path, "CP-1", issuer=root)
        authorities.import_authority("External", "ada", NOW, kind="external", certificate=root.pem, signs_requests=True)
        key = made.new_key()
        csr = made.x509.CertificateSigningRequestBuilder().subject_name(leaf.certificate.subject)
        request = CertificateRequest.objects.create(
            charge_point=charge_point, csr=signing_text(csr.sign(key, made.hashes.SHA256())), state="waiting",
            received_at=NOW,
        )  # fmt: skip
        submit(manager, "stations_certificaterequest_import_chain", request.pk, chain=leaf.pem)
        assert not Command.objects.exists()
        assert "None of the certificates has the public key" in text_of(
            manager.get(url("stations_certificaterequest_change", request.pk))
        )
        good = signing.issue(
            key.public_key(), "CP-1", "", root.certificate, root.key, "ecdsa", datetime.now(UTC), made.DAY
        )
        submit(manager, "stations_certificaterequest_import_chain", request.pk, chain=signing_text(good) + root.pem)
        assert Command.objects.get().payload == {"certificateChain": signing_text(good)}

    def test_odd_root_is_kept_with_a_warning(self, manager: Client) -> None:
        fields = {"name": "Odd", "certificate_type": ROOT_TYPE, "certificate": "no\r\ncertificate"}
        page = text_of(manager.post(url("stations_rootcertificate_add"), fields, follow=True))
        assert "no certificate that can be read" in page
        assert RootCertificate.objects.get().certificate == "no\ncertificate\n"


def signing_text(loaded: Any) -> str:
    return str(loaded.public_bytes(made.Encoding.PEM).decode())
