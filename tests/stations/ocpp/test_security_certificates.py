"""Certificates of the security extension, by its functions: what is answered, kept, and sent afterwards."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from ocpp.v16 import call_result
from pytest_django import DjangoCaptureOnCommitCallbacks

from stations import commands
from stations.certificates import expected, follow_up, issuing, pem
from stations.certificates.hash_data import hash_data
from stations.models import (
    Certificate,
    CertificateRequest,
    ChargePoint,
    Command,
    ConfigurationKey,
    InstalledCertificate,
    RootCertificate,
    SecurityEvent,
)
from stations.models.command import CommandStatus
from stations.ocpp.security import certificates
from tenants.models import Tenant
from tests import x509 as made
from tests.stations.certificates.rows import NOW, ask, authority, csr_text, issued
from tests.stations.rows import new_charge_point

ROOT_TYPE = "CentralSystemRootCertificate"


@pytest.fixture
def charge_point(in_tenant_a: Tenant) -> ChargePoint:
    return new_charge_point()


def states() -> list[str]:
    return list(CertificateRequest.objects.order_by("id").values_list("state", flat=True))


def answered(command: Command, action: str, **members: Any) -> None:
    conf = vars(call_result)[action](**members)
    function = {
        "CertificateSigned": certificates.certificate_signed_conf,
        "InstallCertificate": certificates.install_certificate_conf,
        "DeleteCertificate": certificates.delete_certificate_conf,
        "GetInstalledCertificateIds": certificates.get_installed_certificate_ids_conf,
    }[action]
    function(command, conf, NOW)


def configured(charge_point: ChargePoint, **values: str) -> None:
    for key, value in values.items():
        ConfigurationKey.objects.update_or_create(charge_point=charge_point, key=key, defaults={"value": value})


class TestSignCertificate:
    def test_is_rejected_while_nobody_signs(self, charge_point: ChargePoint) -> None:
        assert ask(charge_point) == "Rejected"
        row = CertificateRequest.objects.get()
        assert (row.state, row.problem) == ("rejected", "No certificate authority of the tenant signs requests.")

    @pytest.mark.parametrize("profile", [0, 1, 2, 3])
    def test_is_accepted_on_every_profile_and_signed_by_a_task_after_the_answer(
        self, charge_point: ChargePoint, profile: int, monkeypatch: pytest.MonkeyPatch,
        django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
    ) -> None:  # fmt: skip
        told: list[tuple[Any, ...]] = []
        monkeypatch.setattr(follow_up.app, "send_task", lambda *args, **options: told.append((args, options)))
        authority()
        charge_point.security_profile = profile
        charge_point.save()
        with django_capture_on_commit_callbacks(execute=True):
            assert ask(charge_point) == "Accepted"
            assert told == []
        row = CertificateRequest.objects.get()
        assert told == [
            (("stations.tasks.issue_certificate", [row.pk]),
             {"headers": {"csms-tenant": charge_point.tenant_id}, "retry": False})
        ]  # fmt: skip
        assert not Command.objects.exists()
        assert (row.state, row.subject, row.key) == ("received", "CN=CP-1", "EC 256")

    def test_broker_that_is_down_takes_nothing_from_the_answer(
        self, charge_point: ChargePoint, monkeypatch: pytest.MonkeyPatch,
        django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
    ) -> None:  # fmt: skip
        def down(*args: Any, **options: Any) -> None:
            raise ConnectionRefusedError

        monkeypatch.setattr(follow_up.app, "send_task", down)
        authority()
        with transaction.atomic():
            assert ask(charge_point) == "Accepted"
        with django_capture_on_commit_callbacks(execute=False) as told:
            assert ask(charge_point) == "Accepted"
        with pytest.raises(ConnectionRefusedError):
            told[0]()
        # What Django writes to the log when it catches that.
        assert told[0].__qualname__
        assert states() == ["replaced", "received"]

    @pytest.mark.parametrize(
        ("fields", "cn", "status"),
        [
            ({}, "cp-1", "Accepted"),
            ({"charge_point_serial_number": "Boot-7"}, "BOOT-7", "Accepted"),
            ({"charge_point_serial_number": "Boot-7"}, "CP-1", "Accepted"),
            ({"serial_number": "SN-9", "charge_point_serial_number": "Boot-7"}, "sn-9", "Accepted"),
            ({"serial_number": "SN-9"}, "CP-1", "Rejected"),
            ({}, "CP-2", "Rejected"),
        ],
    )
    def test_cn_is_the_serial_number(
        self, charge_point: ChargePoint, fields: dict[str, str], cn: str, status: str
    ) -> None:
        authority()
        for name, value in fields.items():
            setattr(charge_point, name, value)
        assert ask(charge_point, csr_text(made.new_key(), cn)) == status

    def test_checks_of_cn_and_o_can_be_switched(self, charge_point: ChargePoint) -> None:
        row = authority(check_common_name=False, check_organization=True, organization="Ours")
        assert ask(charge_point, csr_text(made.new_key(), "anything")) == "Rejected"
        assert ask(charge_point, csr_text(made.new_key(), "anything", organization="OURS")) == "Accepted"
        certificate = issuing.issue(CertificateRequest.objects.latest("id").pk, NOW)
        assert certificate is not None
        assert (certificate.subject, certificate.authority) == ("CN=anything,O=Ours", row)

    def test_unreadable_one_is_kept_and_rejected(self, charge_point: ChargePoint) -> None:
        authority()
        assert ask(charge_point, "nonsense") == "Rejected"
        assert CertificateRequest.objects.get().csr == "nonsense"

    def test_newer_one_replaces_the_open_one(self, charge_point: ChargePoint) -> None:
        authority()
        ask(charge_point)
        ask(charge_point)
        assert states() == ["replaced", "received"]
        replaced = CertificateRequest.objects.earliest("id")
        assert issuing.issue(replaced.pk, NOW) is None

    def test_flood_is_rejected_without_a_row(self, charge_point: ChargePoint) -> None:
        for _ in range(certificates.MAX_REQUESTS_AN_HOUR):
            ask(charge_point, "nonsense")
        assert ask(charge_point, "nonsense") == "Rejected"
        assert len(states()) == certificates.MAX_REQUESTS_AN_HOUR
        assert ask(charge_point, "nonsense", now=NOW + timedelta(hours=2)) == "Rejected"
        assert len(states()) == certificates.MAX_REQUESTS_AN_HOUR + 1


class TestIssue:
    def test_chain_is_leaf_then_intermediate_without_root_and_no_extension_is_copied(
        self, charge_point: ChargePoint
    ) -> None:
        root = authority("Root", signs_requests=False)
        sub = authority("Sub", parent=root, organization="Ours")
        certificate = issued(charge_point)
        leaf, above = pem.certificates(certificate.chain)
        assert pem.written(above) == sub.certificate
        leaf.verify_directly_issued_by(above)
        assert not leaf.extensions.get_extension_for_class(made.x509.BasicConstraints).value.ca
        command = Command.objects.get()
        assert (command.action, command.payload) == ("CertificateSigned", {"certificateChain": certificate.chain})
        assert command.effect == {"certificate": certificate.pk}
        assert (certificate.state, certificate.command) == ("sent", command)
        assert SecurityEvent.objects.get().type == "certificate_issued"

    def test_second_run_does_nothing(self, charge_point: ChargePoint) -> None:
        authority()
        certificate = issued(charge_point)
        assert certificate.request is not None
        assert issuing.issue(certificate.request.pk, NOW) is None
        assert Command.objects.count() == 1

    def test_chain_longer_than_the_charge_point_takes_fails_with_its_problem(self, charge_point: ChargePoint) -> None:
        authority()
        configured(charge_point, CertificateSignedMaxChainSize="300")
        ask(charge_point)
        assert issuing.issue(CertificateRequest.objects.get().pk, NOW) is None
        row = CertificateRequest.objects.get()
        assert row.state == "failed"
        assert row.problem.endswith("the charge point takes 300.")
        assert not Certificate.objects.exists()

    @pytest.mark.parametrize(("value", "limit"), [("900", 900), ("99999", 10_000), ("", 10_000), ("many", 10_000)])
    def test_limit_is_the_reported_one_within_the_schema(
        self, charge_point: ChargePoint, value: str, limit: int
    ) -> None:
        configured(charge_point, CertificateSignedMaxChainSize=value)
        assert expected.chain_limit(charge_point) == limit

    def test_key_that_cannot_be_read_any_more_fails_with_its_problem(
        self, charge_point: ChargePoint, settings: Any
    ) -> None:
        authority()
        ask(charge_point)
        settings.SECRET_KEY = "another"
        assert issuing.issue(CertificateRequest.objects.get().pk, NOW) is None
        assert "secret key" in CertificateRequest.objects.get().problem

    def test_forgotten_request_is_found_by_the_sweep(self, charge_point: ChargePoint) -> None:
        authority()
        ask(charge_point)
        row = CertificateRequest.objects.get()
        assert issuing.overdue(NOW) == []
        assert issuing.overdue(NOW + timedelta(minutes=1)) == [(charge_point.tenant_id, row.pk)]


class TestCertificateSigned:
    @pytest.mark.parametrize(("status", "state"), [("Accepted", "accepted"), ("Rejected", "rejected")])
    def test_answer_decides_about_the_new_one_alone(self, charge_point: ChargePoint, status: str, state: str) -> None:
        authority()
        old, new = issued(charge_point), issued(charge_point)
        Certificate.objects.filter(pk=old.pk).update(state="in_use")
        assert new.command is not None
        answered(new.command, "CertificateSigned", status=status)
        assert [Certificate.objects.get(pk=each.pk).state for each in (old, new)] == ["in_use", state]

    @pytest.mark.parametrize(
        ("status", "state"),
        [(CommandStatus.TIMED_OUT, "sent"), (CommandStatus.UNKNOWN, "sent"), (CommandStatus.ERROR, "rejected"),
         (CommandStatus.EXPIRED, "issued"), (CommandStatus.WITHDRAWN, "issued")],
    )  # fmt: skip
    def test_without_an_answer(self, charge_point: ChargePoint, status: CommandStatus, state: str) -> None:
        authority()
        command = issued(charge_point).command
        assert command is not None
        command.status = status
        certificates.certificate_signed_without_answer(command, NOW)
        assert Certificate.objects.get().state == state

    def test_bare_command_gives_a_certificate_signed_elsewhere_a_row(
        self, charge_point: ChargePoint, tmp_path: Path
    ) -> None:
        leaf = made.make(tmp_path, "Stranger", issuer=made.make(tmp_path, "Root", ca=True))
        command = commands.enqueue(charge_point, "CertificateSigned", {"certificateChain": leaf.pem}, "otto")
        row = Certificate.objects.get()
        assert (row.state, row.origin, row.command, row.authority) == ("sent", "imported", command, None)
        assert [warning["code"] for warning in command.warnings] == ["certificate_of_another"]

    def test_what_is_no_chain_is_sent_with_a_warning(self, charge_point: ChargePoint) -> None:
        command = commands.enqueue(charge_point, "CertificateSigned", {"certificateChain": "x"}, "otto")
        assert [warning["code"] for warning in command.warnings] == ["certificate_unreadable"]
        assert not Certificate.objects.exists()


class TestRoots:
    def send(self, charge_point: ChargePoint, action: str, payload: dict[str, Any]) -> Command:
        return commands.enqueue(charge_point, action, payload, "otto")

    def install(self, charge_point: ChargePoint, text: str, status: str = "Accepted") -> Command:
        payload = {"certificateType": ROOT_TYPE, "certificate": text}
        command = self.send(charge_point, "InstallCertificate", payload)
        answered(command, "InstallCertificate", status=status)
        return command

    def listed(self, charge_point: ChargePoint, *data: Any, status: str = "Accepted") -> None:
        command = self.send(charge_point, "GetInstalledCertificateIds", {"certificateType": ROOT_TYPE})
        answered(command, "GetInstalledCertificateIds", status=status, certificate_hash_data=list(data) or None)

    @pytest.mark.parametrize("status", ["Rejected", "Failed"])
    def test_refused_install_leaves_the_list(self, charge_point: ChargePoint, tmp_path: Path, status: str) -> None:
        self.install(charge_point, made.make(tmp_path, "Root", ca=True).pem, status)
        assert not InstalledCertificate.objects.exists()

    def test_accepted_install_is_known_until_the_list_says_more(
        self, charge_point: ChargePoint, tmp_path: Path
    ) -> None:
        root = made.make(tmp_path, "Root", ca=True)
        assert self.install(charge_point, root.pem).warnings == []
        self.install(charge_point, root.pem)
        row = InstalledCertificate.objects.get()
        assert (row.subject, row.hash_data, row.installed_at) == ("CN=Root", None, NOW)
        data = hash_data(root.certificate, "SHA384")
        data |= {"issuerKeyHash": data["issuerKeyHash"].upper()}
        self.listed(charge_point, data)
        row = InstalledCertificate.objects.get()
        assert (row.subject, row.hash_data, row.installed_at, row.reported_at) == ("CN=Root", data, NOW, NOW)
        self.install(charge_point, root.pem)
        assert InstalledCertificate.objects.count() == 1

    def test_list_is_recognised_by_the_catalogue_and_replaces_what_was_known(
        self, charge_point: ChargePoint, tmp_path: Path
    ) -> None:
        root = made.make(tmp_path, "Kept", ca=True)
        RootCertificate.objects.create(
            name="Kept", certificate_type=ROOT_TYPE, certificate=root.pem, subject="CN=Kept", fingerprint="1",
            created_at=NOW,
        )  # fmt: skip
        unknown = {"hashAlgorithm": "MD5", "issuerNameHash": "1", "issuerKeyHash": "2", "serialNumber": "3"}
        self.listed(charge_point, hash_data(root.certificate, "SHA512"), unknown)
        assert list(InstalledCertificate.objects.values_list("subject", flat=True)) == ["CN=Kept", ""]
        self.listed(charge_point, status="NotFound")
        assert not InstalledCertificate.objects.exists()

    @pytest.mark.parametrize(("status", "left"), [("Accepted", 0), ("NotFound", 0), ("Failed", 1)])
    def test_delete(self, charge_point: ChargePoint, status: str, left: int) -> None:
        data = {"hashAlgorithm": "SHA256", "issuerNameHash": "Ab", "issuerKeyHash": "cD", "serialNumber": "0F"}
        self.listed(charge_point, data)
        command = self.send(charge_point, "DeleteCertificate", {"certificateHashData": data})
        assert command.payload["certificateHashData"] == data
        assert [warning["code"] for warning in command.warnings] == ["last_root"]
        answered(command, "DeleteCertificate", status=status)
        assert InstalledCertificate.objects.count() == left

    def test_deletion_of_what_was_not_listed_or_was_altered_is_warned_about(self, charge_point: ChargePoint) -> None:
        data = {"hashAlgorithm": "SHA256", "issuerNameHash": "Ab", "issuerKeyHash": "cD", "serialNumber": "0F"}
        command = self.send(charge_point, "DeleteCertificate", {"certificateHashData": data})
        assert [warning["code"] for warning in command.warnings] == ["not_listed"]
        self.listed(charge_point, data, data | {"serialNumber": "10"})
        altered = data | {"serialNumber": "0f"}
        command = self.send(charge_point, "DeleteCertificate", {"certificateHashData": altered})
        assert [warning["code"] for warning in command.warnings] == ["hash_data_altered"]

    def test_odd_certificates_are_warned_about(self, charge_point: ChargePoint, tmp_path: Path) -> None:
        root = made.make(tmp_path, "Root", ca=True)
        leaf = made.make(tmp_path, "Leaf", issuer=root, valid_to=NOW - made.DAY / 2)
        self.install(charge_point, root.pem)
        configured(charge_point, CertificateStoreMaxLength="1", AdditionalRootCertificateCheck="True")
        command = self.install(charge_point, (leaf.pem + root.pem).replace("\n", "\r\n"), "Rejected")
        assert [warning["code"] for warning in command.warnings] == [
            "line_ends", "more_than_one", "not_a_root", "not_an_authority", "certificate_expired", "store_full",
        ]  # fmt: skip
        other = made.make(tmp_path, "Other", ca=True)
        command = self.install(charge_point, other.pem, "Rejected")
        assert [warning["code"] for warning in command.warnings] == ["store_full", "not_signed_by_old_root"]


class TestRenewal:
    def due(self, **fields: Any) -> int:
        Certificate.objects.update(**{"state": "in_use"} | fields)
        Command.objects.all().delete()
        return issuing.renew_due(NOW)

    def test_nothing_is_asked_unless_switched_on(self, charge_point: ChargePoint) -> None:
        authority()
        issued(charge_point)
        assert self.due(not_after=NOW + timedelta(days=1)) == 0

    def test_charge_point_is_asked_once_a_day_when_its_certificate_ends_soon(self, charge_point: ChargePoint) -> None:
        authority(renew_days_before=30)
        issued(charge_point)
        assert self.due(not_after=NOW + timedelta(days=31)) == 0
        assert self.due(not_after=NOW + timedelta(days=29)) == 1
        command = Command.objects.get()
        assert (command.action, command.payload) == (
            "ExtendedTriggerMessage", {"requestedMessage": "SignChargePointCertificate"},
        )  # fmt: skip
        assert issuing.renew_due(NOW) == 0
        assert issuing.renew_due(NOW + timedelta(days=2)) == 1

    def test_request_or_certificate_on_its_way_is_waited_for(self, charge_point: ChargePoint) -> None:
        authority(renew_days_before=30)
        issued(charge_point)
        Certificate.objects.update(not_after=NOW + timedelta(days=2))
        ask(charge_point)
        assert self.due() == 0
        CertificateRequest.objects.update(state="closed")
        assert self.due() == 1
        Command.objects.all().delete()
        issued(charge_point)
        Command.objects.all().delete()
        assert issuing.renew_due(NOW) == 0
