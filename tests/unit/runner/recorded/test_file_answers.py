"""Files of answers: any order, any text, each found by its id."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalrun_runner.errors import InputError
from evalrun_runner.recorded.file_answers import FileAnswers
from evalrun_runner.records.results import ItemStatus
from support.builders import generate, make_item


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.integers(0, 2**40), st.text(st.characters(exclude_categories=())), min_size=1, max_size=8))
def test_each_answer_is_found_by_its_id_and_every_other_id_has_none(drawn: dict[int, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "a.jsonl")
        file.write_text("\n\n".join(json.dumps({"id": doc, "text": text}) for doc, text in drawn.items()))
        found = FileAnswers(file)
        for doc, text in drawn.items():
            outcome = found.outcome(make_item(generate("p"), doc_id=doc))
            assert outcome.responses[0][0].value == text
            after = found.outcome(make_item(generate("p"), doc_id=doc + 1))
            assert (after.status is ItemStatus.OK) == (doc + 1 in drawn)


@pytest.mark.parametrize("line", [b"{", b"[1]", b"\xff", b'{"id": true, "text": ""}', b'{"id": -1, "text": ""}'])
def test_a_line_that_is_no_answer_is_named(tmp_path: Path, line: bytes) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"id": 0, "text": ""}\n' + line)
    with pytest.raises(InputError, match=r"a\.jsonl, line 2"):
        FileAnswers(file)
