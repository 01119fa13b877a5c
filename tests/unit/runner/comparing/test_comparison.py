"""Comparison of two whole runs: what is paired, what is refused, what the reader is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evalrun_runner.comparing.comparison import ComparisonRequest, TwoRunReport, compare_two
from evalrun_runner.comparing.opening import open_runs
from evalrun_runner.comparing.two import ComparisonFinding, MarginVerdict
from evalrun_runner.comparing.words import headline
from evalrun_runner.errors import InputError
from evalrun_runner.statistics.interval import Target
from support.compared import Scores, write_evalrun, write_lm_eval

WORSE = [1.0, 0.0] * 30
BETTER = [1.0, 1.0] * 25 + [1.0, 0.0] * 5


def compared(first: Path, second: Path, **request: Any) -> TwoRunReport:
    baseline, candidate = open_runs([str(first), str(second)])
    return compare_two(baseline, candidate, ComparisonRequest(**request))


def two_runs(tmp_path: Path, first: Scores = WORSE, second: Scores = BETTER, **facts: Any) -> tuple[Path, Path]:
    write_evalrun(tmp_path / "base", {"sums": first}, model="one")
    write_evalrun(tmp_path / "cand", {"sums": second}, **{"model": "two", **facts})
    return tmp_path / "base", tmp_path / "cand"


def test_the_better_run_is_named_with_how_much_and_how_sure(tmp_path: Path) -> None:
    report = compared(*two_runs(tmp_path))
    score = report.headline
    assert (score.finding, score.n, score.lost, score.gained) == (ComparisonFinding.BETTER, 60, 0, 25)
    assert headline(report) == "cand is better than base by 41.7 points (between 30.1 and 54.3)."
    assert [item.text.name for item in report.changed] == [f"document {place}" for place in (1, 3, 5, 7, 9)]
    assert report.changed[0].text.prompt == "Q: What is 1 + 1?\nA:"
    assert (report.changed[0].text.answer, report.changed[0].candidate_answer) == ("it is 0", "it is 1")


def test_an_output_of_evalrun_and_files_of_lm_eval_are_compared(tmp_path: Path) -> None:
    write_evalrun(tmp_path / "base", {"sums": WORSE})
    file = write_lm_eval(tmp_path / "theirs", {"sums": BETTER}, model="two")
    report = compared(tmp_path / "base", file)
    assert headline(report).startswith("theirs is better than base by 41.7 points")
    assert report.lonely == ()
    assert report.changed[0].candidate_answer == "it is 1"


def test_two_runs_of_one_model_show_what_is_noise(tmp_path: Path) -> None:
    flipped = [1.0 - one if place < 6 else one for place, one in enumerate(WORSE)]
    report = compared(*two_runs(tmp_path, WORSE, flipped, model="one"))
    assert report.noise is not None
    assert (report.noise.flipped, report.noise.n) == (6, 60)
    assert headline(report).startswith(
        "base and cand are two runs of one model: 6 of 60 items flipped between them (10%"
    )


@pytest.mark.parametrize(
    ("facts", "difference"),
    [
        ({"whole": {"versions": {"sums": 2.0}}}, "task version: 1 against 2"),
        ({"whole": {"n-shot": {"sums": 5}}}, "few-shot examples: none against 5"),
        ({"whole": {"config": {"model": "two", "seed": 1, "limit": 60}}}, "limit: none against 60"),
        ({"whole": {"chat_template_sha": "abc"}, "first": {"chat_template_sha": "abd"}}, "chat template: abc"),
        ({"config": {"doc_to_text": "Q: {{question}}\nAnswer:"}}, "prompt template (doc_to_text): "),
        ({"config": {"filter_list": [{"name": "none"}]}}, ""),
    ],
)
def test_runs_that_were_not_asked_the_same_are_refused(tmp_path: Path, facts: dict[str, Any], difference: str) -> None:
    earlier = {"whole": facts.pop("first")} if "first" in facts else {}
    write_evalrun(tmp_path / "base", {"sums": WORSE}, model="one", **earlier)
    write_evalrun(tmp_path / "cand", {"sums": BETTER}, model="two", **facts)
    if not difference:
        # What only one side states is no difference.
        assert compared(tmp_path / "base", tmp_path / "cand").differences == ()
        return
    if "chat" in difference:
        difference = "chat template: abd against abc"
    with pytest.raises(InputError) as refused:
        compared(tmp_path / "base", tmp_path / "cand")
    message = str(refused.value)
    assert message.startswith("base and cand were not asked the same, so their scores do not compare:\n  sums: ")
    assert difference in message
    assert message.endswith("hint: --allow-differences compares the documents that both have, and says what differs")
    report = compared(tmp_path / "base", tmp_path / "cand", allow_differences=True)
    assert difference in str(report.differences[0])
    assert report.headline.n == 60


def test_other_prompts_for_the_same_documents_are_refused(tmp_path: Path) -> None:
    places = two_runs(tmp_path, style="Question")
    with pytest.raises(InputError, match="sums: 60 of 60 documents were asked in other words by base than by cand"):
        compared(*places)
    assert compared(*places, allow_differences=True).headline.n == 60


def test_items_of_one_side_are_counted_and_named(tmp_path: Path) -> None:
    write_evalrun(tmp_path / "base", {"sums": WORSE}, model="one")
    write_evalrun(tmp_path / "cand", {"sums": WORSE}, model="two", first=4)
    report = compared(tmp_path / "base", tmp_path / "cand")
    assert report.headline.n == 56
    assert [str(one) for one in report.lonely] == [
        "sums: 4 items only in base (document 0, document 1, document 2…), left out",
        "sums: 4 items only in cand (document 60, document 61, document 62…), left out",
    ]


def test_runs_with_nothing_in_common_are_refused(tmp_path: Path) -> None:
    write_evalrun(tmp_path / "base", {"sums": WORSE})
    write_evalrun(tmp_path / "cand", {"sums": WORSE}, first=100)
    write_evalrun(tmp_path / "other", {"else": WORSE})
    with pytest.raises(InputError, match=r"sums: base \(60 items\) and cand \(60\) have no item in common"):
        compared(tmp_path / "base", tmp_path / "cand")
    with pytest.raises(InputError, match="no task in common: base has sums; other has else"):
        compared(tmp_path / "base", tmp_path / "other")


def test_several_tasks_are_judged_together_and_each(tmp_path: Path) -> None:
    write_evalrun(tmp_path / "base", {"a": WORSE, "b": WORSE}, model="one")
    write_evalrun(tmp_path / "cand", {"a": BETTER, "b": WORSE}, model="two")
    report = compared(tmp_path / "base", tmp_path / "cand")
    assert [(score.task, score.finding) for score in report.scores] == [
        ("a", ComparisonFinding.BETTER),
        ("b", ComparisonFinding.UNDECIDED),
    ]
    assert (report.headline.n, report.tasks) == (120, 2)
    assert headline(report).startswith("cand is better than base over all tasks by 20.8 points")
    only = compared(tmp_path / "base", tmp_path / "cand", tasks=("b",))
    assert headline(only).startswith("base and cand cannot be told apart: they have the same score on each of 60 items")
    assert compared(tmp_path / "base", tmp_path / "cand", tasks=("both",)).headline.n == 120
    with pytest.raises(InputError, match="--task c: no such task in all runs; there are a, b"):
        compared(tmp_path / "base", tmp_path / "cand", tasks=("c",))


def test_a_margin_is_answered_first(tmp_path: Path) -> None:
    held = compared(*two_runs(tmp_path / "1"), margin=0.05)
    assert held.headline.margin is not None
    assert held.headline.margin.verdict is MarginVerdict.HELD
    assert headline(held).startswith("cand is not worse than base by more than 5 points: it is 41.7 points better here")
    broken = compared(*two_runs(tmp_path / "2", BETTER, WORSE), margin=0.05)
    assert headline(broken) == "cand is worse than base by more than 5 points: it is 41.7 points worse."
    open_question = compared(*two_runs(tmp_path / "3", WORSE, WORSE), margin=0.01)
    assert headline(open_question).startswith("It is open whether cand is worse than base by more than 1 point")


def test_a_metric_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--metric acc: no such metric in both runs; there are exact_match"):
        compared(*two_runs(tmp_path), metric="acc")


@pytest.mark.parametrize("words", ["significant", "p-value", "p ", "confidence", "interval", "McNemar"])
def test_the_first_sentence_needs_no_statistics(tmp_path: Path, words: str) -> None:
    for number, (first, second) in enumerate([(WORSE, BETTER), (BETTER, WORSE), (WORSE, WORSE)]):
        for margin in (None, 0.02):
            report = compared(*two_runs(tmp_path / f"{number}{margin}", first, second), margin=margin)
            assert words not in headline(report)


def test_classes_have_precision_recall_and_f1(tmp_path: Path) -> None:
    """Oracle: by hand; kappa of 40 items, of which 30 agree and 20 would by chance, is (30 - 20) / (40 - 20)."""
    base = [[0, 0]] * 15 + [[0, 1]] * 5 + [[1, 0]] * 5 + [[1, 1]] * 15
    write_evalrun(tmp_path / "base", {"t": base}, model="one", metric="f1")
    write_evalrun(tmp_path / "cand", {"t": [[gold, gold] for gold, _ in base]}, model="two", metric="f1")
    first, second = compared(tmp_path / "base", tmp_path / "cand").labels
    assert (first.run, second.run) == ("base", "cand")
    assert first.kappa.value == pytest.approx(0.5)
    assert second.kappa.value == pytest.approx(1.0)
    assert [(one.name, one.count, one.precision.value, one.recall.value) for one in first.classes] == [
        ("0", 20, 0.75, 0.75),
        ("1", 20, 0.75, 0.75),
    ]
    interval = first.classes[0].f1.interval
    assert interval is not None
    assert interval.low < 0.75 < interval.high
    assert second.classes[0].f1.value == 1.0


@pytest.mark.parametrize("write", [write_evalrun, write_lm_eval])
def test_questions_on_one_passage_count_for_fewer(tmp_path: Path, write: Any) -> None:
    """Ten passages of six questions each, three of which the candidate gains as a whole."""
    base, cand = [0.0] * 60, [1.0] * 18 + [0.0] * 42
    declared = {"config": {"metadata": {"evalrun": {"cluster": "passage"}}}}
    found = {}
    for name, facts in (("alone", {}), ("clustered", declared)):
        places = [tmp_path / name / "base", tmp_path / name / "cand"]
        for place, scores, model in zip(places, (base, cand), ("one", "two"), strict=True):
            write(place, {"sums": scores}, model=model, **facts)
        found[name] = compared(*places).headline
    assert found["alone"].finding is ComparisonFinding.BETTER
    assert found["clustered"].finding is ComparisonFinding.UNDECIDED
    assert found["clustered"].interval.target is Target.CLUSTERS
    assert found["clustered"].interval.low < 0 < found["alone"].interval.low
