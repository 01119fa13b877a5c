"""The spec of an EvalRun: its blocks together."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from evalrun_api.base import Model, RunUri, no_climbing
from evalrun_api.rules import Rule
from evalrun_api.spec.benchmark import Benchmark
from evalrun_api.spec.engine import EngineSpec
from evalrun_api.spec.gates import Gate, RunReference
from evalrun_api.spec.model import ModelSpec
from evalrun_api.spec.policy import Policy, StopRule
from evalrun_api.spec.replicas import Replicas
from evalrun_api.spec.storage import Storage


class OutputSpec(Model):
    """Destination of the results."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.uri.startsWith('s3://')",
            message="in a cluster results go to S3 (s3://bucket/path/): a pod's own disk is deleted with the pod",
            holds=lambda output: output.uri.startswith("s3://"),
            field="uri",
            cluster_only=True,
        ),
        Rule(
            cel="!has(self.storage) || self.uri.startsWith('s3://')",
            message="storage needs s3://: a folder needs no credentials",
            holds=lambda output: output.storage is None or output.uri.startswith("s3://"),
            field="storage",
        ),
        no_climbing("uri"),
    )

    uri: RunUri
    """In a cluster s3://bucket/path/; the run writes under <uri>/<namespace>/<name>-<first 8 of uid>/. On one machine
    also a folder, which then belongs to this run alone.
    """
    storage: Storage | None = None
    """Access to the store; absent: AWS with the pod's own identity."""
    samples: bool = False
    """Whether to write lm-eval's samples_<task>.jsonl files as well."""


def _names_are_unique(spec: EvalRunSpec) -> bool:
    return len({benchmark.resolved_name for benchmark in spec.benchmarks}) == len(spec.benchmarks)


class EvalRunSpec(Model):
    """Model, benchmarks, engine, destination of the results, and what they must reach."""

    model: ModelSpec
    """The model under evaluation."""
    engine: EngineSpec
    """The engine that answers the requests."""
    replicas: Replicas = Replicas()
    """Number of engines, and their nodes."""
    benchmarks: Annotated[tuple[Benchmark, ...], Field(min_length=1, max_length=1000)]
    """Questions of the run: lm-eval tasks, groups or tags, and custom suites."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 1234
    """Seed of few-shot sampling and of every request."""
    output: OutputSpec
    """Destination of the results."""
    resume_from: RunReference | None = None
    """An earlier run with the same manifest: its committed items are reused, its failed ones retried."""
    gates: Annotated[tuple[Gate, ...], Field(max_length=1000)] = ()
    """Gates: what scores must reach."""
    policy: Policy = Policy()
    """Retries, deadlines, and the deletion of the run."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.model.adapters) || size(self.model.adapters) == 0 || !has(self.policy) || "
            "!has(self.policy.stopEarly)",
            message="stopEarly looks at the model's own scores only, so that it would cut the adapters' short; hint: "
            "leave it out, or evaluate the adapters in a run of their own",
            holds=lambda spec: not spec.model.adapters or spec.policy.stop_early is None,
            field="policy",
        ),
        Rule(
            # CEL could only compare all pairs, which exceeds the API server's cost limit for a list this long.
            cel="",
            message="names of benchmarks must be unique in a run; hint: set `name` where a task is used twice",
            holds=_names_are_unique,
            field="benchmarks",
        ),
        Rule(
            # CEL would go over a list of a thousand benchmarks, each of which may hold much.
            cel="",
            message="reasoning of a benchmark needs engine.vllm.reasoning, which says what ends the thinking",
            holds=lambda spec: (
                (spec.engine.vllm is not None and spec.engine.vllm.reasoning is not None)
                or all(benchmark.reasoning is None for benchmark in spec.benchmarks)
            ),
            field="benchmarks",
        ),
        Rule(
            cel="!has(self.policy) || !has(self.policy.stopEarly) || self.policy.stopEarly.rule != 'gates' || "
            "(has(self.gates) && size(self.gates) > 0)",
            message="stopEarly with rule: gates needs gates; hint: give gates, or rule: width",
            holds=lambda spec: (
                spec.policy.stop_early is None or spec.policy.stop_early.rule is not StopRule.GATES or bool(spec.gates)
            ),
            field="policy",
        ),
    )
