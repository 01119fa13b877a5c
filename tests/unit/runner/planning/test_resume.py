"""resumeFrom: whose parts may be taken over, and what they bind the new run to."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalrun_api import RunLocation
from evalrun_api.wire.outputs import PlanIdentity, PlannedModel
from evalrun_runner.errors import InputError
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.ledger.parts import Writer
from evalrun_runner.planning.chunks import ChunkSizing
from evalrun_runner.planning.identity import Plan, claim_plan
from evalrun_runner.planning.resume import EarlierRun
from evalrun_runner.records.results import ItemResult, ItemStatus, MeanTally, Outcome, Response
from evalrun_runner.store.directory import DirectoryStore
from evalrun_runner.store.memory import MemoryStore
from support.builders import cut, generate, make_item

ONE, TWO = "sha256:1", "sha256:2"
ITEMS = [make_item(generate("say", until=["\n"]), doc_id=n) for n in range(2)]
(CHUNK,) = cut(ITEMS)


def identity(**model: str | None) -> PlanIdentity:
    return PlanIdentity(
        model=PlannedModel(name="m", **model), engine={"vllm": {"args": {}}}, benchmarks=[], seed=1, versions={}
    )


def earlier(folder: Path, found: str | None, *, failed: int = 0, **model: str | None) -> RunLocation:
    """A run that has committed one part, with ``failed`` of its items."""
    store = DirectoryStore(folder)
    claim_plan(store, Plan(identity(**model), ChunkSizing(target_cost=7.0), "2024-07-26T10:00:00+00:00", "2024-07-01"))
    ledger = Ledger(store)
    if found is not None:
        ledger.claim_model(found)
    ok, bad = Outcome(ItemStatus.OK, ((Response("x", "stop", 1, 1),),)), Outcome(ItemStatus.FAILED, error="too long")
    rows = [
        ItemResult(item.doc_id, item.hash, *((bad,) if n < failed else (ok, f'{{"none":{{"acc":{n}}}}}')))
        for n, item in enumerate(ITEMS)
    ]
    ledger.commit_part(CHUNK, rows, Writer("r", "vllm"))
    return RunLocation(uri=folder.as_uri())


@pytest.mark.parametrize("failed", [0, 1])
def test_reused_parts_bind_the_run_to_the_model_that_made_them(tmp_path: Path, failed: int) -> None:
    ours = Ledger(MemoryStore())
    location = earlier(tmp_path, ONE, failed=failed, digest=None, listing="a")
    run = EarlierRun(location, identity(digest=None, listing="a"), ours, 1.0)
    assert (run.sizing, run.clock) == (ChunkSizing(target_cost=7.0), "2024-07-01")
    assert ours.claimed_model() is None, "nothing was taken over yet"
    taken = run.take_over(CHUNK)
    assert (None if taken is None else taken.counts.ok, run.carried) == ((2, 0) if not failed else (None, 1))
    with pytest.raises(InputError, match=f"begun with {ONE}"):
        ours.claim_model(TWO)


def test_reused_parts_count_in_the_running_scores(tmp_path: Path) -> None:
    location = earlier(tmp_path, ONE, digest=ONE)
    taken = EarlierRun(location, identity(digest=ONE), Ledger(MemoryStore()), 1.0).take_over(CHUNK)
    assert taken is not None
    assert taken.scores == {("acc", "none"): MeanTally(2, 1.0, 1.0)}


def test_a_run_whose_replicas_have_claimed_another_model_reuses_nothing(tmp_path: Path) -> None:
    ours = Ledger(MemoryStore())
    ours.claim_model(TWO)
    run = EarlierRun(earlier(tmp_path, ONE, digest=None, listing="a"), identity(digest=None, listing="a"), ours, 1.0)
    with pytest.raises(InputError, match=f"begun with {TWO}"):
        run.take_over(CHUNK)


def test_equal_content_elsewhere_is_reused_and_different_content_is_not(tmp_path: Path) -> None:
    location = earlier(tmp_path, ONE, digest=None, listing="a")
    assert EarlierRun(location, identity(digest=ONE), Ledger(MemoryStore()), 1.0).take_over(CHUNK)
    for other in (identity(digest=TWO), identity(digest=None, listing="b")):
        with pytest.raises(InputError, match=r"spec\.resumeFrom: .*model\."):
            EarlierRun(location, other, Ledger(MemoryStore()), 1.0)


def test_a_run_of_no_model_binds_to_none(tmp_path: Path) -> None:
    ours = Ledger(MemoryStore())
    run = EarlierRun(earlier(tmp_path, None, digest=None), identity(digest=None), ours, 1.0)
    assert run.take_over(CHUNK)
    assert ours.claimed_model() is None
