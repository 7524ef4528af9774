"""Local Authorization List Management: read the version, send the list, send what changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

from csms.certify.case import ACCEPTED, Case
from csms.certify.wire import Call, shown

NOT_SUPPORTED, EMPTY = -1, 0


async def tc_042_1(case: Case) -> None:
    """Local list version, not supported."""
    before = await _list(case)
    await case.send("GetLocalListVersion", {}, {"listVersion": NOT_SUPPORTED})
    await _sees_list(case, reported_version=NOT_SUPPORTED, status="not_supported", installed=before["installed"])


async def tc_042_2(case: Case) -> None:
    """Local list version, empty."""
    before = await _list(case)
    await case.send("GetLocalListVersion", {}, {"listVersion": EMPTY})
    await _sees_list(case, reported_version=EMPTY, status=lambda status: status != "not_supported")
    # What an earlier case has sent is another matter: the charge point says that it has lost it.
    if not before["installed"]["version"]:
        await _sees_installed(case, EMPTY, set())


async def tc_043_1(case: Case) -> None:
    """Send the local list, not supported."""
    await _refused(case, "NotSupported", ("not_supported",))


async def tc_043_3(case: Case) -> None:
    """Send the local list, failed."""
    # Earlier cases may have reported that it has no list at all.
    await _refused(case, "Failed", ("failed", "not_supported"))


async def tc_043_4(case: Case) -> None:
    """Send the local list, full."""
    entries = [_entry(case.id_tags.valid), _entry(case.id_tags.same_parent)]
    order = {"updateType": "Full", "localAuthorizationList": entries}
    # The version is left to the CSMS.
    command = await case.order("SendLocalList", order)
    call = await case.expect("SendLocalList")
    version = int(call.payload["listVersion"])
    case.check(version >= 1, f"SendLocalList has the listVersion {version}.")
    case.equal(
        "The request SendLocalList is not what the operator ordered", call.payload, order | {"listVersion": version}
    )
    await case.reply(call, ACCEPTED)
    await case.answered(command, ACCEPTED)
    await _sees_list(case, outcome="Accepted")
    await _sees_installed(case, version, {case.id_tags.valid, case.id_tags.same_parent})


async def tc_043_5(case: Case) -> None:
    """Send the local list, differential."""
    first, added = case.id_tags.valid, case.id_tags.same_parent
    async with _wanted(case):
        await _want(case, [first])
        call, version = await _synced(case, {"full": True}, "Full", at_least=1)
        case.equal("The id tags of the full list", _id_tags(case, call), [first])
        await _sees_installed(case, version, {first})
        await case.send("GetLocalListVersion", {}, {"listVersion": version})
        await _want(case, [first, added])
        await _sees_list(case, status="differs")
        call, newer = await _synced(case, {}, "Differential", at_least=version + 1)
        case.equal("The id tags of the differential list", _id_tags(case, call), [added])
        await _sees_installed(case, newer, {first, added})
        await _sees_list(case, status="in_sync")


# --- the operator sends -----------------------------------------------------------------------------------------------
def _entry(id_tag: str) -> dict[str, Any]:
    return {"idTag": id_tag, "idTagInfo": {"status": "Accepted"}}


async def _refused(case: Case, answer: str, statuses: tuple[str, ...]) -> None:
    """The operator sends a full list, the charge point refuses it, and nothing is taken for installed."""
    before = await _list(case)
    payload = {
        "listVersion": before["next_version"],
        "updateType": "Full",
        "localAuthorizationList": [_entry(case.id_tags.valid)],
    }
    await case.send("SendLocalList", payload, {"status": answer})
    await _sees_list(case, outcome=answer, status=lambda status: status in statuses, installed=before["installed"])


async def _want(case: Case, id_tags: list[str]) -> None:
    await case.operator.request("PUT", _path(case), {"source": {"id_tags": id_tags}})


@asynccontextmanager
async def _wanted(case: Case) -> AsyncIterator[None]:
    """Whatever list is wanted inside, none is afterwards."""
    try:
        yield
    finally:
        await case.operator.request("DELETE", _path(case))


async def _synced(case: Case, body: dict[str, Any], update_type: str, *, at_least: int) -> tuple[Call, int]:
    """`sync/`, one SendLocalList of this type, and its acceptance; the request and its listVersion."""
    sync = await case.operator.request("POST", f"{_path(case)}sync/", body)
    count = len(sync["commands"])
    case.check(count == 1, f"Sending the local list has queued {count} requests instead of one.")
    call = await case.expect("SendLocalList")
    found = call.payload["updateType"]
    case.check(found == update_type, f"SendLocalList has the updateType {found} instead of {update_type}.")
    version = int(call.payload["listVersion"])
    case.check(version >= at_least, f"SendLocalList has the listVersion {version}; it must be {at_least} at least.")
    await case.reply(call, ACCEPTED)
    await case.answered(sync["commands"][0], ACCEPTED)
    return call, version


def _id_tags(case: Case, call: Call) -> list[str]:
    """The id tags of a SendLocalList, each with an Accepted idTagInfo: an entry without one means removal."""
    found: list[str] = []
    for entry in call.payload.get("localAuthorizationList", []):
        id_tag, info = entry["idTag"], entry.get("idTagInfo")
        case.check(info is not None, f"SendLocalList has the id tag {id_tag} without idTagInfo.")
        status = (info or {}).get("status")
        case.check(status == "Accepted", f"SendLocalList has the id tag {id_tag} with the status {shown(status)}.")
        case.check(id_tag not in found, f"SendLocalList has the id tag {id_tag} twice.")
        found.append(id_tag)
    return found


# --- what the operator sees -------------------------------------------------------------------------------------------
def _path(case: Case) -> str:
    return f"local-auth-lists/{quote(case.cp.identity, safe='')}/"


async def _list(case: Case) -> dict[str, Any]:
    found: dict[str, Any] = await case.operator.get(_path(case))
    return found


async def _sees_list(case: Case, **expected: Any) -> None:
    await case.sees("the local list", lambda: _list(case), **expected)


async def _sees_installed(case: Case, version: int, id_tags: set[str]) -> None:
    """The operator sees this version, and exactly these id tags, as installed."""
    await _sees_list(
        case,
        installed=lambda installed: (installed["version"], installed["length"]) == (version, len(id_tags)),
    )
    entries = await case.operator.get(f"{_path(case)}entries/", page_size=100)
    shown_tags = {row["id_tag"] for row in entries["results"] if row["installed"] is not None}
    case.equal("The id tags that the operator sees as installed", sorted(shown_tags), sorted(id_tags))
