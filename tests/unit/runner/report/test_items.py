"""What a report reads of the items of a run: failures, times, and the worst of them, from real parts."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from evalrun_runner.comparing.answers import answer_of
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.ledger.manifest import TaskIndex, chunk_digest, hash_item
from evalrun_runner.ledger.parts import Writer
from evalrun_runner.records.plan import Chunk, Item, Request, RequestType
from evalrun_runner.records.results import ItemResult, ItemStatus, Outcome, Response
from evalrun_runner.report.content import ScoreLine
from evalrun_runner.report.details import MOST_ANSWER, ItemDetails, target_of
from evalrun_runner.report.hardest import hardest, in_turns
from evalrun_runner.report.readings import ItemPlace, main_scores, read_items, spread
from evalrun_runner.store.memory import MemoryStore

MAINS = {"sums": (("exact_match", "none"), False)}


def item(doc: int, prompt: str = "1 + 1 =") -> Item:
    requests = (Request(RequestType.GENERATE_UNTIL, 0, (prompt, {"until": []})),)
    fields = {"question": prompt, "answer": "2"}
    return Item("sums", doc, fields, requests, hash_item("sums", doc, fields, requests), 1.0)


def result(of: Item, score: float | None, answer: str = "3", seconds: float = 1.0) -> ItemResult:
    responses = ((Response(answer, "stop", 10, 5, seconds=seconds),),)
    if score is None:
        failed = Outcome(ItemStatus.FAILED, (), "the prompt is too long")
        return ItemResult(of.doc_id, of.hash, failed)
    return ItemResult(
        of.doc_id, of.hash, Outcome(ItemStatus.OK, responses), json.dumps({"none": {"exact_match": score}}), "{}"
    )


def ledger_of(rows: Sequence[tuple[Item, ItemResult]], per_chunk: int = 4) -> MemoryStore:
    """A store with a manifest and the parts of a task."""
    store = MemoryStore()
    ledger, chunks = Ledger(store), []
    for number, first in enumerate(range(0, len(rows), per_chunk)):
        mine = [one for one, _ in rows[first : first + per_chunk]]
        digest = chunk_digest(one.hash for one in mine)
        chunks.append(Chunk("sums", number, 0, first, len(mine), float(len(mine)), digest))
    ledger.write_segment([one for one, _ in rows], chunks)
    ledger.write_task_index(
        TaskIndex("sums", 1, len(rows), len(chunks), 1.0, chunk_digest(one.digest for one in chunks))
    )
    for chunk in chunks:
        mine_rows = [found for _, found in rows[chunk.first_row : chunk.first_row + chunk.items]]
        ledger.commit_part(chunk, mine_rows, Writer("r0", "mock"))
    return store


def test_failures_are_grouped_by_their_error_and_times_are_sorted() -> None:
    items = [item(n) for n in range(10)]
    scores = [1.0, None, 0.0, None, 1.0, 1.0, 0.0, None, 1.0, 1.0]
    rows = [(one, result(one, score, seconds=10 - one.doc_id)) for one, score in zip(items, scores, strict=True)]
    found = read_items(ledger_of(rows), MAINS)
    assert [(group.error, group.count, list(group.docs)) for group in found.failures] == [
        ("the prompt is too long", 3, ["1", "3", "7"])
    ]
    assert list(found.seconds) == sorted(found.seconds)
    assert (found.read, found.complete) == (10, True)
    assert (set(found.binary), dict(found.imperfect)) == ({"sums"}, {"sums": 2})


def test_the_hardest_items_are_shown_with_prompt_right_answer_and_answer() -> None:
    rows = [(one, result(one, float(one.doc_id % 3 == 0), f"answer {one.doc_id}")) for one in map(item, range(9))]
    store = ledger_of(rows)
    found = hardest(read_items(store, MAINS), MAINS, ItemDetails(Ledger(store)))
    assert found is not None
    assert found.total == 6
    assert len(found.items) == 5
    for one in found.items:
        assert int(one.doc) % 3
        assert (one.prompt, one.target, one.answer) == ("1 + 1 =", "2", f"answer {one.doc}")
        assert one.why == "exact_match 0"


def test_a_run_without_a_wrong_answer_has_no_hardest_items() -> None:
    rows = [(one, result(one, 1.0)) for one in map(item, range(5))]
    store = ledger_of(rows)
    assert hardest(read_items(store, MAINS), MAINS, ItemDetails(Ledger(store))) is None


def test_an_answer_of_a_megabyte_is_cut_and_says_so() -> None:
    rows = [(item(0), result(item(0), 0.0, "x" * 1_000_000))]
    store = ledger_of(rows)
    found = hardest(read_items(store, MAINS), MAINS, ItemDetails(Ledger(store)))
    assert found is not None
    assert len(found.items[0].answer) < MOST_ANSWER + 100
    assert "997,000 characters are cut here" in found.items[0].answer


def test_choices_are_shown_with_what_the_model_took() -> None:
    requests = tuple(Request(RequestType.LOGLIKELIHOOD, n, ("Which?", f" {letter}")) for n, letter in enumerate("AB"))
    asked = Item("choices", 0, {"gold": 1}, requests, "", 1.0)
    responses = tuple((Response((value, False), "stop", 3, 1),) for value in (-2.5, -0.25))
    answer = answer_of(asked, ItemResult(0, "", Outcome(ItemStatus.OK, responses)))
    assert answer.splitlines() == ["  A   (log-probability -2.50)", "→ B   (log-probability -0.25)"]
    assert target_of(asked) == "1"


def test_parts_are_drawn_evenly_where_there_are_many() -> None:
    keys = [("a", number) for number in range(1_000)]
    assert spread(keys, 2_000) == keys
    assert [number for _, number in spread(keys, 4)] == [0, 250, 500, 750]


def test_items_are_taken_in_turns_over_the_tasks() -> None:
    places = [[ItemPlace(task, n, 0, 0.0) for n in range(count)] for task, count in (("a", 3), ("b", 1))]
    assert [(one.task, one.chunk) for one in in_turns(places)] == [("a", 0), ("b", 0), ("a", 1), ("a", 2)]


@pytest.mark.parametrize("lower", [True, False])
def test_the_first_score_of_a_task_is_the_one_looked_at(lower: bool) -> None:
    lines = [
        ScoreLine("g", "acc", "none", 0.5, None, None, None, 2, is_group=True),
        ScoreLine("a", "acc", "none", 0.5, None, None, None, 2, lower_is_better=lower),
        ScoreLine("a", "acc_norm", "none", 0.5, None, None, None, 2),
    ]
    assert main_scores(lines) == {"a": (("acc", "none"), lower)}
