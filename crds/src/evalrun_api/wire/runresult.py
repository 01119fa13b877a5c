"""RunResult: the result of a run, in the driver's termination message and in the run's output."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from evalrun_api.base import Reported
from evalrun_api.status.conditions import Phase
from evalrun_api.status.outcomes import Counts, Failure, GateResult, RunWarning, Score, Verdict, Work

TERMINATION_MESSAGE_BYTES = 4096
"""Bytes at which Kubernetes truncates a container's termination message."""

_SHORT = 160
"""Characters of a message that remain when there is no room."""


class RunResult(Reported):
    """The result of a run."""

    phase: Phase
    """Succeeded, Failed or Invalid; Suspended where it was asked to stop."""
    engine: str | None = None
    """``vllm``, or ``mock`` where the answers were made up for a test."""
    counts: Counts = Counts()
    """Outcomes of the items."""
    stopped: str | None = None
    """Why the run stopped before every planned item was evaluated, and what that saved; absent: it did not."""
    work: Work | None = Work()
    """Work that attempts and resumption saved and cost; absent where a finished run was only read."""
    verdict: Verdict | None = None
    """Verdict of all gates together, also where some of them did not fit; absent: no gates."""
    gates: tuple[GateResult, ...] = ()
    """Gates with their verdicts."""
    scores: tuple[Score, ...] = ()
    """Scores, the headline ones first."""
    warnings: tuple[RunWarning, ...] = ()
    """What the reader of the scores should know."""
    results_uri: str | None = None
    """Folder of the results."""
    failure: Failure | None = None
    """Why the run did not succeed."""
    truncated: bool = False
    """Whether something was left out to fit; all of it is in the results."""

    @classmethod
    def from_json(cls, text: str | bytes) -> RunResult:
        """Parse the output of ``to_json`` or ``fit``. Raises pydantic's ValidationError."""
        return cls.model_validate_json(text, by_alias=True, by_name=False)

    def fit(self, limit: int = TERMINATION_MESSAGE_BYTES) -> bytes:
        """Format the result as JSON of at most ``limit`` bytes.

        Gates come before scores. What does not fit is left out in this order: the last warnings, the last scores,
        words of messages, the gates that passed, the other gates; ``truncated`` is set then. Phase, counts and the
        overall verdict always stay.

        Raises:
            ValueError: Even those do not fit.
        """
        small = self
        if not small._fits(limit):
            small = self.model_copy(update={"scores": (), "warnings": (), "truncated": True})
        if not small._fits(limit):
            small = small._with_short_messages()
        if not small._fits(limit):
            small = small._with_most("gates", _unpassed_first(small.gates), limit)
        if not small._fits(limit):
            raise ValueError(f"a RunResult does not fit into {limit} bytes")
        if small.truncated:
            small = small._with_most("scores", self.scores, limit)._with_most("warnings", self.warnings, limit)
        return small.to_json().encode()

    def _fits(self, limit: int) -> bool:
        return len(self.to_json().encode()) <= limit

    def _with_short_messages(self) -> RunResult:
        gates = tuple(gate.model_copy(update={"message": _shorten(gate.message)}) for gate in self.gates)
        failure = self.failure and self.failure.model_copy(update={"message": _shorten(self.failure.message)})
        return self.model_copy(update={"gates": gates, "failure": failure})

    def _with_most(self, field: str, values: Sequence[GateResult | Score | RunWarning], limit: int) -> RunResult:
        """Keep as many of the first values in a field as fit, perhaps none."""

        def taking(count: int) -> RunResult:
            return self.model_copy(update={field: tuple(values[:count])})

        too_many = bisect.bisect_left(range(1, len(values) + 1), True, key=lambda count: not taking(count)._fits(limit))
        return taking(too_many)


def _unpassed_first(gates: Sequence[GateResult]) -> Sequence[GateResult]:
    return sorted(gates, key=lambda gate: gate.verdict is Verdict.PASSED)


def _shorten(message: str) -> str:
    return message if len(message) <= _SHORT else message[: _SHORT - 1] + "…"
