"""What makes two runs the same plan, and how a difference is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evalrun_api import EvalRunSpec, ModelLocation, RunConfig, RunLocation
from evalrun_runner.errors import InputError, LedgerCorrupt, OtherFormat
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.models import ModelSource
from evalrun_runner.planning.chunks import ChunkSizing
from evalrun_runner.planning.identity import (
    Plan,
    check_format,
    check_may_resume,
    check_same_plan,
    claim_plan,
    identity_of,
    read_plan,
)
from evalrun_runner.store.memory import MemoryStore

SPEC: dict[str, Any] = {
    "model": {"name": "m", "uri": "hf://org/m"},
    "engine": {"mock": {"seed": 1}},
    "replicas": {"count": 1},
    "benchmarks": [{"task": "a", "limit": 5}, {"task": "b"}],
    "output": {"uri": "out"},
    "seed": 3,
}


def identity(
    suites: dict[str, Path] | None = None,
    digest: str | None = "sha256:1",
    revision: str | None = None,
    listing: str | None = None,
    **spec: Any,
) -> Any:
    config = RunConfig(
        name="r",
        uid="u",
        spec=EvalRunSpec.model_validate({**SPEC, **spec}),
        results=RunLocation(uri="file:///out"),
        model=ModelLocation(name="m", uri="hf://org/m"),
    )
    return identity_of(config, ModelSource("hf://org/m", revision, digest, listing), suites or {})


@pytest.mark.parametrize(
    "spec",
    [
        {"replicas": {"count": 7}},
        {"output": {"uri": "elsewhere"}},
        {"policy": {"maxFailedItems": 9}},
        {"gates": [{"task": "a", "metric": "acc", "min": 0.1}]},
    ],
    ids=str,
)
def test_settings_that_do_not_affect_answers_make_no_difference(spec: dict[str, Any]) -> None:
    check_same_plan(identity(), identity(**spec), "here")


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"seed": 4}, "seed: 3 there, 4 now"),
        ({"engine": {"mock": {"seed": 2}}}, "engine.mock.seed: 1 there, 2 now"),
        ({"benchmarks": [{"task": "a", "limit": 6}, {"task": "b"}]}, r"benchmarks\[0\]\.limit: 5"),
        ({"benchmarks": [{"task": "a", "limit": 5}]}, "benchmarks: .* there, "),
        ({"benchmarks": [{"task": "b"}, {"task": "a", "limit": 5}]}, r"benchmarks\[0\].*benchmarks\[1\]"),
        ({"digest": "sha256:2"}, 'model.digest: "sha256:1" there, "sha256:2" now'),
        ({"digest": None}, 'model.digest: "sha256:1" there, null now'),
    ],
)
def test_a_difference_is_named_with_both_values(spec: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named) as refused:
        check_same_plan(identity(), identity(**spec), "file:///out")
    assert str(refused.value).startswith("file:///out holds another plan")
    assert "--fresh" in str(refused.value)


def listed(version: str) -> Any:
    return identity(digest=None, listing=version)


def test_without_a_digest_the_listing_or_the_commit_tells_models_apart() -> None:
    check_same_plan(listed("one"), listed("one"), "here")
    with pytest.raises(InputError, match=r'model\.listing: "one" there, "two" now'):
        check_same_plan(listed("one"), listed("two"), "here")
    with pytest.raises(InputError, match=r'model\.revision: "c0ffee" there, "d00d" now'):
        check_same_plan(identity(digest=None, revision="c0ffee"), identity(digest=None, revision="d00d"), "here")
    with pytest.raises(InputError, match=r'model\.digest: "sha256:1" there, null now; model\.listing: null there'):
        check_same_plan(identity(), listed("one"), "here")


def test_the_digest_found_by_replicas_counts_if_the_next_driver_knows_one_too() -> None:
    store = MemoryStore()
    claim_plan(store, Plan(listed("one"), ChunkSizing()))
    Ledger(store).claim_model("sha256:1")
    there = read_plan(store)
    assert there is not None
    check_same_plan(there.identity, listed("one"), "here")
    # The same content elsewhere, or written again.
    check_same_plan(there.identity, identity(), "here")
    with pytest.raises(InputError, match=r'model\.digest: "sha256:1" there, "sha256:2" now'):
        check_same_plan(there.identity, identity(digest="sha256:2"), "here")
    with pytest.raises(InputError, match=r'model\.listing: "one" there, "two" now'):
        claim_plan(store, Plan(listed("two"), ChunkSizing()))


def suite(folder: Path, task: str = "a", rows: str = "{}") -> Path:
    (folder / "data").mkdir(parents=True)
    (folder / f"{task}.yaml").write_text(
        f"task: {task}\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: data/rows.jsonl}}}}"
    )
    (folder / "data" / "rows.jsonl").write_text(rows)
    return folder


WITH_SUITE = [{"task": "a", "source": {"path": "x"}}]


def test_a_suites_content_counts_but_not_its_location(tmp_path: Path) -> None:
    one, two = suite(tmp_path / "one"), suite(tmp_path / "two" / "deep")
    (two / "README.md").write_text("notes")
    check_same_plan(identity({"a": one}, benchmarks=WITH_SUITE), identity({"a": two}, benchmarks=WITH_SUITE), "here")


def test_the_files_of_a_suite_that_differ_are_named(tmp_path: Path) -> None:
    one, two = suite(tmp_path / "one"), suite(tmp_path / "two", rows="{ }")
    text = (two / "a.yaml").read_text()
    (two / "a.yaml").write_text(f"{text}\ninclude: more.yaml\n")
    (two / "more.yaml").write_text("num_fewshot: 1")
    with pytest.raises(InputError) as refused:
        check_same_plan(
            identity({"a": one}, benchmarks=WITH_SUITE), identity({"a": two}, benchmarks=WITH_SUITE), "here"
        )
    assert str(refused.value).startswith(
        "here holds another plan; these differ: suite files changed: a.yaml, data/rows.jsonl; suite files added: "
        "more.yaml. Give another output"
    )


def test_a_long_value_is_cut_within_its_quotes() -> None:
    with pytest.raises(InputError, match=r'systemInstruction: "x{56}…" there, "short" now'):
        check_same_plan(
            identity(benchmarks=[{"task": "a", "systemInstruction": "x" * 90}]),
            identity(benchmarks=[{"task": "a", "systemInstruction": "short"}]),
            "here",
        )


# Formats ----------------------------------------------------------------------------------------------------------

GOLDEN = Path(__file__).parents[1] / "ledger" / "golden" / "format-1" / "plan.json"


def golden_store(**changed: object) -> MemoryStore:
    store = MemoryStore()
    store.put("plan.json", json.dumps({**json.loads(GOLDEN.read_bytes()), **changed}).encode())
    return store


def test_a_plan_without_a_format_version_is_read_and_resumed() -> None:
    store = golden_store()
    there = read_plan(store)
    assert there is not None
    assert (there.format_version, there.sizing) == (1, ChunkSizing(4000.0, 64))
    assert claim_plan(store, Plan(there.identity, ChunkSizing())) == there


def test_a_new_plan_says_its_format_version() -> None:
    store = MemoryStore()
    claim_plan(store, Plan(identity(), ChunkSizing()))
    assert json.loads(store.get("plan.json"))["formatVersion"] == 1


def test_a_plan_keeps_the_moment_of_its_claim_for_every_later_driver() -> None:
    store = MemoryStore()
    claimed = claim_plan(
        store, Plan(identity(), ChunkSizing(), created="2024-07-26T10:00:00+00:00", clock="2024-07-01")
    )
    late = claim_plan(store, Plan(identity(), ChunkSizing(), created="2031-01-01T00:00:00+00:00", clock="2031-01-01"))
    assert late == claimed == read_plan(store)
    assert {"created": late.created, "clock": late.clock} == {
        name: json.loads(store.get("plan.json"))[name] for name in ("created", "clock")
    }


def test_a_plan_of_a_newer_format_is_refused_by_name_whatever_else_it_holds() -> None:
    store = golden_store(formatVersion=2, identity={"new": "layout"})
    for refused in (read_plan, check_format, lambda store: claim_plan(store, Plan(identity(), ChunkSizing()))):
        with pytest.raises(OtherFormat, match=r"plan\.json is of format version 2; this EvalRun reads .* up to 1"):
            refused(store)


def test_a_run_of_an_older_format_is_not_resumed_and_the_way_out_is_named() -> None:
    there = read_plan(golden_store())
    assert there is not None
    older = replace(there, format_version=0)
    with pytest.raises(OtherFormat, match=r"file:///out holds a run of format version 0.*--fresh"):
        check_may_resume(older, there.identity, "file:///out")


@pytest.mark.parametrize("version", ["2", None, 0, [1]])
def test_a_format_version_that_is_no_number_is_damage(version: object) -> None:
    with pytest.raises(LedgerCorrupt, match=r"plan\.json is damaged \(formatVersion: "):
        read_plan(golden_store(formatVersion=version))


@pytest.mark.parametrize("plan", [b"{", b"[]", b'{"formatVersion": "2"}'])
def test_results_are_read_beside_a_damaged_plan(plan: bytes) -> None:
    store = MemoryStore()
    store.put("plan.json", plan)
    check_format(store)


def test_an_output_without_a_plan_has_no_format_to_refuse() -> None:
    check_format(MemoryStore())
