"""vLLM as an engine; the only module that imports vllm.

``LLMEngine.add_request`` and ``step`` keep the engine busy across leases, whereas ``LLM.generate`` would wait for the
slowest request of each batch. They reach the same tokens/s as a single ``LLM.generate`` of all requests (measured).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from evalrun_api import Reason, ThinkingMarkers
from evalrun_runner.engine.lean import STATISTICS, without
from evalrun_runner.engine.protocol import Call, Output, RequestRefused
from evalrun_runner.engine.scheduler_watch import SchedulerWatch
from evalrun_runner.errors import InputError, first_line
from evalrun_runner.machine import available_memory, has_gpu
from evalrun_runner.records.messages import EngineStats

GIB = 1 << 30
ANSWERED = frozenset({"stop", "length", "repetition"})
"""vLLM's finish reasons of complete answers; any other reason (abort, error) means that the engine has failed."""


LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks for which vLLM allocates adapters; each takes those of lower rank, too."""
MOST_IN_A_BATCH = 16
"""Most adapters whose requests share a batch; those of further ones wait for a slot. Slots cost memory of the GPU."""


@dataclass(frozen=True, slots=True)
class EngineAdapter:
    """LoRA adapter that an engine serves beside the model, on requests that name it."""

    name: str
    path: Path
    """Local directory with adapter_config.json and adapter_model.safetensors, verified."""
    rank: int
    """Highest rank of its matrices."""
    targets: tuple[str, ...]
    """Kinds of modules that it changes: ``q_proj``."""


@dataclass(frozen=True, slots=True)
class VllmSettings:
    """Settings to start vLLM with."""

    model: Path
    """Local directory of the model; in the driver, only of its configuration and tokenizer."""
    seed: int
    tensor_parallel_size: int = 1
    max_model_len: int | None = None
    args: Mapping[str, Any] = field(default_factory=dict)
    """EngineArgs by vLLM's names, from the contract's allow-list."""
    adapters: tuple[EngineAdapter, ...] = ()
    """LoRA adapters; requests of all of them, and of none, share a batch."""
    strict: bool = False
    """Whether an answer may not depend on what else is in its batch (``numerics: strict``)."""
    budget_markers: ThinkingMarkers | None = None
    """What surrounds the thinking of which the engine ends what goes beyond a budget; None: no request has one."""
    replicas_per_host: int = 1
    """Number of replicas on this machine, which share memory and cores if there is no GPU."""


def prepare_environment(settings: VllmSettings, cpus: int) -> dict[str, str]:
    """Return the environment for a replica's process, to be set before vllm or torch is imported.

    Args:
        settings: The engine's settings.
        cpus: Number of CPUs that all replicas on this machine may use together.
    """
    environment = {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "VLLM_LOGGING_LEVEL": os.environ.get("VLLM_LOGGING_LEVEL", "WARNING"),
    }
    if settings.strict and has_gpu():
        # Kernels that reduce in one order whatever the batch: matrix products, norms, softmax, attention, all-reduce.
        environment["VLLM_BATCH_INVARIANT"] = "1"
    if not has_gpu():
        # In-process on CPU: this loads five times faster than spawned processes, and steps are long anyway.
        environment |= {
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "OMP_NUM_THREADS": str(max(1, cpus // settings.replicas_per_host)),
        }
        if engine_args(settings)["enforce_eager"]:
            # Even an eager engine compiles two small functions of its sampler at first use (ranks of log-probabilities,
            # unseeded sampling). Each takes seconds and fails without a C++ compiler.
            environment["TORCH_COMPILE_DISABLE"] = "1"
    return environment


def import_vllm() -> None:
    """Import what ``VllmEngine`` needs, which takes as long as all else of a start and neither a model nor a GPU."""
    with without(*STATISTICS):
        import vllm.engine.arg_utils
        import vllm.v1.engine.llm_engine  # noqa: F401


def engine_args(settings: VllmSettings) -> dict[str, Any]:
    """Return all EngineArgs. The fixed ones come last: they are the security boundary, and nothing overrides them."""
    args: dict[str, Any] = {
        # A cached prefix is a shorter computation, which rounds in another way where kernels depend on the shape.
        "enable_prefix_caching": not settings.strict,
        "seed": settings.seed,
        "max_num_seqs": 256,
        "load_format": "safetensors",
    }
    if not has_gpu():
        # Compilation on CPU takes a minute and needs a C++ compiler.
        args |= {"enforce_eager": True, "kv_cache_memory_bytes": _cpu_cache_bytes(settings.replicas_per_host)}
        if settings.strict:
            # There are no batch-invariant kernels for CPUs: a batch of one is the only one that never changes.
            args |= {"max_num_seqs": 1, "dtype": "float32"}
    if settings.budget_markers is not None:
        start, end = settings.budget_markers.start, settings.budget_markers.end
        args["reasoning_config"] = {"reasoning_start_str": start, "reasoning_end_str": end}
    args |= {**settings.args, **_lora_args(settings.adapters)}
    return args | {
        "model": str(settings.model),
        "tokenizer": str(settings.model),
        "tensor_parallel_size": settings.tensor_parallel_size,
        "max_model_len": settings.max_model_len,
        "trust_remote_code": False,
        "allowed_media_domains": [],
    }


def _lora_args(adapters: Sequence[EngineAdapter]) -> dict[str, Any]:
    """Return the arguments by which vLLM serves all adapters at once, as far as one batch may hold them."""
    if not adapters:
        return {}
    highest = max(adapter.rank for adapter in adapters)
    return {
        "enable_lora": True,
        "max_loras": min(len(adapters), MOST_IN_A_BATCH),
        "max_cpu_loras": len(adapters),
        # Else vLLM wraps the output layer, too, whose LoRA layer expects one row a request: the many rows of a scored
        # prompt end the engine on CPU (vLLM 0.32). Adapters of the output layer are refused in the preflight.
        "lora_target_modules": sorted({target for adapter in adapters for target in adapter.targets}),
        "max_lora_rank": next(rank for rank in LORA_RANKS if rank >= highest),
    }


def _cpu_cache_bytes(replicas: int) -> int:
    """Return a replica's share of a quarter of the free memory, in bytes, at most 4 GiB; vLLM's default takes all."""
    return max(GIB // 4, min(4 * GIB, available_memory() // (4 * replicas)))


def _reason(error: BaseException) -> str:
    """Return the informative line of vLLM's (often pydantic's) error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "rror" in line or "must" in line or "not" in line]
    return (telling[-1] if telling else first_line(error))[:500]


