"""Local Authorization List Management: 042 and 043 as the certification tool plays them."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.certification.case import Case

ACCEPTED = {"status": "Accepted"}


async def local_list(case: Case) -> dict[str, Any]:
    """What we believe of the charge point's list."""
    found: dict[str, Any] = await case.get(f"local-auth-lists/{case.cp.identity}/")
    return found


async def entries(case: Case) -> dict[str, Any]:
    """idTagInfo by idTag, of the entries that we believe are installed."""
    found = await case.get(f"local-auth-lists/{case.cp.identity}/entries/")
    return {row["id_tag"]: row["installed"] for row in found["results"] if row["installed"] is not None}


def full(case: Case, version: int = 1) -> dict[str, Any]:
    """Members in the order of the schema."""
    return {
        "listVersion": version,
        "localAuthorizationList": [{"idTag": case.tokens.valid, "idTagInfo": case.info}],
        "updateType": "Full",
    }


async def test_tc_042_1_list_version_not_supported(case: Case) -> None:
    await case.send("GetLocalListVersion", {}, {"listVersion": -1})
    seen = await local_list(case)
    assert (seen["status"], seen["reported_version"]) == ("not_supported", -1)
    assert seen["installed"]["version"] is None


async def test_tc_042_2_list_version_empty(case: Case) -> None:
    command = await case.send("GetLocalListVersion", {}, {"listVersion": 0})
    assert command["warnings"] == []
    seen = await local_list(case)
    assert (seen["status"], seen["reported_version"]) == ("not_managed", 0)
    assert (seen["installed"]["version"], seen["installed"]["length"]) == (0, 0)


async def test_tc_043_1_send_list_not_supported(case: Case) -> None:
    command = await case.send("SendLocalList", full(case), {"status": "NotSupported"})
    assert command["response"] == {"status": "NotSupported"}
    seen = await local_list(case)
    assert (seen["status"], seen["outcome"], seen["installed"]["version"]) == ("not_supported", "NotSupported", None)
    assert await entries(case) == {}


async def test_tc_043_3_send_list_failed(case: Case) -> None:
    await case.send("SendLocalList", full(case), {"status": "Failed"})
    seen = await local_list(case)
    assert (seen["status"], seen["outcome"], seen["installed"]["version"]) == ("failed", "Failed", None)
    assert await entries(case) == {}


async def test_tc_043_4_send_list_full(case: Case) -> None:
    # The operator leaves the version to us.
    payload = {name: value for name, value in full(case).items() if name != "listVersion"}
    await case.send("SendLocalList", payload, ACCEPTED, on_wire=full(case))
    seen = await local_list(case)
    assert (seen["outcome"], seen["installed"]["version"], seen["installed"]["length"]) == ("Accepted", 1, 1)
    assert await entries(case) == {case.tokens.valid: case.info}


async def test_tc_043_5_send_list_differential(case: Case) -> None:
    await case.send("SendLocalList", full(case), ACCEPTED)
    await case.send("GetLocalListVersion", {}, {"listVersion": 1})
    difference = {
        "listVersion": 2,
        "localAuthorizationList": [{"idTag": case.tokens.same_parent, "idTagInfo": case.info}],
        "updateType": "Differential",
    }
    await case.send("SendLocalList", difference, ACCEPTED)
    seen = await local_list(case)
    assert (seen["installed"]["version"], seen["installed"]["length"]) == (2, 2)
    assert await entries(case) == {case.tokens.valid: case.info, case.tokens.same_parent: case.info}


async def test_sync_sends_only_what_changed(case: Case) -> None:
    """043_5 by the list that is wanted: first the full list, then the one tag that was added."""
    path = f"local-auth-lists/{case.cp.identity}/"

    async def sync(id_tags: list[str], on_wire: dict[str, Any]) -> None:
        def ask() -> Any:
            case.csms.request("PUT", path, {"source": {"id_tags": id_tags}})
            return case.csms.post(f"{path}sync/", {})

        (command,) = (await asyncio.to_thread(ask))["commands"]
        await case.cp.reply(await case.expect("SendLocalList", on_wire), ACCEPTED)
        assert (await case.final(command))["response"] == ACCEPTED

    await sync([case.tokens.valid], full(case))
    await sync(
        [case.tokens.valid, case.tokens.same_parent],
        {
            "listVersion": 2,
            "localAuthorizationList": [{"idTag": case.tokens.same_parent, "idTagInfo": case.info}],
            "updateType": "Differential",
        },
    )
    assert (await local_list(case))["status"] == "in_sync"
