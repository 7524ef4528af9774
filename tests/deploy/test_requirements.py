"""The pinned requirements install the same packages next year as today, whatever is released in between."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[2]
LISTS = ("base", "dev")


def pinned(name: str) -> dict[str, Requirement]:
    """The requirements of one list by the normalised name of their package."""
    text = (REPOSITORY / f"requirements/{name}.txt").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    requirements = [Requirement(re.split(r"\s--hash=", line)[0]) for line in lines]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


def asked_for_by(requirement: Requirement) -> list[Requirement]:
    """What an installed package, with the extras it is pinned with, asks for on this machine."""
    asked = [Requirement(text) for text in distribution(requirement.name).requires or ()]
    extras = ["", *sorted(requirement.extras)]
    return [one for one in asked if not one.marker or any(one.marker.evaluate({"extra": extra}) for extra in extras)]


@pytest.mark.parametrize("name", LISTS)
class TestPinnedRequirements:
    def test_each_is_one_version_with_its_hashes(self, name: str) -> None:
        text = (REPOSITORY / f"requirements/{name}.txt").read_text().replace("\\\n", " ")
        for line in text.splitlines():
            if line and not line.lstrip().startswith("#"):
                assert re.search(r"==[^ ]+ .*--hash=sha256:", line), line

    def test_whatever_a_package_asks_for_is_pinned_with_its_extras(self, name: str) -> None:
        """An extra that is missing here sends pip to the newest release for it, which has no pin: nothing installs."""
        here = pinned(name)
        missing = []
        for requirement in here.values():
            if requirement.marker and not requirement.marker.evaluate():
                continue
            for asked in asked_for_by(requirement):
                pin = here.get(canonicalize_name(asked.name))
                if pin is None or not asked.extras <= pin.extras:
                    missing.append(f"{requirement.name} asks for {asked}; pinned: {pin or 'not at all'}")
        assert not missing

    def test_what_is_installed_is_what_is_pinned(self, name: str) -> None:
        for requirement in pinned(name).values():
            if not requirement.marker or requirement.marker.evaluate():
                assert requirement.specifier.contains(distribution(requirement.name).version), requirement


def test_an_extra_that_is_left_out_is_noticed() -> None:
    """The check itself can fail: the list as it was when nothing installed any more named coverage without [toml]."""
    asked = {str(one) for one in asked_for_by(Requirement("pytest-cov"))}
    assert any(text.startswith("coverage[toml]") for text in asked)
    with pytest.raises(PackageNotFoundError):
        asked_for_by(Requirement("a-package-that-is-not-installed"))
