"""Server processes are held to a share of the processor by control groups of either version."""

from __future__ import annotations

from pathlib import Path

import pytest

from csms.benchmark import share
from csms.benchmark.processes import BenchmarkError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In place of /sys/fs/cgroup."""
    monkeypatch.setattr(share, "ROOT", tmp_path)
    monkeypatch.setattr(share, "_remove", lambda folder: None)
    return tmp_path


def test_version_2_has_quota_and_period_in_one_file(root: Path) -> None:
    (root / "cgroup.controllers").write_text("cpuset cpu io")
    with share.group(0.7) as group:
        group.take([4711])
    (folder,) = root.glob("csms-benchmark-*")
    assert (folder / "cpu.max").read_text() == "14000 20000"
    assert (folder / "cgroup.procs").read_text() == "4711"
    assert (root / "cgroup.subtree_control").read_text() == "+cpu"


def test_version_1_has_a_file_for_each(root: Path) -> None:
    (root / "cpu").mkdir()
    with share.group(0.35):
        pass
    (folder,) = (root / "cpu").glob("csms-benchmark-*")
    assert (folder / "cpu.cfs_period_us").read_text() == "20000"
    assert (folder / "cpu.cfs_quota_us").read_text() == "7000"


def test_without_control_groups_it_says_what_is_needed(root: Path) -> None:
    with (
        pytest.raises(BenchmarkError, match=r"^--share needs Linux, root, and the processor controller"),
        share.group(1),
    ):
        pass
