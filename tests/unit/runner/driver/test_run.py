"""Whole runs in one process: the driver as it is composed, with a fleet of its test's."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from evalrun_api import Phase, RunConfig
from evalrun_runner.driver.assembly import Adapters, DriverOptions
from evalrun_runner.driver.cancellation import Cancellation
from evalrun_runner.driver.preflight import Preflight, run_preflight
from evalrun_runner.driver.run import REPAIRS, run
from evalrun_runner.errors import Interrupted, LedgerCorrupt
from evalrun_runner.fleet.protocol import Answered, Fleet, FleetEvent
from evalrun_runner.fleet.ray_start import RaySettings
from evalrun_runner.ledger import layout
from evalrun_runner.replica.settings import ReplicaSettings
from evalrun_runner.store.base import ObjectStore
from evalrun_runner.store.directory import DirectoryStore
from support.one_process import OneReplica, Watching, config_of, sums

ITEMS = 20
HERE = Adapters(start_fleet=OneReplica)


def adapters_with(store: Callable[[Path], ObjectStore]) -> Adapters:
    """A driver with its own kind of store; the replica has a plain one."""

    def preflight(config: RunConfig) -> Preflight:
        setting = run_preflight(config)
        assert setting.store_spec.uri.startswith("file://")
        return replace(setting, store=store(Path(setting.store_spec.uri.removeprefix("file://"))))

    return Adapters(preflight=preflight, start_fleet=OneReplica)


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sums(tmp_path_factory.mktemp("run") / "suite", ITEMS)


def test_a_run_ends_with_its_results_and_the_next_driver_finds_it_complete(suite: Path, tmp_path: Path) -> None:
    config, watching = config_of(suite, tmp_path / "output"), Watching()
    result = run(config, DriverOptions(), watching, HERE)
    assert (result.phase, result.counts.ok, result.work.kept) == (Phase.SUCCEEDED, ITEMS, 0)
    assert (tmp_path / "output" / layout.COMPLETE).exists()
    assert watching.lines == ["starting 1 mock replicas on CPU"]
    plan, record = (json.loads((tmp_path / "output" / name).read_text()) for name in (layout.PLAN, layout.RUN))
    assert plan["created"] == plan["clock"] == record["created"] == record["clock"]
    assert [view.phase for view in watching.views][-1] is Phase.FINISHING

    def no_fleet(count: int, settings: ReplicaSettings, ray_settings: RaySettings, *, writer: str) -> Fleet:
        raise AssertionError("nothing is left to run")

    again = run(config, DriverOptions(), Watching(), Adapters(start_fleet=no_fleet))
    assert (again.phase, again.counts, again.work.kept) == (Phase.SUCCEEDED, result.counts, ITEMS)


def test_a_stopped_run_commits_complete_chunks_and_resumes_from_there(suite: Path, tmp_path: Path) -> None:
    config, cancellation = config_of(suite, tmp_path / "output"), Cancellation()

    class Stops(OneReplica):
        def poll(self, timeout: float) -> Sequence[FleetEvent]:
            events = super().poll(timeout)
            if not cancellation.requested and any(isinstance(event, Answered) for event in events):
                assert cancellation.request(), "the loop answers the request by itself"
            return events

    with pytest.raises(Interrupted, match=r"stopped; [0-9]+ items are committed") as stopped:
        run(config, DriverOptions(cancellation), Watching(), Adapters(start_fleet=Stops))
    record = json.loads((tmp_path / "output" / layout.RUN).read_text())
    assert record["attempts"][0]["outcome"].startswith("Interrupted")
    result = run(config, DriverOptions(), Watching(), HERE)
    assert (result.phase, result.counts.ok) == (Phase.SUCCEEDED, ITEMS)
    assert f"stopped; {result.work.kept} items" in str(stopped.value)


@pytest.mark.parametrize("samples", [False, True])
def test_at_the_end_every_part_is_read_once_and_a_segment_only_for_samples(tmp_path: Path, samples: bool) -> None:
    items = 150
    reads: list[str] = []

    class Reading(DirectoryStore):
        def get(self, key: str) -> bytes:
            reads.append(key)
            return super().get(key)

    config = config_of(sums(tmp_path / "suite", items), tmp_path / "output")
    output = config.spec.output.model_copy(update={"samples": samples})
    config = config.model_copy(update={"spec": config.spec.model_copy(update={"output": output})})
    run(config, DriverOptions(), Watching(), adapters_with(Reading))
    parts = [str(path.relative_to(tmp_path / "output")) for path in (tmp_path / "output" / "parts").rglob("*.parquet")]
    assert len(parts) == 3
    assert sorted(key for key in reads if key.startswith(layout.PARTS)) == sorted(parts)
    assert sum(key.startswith(layout.MANIFEST) and key.endswith(".parquet") for key in reads) == samples
    lines = [path.read_text() for path in (tmp_path / "output").glob("samples_*.jsonl")]
    assert [text.count("\n") for text in lines] == [items] * samples


class TestDamagedParts:
    """Parts that are found damaged when all are read back."""

    @staticmethod
    def adapters(damages: list[None]) -> Adapters:
        """Damage parts as the driver reads them, one for each of ``damages``."""

        class Reading(DirectoryStore):
            """A part that is read is cut short, and stays so."""

            def get(self, key: str) -> bytes:
                data = super().get(key)
                if key.startswith(layout.PARTS) and damages:
                    damages.pop()
                    data = data[:-9]
                    self.put(key, data)
                return data

        return adapters_with(Reading)

    def test_damaged_parts_are_set_aside_and_redone_by_the_present_replicas(self, suite: Path, tmp_path: Path) -> None:
        watching = Watching()
        result = run(config_of(suite, tmp_path / "output"), DriverOptions(), watching, self.adapters([None]))
        assert (result.phase, result.counts.ok) == (Phase.SUCCEEDED, ITEMS)
        assert "1 damaged parts are set aside and their chunks redone" in watching.lines
        assert watching.lines.count("starting 1 mock replicas on CPU") == 1
        assert list((tmp_path / "output" / layout.CORRUPT).rglob("*.parquet"))

    def test_a_store_that_keeps_damaging_parts_ends_the_run(self, suite: Path, tmp_path: Path) -> None:
        watching = Watching()
        with pytest.raises(LedgerCorrupt, match="are damaged again each time they are redone"):
            run(config_of(suite, tmp_path / "output"), DriverOptions(), watching, self.adapters([None] * 1000))
        assert sum("are set aside and their chunks redone" in line for line in watching.lines) == REPAIRS
