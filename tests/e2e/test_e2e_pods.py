"""A run as in a cluster: the pods of driver and replicas as real processes, each with its own network."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from evalrun_api import AddressingStyle, Phase, Reason, RunConfig, RunLocation, StorageAccess, Work
from evalrun_api.wire.pods import ExitCode
from evalrun_runner.cli.files import parse
from evalrun_runner.cli.localize import LocalResolver
from evalrun_runner.cli.scratch import Scratch
from support.pods import DriverPod, PodNetwork, needs_namespaces
from support.runs import write_run, write_suite
from support.seaweed import Seaweed, write_credentials

pytestmark = [needs_namespaces, pytest.mark.slow, pytest.mark.timeout(600)]

REPLICA = "ray::ReplicaActor"

SUMS = 512
FREE = 384
"""Number of sums that do not wait at the gate: the first ones, some of them in one chunk with sums that do."""
SURE = 300
"""Number of sums that are committed however the chunks are cut."""


class Gated:
    """Suite of sums of which the later ones wait at a gate, so that a run stops in the middle until `open`."""

    def __init__(self, folder: Path) -> None:
        self._gate = folder / "gate"
        self._gate.touch()
        word = f" [mock:hold:{self._gate}]"
        self.config = make_config(folder, [f"{n} + {n} =?{word if n >= FREE else ''}" for n in range(SUMS)])

    def open(self) -> None:
        self._gate.unlink()


def make_config(folder: Path, questions: list[str]) -> RunConfig:
    """Build the RunConfig that the operator would create for a run of the mock engine."""
    suite = write_suite(folder / "suite", questions)
    parsed = parse(str(write_run(folder / "run.yaml", suite)), ())
    scratch = folder / "scratch"
    scratch.mkdir()
    return LocalResolver(parsed, folder, Scratch(scratch)).config()


def test_replicas_join_and_leave_and_the_driver_is_replaced(tmp_path: Path) -> None:
    gated = Gated(tmp_path)
    with PodNetwork(tmp_path / "pods") as network:
        driver = network.driver(gated.config)
        first, second = network.replica(), network.replica()
        driver.reached(SURE, replicas=2)
        assert driver.ready
        # One more pod adds one replica.
        third = network.replica()
        driver.reached(SURE, replicas=3)

        # A pod is asked to leave.
        third.signal(signal.SIGTERM)
        assert third.ended(60) == ExitCode.STOPPED
        assert "the replica has left" in third.log
        driver.until("was asked to leave by its machine")
        driver.reached(SURE, replicas=2)

        # A replica's process dies: another one replaces it in the same pod.
        died = second.pid_of(REPLICA)
        os.kill(died, signal.SIGKILL)
        driver.until("is gone (crashed)")
        second.wait(lambda: any(REPLICA in title for title in second.processes()), "has another replica")
        driver.reached(SURE, replicas=2)

        # The driver is killed; its replacement continues with the same pods.
        kept = committed(driver)
        driver.kill()
        driver = network.driver(gated.config)
        driver.reached(SURE, replicas=2)
        assert "another driver answers" in first.log
        # A pod ends at once with all its processes, as if its node had lost power.
        second.kill()
        driver.until("is gone (lost)")
        driver.reached(SURE, replicas=1)
        gated.open()
        assert driver.ended() == ExitCode.DONE, driver.log
        assert first.ended(20) == 0, first.log
        result = driver.result
        assert (result.phase, result.counts.ok) == (Phase.SUCCEEDED, SUMS)
        assert result.work is not None
        assert result.work.kept == kept

        # A driver of a completed run writes its result again, and is never ready.
        again = network.driver(gated.config)
        assert again.ended() == ExitCode.DONE
        assert (again.result.scores, again.result.work) == (result.scores, Work(kept=SUMS))
        assert not again.was_ready


def committed(driver: DriverPod) -> int:
    shown = driver.progress()
    assert shown is not None
    return shown.counts.ok


def test_a_driver_that_is_stopped_flushes_and_its_replicas_wait_for_the_next(tmp_path: Path) -> None:
    gated = Gated(tmp_path)
    with PodNetwork(tmp_path / "pods") as network:
        driver = network.driver(gated.config)
        driver.wait(lambda: driver.ready, "is ready")
        driver.wait(lambda: (shown := driver.progress()) and shown.note == "waiting for replicas", "waits for replicas")
        assert driver.get("/healthz") == (200, "ok\n")
        replica = network.replica()
        driver.reached(SURE, replicas=1)
        driver.signal(signal.SIGTERM)
        assert driver.ended(60) == ExitCode.STOPPED
        result = driver.result
        assert (result.phase, result.results_uri) == (Phase.SUSPENDED, gated.config.results.uri)
        assert result.failure is not None
        assert result.failure.reason is Reason.INTERRUPTED
        assert result.counts.ok >= SURE
        # The replica was not asked to leave; when it is, it leaves at once.
        assert replica.running
        replica.signal(signal.SIGTERM)
        assert replica.ended(60) == ExitCode.STOPPED


def test_a_driver_that_is_stopped_in_its_preflight_leaves_at_once(tmp_path: Path) -> None:
    """Its store accepts connections and never answers."""
    write_credentials(tmp_path / "keys", ("key", "secret"))
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        PodNetwork(tmp_path / "pods", store=silent.getsockname()[1]) as network,
    ):
        config = with_store(make_config(tmp_path, ["1 + 1 =?"]), network.store, str(tmp_path / "keys"))
        driver = network.driver(config)
        driver.until("checking the store")
        driver.signal(signal.SIGTERM)
        assert driver.ended(30) == ExitCode.STOPPED
        assert not driver.was_ready
        result = driver.result
    assert result.phase is Phase.SUSPENDED
    assert result.failure is not None
    assert result.failure.reason is Reason.INTERRUPTED


def with_store(config: RunConfig, endpoint: str, credentials_dir: str | None) -> RunConfig:
    """Build the run with its results in a bucket that does not exist."""
    storage = StorageAccess(
        endpoint_url=endpoint,
        region="us-east-1",
        addressing_style=AddressingStyle.PATH,
        credentials_dir=credentials_dir,
    )
    return config.model_copy(update={"results": RunLocation(uri="s3://no-such-bucket/runs/", storage=storage)})


def test_an_error_in_the_input_ends_the_driver_before_it_is_ready(tmp_path: Path) -> None:
    with Seaweed(tmp_path) as seaweed, PodNetwork(tmp_path / "pods", store=seaweed.port) as network:
        config = with_store(make_config(tmp_path, ["1 + 1 =?"]), network.store, seaweed.settings().credentials_dir)
        driver = network.driver(config)
        replica = network.replica()
        assert driver.ended() == ExitCode.INVALID, driver.log
        assert not driver.was_ready
        result = driver.result
        assert result.phase is Phase.INVALID
        assert result.failure is not None
        assert result.failure.reason is Reason.STORAGE_DENIED
        assert "no-such-bucket" in result.failure.message
        assert "the driver says that all is done" in replica.log
        assert replica.ended(20) == 0
