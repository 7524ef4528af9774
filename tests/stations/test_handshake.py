"""Who may connect: every refusal before the upgrade, and what its operator gets to read (security 10, protocol 1)."""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.conftest import Csms, LiveTenant
from tests.fake_charge_point import ConnectionRefused, FakeChargePoint
from tests.servers import CsmsServer
from tests.stations.upgrade import Answer, basic, upgrade

PASSWORD = "0123456789abcdef-xyz"
REALM = 'Basic realm="OCPP", charset="UTF-8"'


class Dialer:
    """Dials one tenant of the shared server."""

    def __init__(self, csms: Csms) -> None:
        self.csms = csms
        self.slug = csms.tenant.slug

    def register(self, identity: str | None = None, **members: Any) -> str:
        """A charge point of this test's own, with PASSWORD unless `members` say otherwise."""
        identity = identity or f"HS-{secrets.token_hex(4)}"
        return str(self.csms.charge_point(identity, **{"password": PASSWORD} | members).identity)

    def change(self, identity: str, **members: Any) -> None:
        self.csms.request("PATCH", f"charge-points/{quote(identity, safe='')}/", members)

    async def dial(self, last_part: str, *headers: tuple[str, str], slug: str | None = None, **options: Any) -> Answer:
        path = f"/ocpp/{slug or self.slug}/{last_part}"
        return await upgrade(self.csms.server.port, path, *headers, **options)

    async def dial_right(self, identity: str, **options: Any) -> Answer:
        return await self.dial(quote(identity, safe=""), basic(identity, PASSWORD), **options)

    def attempts(self, identity: str) -> list[dict[str, Any]]:
        """Newest first."""
        found = self.csms.get(f"charge-points/{quote(identity, safe='')}/connection-attempts/")
        return list(found["results"])

    def last_attempt(self, identity: str) -> dict[str, Any]:
        return self.attempts(identity)[0]


@pytest.fixture
def dialer(csms: Csms) -> Dialer:
    return Dialer(csms)


# --- accepted ---------------------------------------------------------------------------------------------------------
async def test_right_password_is_let_in_with_the_subprotocol_and_the_attempt_is_recorded(dialer: Dialer) -> None:
    identity = dialer.register()
    answer = await dialer.dial_right(identity)
    assert answer.status == 101
    assert answer.headers["sec-websocket-protocol"] == "ocpp1.6"
    assert "sec-websocket-extensions" not in answer.headers
    attempt = dialer.last_attempt(identity)
    assert (attempt["accepted"], attempt["http_status"], attempt["reason"]) == (True, 101, "")
    assert (attempt["address"], attempt["security_profile"]) == ("127.0.0.1", 1)


async def test_compression_is_not_negotiated(dialer: Dialer) -> None:
    identity = dialer.register()
    answer = await dialer.dial_right(identity)
    offered = ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")
    answer = await dialer.dial(identity, basic(identity, PASSWORD), offered)
    assert answer.status == 101
    assert "sec-websocket-extensions" not in answer.headers


@pytest.mark.parametrize(
    "identity", ["RDAM 123", "A/B", "Ladesäule-Ü", "100%", "a.b~c_d", "x?y#z", "日本", "plus+plus", "K" * 48]
)
async def test_identity_is_percent_decoded_once(dialer: Dialer, identity: str) -> None:
    dialer.register(identity)
    answer = await dialer.dial_right(identity)
    assert answer.status == 101
    assert dialer.last_attempt(identity)["identity"] == identity


@pytest.mark.parametrize("tail", ["/", "?token=abc", "/?a=1&b=2"])
async def test_trailing_slash_and_query_string_are_tolerated(dialer: Dialer, tail: str) -> None:
    identity = dialer.register()
    answer = await dialer.dial(f"{identity}{tail}", basic(identity, PASSWORD))
    assert answer.status == 101


@pytest.mark.parametrize(
    "lines",
    [
        ["ocpp1.6"],
        ["ocpp0.1,ocpp1.6"],
        ["ocpp1.6, ocpp2.0.1"],
        ["ocpp2.0.1 , ocpp1.6 ,ocpp1.5"],
        ["ocpp1.5", "ocpp1.6"],
        ["ocpp2.0.1", "ocpp1.5, ocpp1.6"],
    ],
    ids=lambda lines: " | ".join(lines),
)
async def test_ocpp16_is_chosen_from_whatever_list(dialer: Dialer, lines: list[str]) -> None:
    identity = dialer.register()
    answer = await dialer.dial_right(identity, subprotocols=lines)
    assert (answer.status, answer.headers["sec-websocket-protocol"]) == (101, "ocpp1.6")


