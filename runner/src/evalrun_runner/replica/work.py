"""Work in a replica: a leased chunk between items and outcomes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evalrun_runner.engine.protocol import Output
from evalrun_runner.engine.requests import RequestPlan
from evalrun_runner.records.answers import answer_of
from evalrun_runner.records.messages import Lease
from evalrun_runner.records.plan import Item
from evalrun_runner.records.results import ItemResult, ItemStatus, Outcome


@dataclass(slots=True, eq=False)
class ItemWork:
    """Item in the engine, with the outputs of its calls so far."""

    row: int
    item: Item
    plan: RequestPlan
    started: float = 0.0
    outputs: dict[int, Output] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every call has its output."""
        return len(self.outputs) == len(self.plan.calls)

    def outcome(self) -> Outcome:
        """Assemble the item's outcome from the outputs of all calls."""
        order = range(len(self.outputs))
        outputs = [self.outputs[call] for call in order]
        responses = self.plan.responses(outputs, [self.seconds[call] for call in order])
        return Outcome(ItemStatus.OK, responses, answer=answer_of(responses))


@dataclass(slots=True, eq=False)
class ChunkWork:
    """Leased chunk with outcomes by row, until every item has one."""

    lease: Lease
    items: Sequence[Item]
    ready: list[ItemWork]
    """Items that the engine has not received yet, in the order in which it gets them."""
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    carried: Mapping[int, ItemResult] = field(default_factory=dict)
    """Results of an earlier run by row, reused without change."""
    last_item_at: float = field(default_factory=time.monotonic)

    def take(self, rows: Sequence[int]) -> list[ItemWork]:
        """Remove these rows from ``ready`` and return their items, in order."""
        wanted = frozenset(rows)
        taken = [item for item in self.ready if item.row in wanted]
        self.ready = [item for item in self.ready if item.row not in wanted]
        return taken

    def settle(self, row: int, outcome: Outcome) -> None:
        """Record an item's outcome."""
        self.outcomes[row] = outcome
        self.last_item_at = time.monotonic()

    @property
    def complete(self) -> bool:
        """Whether every item has an outcome."""
        return len(self.outcomes) == len(self.items)