class VllmEngine:
    """``Engine`` around vLLM's LLMEngine; a single thread creates, steps and closes it."""

    name = "vllm"

    def __init__(self, settings: VllmSettings) -> None:
        from vllm import SamplingParams
        from vllm.config import ReasoningConfig
        from vllm.engine.arg_utils import EngineArgs
        from vllm.lora.request import LoRARequest
        from vllm.sampling_params import RequestOutputKind
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.engine.llm_engine import LLMEngine

        self._params = SamplingParams
        self._final_only = RequestOutputKind.FINAL_ONLY
        self.arguments = engine_args(settings)
        try:
            # This runs vLLM's own checks against the model's configuration, before any weights are read. vLLM's
            # defaults depend on the usage context: for LLM they favor throughput, for a server latency.
            typed = {
                name: ReasoningConfig(**value) if name == "reasoning_config" else value
                for name, value in self.arguments.items()
            }
            checked = EngineArgs(**typed).create_engine_config(UsageContext.LLM_CLASS)
        except (ValueError, TypeError, OSError, KeyError, NotImplementedError, AssertionError) as error:
            raise InputError(
                f"spec.engine.vllm: vLLM refuses these arguments: {_reason(error)}",
                reason=Reason.ENGINE_ARGUMENTS_INVALID,
            ) from error
        self._engine = LLMEngine.from_vllm_config(checked, disable_log_stats=False)
        self._watch = _watched(self._engine)
        self._adapters = {
            # vLLM counts adapters from 1.
            adapter.name: LoRARequest(adapter.name, number, str(adapter.path))
            for number, adapter in enumerate(settings.adapters, start=1)
        }
        self._load_adapters()
        config = self._engine.vllm_config
        self.max_model_len: int = config.model_config.max_model_len
        self.max_num_seqs: int = config.scheduler_config.max_num_seqs
        self._calls: dict[str, Call] = {}
        self._internal: dict[str, str] = {}

    def _load_adapters(self) -> None:
        """Load every adapter before the first request: one that the model cannot take would end the engine later."""
        for name, request in self._adapters.items():
            try:
                self._engine.add_lora(request)
            except Exception as error:
                # vLLM passes on whatever its workers raise: of values, of files, of shapes.
                raise InputError(
                    f"spec.model.adapters: {name}: vLLM refuses to load it: {_reason(error)}; expected an adapter of "
                    "the model",
                    reason=Reason.MODEL_INVALID,
                ) from error

    def add(self, call_id: str, call: Call) -> None:
        """Queue a request.

        Raises:
            RequestRefused: vLLM rejects the request.
        """
        try:
            params = self._params(
                max_tokens=call.max_tokens,
                temperature=call.temperature,
                stop=list(call.stop) or None,
                seed=call.seed,
                prompt_logprobs=None if call.score_from is None else 1,
                logprob_token_ids=list(call.choices) or None,
                detokenize=call.score_from is None and not call.choices,
                output_kind=self._final_only,
                **call.options,
            )
            self._internal[call_id] = self._engine.add_request(
                call_id,
                {"prompt_token_ids": list(call.prompt)},
                params,
                lora_request=None if call.adapter is None else self._adapters[call.adapter],
            )
        except (ValueError, TypeError) as error:
            raise RequestRefused(_reason(error)) from error
        self._calls[call_id] = call

    def step(self) -> list[tuple[str, Output]]:
        """Run one iteration and return the requests that ended in it."""
        done = []
        for result in self._engine.step():
            if result.finished and (call := self._calls.pop(result.request_id, None)) is not None:
                self._internal.pop(result.request_id, None)
                done.append((result.request_id, _output(call, result)))
        return done

    def abort(self, call_ids: Iterable[str]) -> None:
        """Drop requests; they never come back from ``step``."""
        known = [call_id for call_id in call_ids if self._calls.pop(call_id, None) is not None]
        if known:
            self._engine.abort_request([self._internal.pop(call_id) for call_id in known], internal=True)

    def stats(self) -> EngineStats:
        """Return what vLLM's scheduler reported after the last step; thread-safe."""
        stats = self._watch.stats
        # After all requests are aborted there is no next step to report the new state.
        return stats if self._calls else replace(stats, running=0, waiting=0, cache_usage=0.0)

    def close(self) -> None:
        """Shut the engine core down."""
        self._engine.engine_core.shutdown()


