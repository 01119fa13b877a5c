"""Resuming from an earlier run (``resumeFrom``): its committed ok items are reused, its failed ones are repeated."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

from evalrun_api import Reason, RunLocation
from evalrun_api.wire.outputs import PlanIdentity
from evalrun_runner.benchmarks.running_scores import tally
from evalrun_runner.errors import InputError, LedgerCorrupt, ObjectMissing
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.planning.identity import check_may_resume, read_plan
from evalrun_runner.records.plan import Chunk
from evalrun_runner.records.results import ItemCounts, ItemResult, Tallies
from evalrun_runner.store.access import store_spec
from evalrun_runner.store.open import open_store
from evalrun_runner.store.patient import PatientStore

NO_NUMBERS = frozenset(
    {"max_num_seqs", "max_num_batched_tokens", "gpu_memory_utilization", "kv_cache_memory_bytes", "enforce_eager"}
)
"""Engine arguments that a retry may change: they decide what fits, not what is answered."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Counts and scores of an existing part that is reused."""

    counts: ItemCounts
    scores: Tallies

    @classmethod
    def of(cls, counts: ItemCounts, rows: Sequence[ItemResult]) -> Kept:
        """Summarize a part with these rows."""
        return cls(counts, tally(rows))


class EarlierRun:
    """Parts of an earlier run. ``take_over`` is thread-safe."""

    def __init__(self, location: RunLocation, identity: PlanIdentity, ours: Ledger, patience: float) -> None:
        """Open the earlier run.

        Args:
            location: Its output.
            identity: What this run's answers depend on.
            ours: This run's ledger.
            patience: Seconds for which the earlier run's store may refuse.

        Raises:
            InputError: There is no run, or one whose answers would not be this run's.
        """
        self.uri = location.uri
        self._ours = ours
        store = open_store(store_spec(location))
        plan = read_plan(store)
        if plan is None:
            what = f"spec.resumeFrom: {location.uri} holds no run (no plan.json in it)"
            raise InputError(what, reason=Reason.NOT_FOUND)
        advice = "Take resumeFrom out, or name a run whose answers would be this one's"
        there = f"spec.resumeFrom: {location.uri}"
        check_may_resume(replace(plan, identity=_comparable(plan.identity)), _comparable(identity), there, advice)
        self._ledger = Ledger(PatientStore(store, patience))
        self.sizing = plan.sizing
        self.clock = plan.clock
        """Moment that its chat templates took for now: its prompts, and so its items, depend on it."""
        self._model = Ledger(store).claimed_model()
        self._lock = threading.Lock()
        self.carried = 0
        """Number of reused items in chunks of which other items are repeated."""

    def take_over(self, chunk: Chunk) -> Kept | None:
        """Commit the chunk's earlier part if all its items are ok; else store it, so that a replica reuses the ok ones.

        Returns:
            The committed part's summary, None if the chunk has to run.
        """
        try:
            part = self._ledger.read_part(chunk)
        except (ObjectMissing, LedgerCorrupt):
            return None
        if part.counts.ok and self._model is not None:
            # The reused parts were made with this model, so the replicas must use the same one.
            self._ours.claim_model(self._model)
        if part.counts.ok == chunk.items:
            return Kept.of(self._ours.commit_part(chunk, part.rows, part.writer).counts, part.rows)
        if part.counts.ok:
            self._ours.carry(part)
            with self._lock:
                self.carried += part.counts.ok
        return None


def _comparable(identity: PlanIdentity) -> PlanIdentity:
    """Return the identity without what only decides how much fits."""
    vllm = identity.engine.get("vllm")
    if not isinstance(vllm, dict):
        return identity
    settings = {name: value for name, value in vllm.items() if name != "maxModelLen"}
    arguments = {name: value for name, value in settings.get("args", {}).items() if name not in NO_NUMBERS}
    return identity.model_copy(update={"engine": {**identity.engine, "vllm": {**settings, "args": arguments}}})
