"""What a report holds, ready to be shown: words and numbers, no store and no statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Tone(StrEnum):
    """How a statement is coloured, always together with a word and a sign."""

    GOOD = "good"
    BAD = "bad"
    UNSURE = "unsure"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Headline:
    """The first thing that a reader sees."""

    tone: Tone
    word: str
    """``Passed``, ``Failed``, ``Inconclusive``, or that nothing was to be decided."""
    sentence: str
    """What that means, for people who know no statistics."""
    caution: str = ""
    """What keeps the scores from meaning what they seem to, such as made-up answers; empty: nothing."""


@dataclass(frozen=True, slots=True)
class GateLine:
    """A gate with its verdict."""

    tone: Tone
    verdict: str
    name: str
    """Task, metric and filter."""
    asked: str
    """What the gate asks for, in words."""
    found: str
    """What was found, in words, with how sure it is."""
    why: str
    """The judge's own message; empty where it says no more."""
    advisory: bool


@dataclass(frozen=True, slots=True)
class ScoreLine:
    """A score with its interval."""

    task: str
    metric: str
    filter: str
    value: float | None
    low: float | None
    """Lower end of the interval; None where there is none."""
    high: float | None
    stderr: float | None
    """lm-eval's standard error."""
    n: int
    stratum: str = ""
    """The items that it is made of; empty: all."""
    note: str = ""
    """What the reader should know of it."""
    is_group: bool = False
    lower_is_better: bool = False
    method: str = ""
    confidence: float = 0.95

    @property
    def name(self) -> str:
        """Task, and what tells its scores apart."""
        return f"{self.task} {self.metric}" + ("" if self.filter == "none" else f" ({self.filter})")

    @property
    def is_share(self) -> bool:
        """Whether the numbers lie between 0 and 1, so that they are shown in percent."""
        return all(number is None or -1e-9 <= number <= 1 + 1e-9 for number in (self.value, self.low, self.high))


@dataclass(frozen=True, slots=True)
class ChangeLine:
    """Difference of one score from the baseline's, over the items that both have."""

    task: str
    metric: str
    filter: str
    ours: float
    """Score of this run over the common items."""
    theirs: float
    """Score of the baseline over the common items."""
    difference: float
    low: float | None
    high: float | None
    n: int
    """Common items."""
    lost: int
    """Items that were better in the baseline."""
    gained: int
    """Items that are better now."""
    tone: Tone
    words: str
    """The finding in one sentence."""
    is_share: bool = True
    """Whether the scores lie between 0 and 1, so that they are shown in percent."""


@dataclass(frozen=True, slots=True)
class BaselineComparison:
    """Comparison with the baseline."""

    baseline: str
    """Where the baseline is."""
    baseline_model: str
    lines: Sequence[ChangeLine] = ()
    remarks: Sequence[str] = ()
    """Differences between the runs, items that only one has, and why there are no lines where there are none."""


@dataclass(frozen=True, slots=True)
class RankLine:
    """A run in the order of several runs."""

    label: str
    score: float
    best: int
    """Best rank that it may have."""
    worst: int
    tied_with: Sequence[str]
    """Runs that cannot be told apart from it."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Order of several runs by one score."""

    name: str
    n: int
    lines: Sequence[RankLine]


@dataclass(frozen=True, slots=True)
class ShownItem:
    """An item with its prompt and answers, all of it safe to be escaped and shown."""

    task: str
    doc: str
    """Number of the document in its task."""
    why: str
    """Why it is shown."""
    prompt: str
    target: str
    """Right answer; empty where the task states none as text."""
    answer: str
    other_answer: str | None = None
    """Answer of the baseline; None without one."""
    score: str = ""


@dataclass(frozen=True, slots=True)
class ItemList:
    """Items that are worth a look."""

    title: str
    explanation: str
    items: Sequence[ShownItem]
    total: int
    """Number of such items, of which some are shown."""


@dataclass(frozen=True, slots=True)
class RatePoint:
    """Stretch of the run's time."""

    minutes: float
    """End of the stretch, in minutes since the run began."""
    items_per_second: float
    replicas: int
    """Ready replicas at its end."""


@dataclass(frozen=True, slots=True)
class RunPace:
    """Throughput and tail over time."""

    sentence: str
    points: Sequence[RatePoint] = ()
    facts: Sequence[tuple[str, str]] = ()
    """Names and values, such as percentiles of the answers' times."""


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Items without a score that failed alike."""

    task: str
    status: str
    error: str
    count: int
    docs: Sequence[str]
    """Numbers of a few of them."""


@dataclass(frozen=True, slots=True)
class ReportContent:
    """All of a report, in the order in which it is shown."""

    title: str
    model: str
    run: str
    """Namespace and name of the run."""
    when: str
    headline: Headline
    account: str
    """How the items ended, in one line."""
    gates: Sequence[GateLine] = ()
    scores: Sequence[ScoreLine] = ()
    scores_left_out: int = 0
    strata: Sequence[ScoreLine] = ()
    strata_left_out: int = 0
    comparison: BaselineComparison | None = None
    rankings: Sequence[Ranking] = ()
    item_lists: Sequence[ItemList] = ()
    pace: RunPace | None = None
    failures: Sequence[FailureGroup] = ()
    failures_total: int = 0
    warnings: Sequence[str] = ()
    warnings_left_out: int = 0
    provenance: Sequence[tuple[str, str]] = ()
    rerun: Sequence[tuple[str, str]] = ()
    """Descriptions with commands."""
    spec: str = ""
    """The EvalRun as YAML."""
    samples: Sequence[str] = field(default_factory=tuple)
    """What was left out or drawn at random, for the reader to know."""
