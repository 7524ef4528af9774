"""Certificates of the security extension: the cases, over real TLS where they ask for profile 3."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from stations.certificates.hash_data import hash_data
from tests import x509 as made
from tests.certification.case import Case, Tokens, connected
from tests.conftest import Csms, LiveTenant
from tests.fake_charge_point import ConnectionRefused, FakeChargePoint, timestamp
from tests.servers import CsmsServer, free_port

ACCEPTED, REJECTED = {"status": "Accepted"}, {"status": "Rejected"}
RENEWAL = {"requestedMessage": "SignChargePointCertificate"}
ROOT_TYPE, MANUFACTURER_TYPE = "CentralSystemRootCertificate", "ManufacturerRootCertificate"


@dataclass(frozen=True)
class MtlsServer:
    """A server with a port for client certificates, and the root of its own certificate."""

    csms: Csms
    port: int
    root: made.Identity
    directory: Path

    def authority(self, csms: Csms, root: made.Identity, **members: Any) -> dict[str, Any]:
        body = {"name": root.certificate_path.stem, "kind": "trusted", "certificate": root.pem} | members
        return dict(csms.post("certificate-authorities/", body))

    def client(self, identity: made.Identity) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.root.certificate_path))
        context.load_cert_chain(identity.certificate_path, identity.key_path)
        return context

    def charge_point(self, csms: Csms, identity: str, certificate: made.Identity, **members: Any) -> FakeChargePoint:
        """A registered charge point of profile 3 that shows `certificate`; it sends no Authorization header."""
        csms.request("PUT", f"charge-points/{identity}/", {"security_profile": 3} | members)
        url = f"wss://localhost:{self.port}/ocpp/{csms.tenant.slug}"
        return FakeChargePoint(url, identity, ssl=self.client(certificate))


@pytest.fixture(scope="module")
def mtls(
    _make_csms_server: Callable[..., CsmsServer], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MtlsServer]:
    directory = tmp_path_factory.mktemp("mtls")
    root = made.make(directory, "Root of the server", ca=True, file_name="server-root")
    own = made.make(directory, "localhost", issuer=root, file_name="server")
    port = free_port()
    options = ["--mtls-port", str(port), "--tls-cert", str(own.certificate_path), "--tls-key", str(own.key_path)]
    server = _make_csms_server(options=[*options, "--embedded"])
    server.start()
    csms = Csms(server, LiveTenant("mtls", server.create_tenant("mtls")["api_key"]))
    yield MtlsServer(csms, port, root, directory)
    server.close()


@dataclass
class Profile3:
    """A charge point of profile 3 with a factory certificate, and an authority that signs what it asks for."""

    case: Case
    server: MtlsServer
    authority: dict[str, Any]
    serial_number: str

    async def certificates(self) -> dict[str, str]:
        found = await self.case.get("certificates/", charge_point=self.case.cp.identity)
        return {row["fingerprint"]: row["state"] for row in found["results"]}

    def csr(self, key: made.Key, cn: str | None = None) -> str:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn or self.serial_number)])
        request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
        return request.public_bytes(Encoding.PEM).decode()

    async def asked_and_signed(self, key: made.Key, text: str) -> Any:
        """ExtendedTriggerMessage, SignCertificate, its answer, and only then CertificateSigned; that request."""
        await self.case.send("ExtendedTriggerMessage", RENEWAL, ACCEPTED)
        assert await self.case.cp.call("SignCertificate", {"csr": text}) == ACCEPTED
        received = await self.case.cp.expect_call("CertificateSigned", timeout=20)
        self.case._asked_for.append(("CertificateSigned", received.payload))
        order = [one.frame[0] if one.frame[0] != 2 else one.frame[2] for one in self.case.cp.received]
        assert order[-3:] == ["ExtendedTriggerMessage", 3, "CertificateSigned"]
        assert list(received.payload) == ["certificateChain"]
        return received

    def stored(self, chain: str, key: made.Key, name: str) -> made.Identity:
        """The charge point keeps its chain and key."""
        certificate, key_path = self.server.directory / f"{name}.pem", self.server.directory / f"{name}.key"
        certificate.write_text(chain)
        key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return made.Identity(x509.load_pem_x509_certificates(chain.encode())[0], key, certificate, key_path)


@pytest.fixture(params=["rsa_2048", "ec_p256"])
async def profile_3(mtls: MtlsServer, request: pytest.FixtureRequest) -> AsyncIterator[Profile3]:
    key_type = str(request.param)
    csms = Csms(mtls.csms.server, mtls.csms.tenant)
    number = len(csms.get("charge-points/")["results"])
    factory_root = made.make(mtls.directory, f"Factory {number}", ca=True, file_name=f"factory-{number}")
    factory = made.make(mtls.directory, f"SN-{number}", issuer=factory_root, file_name=f"factory-leaf-{number}")
    mtls.authority(csms, factory_root)
    issuing = {"kind": "issuing", "key_type": key_type}
    root = csms.post("certificate-authorities/", {"name": f"Depot {number}", **issuing})
    authority = csms.post(
        "certificate-authorities/", {"name": f"Sub {number}", **issuing, "parent": root["id"], "signs_requests": True}
    )
    # The URL identity is not the CN, which is spelled in other letters.
    cp = mtls.charge_point(csms, f"CP-3-{number}", factory, serial_number=f"sn-{number}")
    case = Case(csms, await connected(cp), Tokens.register(csms))
    yield Profile3(case, mtls, authority, f"SN-{number}")
    await case.finish()


# --- profile 3 --------------------------------------------------------------------------------------------------------
async def test_tc_087_tls_client_certificate(profile_3: Profile3) -> None:
    case = profile_3.case
    await case.booted()
    assert case.cp.password is None
    (attempt, *_) = (await case.get(f"charge-points/{case.cp.identity}/connection-attempts/"))["results"]
    assert (attempt["accepted"], attempt["security_profile"], attempt["tls_version"]) == (True, 3, "TLSv1.3")
    assert attempt["client_certificate"].startswith(f"CN={profile_3.serial_number}; serial number ")
    assert list((await profile_3.certificates()).values()) == ["in_use"]


async def test_tc_074_new_charge_point_certificate(profile_3: Profile3) -> None:
    case = profile_3.case
    kind = "rsa" if profile_3.authority["key_type"].startswith("rsa") else "ec"
    key = made.new_key(kind)
    # Without O, and with the line ends of another system.
    text = profile_3.csr(key).replace("\n", "\r\n").strip()
    received = await profile_3.asked_and_signed(key, text)
    chain = received.payload["certificateChain"]
    assert "\r" not in chain
    assert chain.endswith("-----END CERTIFICATE-----\n")
    leaf, above = x509.load_pem_x509_certificates(chain.encode())
    assert leaf.public_key() == key.public_key()
    assert leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == profile_3.serial_number
    assert above.fingerprint(hashes.SHA256()).hex() == profile_3.authority["fingerprint"]
    leaf.verify_directly_issued_by(above)
    if kind == "rsa":
        assert isinstance(leaf.signature_algorithm_parameters, padding.PKCS1v15)
        assert isinstance(leaf.public_key(), rsa.RSAPublicKey)
    else:
        assert isinstance(leaf.signature_algorithm_parameters, ec.ECDSA)
    await case.cp.reply(received, ACCEPTED)
    new = leaf.fingerprint(hashes.SHA256()).hex()
    await case.cp.close()
    case.cp._connect_options["ssl"] = profile_3.server.client(profile_3.stored(chain, key, f"new-{kind}"))
    await connected(case.cp)
    states = await profile_3.certificates()
    assert (states[new], sorted(states.values())) == ("in_use", ["accepted", "in_use"])
    (request,) = (await case.get("certificate-requests/", charge_point=case.cp.identity))["results"]
    assert (request["state"], request["problem"], request["authority"]) == ("signed", "", profile_3.authority["id"])


async def test_tc_077_invalid_charge_point_certificate(profile_3: Profile3) -> None:
    case = profile_3.case
    key = made.new_key()
    received = await profile_3.asked_and_signed(key, profile_3.csr(key))
    await case.cp.reply(received, REJECTED)
    event = {"type": "InvalidChargePointCertificate", "timestamp": timestamp()}
    assert await case.cp.call("SecurityEventNotification", event) == {}
    assert sorted((await profile_3.certificates()).values()) == ["in_use", "rejected"]
    await case.cp.close()
    await connected(case.cp)
    await case.booted()
    chain = received.payload["certificateChain"]
    refused = profile_3.server.client(profile_3.stored(chain, key, f"rejected-{case.cp.identity}"))
    other = FakeChargePoint(case.cp.url.rpartition("/")[0], case.cp.identity, ssl=refused)
    with pytest.raises(ConnectionRefused) as error:
        await connected(other)
    assert error.value.status == 403


async def test_certificate_of_another_charge_point_tenant_or_withdrawn_is_refused(profile_3: Profile3) -> None:
    case, server = profile_3.case, profile_3.server
    identity = f"{case.cp.identity}-B"
    stranger = FakeChargePoint(case.cp.url.rpartition("/")[0], identity, ssl=case.cp._connect_options["ssl"])
    path = f"charge-points/{identity}/"
    await asyncio.to_thread(case.csms.request, "PUT", path, {"security_profile": 3})
    await refused(stranger, case.csms, "certificate_of_another")
    created = await asyncio.to_thread(server.csms.server.create_tenant, identity.lower())
    other = Csms(server.csms.server, LiveTenant(identity.lower(), created["api_key"]))
    await asyncio.to_thread(other.request, "PUT", f"charge-points/{case.cp.identity}/", {"security_profile": 3})
    url = f"wss://localhost:{server.port}/ocpp/{other.tenant.slug}"
    elsewhere = FakeChargePoint(url, case.cp.identity, ssl=case.cp._connect_options["ssl"])
    await refused(elsewhere, other, "certificate_untrusted")
    (row,) = (await case.get("certificates/", charge_point=case.cp.identity))["results"]
    await asyncio.to_thread(case.csms.request, "DELETE", f"certificates/{row['id']}/")
    again = FakeChargePoint(case.cp.url.rpartition("/")[0], case.cp.identity, ssl=case.cp._connect_options["ssl"])
    await refused(again, case.csms, "certificate_revoked")


async def test_profile_3_without_tls_is_401_without_asking_for_a_password(profile_3: Profile3) -> None:
    case = profile_3.case
    plain = FakeChargePoint(case.csms.server.ws_url(case.csms.tenant.slug), case.cp.identity)
    with pytest.raises(ConnectionRefused) as error:
        await plain.connect()
    assert error.value.status == 401
    assert "Basic" not in error.value.headers["WWW-Authenticate"]


async def refused(cp: FakeChargePoint, csms: Csms, reason: str) -> None:
    with pytest.raises(ConnectionRefused) as error:
        await connected(cp)
    assert error.value.status == 403
    found = await asyncio.to_thread(csms.get, f"charge-points/{cp.identity}/connection-attempts/")
    assert found["results"][0]["reason"] == reason


# --- roots ------------------------------------------------------------------------------------------------------------
def root_of(tmp_path: Path, kind: str = "ec") -> made.Identity:
    return made.make(tmp_path, "Some root", ca=True, kind=kind)


async def installed(case: Case, kind: str, root: made.Identity, algorithm: str) -> dict[str, str]:
    """Install through the catalogue, then list: the hash data that the charge point gives."""
    kept = await asyncio.to_thread(
        case.csms.post,
        "root-certificates/",
        # As it comes from another system.
        {
            "name": f"{case.cp.identity} {algorithm}",
            "certificate_type": kind,
            "certificate": root.pem.replace("\n", "\r\n"),
        },
    )
    path = f"charge-points/{case.cp.identity}/installed-certificates/"
    command = await asyncio.to_thread(case.csms.post, path, {"root_certificate": kept["id"]})
    received = await case.expect("InstallCertificate", {"certificateType": kind, "certificate": root.pem})
    await case.cp.reply(received, ACCEPTED)
    assert (await case.final(command))["response"] == ACCEPTED
    # In the charge point's own spelling.
    listed = hash_data(root.certificate, algorithm)
    listed |= {"issuerNameHash": listed["issuerNameHash"].upper(), "serialNumber": listed["serialNumber"].zfill(40)}
    answer = {"status": "Accepted", "certificateHashData": [listed]}
    await case.send("GetInstalledCertificateIds", {"certificateType": kind}, answer)
    (row,) = (await case.get(path, certificate_type=kind))["results"]
    assert (row["certificate_hash_data"], row["subject"], row["certificate"]) == (listed, "CN=Some root", root.pem)
    return listed


async def test_tc_075_1_install_manufacturer_root(case: Case, tmp_path: Path) -> None:
    await installed(case, MANUFACTURER_TYPE, root_of(tmp_path), "SHA256")


async def test_tc_075_2_install_central_system_root(case: Case, tmp_path: Path) -> None:
    await installed(case, ROOT_TYPE, root_of(tmp_path, "rsa"), "SHA256")


@pytest.mark.parametrize("algorithm", ["SHA256", "SHA384", "SHA512"])
async def test_tc_076_delete_a_certificate(case: Case, tmp_path: Path, algorithm: str) -> None:
    listed = await installed(case, ROOT_TYPE, root_of(tmp_path), algorithm)
    final = await case.send("DeleteCertificate", {"certificateHashData": listed}, ACCEPTED)
    assert [warning["code"] for warning in final["warnings"]] == ["last_root"]
    path = f"charge-points/{case.cp.identity}/installed-certificates/"
    assert (await case.get(path))["results"] == []
    await case.send("GetInstalledCertificateIds", {"certificateType": ROOT_TYPE}, {"status": "NotFound"})
    assert (await case.get(path))["results"] == []


async def test_tc_078_invalid_central_system_certificate(case: Case, tmp_path: Path) -> None:
    odd = made.make(tmp_path, "Odd", kind="ec", valid_to=made.datetime.now(made.UTC) - made.DAY / 2)
    payload = {"certificateType": ROOT_TYPE, "certificate": odd.pem}
    final = await case.send("InstallCertificate", payload, REJECTED)
    assert [warning["code"] for warning in final["warnings"]] == ["not_an_authority", "certificate_expired"]
    event = {"type": "InvalidCentralSystemCertificate", "timestamp": timestamp(), "techInfo": "expired"}
    assert await case.cp.call("SecurityEventNotification", event) == {}
    assert (await case.get(f"charge-points/{case.cp.identity}/installed-certificates/"))["results"] == []


async def test_what_is_no_certificate_at_all_can_be_sent(case: Case) -> None:
    payload = {"certificateType": ROOT_TYPE, "certificate": "no certificate"}
    final = await case.send("InstallCertificate", payload, REJECTED)
    assert [warning["code"] for warning in final["warnings"]] == ["certificate_unreadable"]


async def test_request_that_nobody_signs_is_rejected_and_nothing_follows(case: Case) -> None:
    assert await case.cp.call("SignCertificate", {"csr": "no request"}) == REJECTED
    (row,) = (await case.get("certificate-requests/", charge_point=case.cp.identity))["results"]
    assert (row["state"], row["csr"]) == ("rejected", "no request")
