"""The end of a run: every planned item has one end, or nothing is scored."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from evalrun_api import Counts as CountsResult
from evalrun_api import Phase, RunLocation, Verdict
from evalrun_runner.driver import finish
from evalrun_runner.driver import results as written
from evalrun_runner.driver.scores import scores_in
from evalrun_runner.driver.spool import RowSpool
from evalrun_runner.errors import InputError, LedgerCorrupt, OtherFormat, RunFailed
from evalrun_runner.ledger import layout
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.ledger.parts import Writer
from evalrun_runner.records.plan import Chunk
from evalrun_runner.records.results import ItemCounts, Outcome
from evalrun_runner.store.base import ObjectStore
from evalrun_runner.store.directory import DirectoryStore
from evalrun_runner.store.memory import MemoryStore
from support.builders import FAILED, OK, QUARANTINED, cut, generate, make_item, make_rows
from support.outputs import make_results


class Scene:
    """Committed chunks of the task ``t``."""

    def __init__(self, spool: RowSpool, store: ObjectStore | None = None) -> None:
        self.store = store or MemoryStore()
        self.ledger = Ledger(self.store)
        self.spool = spool
        self.chunks: list[Chunk] = []

    def commit(self, *outcomes: Outcome) -> Chunk:
        number = len(self.chunks)
        items = [make_item(generate("q"), doc_id=10 * number + row) for row in range(len(outcomes))]
        (chunk,) = cut(items, number=number)
        self.ledger.commit_part(chunk, make_rows(items, outcomes), Writer("r", "mock"))
        self.chunks.append(chunk)
        return chunk

    def verify(self) -> finish.Verified:
        return finish.verify({"t": tuple(self.chunks)}, self.ledger, self.spool)


@pytest.fixture
def scene() -> Iterator[Scene]:
    with RowSpool(samples=True) as spool:
        yield Scene(spool)


def test_every_item_is_counted_once_and_a_few_errors_are_reported(scene: Scene) -> None:
    scene.commit(OK, OK, FAILED)
    scene.commit(QUARANTINED, OK)
    scene.commit(FAILED, FAILED)
    verified = scene.verify()
    assert verified.counts == {"t": ItemCounts(ok=3, failed=3, quarantined=1)}
    assert verified.damaged == ()
    assert verified.examples == (
        "t document 2: failed: too long",
        "t document 10: quarantined: it killed two engines",
        "t document 20: failed: too long",
    )


def test_missing_damaged_and_foreign_parts_are_named(scene: Scene) -> None:
    sound, missing, damaged, others = (scene.commit(OK) for _ in range(4))
    scene.store.delete(layout.part(*missing.id))
    data = scene.store.get(layout.part(*damaged.id))
    scene.store.put(layout.part(*damaged.id), data[:-9] + b"x" + data[-8:])
    scene.store.put(layout.part(*others.id), scene.store.get(layout.part(*sound.id)))
    assert scene.verify().damaged == (missing, damaged, others)


def test_a_part_with_too_few_rows_is_refused(scene: Scene) -> None:
    chunk = scene.commit(OK, OK)
    scene.chunks = [replace(chunk, items=3)]
    assert scene.verify().damaged == tuple(scene.chunks)


def test_counts_that_do_not_add_up_end_the_run(scene: Scene) -> None:
    scene.commit(OK, OK)

    class Forgetful:
        def read_part(self, chunk: Chunk) -> Any:
            part = scene.ledger.read_part(chunk)
            return replace(part, rows=part.rows[:1])

    with pytest.raises(RunFailed, match=r"task t: 2 items were planned, but 1 ok \+ 0 failed \+ 0 quarantined are 1"):
        finish.verify({"t": tuple(scene.chunks)}, cast(Ledger, Forgetful()), scene.spool)


def test_after_a_repair_only_what_was_redone_is_read(scene: Scene) -> None:
    sound, damaged = scene.commit(OK, FAILED), scene.commit(OK)
    data = scene.store.get(layout.part(*damaged.id))
    scene.store.put(layout.part(*damaged.id), b"damaged")
    assert scene.verify().damaged == (damaged,)
    scene.store.put(layout.part(*damaged.id), data)
    scene.store.delete(layout.part(*sound.id))
    verified = scene.verify()
    assert (verified.damaged, verified.counts) == ((), {"t": ItemCounts(ok=2, failed=1)})
    assert [row.doc_id for chunk in scene.chunks for row in scene.spool.rows(chunk)] == [0, 1, 10]


def test_scores_are_the_numbers_of_results_json() -> None:
    results = make_results(
        {
            "results": {
                "t": {
                    "alias": "t",
                    "sample_len": 7,
                    "acc,none": 0.5,
                    "acc_stderr,none": 0.1,
                    "f1,strict": math.nan,
                    "f1_stderr,strict": "N/A",
                    "count,none": 3,
                    "flag,none": True,
                },
                "g": {"acc,none": 0.25},
            },
            "higher_is_better": {"t": {"acc": True, "f1": None}},
        }
    )
    found = {(one.task, one.metric, one.filter): (one.value, one.stderr, one.n) for one in scores_in(results)}
    assert found == {
        ("t", "acc", "none"): (0.5, 0.1, 7),
        ("t", "f1", "strict"): (None, None, 7),
        ("t", "count", "none"): (3.0, None, 7),
        ("t", "flag", "none"): (None, None, 7),
        ("g", "acc", "none"): (0.25, None, 0),
    }


def test_scores_of_tasks_and_groups_state_if_lower_is_better() -> None:
    ppl = {"perplexity,none": 7.5, "acc,none": 0.5, "loss,strict": 2.0}
    results = make_results(
        {
            "results": {"t": ppl, "g": ppl, "u": ppl},
            "higher_is_better": {
                "t": {"perplexity": False, "acc": True, "loss": False},
                "g": {"perplexity": False, "acc": None},
            },
        }
    )
    lower = [(one.task, one.metric) for one in scores_in(results) if one.lower_is_better]
    assert lower == [("t", "perplexity"), ("t", "loss"), ("g", "perplexity")]
    assert {one.lower_is_better for one in scores_in(results)} == {True, None}


def test_results_without_complete_or_from_another_driver_are_not_read(scene: Scene, tmp_path: Path) -> None:
    scene = Scene(scene.spool, DirectoryStore(tmp_path))
    here = RunLocation(uri=tmp_path.as_uri())
    with pytest.raises(InputError, match="is not there, or is empty"):
        written.read_result(here)
    results = make_results({"evalrun": {"engine": "mock", "counts": {"planned": 1, "ok": 1}}})
    epoch = scene.ledger.claim_epoch()
    scene.ledger.write_results(epoch, results.write())
    scene.ledger.complete(epoch)
    with pytest.raises(LedgerCorrupt, match=r"has COMPLETE but no run\.json"):
        written.read_result(here)
    scene.store.put(layout.RESULTS, json.dumps(results.as_written() | {"more": 1}).encode())
    with pytest.raises(LedgerCorrupt, match="has the sha256"):
        written.read_result(here)


GOLDEN = Path(__file__).parents[1] / "ledger" / "golden" / "format-1"


def test_a_finished_run_of_the_first_format_is_read_back() -> None:
    result = written.read_result(RunLocation(uri=GOLDEN.as_uri()))
    # Its verdict was not recorded: 2 of 4 items prove no more than 0.098, and its gate asks for 0.1.
    assert (result.phase, result.engine, result.verdict) == (Phase.SUCCEEDED, "mock", Verdict.INCONCLUSIVE)
    assert result.counts == CountsResult(planned=9, ok=9)
    assert [(score.task, score.metric, score.value, score.n) for score in result.scores] == [
        ("sums", "exact_match", 0.0, 5),
        ("letters", "acc", 0.5, 4),
        ("both", "acc", 0.5, 4),
    ]
    assert [(gate.task, gate.value) for gate in result.gates] == [("letters", 0.5)]


def test_results_of_a_newer_format_are_refused_by_name(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN, tmp_path / "run")
    plan = json.loads((GOLDEN / "plan.json").read_text())
    (tmp_path / "run" / "plan.json").write_text(json.dumps({**plan, "formatVersion": 2}))
    with pytest.raises(OtherFormat, match=r"plan\.json is of format version 2; .*newer EvalRun: use that one"):
        written.read_result(RunLocation(uri=(tmp_path / "run").as_uri()))
