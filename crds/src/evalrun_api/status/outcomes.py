"""The outcome of a run: counts, scores and verdicts. Shared by the status of an EvalRun and by RunResult."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field

from evalrun_api.base import Reported
from evalrun_api.spec.gates import Gate, GateRule, RunReference
from evalrun_api.status.conditions import Reason

MAX_NUMBER = 2**53 - 1
"""Largest whole number that every reader of JSON keeps as it is."""
Number = Annotated[int, Field(ge=0, le=MAX_NUMBER)]


class AnswerCounts(Reported):
    """Number of ok items by how their answers ended, which changes no score; their sum is ``ok``."""

    complete: Number = 0
    """The model ended its answer, or a stop sequence did; or no text was asked for."""
    truncated: Number = 0
    """The answer was cut by its length, or never left its thinking."""
    refused: Number = 0
    """The model declined to answer, and its engine says so."""
    filtered: Number = 0
    """The engine's content filter withheld the answer."""
    empty: Number = 0
    """The answer has no text."""

    @property
    def odd(self) -> str:
        """The answers that are not complete, in words for people; empty where there are none."""
        kinds = ("truncated", "refused", "filtered", "empty")
        return ", ".join(f"{getattr(self, kind):,} {kind}" for kind in kinds if getattr(self, kind))


class Counts(Reported):
    """Number of items and their outcomes; at the end planned = ok + failed + quarantined + skipped."""

    planned: Number = 0
    """Items of the plan."""
    ok: Number = 0
    """Items answered and scored."""
    failed: Number = 0
    """Items that could not be answered: too long, or refused by the engine."""
    quarantined: Number = 0
    """Items that killed the engine twice."""
    skipped: Number = 0
    """Items that were not evaluated, because the run stopped early (``policy.stopEarly``)."""
    answers: AnswerCounts | None = None
    """How the answers to the ok items ended; absent where an earlier version counted."""

    @property
    def done(self) -> int:
        """Items that are finished."""
        return self.ok + self.failed + self.quarantined


class Work(Reported):
    """Work that attempts and resumption saved and cost, in items."""

    kept: Number = 0
    """Items reused from earlier attempts or runs."""
    redone: Number = 0
    """Items answered again because their first answers were lost before they were committed."""


class RunWarning(Reported):
    """Something about a run that its reader should know, though it ended no item and no score."""

    about: Annotated[str, Field(max_length=256)]
    """What it is about: a task, a group, a benchmark, or a field of the spec."""
    message: Annotated[str, Field(max_length=1024)]
    """What was found, in words for people."""
    count: Number | None = None
    """Number of items that it concerns; absent where it concerns all, or is not of items."""

    @property
    def line(self) -> str:
        """The warning in one line."""
        return f"{self.about}: {self.message}"


class IntervalTarget(StrEnum):
    """What an interval is about: where the score would lie if something were drawn again."""

    ITEMS = "items"
    """Other items like these."""
    RERUN = "rerun"
    """The same items, answered again."""
    CLUSTERS = "clusters"
    """Other clusters of items like these, such as other passages with their questions."""


class ScoreInterval(Reported):
    """A confidence interval of a score: how far the score may lie from the one that more items would give."""

    low: float
    """Lower end."""
    high: float
    """Upper end."""
    confidence: float
    """Share of such intervals that hold the true score, 0.95."""
    method: Annotated[str, Field(max_length=64)]
    """How it was computed: ``wilson``."""
    target: IntervalTarget = IntervalTarget.ITEMS
    """What it is about."""


class Score(Reported):
    """One score of one task, as lm-eval reports it."""

    task: Annotated[str, Field(max_length=256)]
    """Task or group."""
    metric: Annotated[str, Field(max_length=128)]
    """Metric."""
    filter: Annotated[str, Field(max_length=128)] = "none"
    """Filter."""
    value: float | None = None
    """Value of the score; absent where it is not defined."""
    stderr: float | None = None
    """Standard error by lm-eval; absent where it is not defined."""
    interval: ScoreInterval | None = None
    """Confidence interval; absent where there is none."""
    n: Number = 0
    """Number of items in the score."""
    lower_is_better: bool | None = None
    """True where less is better, as for a perplexity; absent otherwise."""


