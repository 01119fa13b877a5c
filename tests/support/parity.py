"""The same responses through ``lm_eval.simple_evaluate`` and through EvalRun's own rooms."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import lm_eval
import lm_eval.evaluator
import lm_eval.utils
import pytest
from jinja2 import BaseLoader, Environment, StrictUndefined
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

from evalrun_runner.benchmarks.aggregate import aggregate, to_plain
from evalrun_runner.benchmarks.build import iter_items
from evalrun_runner.benchmarks.code_eval import confine_code
from evalrun_runner.benchmarks.load import LoadedBenchmarks, load_benchmarks
from evalrun_runner.benchmarks.recipe import BenchmarkSpec, TaskRecipe
from evalrun_runner.benchmarks.score import Scorer
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.ledger.parts import Writer
from evalrun_runner.planning.chunks import ChunkSizing
from evalrun_runner.planning.segments import plan_task
from evalrun_runner.records.plan import Chunk, Item, Request, RequestType
from evalrun_runner.records.results import ItemResult, ItemStatus, Outcome, Response
from evalrun_runner.store.memory import MemoryStore
from support.builders import read_items

KEYS = ("results", "groups", "group_subtasks", "configs", "versions", "n-shot", "higher_is_better", "n-samples")
SEED = 4321


def respond(kind: str, arguments: Sequence[Any], repeat: int, doc: Mapping[str, Any]) -> Any:
    """A response that depends on the request alone; every other generation holds what looks like the right answer."""
    digest = hashlib.sha256(json.dumps([kind, list(arguments), repeat], sort_keys=True).encode()).digest()
    score = -int.from_bytes(digest[:6]) / 2**40
    match kind:
        case "loglikelihood":
            return (score, digest[6] % 3 == 0)
        case "loglikelihood_rolling":
            return score
    truth = next((str(doc[key]) for key in ("answer", "target", "canonical_solution", "code") if key in doc), "seven")
    number = truth.split("#### ")[-1]
    return (
        f"Let me think.\n#### {number}",
        f"so the answer is {number}.",
        f" The answer is {digest[7]}.\n",
        truth,
        f"   detectable_{digest[8]}\n",
        "",
    )[digest[9] % 6]


def render_chat(messages: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> str:
    """A chat template that is no model's."""
    text = "".join(f"<|{message['role']}|>{message['content']}<|end|>" for message in messages)
    return text + "<|assistant|>" if add_generation_prompt else text.removesuffix("<|end|>")


class FakeModel(LM):  # type: ignore[misc]  # lm-eval ships no types
    """A model for lm-eval that answers with ``respond``."""

    tokenizer_name = "fake"

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        return self._answer("loglikelihood", requests)

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        return self._answer("loglikelihood_rolling", requests)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        return self._answer("generate_until", requests)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return render_chat(chat_history, add_generation_prompt)

    def chat_template(self, chat_template: bool | str = False) -> str:
        return "fake"

    def _answer(self, kind: str, requests: list[Instance]) -> list[Any]:
        asked: Counter[int] = Counter()
        answers = []
        for request in requests:
            answers.append(respond(kind, request.args, asked[id(request)], request.doc))
            asked[id(request)] += 1
        return answers


@dataclass(frozen=True)
class Case:
    """One comparison: tasks of a suite, and how they are run."""

    tasks: tuple[str, ...]
    settings: BenchmarkSpec = field(default_factory=lambda: BenchmarkSpec("", ""))
    """Everything but the names and the source."""
    allow_code: bool = False
    bootstrap_iters: int = 20


def lm_eval_results(case: Case, suite: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What lm-eval makes of it, untouched by our sandbox."""
    env = Environment(loader=BaseLoader(), undefined=StrictUndefined, keep_trailing_newline=True)
    env.filters.update(lm_eval.utils.env.filters)
    monkeypatch.setattr(lm_eval.utils, "env", env)
    confine_code()  # neither side may fetch code_eval from the hub: verdicts are the same, and all else is compared
    # Nothing of these is compared; torch's seed would load torch.
    for slow in ("add_env_info", "add_tokenizer_info", "set_torch_seed"):
        monkeypatch.setattr(lm_eval.evaluator, slow, lambda *args: None)
    spec = case.settings
    results: dict[str, Any] = lm_eval.simple_evaluate(
        model=FakeModel(),
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
        confirm_run_unsafe_code=case.allow_code,
    )
    monkeypatch.undo()
    return results


def load_case(case: Case, suite: Path) -> LoadedBenchmarks:
    """The case's tasks as benchmarks of a run."""
    specs = [replace(case.settings, name=task, task=task, source=suite) for task in case.tasks]
    return load_benchmarks(specs, seed=SEED, allow_code=case.allow_code)


def evalrun_results(case: Case, suite: Path, elsewhere: Executor) -> dict[str, Any]:
    """Planned, answered in random order by several scorers here and in another process, committed, aggregated."""
    loaded = load_case(case, suite)
    ledger = Ledger(MemoryStore())
    chunks: list[Chunk] = []
    for leaf in loaded.leaves:
        sizing = ChunkSizing(target_cost=5_000, max_items=7)
        for segment in plan_task(leaf.name, iter_items(leaf, render_chat), ledger, sizing):
            chunks += segment.chunks
    recipes = {leaf.name: leaf.recipe.to_json() for leaf in loaded.leaves}
    by_task = _commit_in_random_order(ledger, chunks, recipes, elsewhere)

    def parts(task: str) -> Iterator[ItemResult]:
        for chunk in by_task[task]:
            yield from ledger.read_part(chunk).rows

    return aggregate(loaded, parts, bootstrap_iters=case.bootstrap_iters).results


def _commit_in_random_order(
    ledger: Ledger, chunks: list[Chunk], recipes: Mapping[str, str], elsewhere: Executor
) -> Mapping[str, list[Chunk]]:
    order = random.Random(99)
    scorers = {task: [Scorer(TaskRecipe.from_json(text)) for _ in range(2)] for task, text in recipes.items()}
    by_task: defaultdict[str, list[Chunk]] = defaultdict(list)
    for chunk in chunks:
        by_task[chunk.task].append(chunk)
    for place, chunk in enumerate(order.sample(chunks, len(chunks))):
        items = read_items(ledger, chunk)
        outcomes = [answer(item) for item in items]
        if place % 3 == 0:
            rows = elsewhere.submit(score_elsewhere, recipes[chunk.task], items, outcomes).result()
        else:
            rows = order.choice(scorers[chunk.task]).score(items, outcomes)
        ledger.commit_part(chunk, rows, Writer("test", "mock"))
    return by_task


def answer(item: Item) -> Outcome:
    """The outcome that the fake model gives an item."""

    def responses(request: Request) -> tuple[Response, ...]:
        kind = RequestType(request.type).value
        return tuple(
            Response(respond(kind, request.arguments, repeat, item.doc), "stop", 1, 1)
            for repeat in range(request.repeats)
        )

    return Outcome(ItemStatus.OK, tuple(responses(request) for request in item.requests))


def score_elsewhere(recipe: str, items: Sequence[Item], outcomes: Sequence[Outcome]) -> list[ItemResult]:
    """Score in a process that has never seen the data set."""
    return Scorer(TaskRecipe.from_json(recipe)).score(items, outcomes)


def comparable(results: Mapping[str, Any]) -> dict[str, str]:
    """The parts of the results that must be the same, as text: the same number has the same digits."""
    return {key: json.dumps(results.get(key), default=to_plain, sort_keys=True, indent=1) for key in KEYS}
