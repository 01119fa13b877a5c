"""A suite in a ConfigMap, as the kubelet mounts it."""

from __future__ import annotations

import os
from pathlib import Path

from evalrun_api import SuiteLocation
from evalrun_runner.benchmarks.suites.fetch import fetch_suites

SUITE = Path(__file__).parents[4] / "examples" / "suites" / "quickstart"


def mount(folder: Path, generation: str) -> None:
    """What the kubelet does: the files in a hidden folder, a link to it, and links to its files."""
    hidden = folder / generation
    hidden.mkdir(parents=True)
    for file in SUITE.iterdir():
        (hidden / file.name).write_bytes(file.read_bytes())
        link = folder / file.name
        if not link.is_symlink():
            link.symlink_to(f"..data/{file.name}")
    (folder / "..new").symlink_to(generation)
    os.replace(folder / "..new", folder / "..data")


def test_each_file_is_copied_once_and_later_changes_have_no_effect(tmp_path: Path) -> None:
    mounted, cache = tmp_path / "suite", tmp_path / "cache"
    mount(mounted, "..2026_01")
    suites = {"sums": SuiteLocation(uri=mounted.as_uri())}
    brought = fetch_suites(suites, cache)["sums"]
    assert sorted(file.name for file in brought.rglob("*")) == sorted(file.name for file in SUITE.iterdir())
    mount(mounted, "..2026_02")
    assert fetch_suites(suites, cache)["sums"] == brought
    (mounted / "..2026_02" / "word_sums.yaml").write_text("task: other")
    assert fetch_suites(suites, cache)["sums"] != brought
    assert "word_sums" in (brought / "word_sums.yaml").read_text()
