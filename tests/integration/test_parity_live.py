"""Parity, the second proof: one live vLLM model, asked by lm-eval's own vLLM back end and by EvalRun.

In float32 the same numbers come out, however requests are batched. Where they are not batched (one at a time) every bit
is the same, in bfloat16 too. In bfloat16 with batches answers differ, between two runs of lm-eval as well: each
difference must lie within that noise, at the very token where two answers part.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.live_cases import CONTEXT, DIFFERENCES, ENGINES, HEADLINE, SHORT, headline
from support.parity import SEED
from support.suites import Suite, benchmark_data

pytestmark = [pytest.mark.engine, pytest.mark.timeout(3600)]

ROOT = Path(__file__).parents[2]
FLAGS = set(Path("/proc/cpuinfo").read_text().split())
"""Words about the processor, its instructions among them."""
BFLOAT16 = bool(FLAGS & {"avx512_bf16", "amx_bf16", "bf16"})
"""Whether the processor computes in bfloat16; one that emulates it takes fourteen times as long (measured)."""
in_bfloat16 = pytest.mark.skipif(not BFLOAT16, reason="this processor has no instructions for bfloat16")
Report = dict[str, Any]
PER_TOKEN = 1e-4
"""Log-probabilities in float32: how far two batchings may be apart, a token. Measured: 3.4e-5 (docs/parity.md)."""
RELATIVE = 1e-4
"""The same for metrics that are made of them (perplexities)."""
OF_LOG_PROBABILITIES = ("perplexity", "bits_per_byte", "brier_score")


def model(*options: str) -> Path:
    """A model of the cache, made if it is not there."""
    command = [sys.executable, str(ROOT / "scripts" / "small_model.py"), *options]
    made = subprocess.run(command, check=True, capture_output=True, text=True)
    return Path(made.stdout.splitlines()[0])


@pytest.fixture(scope="module")
def models() -> Path:
    small, tiny = model(), model("--tiny")
    assert small.parent == tiny.parent
    return small.parent


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Callable[[str], Report]:
    """The reports of one process that went through all engines."""
    out = tmp_path_factory.mktemp("live")
    names = ["headline", *(name for name, engine in ENGINES.items() if BFLOAT16 or engine.dtype != "bfloat16")]
    command = [sys.executable, "-m", "support.live", str(out), str(benchmark_data()), str(models), *names]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests"), "HF_DATASETS_CACHE": str(out / "cache")}
    log = out / "log"
    with log.open("w") as output:
        ended = subprocess.run(command, env=environment, stdout=output, stderr=subprocess.STDOUT, check=False)
    assert ended.returncode == 0, log.read_text()[-4000:]
    return lambda name: json.loads((out / f"{name}.json").read_text())


def exact(*engines: str) -> list[Any]:
    """Every comparison in which the same numbers are due."""
    return [
        pytest.param(engine, case, way, id=f"{engine}: {case}: {way}")
        for engine in engines
        for case in ENGINES[engine].cases
        if case not in DIFFERENCES
        for way in ENGINES[engine].ways_of(case)
    ]


@pytest.mark.parametrize(("engine", "case", "way"), exact("float32", "volume"))
def test_the_same_model_gives_the_same_numbers_in_float32(
    engine: str, case: str, way: str, live: Callable[[str], Report]
) -> None:
    found = live(engine)["cases"][case]["ways"][way]
    generations, scores, choices = found["generations"], found["scores"], found["choices"]

    assert found["missing"] == []
    assert found["failed"] == {}
    assert generations["equal"] == generations["count"], generations["differing"]
    assert generations["noise"] <= PER_TOKEN
    assert scores["greedy_equal"] == scores["count"]
    assert scores["worst_per_token"] <= PER_TOKEN
    assert choices["differing"] == []
    assert {name: pair for name, pair in found["results"]["differing"].items() if not close(name, *pair)} == {}


def close(name: str, theirs: Any, ours: Any) -> bool:
    """Whether an entry is made of log-probabilities, and the same within their tolerance."""
    return any(metric in name for metric in OF_LOG_PROBABILITIES) and ours == pytest.approx(theirs, rel=RELATIVE)


@in_bfloat16
@pytest.mark.parametrize(("engine", "case", "way"), exact("bfloat16-alone"))
def test_one_request_at_a_time_gives_the_same_bits(
    engine: str, case: str, way: str, live: Callable[[str], Report]
) -> None:
    found = live(engine)["cases"][case]["ways"][way]

    assert found["missing"] == []
    assert found["generations"]["bit_equal"] == found["generations"]["tokens"]
    assert found["scores"]["bit_equal"] == found["scores"]["count"]
    assert found["results"]["differing"] == {}


@in_bfloat16
@pytest.mark.parametrize("way", ["reference", "fast"])
def test_differences_in_bfloat16_are_no_larger_than_lm_evals_own(way: str, live: Callable[[str], Report]) -> None:
    cases = live("bfloat16")["cases"]
    again = [case["ways"]["lm-eval again"] for case in cases.values()]
    # On some processors (AMX) lm-eval's own log-likelihoods move further than its generations.
    noise = max(max(way["generations"]["noise"], way["scores"]["worst_per_token"]) for way in again)

    for name, case in cases.items():
        if way not in case["ways"]:
            continue
        found = case["ways"][way]
        assert found["missing"] == []
        assert found["scores"]["worst_per_token"] <= noise, name
        # Where two answers part, both passes together must have been less sure than two log-probabilities may move.
        for answer in found["generations"]["differing"]:
            assert sum(answer["margins"]) <= 2 * noise, (name, answer)
        for document in found["choices"]["differing"]:
            assert sum(document["margins"]) <= 2 * noise, (name, document)


def test_items_that_do_not_fit_fail_by_name_where_lm_eval_truncates_them(live: Callable[[str], Report]) -> None:
    case = live("float32")["cases"]["too long"]

    assert case["longest_prompt"] <= CONTEXT  # lm-eval asked every one, some of them cut
    found = case["ways"]["reference"]
    assert sorted(found["failed"]) == ["too_long_to_answer/2", "too_long_to_choose/2"]
    assert all(
        error.startswith("ContextTooLong: ") and f"more than the engine's {CONTEXT}" in error
        for error in found["failed"].values()
    )
    assert found["generations"]["equal"] == found["generations"]["count"] == 2


def test_evalrun_is_greedy_by_default_where_lm_eval_samples(live: Callable[[str], Report]) -> None:
    cases = live("float32")["cases"]

    assert cases["sampling unsaid"]["temperatures"] == [1.0]
    greedy = [case["temperatures"] for name, case in cases.items() if name.startswith("generate")]
    assert greedy == [[0.0]] * len(greedy)
    answers = cases["sampling unsaid"]["ways"]["reference"]["generations"]
    assert answers["equal"] < answers["count"]


def test_a_run_on_two_replicas_gives_the_numbers_of_simple_evaluate(
    tmp_path: Path, models: Path, live: Callable[[str], Report]
) -> None:
    theirs = live("headline")
    suite = headline(Suite(tmp_path / "suite"), benchmark_data()).folder
    file = write_run(tmp_path, suite, models)
    evalrun = Path(sys.executable).with_name("evalrun")

    ended = subprocess.run(
        [str(evalrun), "run", str(file), "--output", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"HF_DATASETS_CACHE": str(tmp_path / "cache"), "XDG_CACHE_HOME": str(tmp_path / "xdg")},
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    ours = json.loads((tmp_path / "run" / "results.json").read_text())
    for key in ("versions", "n-shot", "higher_is_better", "n-samples", "group_subtasks"):
        assert ours[key] == theirs[key]
    for part in ("results", "groups"):
        assert ours[part].keys() == theirs[part].keys()
        for task, entries in theirs[part].items():
            assert ours[part][task].keys() == entries.keys()
            differing = {
                name: (value, ours[part][task][name])
                for name, value in entries.items()
                if ours[part][task][name] != value and not close(name, value, ours[part][task][name])
            }
            assert differing == {}


def write_run(folder: Path, suite: Path, models: Path) -> Path:
    """The headline case as an EvalRun file."""
    spec = HEADLINE.settings
    engine = ENGINES["float32"]
    run = {
        "apiVersion": "evalrun.dev/v1alpha1",
        "kind": "EvalRun",
        "metadata": {"name": "parity"},
        "spec": {
            "model": {"uri": (models / engine.model).as_uri()},
            "engine": {
                "vllm": {"maxModelLen": CONTEXT, "args": {"dtype": engine.dtype, "max_num_seqs": 16}},
                "numerics": "reference",
            },
            "replicas": {"count": 2},
            "benchmarks": [
                {
                    "task": task,
                    "numFewshot": spec.num_fewshot,
                    "limit": spec.limit,
                    "generation": SHORT,
                    "source": {"path": str(suite)},
                }
                for task in HEADLINE.tasks
            ],
            "seed": SEED,
            "output": {"uri": str(folder / "run")},
        },
    }
    file = folder / "run.yaml"
    file.write_text(yaml.safe_dump(run))
    return file
