"""Secrets in URLs: what people read has none of them, the rest stays as it is."""

from __future__ import annotations

import pytest

from stations.masking import masked, masked_url

TOKEN = "d-" + "Ab_-" * 8


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ftp://user:secret@host/dir/", "ftp://user:***@host/dir/"),
        ("ftp://user:se@cr@et@host/dir/", "ftp://user:***@host/dir/"),
        ("ftp://user:se/cret@host/dir/", "ftp://user:***@host/dir/"),
        ("ftp://:secret@host/", "ftp://:***@host/"),
        ("ftp://user@host/a:b@c", "ftp://user@host/a:b@c"),
        ("http://host:8080/image@2x.bin", "http://host:8080/image@2x.bin"),
        (f"https://host/files/{TOKEN}/fw.bin", "https://host/files/***/fw.bin"),
        ("https://host/files/reports/fw.bin", "https://host/files/reports/fw.bin"),
        ("https://s3/x?X-Amz-Signature=ab12&v=1", "https://s3/x?X-Amz-Signature=***&v=1"),
        ("https://blob/x?sv=1&sig=a%2Bb", "https://blob/x?sv=1&sig=***"),
        ("no ftp://a:b@c/ nor ftp://d:e@f/", "no ftp://a:***@c/ nor ftp://d:***@f/"),
        ("plain text, 10:30", "plain text, 10:30"),
    ],
)
def test_url(text: str, shown: str) -> None:
    assert masked_url(text) == shown
    assert masked("GetDiagnostics", {"location": text, "retries": 1}) == {"location": shown, "retries": 1}
    assert masked("", text) == shown


def test_requests_that_are_not_about_files_are_left_alone() -> None:
    payload = {"vendorId": "x", "data": "ftp://user:secret@host/"}
    assert masked("DataTransfer", payload) is payload


def test_urls_in_the_details_of_an_error_are_found() -> None:
    details = {"tried": ["ftp://u:p@h/1", {"url": "ftp://u:p@h/2"}], "code": 530}
    assert masked("UpdateFirmware", details) == {
        "tried": ["ftp://u:***@h/1", {"url": "ftp://u:***@h/2"}], "code": 530,
    }  # fmt: skip
