"""What people see of a run: a bar that counts answers, lines with what is new, tables that cut no number."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from evalrun_api import GateResult, Phase, Reason, RunReference, RunResult, Score, ScoreInterval, Verdict
from evalrun_runner.cli.display import Display
from evalrun_runner.cli.tables import gates_table, scores_table
from evalrun_runner.driver.progress import StatusLines, View, line_of
from evalrun_runner.records.results import ItemCounts
from unit.runner.serving.test_endpoint import CONFIG, progress

WIDTHS = [40, 60, 80, 160]


def screen(width: int) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)


def drawn(console: Console, *views: View) -> str:
    """The last picture of the bar, without the codes that move the cursor."""
    with Display(CONFIG, port=None, console=console) as display:
        for view in views:
            display.show(view)
    assert isinstance(console.file, io.StringIO)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "\r", console.file.getvalue())
    return " ".join(text.rsplit("\r\r", 1)[-1].split())


def running(ready: int = 2, **fields: Any) -> View:
    return View(Phase.RUNNING, "", progress(**fields), ready, 2)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_bar_counts_answers_and_says_how_many_are_committed(width: int) -> None:
    shown = drawn(screen(width), running(counts=ItemCounts(28), answered=41, planned=200))
    for part in ("41/200", "(28 committed)", "4.0 items/s", "123 tokens/s", "0:25", "2/2"):
        assert part in shown, width
    assert "…" not in shown


def test_the_bar_stays_full_while_the_run_finishes() -> None:
    done: dict[str, Any] = {"counts": ItemCounts(50), "answered": 50, "planned": 50, "eta_s": 0.0}
    shown = drawn(screen(160), running(**done), View(Phase.FINISHING, "aggregating"))
    assert "Finishing (aggregating)" in shown
    assert "50/50 items" in shown


def test_there_is_no_rate_when_all_is_answered_and_only_commits_are_missing() -> None:
    view = running(counts=ItemCounts(28), answered=50, planned=50, items_per_s=4.0, eta_s=0.0)
    assert line_of(view) == "Running: 50/50 items (28 committed), replicas 2/2"


def test_a_plan_that_is_not_complete_is_called_so() -> None:
    view = running(counts=ItemCounts(), answered=0, planned=120, planning_done=False, eta_s=None, items_per_s=0.0)
    assert line_of(view) == "Running: 0 items, 120 planned so far, replicas 2/2"


def test_a_line_says_what_the_replicas_do_that_are_not_ready() -> None:
    stages = tuple(f"e1-r{number} loads its engine for 12 s" for number in range(6))
    view = View(Phase.RUNNING, "", progress(answered=200), 1, 7, stages=stages)
    line = line_of(view)
    assert "replicas 1/7, e1-r0 loads its engine for 12 s, " in line
    assert "e1-r3 loads its engine for 12 s, 2 more are not ready" in line


class Log:
    """Status lines at times that the test gives."""

    def __init__(self) -> None:
        self.time = 100.0
        self.lines: list[str] = []
        self._status = StatusLines(self.lines.append, lambda: self.time)

    def shows(self, view: View, *, seconds: int) -> None:
        for _ in range(seconds):
            self._status.show(view)
            self.time += 1.0


def test_lines_say_how_long_the_run_goes_on_and_repeat_themselves_less_and_less() -> None:
    log = Log()
    nothing = progress(counts=ItemCounts(), answered=0, eta_s=None, items_per_s=0.0)
    log.shows(View(Phase.STARTING, "loading the model", nothing, 0, 2), seconds=240)
    assert [line.split()[0] for line in log.lines] == ["0:00", "0:10", "0:30", "1:10", "2:10", "3:10"]
    assert log.lines[1] == "0:10 Starting (loading the model): 0/200 items, replicas 0/2"


def test_lines_come_every_ten_seconds_while_items_are_answered() -> None:
    log = Log()
    for second in range(60):
        log.shows(running(answered=100 + second), seconds=1)
    assert len(log.lines) == 6


@pytest.mark.parametrize("width", WIDTHS)
def test_no_number_of_a_score_is_cut(width: int) -> None:
    scores = tuple(
        Score(
            task=task,
            metric="exact_match",
            filter="flexible-extract",
            value=0.2375,
            stderr=0.0479,
            interval=ScoreInterval(low=0.1576, high=0.3414, confidence=0.95, method="wilson"),
            n=14042,
        )
        for task in ("word_sums", "everyday_choice_with_a_name_that_is_longer_than_any_screen_is_wide")
    )
    console = Console(file=io.StringIO(), width=width)
    console.print(scores_table(RunResult(phase=Phase.SUCCEEDED, scores=scores), console))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "…" not in shown
    for number in ("0.2375", "[0.1576, 0.3414]", "14,042"):
        assert shown.count(number) == 2
    assert max(map(len, shown.splitlines())) <= width
    letters = re.sub(r"[^a-z_]", "", shown)
    assert "everyday_choice_with_a_name_that_is_longer_than_any_screen_is_wide" in letters or width < 80


@pytest.mark.parametrize("width", WIDTHS)
def test_no_number_of_a_gate_is_cut(width: int) -> None:
    gate = GateResult(
        task="everyday_choice_with_a_long_name",
        metric="exact_match",
        filter="flexible-extract",
        verdict=Verdict.INCONCLUSIVE,
        reason=Reason.INCONCLUSIVE,
        score=0.2375,
        value=-0.1,
        baseline=RunReference(uri="runs/before"),
        n=14042,
        message="the baseline was made with another number of examples, so that the two cannot be compared",
    )
    console = Console(file=io.StringIO(), width=width)
    console.print(gates_table(RunResult(phase=Phase.SUCCEEDED, gates=(gate,)), console))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    for word in ("0.2375", "-0.1000", "14,042", "Inconclusive"):
        assert word in shown
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= width
