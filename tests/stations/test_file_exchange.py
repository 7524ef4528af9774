"""The file exchange over real sockets: what charge points fetch and deliver, and what they must not be able to."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.conftest import Csms, LiveTenant
from tests.fake_charge_point import FakeChargePoint
from tests.servers import CsmsServer, wait_until

IMAGE = os.urandom(3_000_000)
ETAG = f'"{hashlib.sha256(IMAGE).hexdigest()}"'
LOG = os.urandom(300_000)


class Station:
    """A connected charge point with the URL it has been given, and an HTTP client at an address of its own."""

    def __init__(self, csms: Csms, cp: FakeChargePoint, path: str, row: dict[str, Any]) -> None:
        self.csms = csms
        self.cp = cp
        self.path = path
        self.kind = "diagnostics" if "startTime" in row or "to_us" in row else "firmware-updates"
        self.id = row["id"]
        self.url = f"{csms.server.http_url}{path}"

    async def http(self, method: str, path: str = "", *, source: str = "127.0.0.1", **options: Any) -> httpx.Response:
        transport = httpx.AsyncHTTPTransport(local_address=source)
        async with httpx.AsyncClient(transport=transport, timeout=30) as client:
            return await client.request(method, f"{self.url}{path}", **options)

    async def row(self) -> dict[str, Any]:
        seen: dict[str, Any] = await asyncio.to_thread(self.csms.get, f"{self.kind}/{self.id}/")
        return seen

    async def effect(self) -> Any:
        command = (await self.row())["command"]
        return (await asyncio.to_thread(self.csms.get, f"commands/{command}/"))["effect"]

    async def delivered(self) -> bytes:
        response = await asyncio.to_thread(
            self.csms.server.api, "GET", f"diagnostics/{self.id}/file/", key=self.csms.tenant.api_key
        )
        assert response.headers["content-type"] == "application/octet-stream"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["content-disposition"].startswith("attachment")
        return response.content

    def stored(self, pattern: str = "*/uploads/*") -> list[Path]:
        """Files in the server's storage; those still coming in are `incoming/*`."""
        return list((self.csms.server.directory / "files").glob(pattern))


def upload_image(csms: Csms, content: bytes = IMAGE, **members: str) -> dict[str, Any]:
    response = csms.server.api(
        "POST", "firmware-images/", key=csms.tenant.api_key, files={"file": ("fw-2.1.bin", content)}, data=members
    )
    assert response.status_code == 201, response.text
    image: dict[str, Any] = response.json()
    return image


async def asked(csms: Csms, path: str, action: str, answer: dict[str, Any], **body: Any) -> Station:
    """A charge point that was asked to fetch or to deliver, and has answered."""
    cp = await csms.charge_point().connect()
    row = await asyncio.to_thread(csms.post, path, {"charge_point": cp.identity, **body})
    received = await cp.expect_call(action)
    await cp.reply(received, answer)
    location = received.payload["location"]
    assert location.startswith(f"{csms.server.http_url}/files/")
    assert urlsplit(location).path.split("/")[2] not in str(row)
    return Station(csms, cp, urlsplit(location).path, row)


@pytest.fixture
async def fetching(csms: Csms) -> AsyncIterator[Station]:
    image = await asyncio.to_thread(upload_image, csms)
    station = await asked(csms, "firmware-updates/", "UpdateFirmware", {}, image=image["id"])
    yield station
    await station.cp.close()


@pytest.fixture
async def delivering(csms: Csms) -> AsyncIterator[Station]:
    station = await asked(csms, "diagnostics/", "GetDiagnostics", {"fileName": "diag.zip"})
    yield station
    await station.cp.close()


