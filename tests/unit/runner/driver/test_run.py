"""Whole runs in one process: the driver as it is composed, with a fleet of its test's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest

from evalrun_api import EvalRunSpec, Phase, Policy, RunConfig, RunResult, Verdict, Work
from evalrun_api.wire.outputs import LeasedRecord
from evalrun_runner.driver.assembly import Adapters, DriverOptions
from evalrun_runner.driver.cancellation import Cancellation
from evalrun_runner.driver.preflight import Preflight, run_preflight
from evalrun_runner.driver.results import read_result
from evalrun_runner.driver.run import REPAIRS, run
from evalrun_runner.errors import InputError, Interrupted, LedgerCorrupt, RunFailed
from evalrun_runner.fleet.protocol import Answered, Fleet, FleetEvent
from evalrun_runner.ledger import layout
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.replica.settings import ReplicaSettings
from evalrun_runner.store.base import ObjectStore
from evalrun_runner.store.directory import DirectoryStore
from support.one_process import OneReplica, Watching, config_of, sums
from support.suites import Suite

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
    assert (result.phase, result.counts.ok, result.work) == (Phase.SUCCEEDED, ITEMS, Work())
    assert (tmp_path / "output" / layout.COMPLETE).exists()
    assert watching.lines == ["starting 1 mock replicas on CPU"]
    plan, record = (json.loads((tmp_path / "output" / name).read_text()) for name in (layout.PLAN, layout.RUN))
    assert plan["created"] == plan["clock"] == record["created"] == record["clock"]
    assert [view.phase for view in watching.views][-1] is Phase.FINISHING

    def no_fleet(settings: ReplicaSettings, *, writer: str) -> Fleet:
        raise AssertionError("nothing is left to run")

    again = run(config, DriverOptions(), Watching(), Adapters(start_fleet=no_fleet))
    assert (again.phase, again.counts, again.work) == (Phase.SUCCEEDED, result.counts, Work(kept=ITEMS))


def no_replica(settings: ReplicaSettings, *, writer: str) -> Fleet:
    """Refuse to start a fleet."""
    raise AssertionError("a replica is asked for")


def with_wrong_rows(folder: Path, wrong: int, **config: Any) -> Path:
    """Write the suite ``sums``, of whose items the first so many have no answer."""
    rows = [{"question": f"{n} + {n} =", "answer": None if n < wrong else str(2 * n)} for n in range(ITEMS)]
    suite = Suite(folder).with_data("rows", rows)
    suite.with_task(
        "sums",
        data="rows",
        **{
            "output_type": "generate_until",
            "doc_to_text": "{{question}}",
            "doc_to_target": "{{answer}}",
            "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8},
            "metric_list": [{"metric": "exact_match"}],
            **config,
        },
    )
    return suite.folder


def allowing(config: RunConfig, failed: int) -> RunConfig:
    """Let so many items of a run fail."""
    spec = config.spec.model_copy(update={"policy": Policy(max_failed_items=failed)})
    return config.model_copy(update={"spec": spec})


def test_wrong_documents_end_a_run_before_a_replica_is_asked_for(tmp_path: Path) -> None:
    config = config_of(with_wrong_rows(tmp_path / "suite", 2), tmp_path / "output")
    with pytest.raises(InputError, match="2 of 20 documents cannot be right") as refused:
        run(config, DriverOptions(), Watching(), Adapters(start_fleet=no_replica))
    assert "task 'sums', document 0: answer, which doc_to_target prints, is null" in str(refused.value)
    assert refused.value.exit_code == 2


def test_wrong_documents_within_the_policy_are_failed_by_name_and_the_others_scored(tmp_path: Path) -> None:
    config = allowing(config_of(with_wrong_rows(tmp_path / "suite", 2), tmp_path / "output"), 2)
    watching = Watching()
    result = run(config, DriverOptions(), watching, HERE)
    assert (result.counts.ok, result.counts.failed) == (ITEMS - 2, 2)
    (warning,) = result.warnings
    assert (warning.about, warning.count) == ("task sums", 2)
    assert f"warning: {warning.line}" in watching.lines
    ledger = Ledger(DirectoryStore(tmp_path / "output"))
    rows = [row for chunk in ledger.read_chunks("sums", 0) for row in ledger.read_part(chunk).rows]
    assert [row.doc_id for row in rows if row.outcome.error is not None] == [0, 1]
    assert "the document is wrong: answer, which doc_to_target prints, is null" in str(rows[0].outcome.error)


def test_examples_that_show_the_answer_are_warned_of_whichever_driver_ends_the_run(tmp_path: Path) -> None:
    folder = with_wrong_rows(tmp_path / "suite", 0, validation_split="test", num_fewshot=4)
    once = run(config_of(folder, tmp_path / "once"), DriverOptions(), Watching(), HERE)
    (warning,) = once.warnings
    assert f"{warning.count} of {ITEMS} prompts show the answer that they ask for" in warning.message

    class Breaks(OneReplica):
        def poll(self, timeout: float) -> Sequence[FleetEvent]:
            raise RunFailed("the machine is lost")

    config = config_of(folder, tmp_path / "twice")
    with pytest.raises(RunFailed):
        run(config, DriverOptions(), Watching(), Adapters(start_fleet=Breaks))
    watching = Watching()
    run(config, DriverOptions(), watching, HERE)
    assert f"warning: {warning.line}" in watching.lines
    results = [json.loads((tmp_path / output / layout.RESULTS).read_text()) for output in ("once", "twice")]
    assert results[0]["evalrun"] == results[1]["evalrun"]
    record = json.loads((tmp_path / "twice" / layout.RUN).read_text())
    assert [one["message"] for one in record["warnings"]] == [warning.message]


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
    # Whatever it had under way, and did not commit, is done again.
    note = LeasedRecord(epoch=1, redone=3, chunks={"sums": list(range(ITEMS))})
    (tmp_path / "output" / layout.LEASED).write_bytes(note.write())
    result = run(config, DriverOptions(), Watching(), HERE)
    assert (result.phase, result.counts.ok) == (Phase.SUCCEEDED, ITEMS)
    assert result.work is not None
    assert f"stopped; {result.work.kept} items" in str(stopped.value)
    assert result.work.redone == 3 + ITEMS - result.work.kept


@pytest.mark.parametrize("samples", [False, True])
def test_at_the_end_every_part_is_read_once_and_a_segment_only_for_samples(tmp_path: Path, samples: bool) -> None:
    items = 150
    reads: list[str] = []

    class Reading(DirectoryStore):
        def get(self, key: str) -> bytes:
            # What is read once the run is complete is read for its report, which reads no more than so many parts.
            if not self.exists(layout.COMPLETE):
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


def with_spec(config: RunConfig, **fields: object) -> RunConfig:
    """Change fields of the spec, as YAML has them."""
    spec = EvalRunSpec.model_validate({**config.spec.to_dict(), **fields})
    return config.model_copy(update={"spec": spec})


class TestAfterCompletion:
    """What may follow a run's completion: other gates, samples, and looking at it."""

    GATE: ClassVar = {"task": "sums", "metric": "exact_match", "max": 1.0}

    @pytest.fixture
    def done(self, suite: Path, tmp_path: Path) -> RunConfig:
        config = with_spec(config_of(suite, tmp_path / "output"), gates=[self.GATE])
        assert run(config, DriverOptions(), Watching(), HERE).verdict is Verdict.PASSED
        return config

    @staticmethod
    def look(config: RunConfig) -> RunResult:
        return read_result(config.results)

    def test_its_verdicts_are_read_back_with_no_word_of_resuming(self, done: RunConfig) -> None:
        result = self.look(done)
        assert (result.verdict, result.work) == (Verdict.PASSED, None)
        assert [gate.method for gate in result.gates] == ["clopper-pearson"]

    def test_gates_that_are_asked_later_are_kept_with_those_before(self, done: RunConfig, tmp_path: Path) -> None:
        later = with_spec(done, gates=[{**self.GATE, "min": 2.0, "max": 3.0}])
        assert run(later, DriverOptions(), Watching(), HERE).verdict is Verdict.FAILED
        assert self.look(done).verdict is Verdict.FAILED
        assert len(json.loads((tmp_path / "output" / layout.GATES).read_text())["judgements"]) == 2

    def test_gates_that_are_asked_later_of_no_score_are_refused(self, done: RunConfig, tmp_path: Path) -> None:
        before = (tmp_path / "output" / layout.GATES).read_bytes()
        with pytest.raises(InputError, match=r"'sums' has no metric 'exact_mach'; did you mean exact_match\?"):
            run(with_spec(done, gates=[{**self.GATE, "metric": "exact_mach"}]), DriverOptions(), Watching(), HERE)
        assert (tmp_path / "output" / layout.GATES).read_bytes() == before

    def test_without_recorded_verdicts_its_bounds_are_judged_anew(self, done: RunConfig, tmp_path: Path) -> None:
        (tmp_path / "output" / layout.GATES).unlink()
        assert self.look(done).verdict is Verdict.PASSED

    def test_samples_that_are_asked_later_are_those_of_the_run(
        self, done: RunConfig, suite: Path, tmp_path: Path
    ) -> None:
        output = tmp_path / "output"
        assert not list(output.glob("samples_*"))
        asked = with_spec(done, output={"uri": done.results.uri, "samples": True})
        watching = Watching()
        result = run(asked, DriverOptions(), watching, HERE)
        assert (result.phase, result.counts.ok) == (Phase.SUCCEEDED, ITEMS)
        assert "the samples of 1 tasks are written, of the manifest and the parts that are there" in watching.lines
        at_once = with_spec(config_of(suite, tmp_path / "other"), output={"uri": "x", "samples": True})
        run(at_once, DriverOptions(), Watching(), HERE)
        (written,), (expected,) = output.glob("samples_*"), (tmp_path / "other").glob("samples_*")
        assert written.read_bytes() == expected.read_bytes()
        hashes = json.loads((tmp_path / "other" / layout.RESULTS).read_text())["task_hashes"]
        assert set(hashes) == {"sums"}

    def test_samples_are_not_made_of_damaged_parts(self, done: RunConfig, tmp_path: Path) -> None:
        part = next((tmp_path / "output" / "parts").rglob("*.parquet"))
        part.write_bytes(part.read_bytes()[:-9])
        with pytest.raises(LedgerCorrupt, match="the samples cannot be written, because 1 parts are damaged"):
            run(with_spec(done, output={"uri": "x", "samples": True}), DriverOptions(), Watching(), HERE)