@pytest.mark.parametrize(
    ("line", "spelling"),
    [("OCPP1.6", "OCPP1.6"), ("ocpp2.0.1, Ocpp1.6", "Ocpp1.6"), ("OCPP1.6,ocpp1.6", "OCPP1.6")],
)
async def test_ocpp16_is_answered_in_the_spelling_offered(dialer: Dialer, line: str, spelling: str) -> None:
    identity = dialer.register()
    answer = await dialer.dial_right(identity, subprotocols=[line])
    assert (answer.status, answer.headers["sec-websocket-protocol"]) == (101, spelling)


async def test_charge_point_without_subprotocol_is_let_in_where_that_is_assumed(dialer: Dialer) -> None:
    identity = dialer.register(assume_ocpp16=True)
    answer = await dialer.dial_right(identity, subprotocols=[])
    assert answer.status == 101
    assert "sec-websocket-protocol" not in answer.headers
    # What it does offer is still taken at its word.
    assert (await dialer.dial_right(identity, subprotocols=["ocpp2.0.1"])).status == 400
    assert (await dialer.dial_right(identity, subprotocols=["ocpp1.6"])).headers["sec-websocket-protocol"] == "ocpp1.6"


# --- passwords --------------------------------------------------------------------------------------------------------
async def test_binary_password_of_the_standards_own_example(dialer: Dialer) -> None:
    dialer.register("AL1000", password="0001020304050607FFFFFFFFFFFFFFFFFFFFFFFF")
    header = ("Authorization", "Basic QUwxMDAwOgABAgMEBQYH////////////////")
    assert (await dialer.dial("AL1000", header)).status == 101


@pytest.mark.parametrize("digits", ["00112233445566778899aabbccddeeff", "00112233445566778899AABBCCDDEEFF00112233"])
async def test_hexadecimal_password_is_accepted_as_bytes_and_as_text(dialer: Dialer, digits: str) -> None:
    identity = dialer.register(password=digits)
    assert (await dialer.dial(identity, basic(identity, bytes.fromhex(digits)))).status == 101
    assert (await dialer.dial(identity, basic(identity, digits))).status == 101
    assert (await dialer.dial(identity, basic(identity, digits.swapcase()))).status == 101


async def test_sixteen_hexadecimal_characters_are_text_and_not_eight_bytes(dialer: Dialer) -> None:
    identity = dialer.register(password="00112233445566aa")
    assert (await dialer.dial(identity, basic(identity, "00112233445566aa"))).status == 101
    assert (await dialer.dial(identity, basic(identity, "00112233445566AA"))).status == 401
    assert (await dialer.dial(identity, basic(identity, bytes.fromhex("00112233445566aa")))).status == 401


@pytest.mark.parametrize("password", ["with:several:colons:", "ümläüte in UTF-8", " blanks around it "])
async def test_password_is_compared_byte_by_byte(dialer: Dialer, password: str) -> None:
    identity = dialer.register(password=password)
    assert (await dialer.dial(identity, basic(identity, password))).status == 101
    assert (await dialer.dial(identity, basic(identity, password.strip() + "x"))).status == 401
    assert (await dialer.dial(identity, basic(identity, password.upper()))).status == 401


async def test_old_password_is_refused_as_soon_as_there_is_a_new_one(dialer: Dialer) -> None:
    identity = dialer.register()
    dialer.register(identity, password="another-password-now")
    assert (await dialer.dial_right(identity)).status == 401
    assert (await dialer.dial(identity, basic(identity, "another-password-now"))).status == 101


# --- refused ----------------------------------------------------------------------------------------------------------
CREDENTIALS = {
    "no_credentials": lambda identity: [],
    "malformed_credentials": lambda identity: [("Authorization", "Bearer abcdef")],
    "malformed_credentials, not base64": lambda identity: [("Authorization", "Basic ###")],
    "malformed_credentials, no colon": lambda identity: [("Authorization", "Basic YWJj")],
    "malformed_credentials, empty": lambda identity: [("Authorization", "")],
    "wrong_username": lambda identity: [basic("someone-else", PASSWORD)],
    "wrong_username, letter case": lambda identity: [basic(identity.lower(), PASSWORD)],
    "wrong_password": lambda identity: [basic(identity, "0123456789abcdef-xyZ")],
    "wrong_password, empty": lambda identity: [basic(identity, "")],
    "wrong_password, a prefix": lambda identity: [basic(identity, PASSWORD[:-1])],
}


