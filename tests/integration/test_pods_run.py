"""A run as a cluster has it: the driver's pod and the replicas' pods as real processes, each with its own network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evalrun_api import Phase, RunConfig
from evalrun_runner.cli.files import parse
from evalrun_runner.cli.localize import Localizer
from support.pods import PodNetwork, needs_namespaces
from support.runs import write_run, write_suite

pytestmark = [needs_namespaces, pytest.mark.slow]

SUMS = 96


def make_config(folder: Path, questions: list[str], **spec: Any) -> RunConfig:
    """The RunConfig that the operator would make of a run of the mock engine."""
    suite = write_suite(folder / "suite", questions)
    parsed = parse(str(write_run(folder / "run.yaml", suite, **spec)), ())
    scratch = folder / "scratch"
    scratch.mkdir()
    return Localizer(parsed, folder, scratch).config(str(folder / "output"), fresh=False, allow_code=False)


def test_a_run_through_two_pods(tmp_path: Path) -> None:
    config = make_config(tmp_path, [f"What is {n} and {n}?" for n in range(SUMS)])
    with PodNetwork(tmp_path / "pods") as network:
        driver = network.driver(config)
        replicas = [network.replica() for _ in range(2)]
        try:
            assert driver.ended() == 0, driver.log
            assert [replica.ended(20) for replica in replicas] == [0, 0]
        finally:
            print(driver.log, *(r.log for r in replicas), sep="\n------\n")
        result = driver.result
        assert (result.phase, result.counts.ok) == (Phase.SUCCEEDED, SUMS)