class TestDownload:
    async def test_whole_image_with_the_headers_to_resume_by(self, fetching: Station) -> None:
        response = await fetching.http("GET")
        assert (response.status_code, response.content == IMAGE) == (200, True)
        assert response.headers["content-length"] == str(len(IMAGE))
        assert response.headers["accept-ranges"] == "bytes"
        assert response.headers["etag"] == ETAG
        assert response.headers["content-disposition"] == 'attachment; filename="fw-2.1.bin"'
        assert response.headers["x-content-type-options"] == "nosniff"
        assert fetching.path.endswith("/fw-2.1.bin")

    async def test_head_has_the_headers_and_no_body(self, fetching: Station) -> None:
        response = await fetching.http("HEAD")
        assert (response.status_code, response.content) == (200, b"")
        assert (response.headers["content-length"], response.headers["etag"]) == (str(len(IMAGE)), ETAG)
        assert (await fetching.row())["delivered_bytes"] == 0

    @pytest.mark.parametrize(
        ("asked_range", "start", "end"),
        [
            ("bytes=0-99", 0, 100), ("bytes=2999990-", 2_999_990, 3_000_000), ("bytes=-10", 2_999_990, 3_000_000),
            ("bytes=2999990-9999999", 2_999_990, 3_000_000), ("bytes=-9999999", 0, 3_000_000), ("BYTES=5-5", 5, 6),
        ],
    )  # fmt: skip
    async def test_single_range(self, fetching: Station, asked_range: str, start: int, end: int) -> None:
        response = await fetching.http("GET", headers={"Range": asked_range})
        assert (response.status_code, response.content == IMAGE[start:end]) == (206, True)
        assert response.headers["content-range"] == f"bytes {start}-{end - 1}/3000000"
        assert response.headers["content-length"] == str(end - start)

    @pytest.mark.parametrize("asked_range", ["bytes=3000000-", "bytes=-0", "bytes=99999999999999999999-"])
    async def test_range_beyond_the_end_is_416(self, fetching: Station, asked_range: str) -> None:
        response = await fetching.http("GET", headers={"Range": asked_range})
        assert (response.status_code, response.headers["content-range"]) == (416, "bytes */3000000")

    @pytest.mark.parametrize(
        "asked_range", ["bytes=9-5", "bytes=-", "bytes=a-b", "lines=1-2", "bytes=0-1,5-6", "bytes", "bytes=1"]
    )
    async def test_range_that_means_nothing_is_ignored(self, fetching: Station, asked_range: str) -> None:
        response = await fetching.http("GET", headers={"Range": asked_range})
        assert (response.status_code, len(response.content)) == (200, len(IMAGE))

    async def test_range_of_another_state_of_the_file_gives_the_whole(self, fetching: Station) -> None:
        modified = (await fetching.http("HEAD")).headers["last-modified"]
        for validator, status in ((ETAG, 206), (modified, 206), ('"other"', 200), (f"W/{ETAG}", 200), ("x", 200)):
            response = await fetching.http("GET", headers={"Range": "bytes=0-9", "If-Range": validator})
            assert response.status_code == status, validator

    async def test_dropped_download_is_resumed_and_its_progress_is_shown(self, fetching: Station) -> None:
        got = b""
        async with httpx.AsyncClient() as client, client.stream("GET", fetching.url) as response:
            async for chunk in response.aiter_bytes(10_000):
                got += chunk
                if len(got) >= 1_000_000:
                    break
        rest = await fetching.http("GET", headers={"Range": f"bytes={len(got)}-", "If-Range": ETAG})
        assert rest.status_code == 206
        assert got + rest.content == IMAGE
        row = await asyncio.to_thread(
            wait_until,
            lambda: next(
                row for row in fetching.csms.get("firmware-updates/")["results"] if row["id"] == fetching.id
            )["delivered_bytes"] == len(IMAGE),
        )  # fmt: skip
        assert row is True

    async def test_url_ends_with_the_update(self, fetching: Station) -> None:
        for status in ("Downloading", "Downloaded", "Installing"):
            await fetching.cp.call("FirmwareStatusNotification", {"status": status})
            assert (await fetching.http("HEAD")).status_code == 200
        await fetching.cp.call("FirmwareStatusNotification", {"status": "Installed"})
        assert (await fetching.http("GET")).status_code == 410

    async def test_another_station_cannot_use_it_once_it_is_used(self, fetching: Station) -> None:
        assert (await fetching.http("HEAD")).status_code == 200
        other = await fetching.http("GET", source="127.0.0.2")
        assert (other.status_code, IMAGE[:100] in other.content) == (403, False)
        assert (await fetching.http("GET")).status_code == 200

    async def test_owner_is_let_in_from_where_it_is_connected(self, fetching: Station) -> None:
        # Somebody else was first; the charge point itself is connected from 127.0.0.1.
        assert (await fetching.http("HEAD", source="127.0.0.3")).status_code == 200
        assert (await fetching.http("HEAD")).status_code == 200
        assert (await fetching.http("HEAD", source="127.0.0.3")).status_code == 403

    async def test_other_methods_are_refused(self, fetching: Station) -> None:
        response = await fetching.http("PUT", content=b"x")
        assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")