@pytest.mark.parametrize("what", CREDENTIALS)
async def test_wrong_credentials_are_401_before_any_upgrade(dialer: Dialer, what: str) -> None:
    identity = dialer.register()
    answer = await dialer.dial(identity, *CREDENTIALS[what](identity))
    assert (answer.status, answer.headers["www-authenticate"]) == (401, REALM)
    assert "upgrade" not in answer.headers
    attempt = dialer.last_attempt(identity)
    assert (attempt["accepted"], attempt["http_status"], attempt["reason"]) == (False, 401, what.partition(",")[0])
    assert attempt["remedy"].endswith(".")
    assert PASSWORD not in str(attempt)


async def test_identity_cannot_be_probed(dialer: Dialer) -> None:
    """Known and unknown identities get the same answer, word for word; only the operator learns the difference."""
    known, unknown = dialer.register(), f"HS-{secrets.token_hex(4)}"
    for headers in (lambda identity: [], lambda identity: [basic(identity, "wrong-password-1234")]):
        answers = [await dialer.dial(identity, *headers(identity)) for identity in (known, unknown)]
        same = [(answer.status, answer.body, answer.headers["www-authenticate"]) for answer in answers]
        assert same[0] == same[1]
    # Attempts from before it was registered are what the operator looks for.
    dialer.register(unknown)
    assert {attempt["reason"] for attempt in dialer.attempts(unknown)} == {"unknown_identity"}


@pytest.mark.parametrize(
    ("lines", "reason"), [([], "no_subprotocol"), (["ocpp0.1"], "unsupported_subprotocol"),
                          (["ocpp1.5, ocpp2.0.1"], "unsupported_subprotocol")],
)  # fmt: skip
async def test_without_ocpp16_it_is_400_and_no_upgrade(dialer: Dialer, lines: list[str], reason: str) -> None:
    identity = dialer.register()
    answer = await dialer.dial_right(identity, subprotocols=lines)
    assert (answer.status, "sec-websocket-accept" in answer.headers) == (400, False)
    attempt = dialer.last_attempt(identity)
    assert (attempt["reason"], attempt["http_status"], attempt["accepted"]) == (reason, 400, False)
    assert attempt["remedy"]


@pytest.mark.parametrize(
    "path",
    ["", "/", "a/b", "K" * 49, "%00", "a%0Ab", "%FF%FE", "%E2%80%AE"],
    ids=["nothing", "slash", "two", "too_long", "nul", "newline", "not_utf8", "invisible"],
)
async def test_path_without_a_usable_identity_is_400(dialer: Dialer, path: str) -> None:
    answer = await dialer.dial(path, basic("x", PASSWORD))
    assert answer.status == 400


async def test_identity_in_another_letter_case_is_another_identity(dialer: Dialer) -> None:
    identity = dialer.register()
    assert (await dialer.dial_right(identity.lower())).status == 401


async def test_tenant_that_does_not_exist_is_404(dialer: Dialer) -> None:
    identity = dialer.register()
    answer = await dialer.dial(identity, basic(identity, PASSWORD), slug="no-such-tenant")
    assert answer.status == 404


async def test_disabled_charge_point_is_403_and_its_open_socket_is_closed(dialer: Dialer) -> None:
    identity = dialer.register()
    cp = FakeChargePoint(dialer.csms.server.ws_url(dialer.slug), identity, PASSWORD)
    await cp.connect()
    await asyncio.to_thread(dialer.change, identity, disabled=True)
    assert (await cp.wait_closed()).code == 1000
    assert (await dialer.dial_right(identity)).status == 403
    attempt = dialer.last_attempt(identity)
    assert (attempt["reason"], attempt["http_status"]) == ("disabled", 403)
    # Only who has the password learns that.
    assert (await dialer.dial(identity, basic(identity, "wrong-password-1234"))).status == 401
    dialer.change(identity, disabled=False)
    assert (await dialer.dial_right(identity)).status == 101