def test_results_have_lm_evals_keys_that_say_how_they_were_made(suite: Path, tmp_path: Path) -> None:
    config = with_spec(
        config_of(suite, tmp_path / "output"),
        seed=7,
        benchmarks=[
            {
                "task": "sums",
                "source": {"path": str(suite)},
                "limit": 5,
                "systemInstruction": "Be brief.",
                "generation": {"max_gen_toks": 4},
            }
        ],
    )
    run(config, DriverOptions(), Watching(), HERE)
    results = json.loads((tmp_path / "output" / layout.RESULTS).read_text())
    begun = json.loads((tmp_path / "output" / layout.PLAN).read_text())["created"]
    assert results["date"] == datetime.fromisoformat(begun).timestamp()
    assert results["config"] == {
        "model": "mock",
        "seed": 7,
        "model_args": {"pretrained": "hf://test/mock"},
        "batch_size": "auto",
        "limit": 5,
        "gen_kwargs": {"max_gen_toks": 4},
        "bootstrap_iters": 100_000,
        "random_seed": 7,
        "numpy_seed": 7,
        "torch_seed": 7,
        "fewshot_seed": 7,
    }
    assert results["lm_eval_version"] == "0.4.13"
    assert (results["model_source"], results["model_name"], results["model_name_sanitized"]) == ("mock", "mock", "mock")
    assert results["system_instruction"] == "Be brief."
    assert results["system_instruction_sha"] == hashlib.sha256(b"Be brief.").hexdigest()
    assert (results["fewshot_as_multiturn"], results["chat_template"], results["task_hashes"]) == (False, None, {})


def test_a_gate_on_a_score_that_cannot_be_is_refused_before_the_output_is_claimed(suite: Path, tmp_path: Path) -> None:
    config = with_spec(config_of(suite, tmp_path / "output"), gates=[{"task": "sums", "metric": "acc", "min": 0.1}])
    with pytest.raises(InputError, match=r"spec\.gates\[0\]\.metric: 'sums' has no metric 'acc'"):
        run(config, DriverOptions(), Watching(), HERE)
    assert not (tmp_path / "output" / layout.PLAN).exists()


def test_a_run_that_is_not_finished_is_told_from_none(suite: Path, tmp_path: Path) -> None:
    config, cancellation = config_of(suite, tmp_path / "output"), Cancellation()
    cancellation.request()
    with pytest.raises(Interrupted):
        run(config, DriverOptions(cancellation), Watching(), HERE)
    with pytest.raises(
        InputError, match=r"not finished .*; its last attempt ended: Interrupted: .* again to finish it"
    ):
        read_result(config.results)