class TestUpload:
    async def test_put_is_stored_and_is_the_effect_of_the_command(self, delivering: Station) -> None:
        response = await delivering.http("PUT", "diag_0301.zip", content=LOG)
        assert response.status_code == 201
        assert await delivering.delivered() == LOG
        sha256 = hashlib.sha256(LOG).hexdigest()
        file = (await delivering.row())["file"]
        assert (file["name"], file["size"], file["sha256"]) == ("diag_0301.zip", len(LOG), sha256)
        effect = await delivering.effect()
        assert effect["upload"] == {"name": "diag_0301.zip", "size": len(LOG), "sha256": sha256}
        await delivering.cp.call("DiagnosticsStatusNotification", {"status": "Uploaded"})
        assert (await delivering.effect()) == effect | {
            "status": "Uploaded", "status_at": (await delivering.row())["status_at"],
        }  # fmt: skip

    async def test_chunked_post_without_a_name_has_that_of_the_answer(self, delivering: Station) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(LOG), 7_000):
                yield LOG[start : start + 7_000]

        assert (await delivering.http("POST", content=pieces())).status_code == 201
        assert await delivering.delivered() == LOG
        assert (await delivering.row())["file"]["name"] == "diag.zip"

    async def test_multipart_form(self, delivering: Station) -> None:
        files = {"file": ("a/b\\log.tgz", LOG, "application/gzip")}
        assert (await delivering.http("POST", data={"station": "x"}, files=files)).status_code == 201
        assert await delivering.delivered() == LOG
        file = (await delivering.row())["file"]
        assert (file["name"], file["content_type"]) == ("log.tgz", "application/gzip")

    @pytest.mark.parametrize(
        ("tail", "shown"),
        [
            ("..%2f..%2f..%2fetc%2fpasswd", "passwd"), ("%2e%2e", "diag.zip"), ("a%00b.log", "a_b.log"),
            ("C:%5Cwindows%5Csystem.ini", "system.ini"), ("x%0d%0aSet-Cookie:%20a=b", "x__Set-Cookie: a=b"),
            ("%3Cscript%3E.html", "<script>.html"), ("n" * 300, "n" * 255),
        ],
    )  # fmt: skip
    async def test_names_are_shown_and_lead_nowhere(self, delivering: Station, tail: str, shown: str) -> None:
        before = set(delivering.stored("**/*"))
        assert (await delivering.http("PUT", tail, content=b"content")).status_code == 201
        assert (await delivering.row())["file"]["name"] == shown
        assert await delivering.delivered() == b"content"
        (stored,) = [path for path in set(delivering.stored("**/*")) - before if path.is_file()]
        assert stored.parent.name == "uploads"
        assert len(stored.name) == 32

    async def test_url_is_good_for_one_file(self, delivering: Station) -> None:
        assert (await delivering.http("PUT", content=b"first")).status_code == 201
        assert (await delivering.http("PUT", content=b"second")).status_code == 410
        assert await delivering.delivered() == b"first"

    async def test_truncated_upload_leaves_nothing_and_the_url_usable(self, delivering: Station) -> None:
        head = f"PUT {delivering.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(LOG)}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", delivering.csms.server.port)) as line:
            line.sendall(head + LOG[:280_000])
            await asyncio.to_thread(wait_until, lambda: delivering.stored("incoming/*"))
        await asyncio.to_thread(wait_until, lambda: not delivering.stored("incoming/*"))
        assert (await delivering.row())["file"] is None
        assert (await delivering.http("PUT", content=LOG)).status_code == 201
        assert await delivering.delivered() == LOG

    async def test_truncated_multipart_is_refused_and_the_url_usable(self, delivering: Station) -> None:
        body = b'--B\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\nhalf a file\r\n--B'
        headers = {"Content-Type": "multipart/form-data; boundary=B"}
        assert (await delivering.http("POST", content=body, headers=headers)).status_code == 400
        assert (await delivering.http("POST", content=body + b"--\r\n", headers=headers)).status_code == 201
        assert await delivering.delivered() == b"half a file"

    @pytest.mark.parametrize(
        ("content", "content_type"),
        [
            (b"", "application/zip"), (b"--B--", "multipart/form-data; boundary=B"), (b"x", "multipart/form-data"),
            (b'--B\r\nContent-Disposition: form-data; name="f"\r\n\r\nx\r\n--B--', "multipart/form-data; boundary=B"),
            (b"no boundary " * 10_000, "multipart/form-data; boundary=B"),
        ],
    )  # fmt: skip
    async def test_body_without_a_file_is_refused(self, delivering: Station, content: bytes, content_type: str) -> None:
        response = await delivering.http("POST", content=content, headers={"Content-Type": content_type})
        assert response.status_code == 400
        assert delivering.stored("incoming/*") == []
        assert (await delivering.http("PUT", content=b"now")).status_code == 201

    async def test_another_station_cannot_use_it_once_it_is_used(self, delivering: Station) -> None:
        assert (await delivering.http("PUT", content=b"")).status_code == 400
        assert (await delivering.http("PUT", source="127.0.0.2", content=b"forged")).status_code == 403
        assert (await delivering.row())["file"] is None

    async def test_reading_is_refused(self, delivering: Station) -> None:
        response = await delivering.http("GET")
        assert (response.status_code, response.headers["allow"]) == (405, "PUT, POST")


