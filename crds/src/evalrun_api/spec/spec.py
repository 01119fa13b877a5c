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
from evalrun_api.spec.policy import Policy
from evalrun_api.spec.replicas import Replicas
from evalrun_api.spec.storage import Storage


class OutputSpec(Model):
    """Where results go."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.uri.startsWith('s3://')",
            message="in a cluster results go to S3 (s3://bucket/path/): a pod's own disk ends with the pod",
            holds=lambda output: output.uri.startswith("s3://"),
            field="uri",
            cluster_only=True,
        ),
        Rule(
            cel="!has(self.storage) || self.uri.startsWith('s3://')",
            message="storage goes with s3:// only: a folder needs no credentials",
            holds=lambda output: output.storage is None or output.uri.startswith("s3://"),
            field="storage",
        ),
        no_climbing("uri"),
    )

    uri: RunUri
    """In a cluster s3://bucket/path/; the run writes under <uri>/<namespace>/<name>-<first 8 of uid>/. On one machine
    also a folder, which is then exactly the run's.
    """
    storage: Storage | None = None
    """How to reach the store; absent: AWS with the pod's own identity."""
    samples: bool = False
    """Also write lm-eval's samples_<task>.jsonl files."""


def _names_are_unique(spec: EvalRunSpec) -> bool:
    return len({benchmark.resolved_name for benchmark in spec.benchmarks}) == len(spec.benchmarks)


class EvalRunSpec(Model):
    """What is evaluated, with what, where results go and what they must reach."""

    model: ModelSpec
    """The model under evaluation."""
    engine: EngineSpec
    """What answers the requests."""
    replicas: Replicas = Replicas()
    """How many engines, on which nodes."""
    benchmarks: Annotated[tuple[Benchmark, ...], Field(min_length=1, max_length=1000)]
    """What is asked: lm-eval tasks, groups or tags, and suites of one's own."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 1234
    """Seed of few-shot sampling and of every request."""
    output: OutputSpec
    """Where results go."""
    resume_from: RunReference | None = None
    """Take over the committed items of an earlier run with the same manifest, and retry its failed ones."""
    gates: Annotated[tuple[Gate, ...], Field(max_length=1000)] = ()
    """What scores must reach."""
    policy: Policy = Policy()
    """How long and how hard the run tries, and what becomes of it afterwards."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            # CEL could only compare each with each, which the API server's bound on costs forbids for a list this long.
            cel="",
            message="names of benchmarks are unique in a run: give `name` where a task is used twice",
            holds=_names_are_unique,
            field="benchmarks",
        ),
    )