class Verdict(StrEnum):
    """Verdict of a gate."""

    PASSED = "Passed"
    FAILED = "Failed"
    INCONCLUSIVE = "Inconclusive"

    @classmethod
    def overall(cls, verdicts: Iterable[Verdict]) -> Verdict | None:
        """Combine verdicts of gates that count: failed before inconclusive before passed; None without any."""
        found = set(verdicts)
        return next((verdict for verdict in (cls.FAILED, cls.INCONCLUSIVE, cls.PASSED) if verdict in found), None)


class GateResult(Reported):
    """A gate with its verdict."""

    task: Annotated[str, Field(max_length=256)]
    """The gate's task."""
    metric: Annotated[str, Field(max_length=128)]
    """The gate's metric."""
    filter: Annotated[str, Field(max_length=128)] = "none"
    """Filter of the score: the gate's, or where it names none the only one that there is."""
    stands_for: Annotated[str | None, Field(max_length=256)] = None
    """Task or group whose score is judged, where ``task`` is the name of a benchmark; absent: ``task`` itself."""
    min: float | None = None
    """The gate's minimum."""
    max: float | None = None
    """The gate's maximum."""
    baseline: RunReference | None = None
    """The gate's baseline."""
    max_regression: float | None = None
    """The gate's maximum loss against the baseline."""
    max_relative_regression: float | None = None
    """The gate's maximum loss as a part of the baseline's score."""
    lower_is_better: bool | None = None
    """True where a rise against the baseline is the loss; absent otherwise."""
    advisory: bool | None = None
    """True where the verdict is reported and decides nothing; absent otherwise."""
    rule: GateRule | None = None
    """``interval`` or ``point``; absent where an earlier version judged, which knew only the point."""
    confidence: float | None = None
    """Confidence of the bounds; absent where the bare score was judged."""
    verdict: Verdict
    """Passed, Failed or Inconclusive."""
    reason: Reason
    """Why, as one word."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """Why, as a sentence for people."""
    score: float | None = None
    """The score; absent where there is none."""
    n: Number | None = None
    """Number of items in the score; absent where there is none."""
    value: float | None = None
    """What is judged: the score, or with a baseline the score minus the baseline's."""
    baseline_score: float | None = None
    """The baseline's score; absent where there is none."""
    interval: Annotated[tuple[float, ...], Field(min_length=2, max_length=2)] | None = None
    """Bounds of value that decided, lower and upper, each with the gate's confidence; absent where there are none."""
    method: Annotated[str | None, Field(max_length=64)] = None
    """How the bounds were computed: ``clopper-pearson``, ``tango``."""

    @property
    def difference(self) -> float | None:
        """The score minus the baseline's; None without a baseline."""
        return None if self.baseline is None else self.value

    @classmethod
    def of(
        cls,
        gate: Gate,
        verdict: Verdict,
        reason: Reason,
        *,
        message: str = "",
        judged: Score | None = None,
        value: float | None = None,
    ) -> Self:
        """Build the result of a gate.

        Args:
            gate: The gate as it was asked.
            verdict: Its verdict.
            reason: Why, for programs.
            message: Why, for people.
            judged: The score that the gate is about, if there is one.
            value: What is judged of it; None: the score itself where the gate has no baseline.
        """
        score = None if judged is None else judged.value
        return cls(
            task=gate.task,
            metric=gate.metric,
            filter=(gate.filter or "none") if judged is None else judged.filter,
            stands_for=None if judged is None or judged.task == gate.task else judged.task,
            min=gate.min,
            max=gate.max,
            baseline=gate.baseline,
            max_regression=gate.max_regression,
            max_relative_regression=gate.max_relative_regression,
            advisory=gate.advisory or None,
            rule=gate.resolved_rule,
            verdict=verdict,
            reason=reason,
            message=message,
            score=score,
            n=None if judged is None else judged.n,
            value=score if value is None and gate.baseline is None else value,
        )


class Failure(Reported):
    """Reason why a run did not succeed."""

    reason: Reason
    """Why, as one word."""
    message: str
    """Why, as a sentence for people."""
