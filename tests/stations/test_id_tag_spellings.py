"""One card, or one vehicle, in many spellings."""

from __future__ import annotations

from importlib import import_module

import pytest
from django.apps import apps

from stations.id_tag_spellings import alike, mac_of, other_forms, relation
from stations.models import IdTag
from tenants.models import Tenant
from tests.stations.rows import new_id_tag


def why(id_tag: str, known: str) -> str | None:
    """In which way `id_tag` may be meant as `known`; None when it may not."""
    found = other_forms(id_tag).get(alike(known))
    return None if found is None else relation(id_tag, known, found) or None


@pytest.mark.parametrize(
    ("id_tag", "known", "expected"),
    [
        ("04:A1:B2:C3", "04A1B2C3", "separators"),
        ("04-a1-b2-c3", "04A1B2C3", "separators"),
        ("RFID:04A1B2C3", "04A1B2C3", "separators"),
        ("04A1B2C3", "04 A1 B2 C3", "separators"),
        ("  04A1B2C3 ", "04A1B2C3", "padding"),
        ("04A1B2C3000000", "04A1B2C3", "padding"),
        ("04A1B2C3", "04A1B2C3000000", "padding"),
        ("000004A1B2C3", "04A1B2C3", "leading_zeros"),
        ("4A1B2C3", "04A1B2C3", "leading_zeros"),
        ("C3B2A104", "04A1B2C3", "byte_order"),
        ("C3:B2:A1:04", "04a1b2c3", "byte_order"),
        ("C3B2A1040000", "04A1B2C3", "byte_order"),
        ("77705923", "04A1B2C3", "decimal"),
        ("0077705923", "04A1B2C3", "decimal"),
        ("04A1B2C3", "77705923", "decimal"),
        ("3283263748", "04A1B2C3", "decimal_byte_order"),
        ("04A1B2C3", "04A1B2C4", None),
        ("04A1B2C3", "A104C3B2", None),
        ("ANNA", "BERTA", None),
        ("CARD-1", "CARD-10", None),
        ("7", "70", None),
        ("7", "007", "leading_zeros"),
        ("", "04A1B2C3", None),
        ("0000", "04A1B2C3", None),
    ],
)
def test_in_which_way_two_may_be_the_same(id_tag: str, known: str, expected: str | None) -> None:
    assert why(id_tag, known) == expected


@pytest.mark.parametrize(
    "spelling",
    [
        "AABBCCDDEEFF", "aa:bb:cc:dd:ee:ff", "AA-BB-CC-DD-EE-FF", "aabb.ccdd.eeff", "VID:AABBCCDDEEFF",
        "vid:aa:bb:cc:dd:ee:ff", "VIDAABBCCDDEEFF", "MAC:AABBCCDDEEFF", " AA BB CC DD EE FF ",
    ],
)  # fmt: skip
def test_mac_address_is_the_same_in_every_spelling(spelling: str) -> None:
    assert mac_of(spelling) == "AABBCCDDEEFF"


@pytest.mark.parametrize(
    "text", ["AABBCCDDEEF", "AABBCCDDEEFF0", "GGBBCCDDEEFF", "04A1B2C3", "", "VID:", "AA:BBCC:DDEE:FF:"]
)
def test_what_is_no_mac_address(text: str) -> None:
    assert mac_of(text) == ""


def test_nothing_grows_with_a_long_text() -> None:
    assert len(other_forms("F" * 5000)) == 1
    assert len(other_forms("9" * 255)) == 1


def test_tags_registered_before_are_found_by_likeness(in_tenant_a: Tenant) -> None:
    migration = import_module("stations.migrations.0017_alike_id_tags")
    for id_tag in ("04:A1:B2:C3", "vid:aabbccddeeff", "  0 0 ", "ß", "TAG-1", "ANNA"):
        assert migration.alike(id_tag) == alike(id_tag)
        new_id_tag(id_tag)
    IdTag.objects.update(alike="")
    migration.fill(apps, None)
    assert {tag.id_tag: tag.alike for tag in IdTag.objects.all()} == {
        "04:A1:B2:C3": "4A1B2C3", "vid:aabbccddeeff": "AABBCCDDEEFF", "  0 0 ": "00", "ß": "SS", "TAG-1": "1",
        "ANNA": "ANNA",
    }  # fmt: skip