@pytest.mark.parametrize("profile", [2, 3])
async def test_lower_profile_than_the_one_in_force_is_403(dialer: Dialer, profile: int) -> None:
    identity = dialer.register()
    dialer.change(identity, security_profile=profile)
    answer = await dialer.dial_right(identity)
    assert answer.status == 403
    attempt = dialer.last_attempt(identity)
    assert (attempt["reason"], attempt["security_profile"]) == ("profile_too_low", 1)
    assert (await dialer.dial(identity, basic(identity, "wrong-password-1234"))).status == 401
    assert (await dialer.dial(identity)).status == 401


async def test_deleted_charge_point_is_unknown(dialer: Dialer) -> None:
    identity = dialer.register()
    dialer.csms.request("DELETE", f"charge-points/{identity}/")
    assert (await dialer.dial_right(identity)).status == 401


# --- security profile 0 -----------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def open_tenant(csms_server: CsmsServer) -> LiveTenant:
    """A tenant that lets charge points in without a password."""
    slug = f"open-{secrets.token_hex(3)}"
    options = ["--name", slug, "--api-key", "read,operate,manage", "--allow-profile-0"]
    return LiveTenant(slug, json.loads(csms_server.manage("create_tenant", slug, *options))["api_key"])


async def test_profile_0_needs_no_password_where_the_tenant_allows_it(csms: Csms, open_tenant: LiveTenant) -> None:
    theirs = Dialer(Csms(csms.server, open_tenant))
    identity = f"HS-{secrets.token_hex(4)}"
    theirs.csms.request("PUT", f"charge-points/{identity}/", {"security_profile": 0})
    assert (await theirs.dial(identity)).status == 101
    assert theirs.last_attempt(identity)["security_profile"] == 0
    # A password that nobody asked for does no harm.
    assert (await theirs.dial(identity, basic(identity, "anything-goes-here"))).status == 101


async def test_profile_0_is_refused_where_the_tenant_does_not_allow_it(dialer: Dialer) -> None:
    identity = dialer.register()
    dialer.change(identity, security_profile=0)
    answer = await dialer.dial(identity)
    assert answer.status == 403
    assert dialer.last_attempt(identity)["reason"] == "profile_not_allowed"


async def test_unknown_identity_is_404_where_profile_0_is_allowed(csms: Csms, open_tenant: LiveTenant) -> None:
    theirs = Dialer(Csms(csms.server, open_tenant))
    identity = f"HS-{secrets.token_hex(4)}"
    assert (await theirs.dial(identity)).status == 404
    theirs.register(identity)
    (attempt,) = theirs.attempts(identity)
    assert (attempt["reason"], attempt["http_status"]) == ("not_found", 404)


async def test_charge_point_with_a_password_needs_it_also_where_profile_0_is_allowed(
    csms: Csms, open_tenant: LiveTenant
) -> None:
    theirs = Dialer(Csms(csms.server, open_tenant))
    identity = theirs.register()
    assert (await theirs.dial(identity)).status == 401
    assert (await theirs.dial_right(identity)).status == 101


# --- tenants ----------------------------------------------------------------------------------------------------------
async def test_same_identity_of_two_tenants_has_two_passwords(csms: Csms, open_tenant: LiveTenant) -> None:
    ours, theirs = Dialer(csms), Dialer(Csms(csms.server, open_tenant))
    identity = ours.register()
    theirs.register(identity, password="password-of-others")
    assert (await ours.dial_right(identity)).status == 101
    assert (await theirs.dial_right(identity)).status == 401
    assert (await theirs.dial(identity, basic(identity, "password-of-others"))).status == 101
    # Neither sees the attempts of the other.
    assert [attempt["accepted"] for attempt in ours.attempts(identity)] == [True]
    assert [attempt["accepted"] for attempt in theirs.attempts(identity)] == [True, False]


async def test_what_is_not_an_upgrade_is_refused(csms: Csms) -> None:
    response = await asyncio.to_thread(httpx.get, f"{csms.server.http_url}/ocpp/{csms.tenant.slug}/CP-1")
    assert (response.status_code, response.headers["upgrade"]) == (426, "websocket")


async def test_refusal_carries_a_body_a_technician_can_read(dialer: Dialer) -> None:
    identity = dialer.register()
    cp = FakeChargePoint(dialer.csms.server.ws_url(dialer.slug), identity, PASSWORD, subprotocols=["ocpp2.0.1"])
    with pytest.raises(ConnectionRefused) as refused:
        await cp.connect()
    assert refused.value.status == 400
    assert b"OCPP 1.6" in refused.value.body
