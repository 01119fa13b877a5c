"""The models keep their values, and have defaults for unset fields."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from evalrun_api import (
    Counts,
    EngineArgs,
    EvalRunSpec,
    Failure,
    Gate,
    GateResult,
    GateRule,
    GenerationOverrides,
    ModelLocation,
    ModelScheme,
    ModelSpec,
    Phase,
    Reason,
    RunConfig,
    RunLocation,
    RunResult,
    RunWarning,
    Score,
    ScoreInterval,
    StopEarly,
    StopRule,
    StorageAccess,
    SuiteLocation,
    Verdict,
    Work,
)
from evalrun_api.reading.engine_refusals import REFUSED, why_refused
from evalrun_api.reading.parse import parse_evalrun
from evalrun_api.spec.engine_args import OTHERS
from evalrun_api.spec.template_args import RESERVED_ARGUMENTS

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
SHARES = st.floats(min_value=0, max_value=1)
BENCHMARKS = st.lists(
    st.fixed_dictionaries(
        {"task": NAMES},
        optional={
            "limit": st.integers(1, 10_000),
            "numFewshot": st.integers(0, 50),
            "systemInstruction": st.text(max_size=50),
            "generation": st.fixed_dictionaries(
                {}, optional={"temperature": SHARES, "max_gen_toks": st.integers(1, 99)}
            ),
        },
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda benchmark: benchmark["task"],
)
GATES = st.lists(
    st.fixed_dictionaries({"task": NAMES, "metric": NAMES, "min": SHARES}, optional={"filter": NAMES}), max_size=3
)
SPECS = st.fixed_dictionaries(
    {
        "model": st.fixed_dictionaries(
            {"uri": NAMES.map(lambda name: f"s3://bucket/{name}/")}, optional={"name": NAMES}
        ),
        "engine": st.sampled_from([{"mock": {}}, {"vllm": {"args": {"dtype": "float32", "max_num_seqs": 8}}}]),
        "benchmarks": BENCHMARKS,
        "output": st.just({"uri": "s3://bucket/out/", "storage": {"endpointURL": "http://localhost:8333"}}),
    },
    optional={
        "gates": GATES,
        "seed": st.integers(0, 2**32 - 1),
        "replicas": st.integers(1, 9).map(lambda count: {"count": count, "resources": {"limits": {"memory": "2Gi"}}}),
    },
)


@given(SPECS)
def test_spec_survives_run_config_round_trip(spec: dict[str, Any]) -> None:
    header = {"apiVersion": "evalrun.dev/v1alpha1", "kind": "EvalRun", "metadata": {"name": "x"}}
    run = parse_evalrun(header | {"spec": spec}, "generated")
    assert parse_evalrun(json.loads(run.to_json()), "again") == run
    config = RunConfig(
        name="x",
        uid="0b0f",
        attempt=2,
        spec=run.spec,
        results=RunLocation(uri="s3://bucket/out/x/", storage=StorageAccess(credentials_dir="/secrets/out")),
        model=ModelLocation(name=run.spec.model.resolved_name, uri=run.spec.model.uri),
        suites={"mine": SuiteLocation(uri="file:///suite")},
        baselines=(None, RunLocation(uri="s3://bucket/old/")),
    )
    assert RunConfig.from_json(config.to_json()) == config


def test_unset_fields_have_defaults() -> None:
    spec = EvalRunSpec.model_validate(
        {
            "model": {"uri": "hf://org/name"},
            "engine": {"mock": {}},
            "benchmarks": [{"task": "gsm8k"}, {"task": "gsm8k", "name": "few", "numFewshot": 8}],
            "output": {"uri": "./out"},
        }
    )
    assert spec.seed == 1234
    assert (spec.policy.max_attempts, spec.policy.max_failed_items, spec.policy.suspend) == (3, 0, False)
    assert spec.replicas.resolved_min_count == 1
    assert [benchmark.resolved_name for benchmark in spec.benchmarks] == ["gsm8k", "few"]
    assert not spec.output.samples


def test_absent_fields_of_a_gate_mean_an_interval_at_95_percent() -> None:
    gate = Gate(task="gsm8k", metric="acc", min=0.5)
    assert (gate.resolved_rule, gate.resolved_confidence) == (GateRule.INTERVAL, 0.95)
    assert gate.to_dict() == {"task": "gsm8k", "metric": "acc", "min": 0.5}
    assert StopEarly(rule=StopRule.WIDTH).resolved_width == 0.02


@pytest.mark.parametrize(
    ("uri", "scheme", "name"),
    [
        ("s3://checkpoints/llama-3-8b/step-4000/", ModelScheme.S3, "step-4000"),
        ("hf://org/name", ModelScheme.HF, "name"),
        ("pvc://models/llama", ModelScheme.PVC, "llama"),
        ("pvc://models", ModelScheme.PVC, "models"),
        ("file:///models/llama", ModelScheme.FILE, "llama"),
    ],
)
def test_model_is_named_by_last_part_of_its_uri(uri: str, scheme: ModelScheme, name: str) -> None:
    model = ModelSpec(uri=uri)
    assert (model.scheme, model.resolved_name) == (scheme, name)
    assert ModelSpec(uri=uri, name="mine").resolved_name == "mine"


def test_specs_are_immutable() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        ModelSpec(uri="hf://org/name").uri = "hf://org/other"  # type: ignore[misc]  # refused is what it should be


def test_engine_arguments_match_installed_vllm() -> None:
    package = importlib.util.find_spec("vllm")
    if package is None or package.origin is None:
        pytest.skip("vLLM is not installed")
    tree = ast.parse((Path(package.origin).parent / "engine" / "arg_utils.py").read_text())
    engine_args = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "EngineArgs")
    names = {
        node.target.id
        for node in engine_args.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    assert names == set(EngineArgs.model_fields) | OTHERS


def test_every_refused_engine_argument_exists_and_is_not_allowed() -> None:
    assert set(REFUSED) <= OTHERS
    assert not OTHERS & set(EngineArgs.model_fields)
    assert all(name.isidentifier() for name in EngineArgs.model_fields)


@pytest.mark.parametrize("name", sorted(name for name in OTHERS if name.endswith(("_cls", "_plugin", "_processors"))))
def test_class_paths_are_refused_as_code(name: str) -> None:
    assert "names code to load" in why_refused(name)


def verdict(number: int, outcome: Verdict = Verdict.PASSED, message: str = "") -> GateResult:
    """Build the result of a gate on a task of this number."""
    gate = Gate(task=f"task_{number}", metric="acc", min=0.5)
    reason = {Verdict.PASSED: Reason.GATES_PASSED, Verdict.FAILED: Reason.GATE_FAILED}.get(outcome, Reason.INCONCLUSIVE)
    made = GateResult.of(gate, outcome, reason, message=message, value=0.625)
    return made.model_copy(update={"interval": (0.5, 0.75)})


def result(gates: tuple[GateResult, ...] = (), scores: int = 0, failure: Failure | None = None) -> RunResult:
    """Build a result with this many scores."""
    return RunResult(
        phase=Phase.SUCCEEDED,
        counts=Counts(planned=10, ok=9, failed=1),
        work=Work(kept=3, redone=1),
        verdict=Verdict.overall(gate.verdict for gate in gates),
        gates=gates,
        scores=tuple(Score(task=f"task_{n}", metric="acc", value=0.5, stderr=0.01, n=100) for n in range(scores)),
        results_uri="s3://evals/default/x-0b0f1c2d/",
        failure=failure,
    )


def test_small_result_is_not_truncated() -> None:
    small = result((verdict(0),), scores=3)
    assert RunResult.from_json(small.fit()) == small


@given(
    st.lists(st.sampled_from(Verdict), max_size=120),
    st.integers(0, 200),
    st.none() | st.text(max_size=6000).map(lambda text: Failure(reason=Reason.TASK_INVALID, message=text)),
    st.text(max_size=300),
)
def test_result_of_any_size_fits(verdicts: list[Verdict], scores: int, failure: Failure | None, words: str) -> None:
    gates = tuple(verdict(number, outcome, words) for number, outcome in enumerate(verdicts))
    whole = result(gates, scores, failure)
    message = whole.fit()
    assert len(message) <= 4096
    read = RunResult.from_json(message)
    assert (read.phase, read.counts, read.work, read.verdict) == (whole.phase, whole.counts, whole.work, whole.verdict)
    assert read.truncated == (len(whole.to_json().encode()) > 4096)


def test_scores_are_dropped_before_gates_and_passed_gates_before_others() -> None:
    few = RunResult.from_json(result((verdict(0), verdict(1)), scores=500).fit())
    assert few.truncated
    assert len(few.gates) == 2
    assert 0 < len(few.scores) < 500
    assert few.scores[0].task == "task_0"
    gates = (
        *(verdict(number) for number in range(100)),
        verdict(100, Verdict.FAILED),
        verdict(101, Verdict.INCONCLUSIVE),
    )
    many = RunResult.from_json(result(gates, scores=500).fit())
    assert many.verdict is Verdict.FAILED
    assert [gate.task for gate in many.gates[:3]] == ["task_100", "task_101", "task_0"]
    assert len(many.gates) < len(gates)


def test_gates_keep_their_interval_and_verdict_in_the_termination_message() -> None:
    interval = ScoreInterval(low=0.70710678, high=0.75123456, confidence=0.95, method="wilson-clustered")
    whole = result(tuple(verdict(number) for number in range(4)), scores=8)
    whole = whole.model_copy(
        update={"scores": tuple(score.model_copy(update={"interval": interval}) for score in whole.scores)}
    )
    read = RunResult.from_json(whole.fit())
    assert [gate.interval for gate in read.gates] == [(0.5, 0.75)] * 4
    assert read.verdict is Verdict.PASSED
    assert read.scores
    assert {score.interval for score in read.scores} == {interval}


def test_warnings_take_only_the_room_that_gates_and_scores_leave() -> None:
    warnings = tuple(RunWarning(about=f"task_{n}", message="its gold is odd", count=1) for n in range(500))
    whole = result((verdict(0),), scores=3).model_copy(update={"warnings": warnings})
    read = RunResult.from_json(whole.fit())
    assert (read.truncated, read.gates, read.scores) == (True, whole.gates, whole.scores)
    assert 0 < len(read.warnings) < 500
    crowded = RunResult.from_json(whole.model_copy(update={"scores": result(scores=500).scores}).fit())
    assert len(crowded.scores) > 3
    assert len(crowded.warnings) < 3


def test_too_small_limit_is_rejected() -> None:
    with pytest.raises(ValueError, match="does not fit into 10 bytes"):
        result().fit(limit=10)


def test_overall_verdict_is_the_worst() -> None:
    assert Verdict.overall([]) is None
    assert Verdict.overall([Verdict.PASSED]) is Verdict.PASSED
    assert Verdict.overall([Verdict.PASSED, Verdict.INCONCLUSIVE]) is Verdict.INCONCLUSIVE
    assert Verdict.overall([Verdict.INCONCLUSIVE, Verdict.FAILED]) is Verdict.FAILED


def test_null_among_generation_arguments_is_kept_and_unset_ones_are_not() -> None:
    header = {"apiVersion": "evalrun.dev/v1alpha1", "kind": "EvalRun", "metadata": {"name": "x"}}
    benchmark = {"task": "gsm8k", "generation": {"num_beams": None, "until": None, "max_gen_toks": 5}}
    spec = {"model": {"uri": "hf://o/n"}, "engine": {"mock": {}}, "benchmarks": [benchmark], "output": {"uri": "out"}}
    run = parse_evalrun(header | {"spec": spec}, "given")

    for written in (run.to_dict(), json.loads(run.to_json())):
        assert written["spec"]["benchmarks"][0] == {**benchmark, "applyChatTemplate": False}
    again = parse_evalrun(json.loads(run.to_json()), "again").spec.benchmarks[0].generation
    assert again is not None
    assert again.model_fields_set == {"num_beams", "until", "max_gen_toks"}


@pytest.mark.parametrize("beams", [0, 2, "1x"])
def test_beam_search_is_refused(beams: object) -> None:
    with pytest.raises(ValidationError, match="num_beams"):
        GenerationOverrides.model_validate({"num_beams": beams})


class TestReasoning:
    """Reasoning of engines and benchmarks."""

    @staticmethod
    def spec(thinks: dict[str, Any] | None, **benchmark: Any) -> EvalRunSpec:
        return EvalRunSpec.model_validate(
            {
                "model": {"uri": "hf://org/m"},
                "engine": {"vllm": {} if thinks is None else {"reasoning": thinks}},
                "output": {"uri": "o"},
                "benchmarks": [{"task": "a", **benchmark}],
            }
        )

    @pytest.mark.parametrize(
        ("reasoning", "benchmark", "message"),
        [
            ({"parser": "qwen4"}, {}, "Input should be 'cohere_command3'"),
            ({}, {}, "exactly one end of the thinking is needed: parser or endToken"),
            ({"parser": "qwen3", "endToken": "</think>"}, {}, "exactly one end of the thinking"),
            ({"parser": "qwen3", "startToken": "<think>"}, {}, "startToken goes with endToken"),
            ({"budget": 5}, {}, "exactly one end of the thinking"),
            (None, {"reasoning": {"budget": 5}}, r"needs engine\.vllm\.reasoning"),
            (
                {"parser": "qwen3"},
                {"reasoning": {"enabled": False, "budget": 5}},
                "which enabled: false switches",
            ),
            ({"parser": "qwen3"}, {"reasoning": {"effort": "low"}}, "effort needs applyChatTemplate: true"),
            ({"parser": "qwen3", "effort": "much"}, {}, "Input should be 'none', 'minimal', 'low'"),
            (None, {"chatTemplateArgs": {"enable_thinking": False}}, "chatTemplateArgs needs applyChatTemplate: true"),
            (None, {"applyChatTemplate": True, "chatTemplateArgs": {"tokenize": True}}, "is the renderer's own"),
            (None, {"applyChatTemplate": True, "chatTemplateArgs": {"a-b": 1}}, "must be the name of a variable"),
            (None, {"applyChatTemplate": True, "chatTemplateArgs": {"a": [1]}}, "must be a text, a number, true or f"),
        ],
    )
    def test_what_contradicts_itself_is_refused(
        self, reasoning: dict[str, Any] | None, benchmark: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ValidationError, match=message):
            self.spec(reasoning, **benchmark)

    def test_arguments_of_templates_keep_their_types(self) -> None:
        given = {"enable_thinking": False, "n": 1, "share": 0.5, "effort": "1"}
        (benchmark,) = self.spec(None, applyChatTemplate=True, chatTemplateArgs=given).benchmarks
        assert benchmark.chat_template_args == given
        assert [type(value) for value in benchmark.to_dict()["chatTemplateArgs"].values()] == [bool, int, float, str]

    def test_a_plan_without_reasoning_is_written_as_before(self) -> None:
        spec = self.spec(None)
        assert "reasoning" not in spec.engine.to_dict()["vllm"]
        assert not {"reasoning", "chatTemplateArgs"} & spec.benchmarks[0].to_dict().keys()

    @pytest.mark.parametrize(("end", "start"), [("</think>", "<think>"), ("[/THINK]", "[THINK]"), ("### Answer", None)])
    def test_the_start_follows_from_the_end(self, end: str, start: str | None) -> None:
        reasoning = self.spec({"endToken": end}).engine.vllm
        assert reasoning is not None
        assert reasoning.reasoning is not None
        assert (reasoning.reasoning.markers.end, reasoning.reasoning.markers.start) == (end, start)

    def test_names_that_the_renderer_takes_for_its_settings_are_reserved(self) -> None:
        from transformers import PreTrainedTokenizerBase

        settings = inspect.signature(PreTrainedTokenizerBase.apply_chat_template).parameters
        assert settings.keys() - {"kwargs"} <= RESERVED_ARGUMENTS