@pytest.mark.parametrize(
    "path", ["/files/", "/files/x", "/files/d-" + "a" * 32 + "/fw.bin", "/files/u-..%2f..", "/files/%00"]
)
async def test_unknown_url_is_404_without_a_hint(csms: Csms, path: str) -> None:
    method = "PUT" if "/u-" in path else "GET"
    async with httpx.AsyncClient() as client:
        response = await client.request(method, f"{csms.server.http_url}{path}")
    assert (response.status_code, response.text) == (404, "There is no such file.\n")


async def test_limits_of_size_and_time(new_csms_server: Callable[..., CsmsServer]) -> None:
    server = new_csms_server(
        env={"CSMS_UPLOAD_LIMIT_BYTES": "100000", "CSMS_IMAGE_LIMIT_BYTES": "50000", "CSMS_FILE_URL_SECONDS": "1"}
    ).start()
    csms = Csms(server, LiveTenant("limits", server.create_tenant("limits")["api_key"]))
    too_large = server.api(
        "POST", "firmware-images/", key=csms.tenant.api_key, files={"file": ("fw.bin", b"x" * 50_001)}
    )
    assert (too_large.status_code, too_large.json()["code"]) == (413, "file_too_large")
    station = await asked(csms, "diagnostics/", "GetDiagnostics", {"fileName": "diag.zip"})

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b"x" * 10_000

    declared = await station.http("PUT", content=b"x" * 100_001)
    undeclared = await station.http("PUT", content=endless())
    form = await station.http("POST", files={"file": ("log", b"x" * 100_001)})
    asked_before = await station.http("PUT", content=b"x" * 100_001, headers={"Expect": "100-continue"})
    assert [one.status_code for one in (declared, undeclared, form, asked_before)] == [413] * 4
    assert station.stored("*/uploads/*") + station.stored("incoming/*") == []
    assert (await station.http("PUT", content=b"x" * 100_000)).status_code == 201
    await station.cp.close()
