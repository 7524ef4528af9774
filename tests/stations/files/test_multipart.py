"""multipart/form-data in pieces of any size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stations.files.multipart import FilePart, Malformed, boundary_of
from stations.files.pace import Pace

CONTENT = b"line\r\n--almost the boundary\r\n--BOUND\r\n-\r\n--BOUNDAR"
BODY = (
    b"preamble\r\n--BOUNDARY\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nvalue\r\n"
    b"--BOUNDARY  \r\nContent-Type: text/plain\r\n"
    b"Content-Disposition: form-data; name=\"file\"; filename=\"log.txt\"\r\n\r\n"
    + CONTENT
    + b"\r\n--BOUNDARY\r\nContent-Disposition: form-data; name=\"b\"; filename=\"second\"\r\n\r\nnot this\r\n"
    b"--BOUNDARY--\r\nepilogue"
)  # fmt: skip


def fed(pieces: list[bytes]) -> tuple[bytes, FilePart]:
    part = FilePart(b"BOUNDARY")
    return b"".join(part.feed(piece) for piece in pieces), part


@given(st.lists(st.integers(min_value=0, max_value=len(BODY)), max_size=12))
def test_first_file_whatever_the_pieces(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(BODY)]
    content, part = fed([BODY[start:end] for start, end in zip(places, places[1:], strict=False)])
    assert content == CONTENT
    assert (part.complete, part.name, part.content_type) == (True, "log.txt", "text/plain")


def test_byte_by_byte() -> None:
    content, part = fed([bytes([byte]) for byte in BODY])
    assert (content, part.complete) == (CONTENT, True)


@pytest.mark.parametrize("end", range(0, BODY.index(b"--BOUNDARY--") + 12, 7))
def test_cut_off_body_is_not_complete(end: int) -> None:
    assert not fed([BODY[:end]])[1].complete


def test_names_may_be_encoded() -> None:
    body = b"--BOUNDARY\r\nContent-Disposition: form-data; filename*=UTF-8''%C3%BC.log\r\n\r\nx\r\n--BOUNDARY--"
    assert fed([body])[1].name == "\u00fc.log"


@pytest.mark.parametrize(
    "body",
    [b"--BOUNDARY\r\nX: " + b"y" * 20_000, b"z" * 70_000, b"--BOUNDARYX\r\n\r\nx", b"--BOUNDARY" + b" " * 300],
)
def test_endless_headers_and_missing_boundaries_are_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        fed([body])


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [("multipart/form-data; boundary=B", b"B"), ('Multipart/Form-Data; boundary="a b"', b"a b"), ("text/plain", None)],
)
def test_boundary(content_type: str, boundary: bytes | None) -> None:
    assert boundary_of(content_type) == boundary


def test_pace_is_shared_and_allows_a_short_burst() -> None:
    pace = Pace(1000, burst_seconds=0.1)
    assert pace.book(100, now=10.0) == 0.0
    assert pace.book(500, now=10.0) == pytest.approx(0.5)
    assert pace.book(500, now=10.0) == pytest.approx(1.0)
    assert pace.book(100, now=99.0) == 0.0
    assert Pace(0).book(10**9, now=0.0) == 0.0