def _watched(engine: Any) -> SchedulerWatch:
    """Listen to an LLMEngine's scheduler instead of vLLM's own exporter and printer."""
    from vllm.v1.metrics.prometheus import unregister_vllm_metrics

    unregister_vllm_metrics()
    engine.logger_manager = watch = SchedulerWatch()
    # Per-token statistics of every request cost ten times as much as the scheduler's. Only their preemption count would
    # be used, and the prefix cache reports it, too, because preempted requests query the cache again.
    engine.log_stats = not engine.vllm_config.cache_config.enable_prefix_caching
    return watch


def _output(call: Call, result: Any) -> Output:
    (completion,) = result.outputs
    if completion.finish_reason not in ANSWERED:
        raise RuntimeError(f"vLLM ended a request with {completion.finish_reason!r}: that is no answer")
    choices, top = {}, None
    if call.choices:
        row = completion.logprobs[0]
        choices = {token: row[token].logprob for token in call.choices}
        # The row also contains the generated token, which has the highest log-probability because decoding is greedy.
        top = row[completion.token_ids[0]].logprob
    scores = []
    if call.score_from is not None:
        for position in range(call.score_from, len(call.prompt)):
            row = result.prompt_logprobs[position]
            entry = row[call.prompt[position]]
            # As in lm-eval, greedy means that no other token of the row is more likely.
            scores.append((entry.logprob, all(entry.logprob >= other.logprob for other in row.values())))
    return Output(
        text=completion.text,
        finish_reason=completion.finish_reason or "unknown",
        prompt_tokens=len(call.prompt),
        output_tokens=len(completion.token_ids),
        cached_tokens=result.num_cached_tokens or 0,
        top_logprob=top,
        scores=tuple(scores),
        choice_logprobs=choices,
        token_ids=completion.token_ids,
    )
