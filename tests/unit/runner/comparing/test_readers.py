"""Readers: whoever wrote the scores of a run, the items and their values are the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from evalrun_runner.comparing.lm_eval_samples import TaskSamples
from evalrun_runner.comparing.opening import labels_of, open_runs
from evalrun_runner.comparing.pairing import pair
from evalrun_runner.comparing.scored import KeyKind, MetricName
from evalrun_runner.errors import InputError, LedgerCorrupt
from support.compared import write_evalrun, write_lm_eval

SCORES = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, None, 1.0]
EXACT = MetricName("exact_match")
GOLDEN = Path(__file__).parents[1] / "ledger" / "golden" / "format-1"


def write_table(file: Path, *rows: str) -> Path:
    file.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return file


def test_an_output_of_evalrun_has_its_items_in_order(tmp_path: Path) -> None:
    write_evalrun(tmp_path / "a", {"sums": SCORES}, model="one")
    write_evalrun(tmp_path / "b", {"sums": SCORES}, model="two")
    first, second = open_runs([str(tmp_path / "a"), str(tmp_path / "b")])
    scores = first.scores("sums")
    assert (first.label, first.facts.model, list(first.tasks)) == ("a", "one", ["sums"])
    np.testing.assert_array_equal(scores.values[EXACT], [np.nan if one is None else one for one in SCORES])
    assert scores.order == second.scores("sums").order
    np.testing.assert_array_equal(first.keys("sums", KeyKind.ITEM), second.keys("sums", KeyKind.ITEM))
    assert first.names("sums", [0, 10]) == ["document 0", "document 10"]
    (text,) = first.texts("sums", [9])
    assert (text.prompt, text.target, text.answer) == ("Q: What is 9 + 9?\nA:", "18", "")
    assert first.texts("sums", [10])[0].answer == "it is 1"


def test_files_of_lm_eval_have_the_same_items_as_an_output_of_evalrun(tmp_path: Path) -> None:
    write_evalrun(tmp_path / "a", {"sums": SCORES})
    file = write_lm_eval(tmp_path / "b", {"sums": SCORES})
    for place in (file, file.parent, file.parent.parent / "b"):
        ours, theirs = open_runs([str(tmp_path / "a"), str(place)])
        for kind in (KeyKind.PROMPT, KeyKind.DOCUMENT):
            pairing = pair(ours.keys("sums", kind), theirs.keys("sums", kind))
            assert pairing.only_first.tolist() == [9], "lm-eval has no line for an item that failed"
            assert pairing.only_second.tolist() == []
            np.testing.assert_array_equal(
                ours.scores("sums").values[EXACT][pairing.first], theirs.scores("sums").values[EXACT][pairing.second]
            )
        assert theirs.texts("sums", [9])[0].name == "document 10"


def test_samples_that_a_real_run_wrote_pair_with_its_own_parts(tmp_path: Path) -> None:
    folder = tmp_path / "as-lm-eval"
    folder.mkdir()
    for file in ("results.json", "samples_letters.jsonl", "samples_sums.jsonl"):
        shutil.copy(GOLDEN / file, folder / file)
    ours, theirs = open_runs([str(GOLDEN), str(folder)])
    assert theirs.facts.source == "lm-eval"
    for task in ("letters", "sums"):
        pairing = pair(ours.keys(task, KeyKind.PROMPT), theirs.keys(task, KeyKind.PROMPT))
        assert not len(pairing.only_first) + len(pairing.only_second)
        for metric, values in ours.scores(task).values.items():
            np.testing.assert_array_equal(
                values[pairing.first], theirs.scores(task).values[metric][pairing.second], str(metric)
            )


def test_filters_of_one_document_are_one_item_with_several_scores(tmp_path: Path) -> None:
    file = write_lm_eval(tmp_path, {"sums": [1.0, 0.0]})
    samples = next(tmp_path.glob("samples_*"))
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    labels = {"evalrun": {"cluster": "a", "strata": {}, "tags": []}}
    others = [{**line, "filter": "strict", "exact_match": 0.0, **labels} for line in lines]
    samples.write_text("".join(json.dumps(line) + "\n" for line in [*lines, *others]))
    run = open_runs([str(file), str(file)])[0]
    values = run.scores("sums").values
    assert values[EXACT].tolist() == [1.0, 0.0]
    assert values[MetricName("exact_match", "strict")].tolist() == [0.0, 0.0]
    assert run.scores("sums").unusable == {}, "what EvalRun adds to a sample is no metric"


def test_samples_of_older_lm_evals_name_no_metrics_and_have_no_hashes(tmp_path: Path) -> None:
    write_evalrun(tmp_path / "a", {"sums": [1.0, 0.0]})
    file = write_lm_eval(tmp_path / "b", {"sums": [1.0, 0.0]})
    samples = next(file.parent.glob("samples_*"))
    gone = {"metrics", "filter", "doc_hash", "prompt_hash", "target_hash"}
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    kept = [{key: value for key, value in line.items() if key not in gone} for line in lines]
    samples.write_text("".join(json.dumps(line) + "\n" for line in kept))
    ours, theirs = open_runs([str(tmp_path / "a"), str(file)])
    assert theirs.scores("sums").values[EXACT].tolist() == [1.0, 0.0]
    np.testing.assert_array_equal(ours.keys("sums", KeyKind.PROMPT), theirs.keys("sums", KeyKind.PROMPT))


def test_classes_are_right_or_wrong_and_keep_their_names(tmp_path: Path) -> None:
    write_evalrun(tmp_path / "a", {"t": [[0, 0], [0, 1], [1, 1]]}, metric="f1")
    scores = open_runs([str(tmp_path / "a")] * 2)[0].scores("t")
    metric = MetricName("f1")
    assert scores.values[metric].tolist() == [1.0, 0.0, 1.0]
    labels = scores.labels[metric]
    assert [labels.names[place] for place in labels.predicted] == ["0", "1", "1"]
    assert [labels.names[place] for place in labels.gold] == ["0", "0", "1"]


def test_a_metric_without_numbers_says_why_it_is_left_out(tmp_path: Path) -> None:
    write_evalrun(tmp_path / "a", {"t": [["a text", "another"]]}, metric="bleu")
    scores = open_runs([str(tmp_path / "a")] * 2)[0].scores("t")
    assert scores.values == {}
    assert scores.unusable == {MetricName("bleu"): "an item has a list for a value, not a number"}


def test_a_table_has_a_run_for_each_column(tmp_path: Path) -> None:
    file = write_table(tmp_path / "t.csv", "item,one,two,three", "a,1,0,", "b,0.5,1,1")
    runs = open_runs([str(file)])
    assert [run.label for run in runs] == ["one", "two", "three"]
    (task,) = runs[0].tasks
    (metric,) = runs[0].scores(task).values
    np.testing.assert_array_equal([run.scores(task).values[metric] for run in runs], [[1, 0.5], [0, 1], [np.nan, 1]])
    assert [run.label for run in open_runs([str(file)], ["three", "one"])] == ["one", "three"]


def test_a_part_that_is_damaged_is_refused(tmp_path: Path) -> None:
    write_evalrun(tmp_path / "a", {"sums": SCORES})
    part = next((tmp_path / "a" / "parts").rglob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-9] + b"\0" * 9)
    run = open_runs([str(tmp_path / "a")] * 2)[0]
    with pytest.raises(LedgerCorrupt, match=r"00000000\.parquet"):
        run.scores("sums")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["item,a,b", "x,1"], "t.csv:2: 2 cells; expected 3"),
        (["item,a,b", "x,1,good"], "t.csv:2: column b: 'good' is no score; expected a number, or nothing"),
        (["item,a,b", "x,1,inf"], "t.csv:2: column b: 'inf' is no score"),
        (["item,a,a", "x,1,1"], "its first line names the model 'a' twice"),
        ([], "its first line names no model"),
        (["item,a,b", "x,1,1", "x,0,0"], "the item 'x' is there twice"),
        (["item,a", "x,1"], "a comparison takes two runs or more, and here is 1"),
    ],
)
def test_a_table_that_is_wrong_is_refused_by_row_and_column(tmp_path: Path, rows: list[str], message: str) -> None:
    file = write_table(tmp_path / "t.csv", *rows)
    with pytest.raises(InputError) as refused:
        open_runs([str(file)])
    assert message in str(refused.value)


def test_what_is_no_run_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    expected = "expected the output of a finished EvalRun, lm-eval's results with samples, or a CSV of items and models"
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    for place in ("nothing", "empty", "notes.txt"):
        with pytest.raises(InputError, match=expected):
            open_runs([str(tmp_path / place)] * 2)
    alone = write_lm_eval(tmp_path / "alone", {"sums": [1.0]})
    for samples in alone.parent.glob("samples_*"):
        samples.unlink()
    with pytest.raises(InputError, match="hint: run lm-eval with --log_samples"):
        open_runs([str(alone)] * 2)
    write_evalrun(tmp_path / "open", {"sums": [1.0]})
    (tmp_path / "open" / "COMPLETE").unlink()
    (tmp_path / "open" / "plan.json").write_text("{}")
    with pytest.raises(InputError, match="holds a run that is not finished"):
        open_runs([str(tmp_path / "open")] * 2)


def test_only_models_that_are_there_may_be_asked_for(tmp_path: Path) -> None:
    file = write_table(tmp_path / "t.csv", "item,one,two", "a,1,0")
    with pytest.raises(InputError, match="--only three: no CSV file has such a model"):
        open_runs([str(file)], ["one", "three"])


def test_labels_are_as_short_as_they_can_be_told_apart() -> None:
    assert labels_of(["runs/a", "s3://bucket/x/b/"]) == ["a", "b"]
    assert labels_of(["x/out", "y/out/"]) == ["x/out", "y/out"]
    assert labels_of(["x", "x"]) == ["x (1)", "x (2)"]


def test_a_choice_is_shown_in_words_from_the_samples_of_lm_eval(tmp_path: Path) -> None:
    sample = {
        "doc_id": 0,
        "doc": {"question": "Which?"},
        "target": 1,
        "arguments": {f"gen_args_{n}": {"arg_0": "Which?", "arg_1": f" {letter}"} for n, letter in enumerate("AB")},
        "resps": [[["-2.5", "False"]], [["-0.25", "False"]]],
        "filter": "none",
        "acc": 1.0,
    }
    file = tmp_path / "samples_t.jsonl"
    file.write_text(json.dumps(sample) + "\n")
    assert TaskSamples(file).texts([0])[0].answer == "B (log-probability -0.25)"
