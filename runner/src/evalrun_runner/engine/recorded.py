"""The place of an engine in a run that asks none, because its answers are recorded already."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from evalrun_runner.engine.protocol import Call, Output, RequestRefused
from evalrun_runner.records.messages import EngineStats


@dataclass(frozen=True, slots=True)
class RecordedSettings:
    """Settings of a replica that takes recorded answers."""

    engine: str = "recorded"
    """What made the answers, for results and parts."""
    max_num_seqs: int = 2_048
    """Items that a replica holds at once."""


class NoEngine:
    """``Engine`` that is never asked."""

    max_model_len = 1 << 40

    def __init__(self, settings: RecordedSettings) -> None:
        self.name = settings.engine
        self.max_num_seqs = settings.max_num_seqs

    def add(self, call_id: str, call: Call) -> None:
        """Refuse. Raises ``RequestRefused``."""
        raise RequestRefused("this run asks no engine: its answers are recorded")

    def step(self) -> list[tuple[str, Output]]:
        """Return nothing."""
        return []

    def abort(self, call_ids: Iterable[str]) -> None:
        """Do nothing: nothing was added."""

    def stats(self) -> EngineStats:
        """Return the state of an engine that has nothing to do."""
        return EngineStats()

    def close(self) -> None:
        """Do nothing: there is nothing to free."""
