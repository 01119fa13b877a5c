"""Manifest segments and parts: exact round trips, and no damage that passes unseen."""

from __future__ import annotations

import datetime
import io
import math
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalrun_runner.errors import InputError, LedgerCorrupt
from evalrun_runner.ledger.manifest import (
    Segment,
    TaskIndex,
    chunk_digest,
    decode_chunk,
    decode_chunks,
    decode_index,
    decode_rows,
    decode_segment,
    encode_index,
    encode_segment,
    hash_item,
)
from evalrun_runner.ledger.parts import Part, Writer, decode_part, encode_part
from evalrun_runner.ledger.plain import MOST_COLUMNS
from evalrun_runner.records.plan import Chunk, Item, PlanNote, Request, RequestType
from evalrun_runner.records.results import Answer, ItemCounts, ItemResult, ItemStatus, Outcome, Response
from support import builders
from support.builders import cut, likelihood, make_chunk

WRITER = Writer(replica="replica-3", engine="mock")
# Every code point, lone surrogates included; and the texts that look like what the codec itself writes.
texts = st.text(st.characters(exclude_categories=())) | st.sampled_from(
    ["$tuple", "$text", "x" * 70, "y" * 70 + "\ud800"]
)
tags = st.sampled_from(["$tuple", "$text", "$dict", "$"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(texts | tags, inner, max_size=3)
    ),
    max_leaves=8,
)
requests = st.builds(
    Request,
    type=st.sampled_from(RequestType),
    index=st.integers(0, 9),
    arguments=st.lists(values, max_size=3).map(tuple),
    repeats=st.integers(1, 4),
)
counts = st.integers(0, 2**40)
responses = st.builds(
    Response,
    value=texts | st.tuples(st.floats(), st.booleans()) | st.floats(),
    finish_reason=texts,
    prompt_tokens=counts,
    output_tokens=counts,
    cached_tokens=counts,
    seconds=st.floats(0, 1e6),
) | st.builds(
    Response,
    value=texts,
    finish_reason=texts,
    prompt_tokens=counts,
    output_tokens=counts,
    thought=texts,
    thought_tokens=counts,
    in_thought=st.booleans(),
)
encodable = st.text()
rows = st.builds(
    ItemResult,
    doc_id=st.integers(0, 2**60),
    item_hash=st.text("0123456789abcdef", min_size=4, max_size=4),
    outcome=st.builds(
        Outcome,
        status=st.sampled_from(ItemStatus),
        responses=st.lists(st.lists(responses, max_size=2).map(tuple), max_size=3).map(tuple),
        error=st.none() | encodable,
        answer=st.none() | st.sampled_from(Answer),
    ),
    scores=st.none() | encodable,
    filtered=st.none() | encodable,
)


def make_item(doc_id: int, task: str = "t", **fields: object) -> Item:
    """A multiple-choice item whose four choices share a long context."""
    context = f"Question {doc_id}. " + "An example of some length. " * 20
    asked = (likelihood(context, f" {letter}", index=n) for n, letter in enumerate("ABCD"))
    doc = {"question": f"q{doc_id}", "choices": list("ABCD"), **fields}
    return builders.make_item(*asked, doc_id=doc_id, task=task, doc=doc, cost=0.1 * doc_id)


def chunk_of(results: list[ItemResult]) -> Chunk:
    """The chunk that these are the results of."""
    digest = chunk_digest(row.item_hash for row in results)
    return make_chunk(7, items=len(results), digest=digest)


def make_part(number: int = 5) -> tuple[Chunk, list[ItemResult]]:
    """A plain part's chunk and rows."""
    made = [
        ItemResult(
            doc_id=n,
            item_hash=f"{n:064x}",
            outcome=Outcome(
                ItemStatus.OK, ((Response((-1.25, True), "stop", 100, 1, 16, 0.5), Response("é", "length", 3, 4)),)
            ),
            scores='{"none":{"acc":1.0}}',
            filtered='{"none":[-1.25]}',
        )
        for n in range(number)
    ]
    return chunk_of(made), made


class TestSegments:
    """Items and chunks as an object."""

    @settings(max_examples=100, deadline=None)
    @given(
        st.lists(
            st.tuples(st.dictionaries(texts, values, max_size=3), st.lists(requests, max_size=3)),
            min_size=1,
            max_size=4,
        )
    )
    def test_any_items_are_restored_exactly(self, drawn: list[tuple[dict[str, object], list[Request]]]) -> None:
        items = [builders.make_item(*asked, doc_id=n, doc=doc, cost=n / 3) for n, (doc, asked) in enumerate(drawn)]
        chunks = cut(items, 2)
        data = encode_segment(items, chunks)
        # By repr: NaN is unequal to itself, 1 equals 1.0 equals True, and tuples must not come back as lists.
        assert repr(decode_segment(data)) == repr(Segment(tuple(items), tuple(chunks)))
        assert data == encode_segment(items, chunks)

    def test_only_the_rows_of_a_lease_are_decoded(self) -> None:
        items = [make_item(n) for n in range(300)]
        chunks = cut(items, 50)
        data = encode_segment(items, chunks)
        assert decode_chunks(data) == tuple(chunks)
        for first, count in ((0, 50), (100, 50), (127, 2), (299, 1), (0, 300), (5, 0)):
            assert decode_rows(data, first, count) == items[first : first + count]
        for chunk in chunks:
            assert decode_chunk(data, chunk) == items[chunk.first_row : chunk.first_row + chunk.items]
        with pytest.raises(LedgerCorrupt, match="300 rows"):
            decode_rows(data, 280, 21)
        with pytest.raises(LedgerCorrupt, match="another plan"):
            decode_chunk(data, replace(chunks[0], digest="0" * 64))

    def test_a_shared_context_is_stored_once(self) -> None:
        items = [make_item(n) for n in range(50)]
        rows = pq.read_table(io.BytesIO(encode_segment(items, cut(items, 50)))).to_pylist()
        assert rows[3]["requests"].count("An example") == 0
        assert rows[3]["texts"].count("Question 3.") == 1

    def test_chunks_that_do_not_fit_are_not_written(self) -> None:
        items = [make_item(n) for n in range(4)]
        chunks = cut(items, 2)
        wrong = [chunks[:1], chunks[1:], [], [chunks[1], chunks[0]], [replace(chunks[0], digest="0"), chunks[1]]]
        wrong.append([replace(chunk, task="u") for chunk in chunks])
        for bad in wrong:
            with pytest.raises(LedgerCorrupt):
                encode_segment(items, bad)

    @pytest.mark.parametrize(
        ("doc", "field"),
        [
            ({"image": b"\x89PNG"}, r"doc\.image holds a bytes"),
            ({"at": [datetime.date(2026, 1, 1)]}, r"doc\.at\[0\] holds a date"),
            ({"a": {1: 2}}, r"doc\.a has the key 1"),
            ({"set": {1}}, r"doc\.set holds a set"),
        ],
    )
    def test_values_without_a_json_form_are_named(self, doc: dict[str, object], field: str) -> None:
        with pytest.raises(InputError, match=rf"task t, document 5: {field}"):
            hash_item("t", 5, doc, ())
        with pytest.raises(InputError, match=r"requests\[2\]\.arguments\[1\]\.until holds a bytes"):
            hash_item("t", 5, {}, [Request(RequestType.GENERATE_UNTIL, 2, ("x", {"until": b"y"}))])

    def test_the_hash_covers_everything_but_the_order_of_keys(self) -> None:
        asked = (Request(RequestType.GENERATE_UNTIL, 0, ("context", {"until": ["\n"]})),)
        base = hash_item("t", 1, {"a": 1, "b": float("nan")}, asked)
        assert base == hash_item("t", 1, {"b": float("nan"), "a": 1}, asked)
        others = [
            hash_item("u", 1, {"a": 1, "b": float("nan")}, asked),
            hash_item("t", 2, {"a": 1, "b": float("nan")}, asked),
            hash_item("t", 1, {"a": 1.0, "b": float("nan")}, asked),
            hash_item("t", 1, {"a": 1, "b": float("nan")}, (replace(asked[0], repeats=2),)),
            hash_item(
                "t", 1, {"a": 1, "b": float("nan")}, (replace(asked[0], arguments=("context", {"until": ("\n",)})),)
            ),
        ]
        assert len({base, *others}) == 6


class TestParts:
    """Results as an object."""

    @settings(max_examples=100, deadline=None)
    @given(st.lists(rows, min_size=1, max_size=4))
    def test_any_rows_are_restored_exactly(self, drawn: list[ItemResult]) -> None:
        chunk = chunk_of(drawn)
        data = encode_part(chunk, drawn, WRITER)
        assert repr(decode_part(data, chunk)) == repr(Part(chunk, tuple(drawn), WRITER))
        assert data == encode_part(chunk, drawn, WRITER)

    def test_a_part_is_readable_with_plain_tools(self) -> None:
        chunk, made = make_part()
        row = pq.read_table(io.BytesIO(encode_part(chunk, made, WRITER))).to_pandas().iloc[2]
        assert (row.doc_id, row.status, row.response, row.finish_reason) == (2, "ok", "[-1.25, true]", "stop")
        assert row.isna().error
        assert (row.prompt_tokens, row.output_tokens, row.cached_tokens, row.seconds) == (103, 5, 16, 0.5)

    def test_each_filter_and_each_metric_has_a_plain_column_by_lm_evals_name(self) -> None:
        chunk, made = make_part(4)
        made[0] = replace(
            made[0],
            scores='{"strict":{"acc":{"$":"numpy","t":"<f8","v":0.5},"f1":{"$":"tuple","v":[1,0]}},"loose":{"acc":true}}',
            filtered='{"strict":["4\\u00e9"],"loose":[["a","b"]]}',
            prompt_hash="ab",
            target="42",
        )
        made[1] = replace(made[1], scores='{"strict":{"acc":{"$":"float","v":"inf"}}}', filtered='{"strict":[]}')
        made[2] = replace(made[2], outcome=Outcome(ItemStatus.FAILED, error="no"), scores=None, filtered=None)
        table = pq.read_table(io.BytesIO(encode_part(chunk, made, WRITER)))
        column = {name: table.column(name).to_pylist() for name in table.column_names}
        assert column["acc,strict"] == [0.5, math.inf, None, None]
        assert column["acc,loose"] == [1.0, None, None, None]
        assert column["acc,none"] == [None, None, None, 1.0]
        assert column["f1,strict"] == [None] * 4
        assert column["filtered,strict"] == ["4é", None, None, None]
        assert column["filtered,loose"] == ['["a", "b"]', None, None, None]
        assert (column["task"], column["prompt_hash"][0], column["target"][0]) == (["t"] * 4, "ab", "42")

    def test_plain_columns_are_bounded_and_never_keep_a_part_from_being_written(self) -> None:
        chunk, made = make_part(3)
        many = ",".join(f'"m{n}":{n}' for n in range(500))
        made[0] = replace(made[0], scores=f'{{"none":{{{many}}}}}')
        made[1] = replace(made[1], scores='{"$":"dict","v":[]}', filtered="[1]")
        made[2] = replace(made[2], scores='{"none":{"m0":1' + "0" * 400 + "}}", filtered='{"none":{"$":"x"}}')
        data = encode_part(chunk, made, WRITER)
        assert decode_part(data, chunk).rows == tuple(made)
        names = pq.read_table(io.BytesIO(data)).column_names
        assert sum("," in name for name in names) == MOST_COLUMNS

    def test_lone_surrogates_of_an_error_become_escapes(self) -> None:
        chunk, made = make_part(1)
        made[0] = replace(made[0], outcome=Outcome(ItemStatus.FAILED, error="bad \ud800 é"))
        part = decode_part(encode_part(chunk, made, WRITER), chunk)
        assert part.rows[0].outcome.error == "bad \\ud800 é"
        assert part.counts == ItemCounts(failed=1)

    def test_another_plans_part_is_refused(self) -> None:
        chunk, made = make_part()
        data = encode_part(chunk, made, WRITER)
        for other in (replace(chunk, digest="0" * 64), replace(chunk, number=8), replace(chunk, task="u")):
            with pytest.raises(LedgerCorrupt, match=r"parts/x was made for chunk 7 of task t.*another plan"):
                decode_part(data, other, "parts/x")

    def test_rows_that_are_not_the_chunks_are_not_written(self) -> None:
        chunk, made = make_part()
        for wrong in (made[:-1], made[::-1], [*made, made[0]], []):
            with pytest.raises(LedgerCorrupt, match="not the chunk's 5 items"):
                encode_part(chunk, wrong, WRITER)


class TestDamage:
    """Whatever happens to the bytes, nobody reads something else than was written."""

    def test_every_changed_byte_of_a_part_is_detected(self) -> None:
        chunk, made = make_part(2)
        data = encode_part(chunk, made, WRITER)
        for place in range(len(data)):
            damaged = data[:place] + bytes([data[place] ^ 0x41]) + data[place + 1 :]
            with pytest.raises(LedgerCorrupt, match="the object is damaged"):
                decode_part(damaged, chunk, "the object")

    @settings(max_examples=150, deadline=None)
    @given(data=st.data())
    def test_any_damage_to_a_segment_is_detected(self, data: st.DataObject) -> None:
        items = [make_item(n) for n in range(3)]
        whole = encode_segment(items, cut(items, 50))
        first, last = sorted((data.draw(st.integers(0, len(whole))), data.draw(st.integers(0, len(whole)))))
        damaged = whole[:first] + data.draw(st.binary(max_size=20)) + whole[last:]
        if damaged != whole:
            for read in (decode_segment, decode_chunks, lambda d: decode_rows(d, 0, 1)):
                with pytest.raises(LedgerCorrupt):
                    read(damaged)

    def test_a_document_that_contains_a_seal_is_read_correctly(self) -> None:
        mark = "evalrun.sealed-sha256:" + "0" * 64
        items = [make_item(n, quoted=mark) for n in range(3)]
        items = [replace(i, task=mark, hash=hash_item(mark, i.doc_id, i.doc, i.requests)) for i in items]
        chunks = cut(items, 50)
        data = encode_segment(items, chunks)
        assert decode_segment(data) == Segment(tuple(items), tuple(chunks))

    def test_what_is_wrong_with_a_document_is_kept_with_its_item(self) -> None:
        items = [make_item(1), replace(make_item(2), requests=(), fault="answer is null"), make_item(3)]
        items[1] = replace(items[1], hash=hash_item("t", items[1].doc_id, items[1].doc, ()))
        data = encode_segment(items, cut(items))
        assert [item.fault for item in decode_segment(data).items] == [None, "answer is null", None]

    def test_one_kind_is_never_read_as_another(self) -> None:
        chunk, made = make_part()
        with pytest.raises(LedgerCorrupt, match="x is a part; expected a manifest segment"):
            decode_segment(encode_part(chunk, made, WRITER), "x")

    def test_an_index_is_restored_and_its_damage_is_detected(self) -> None:
        index = TaskIndex("t é", 2, 3_000, 60, 12.75, "ab" * 32, (PlanNote("3 documents are odd", 3),))
        data = encode_index(index)
        assert decode_index(data) == index
        digits = [n for n, byte in enumerate(data) if chr(byte).isdigit()]
        for place in digits:
            damaged = data[:place] + (b"1" if data[place : place + 1] != b"1" else b"2") + data[place + 1 :]
            with pytest.raises(LedgerCorrupt, match="x is damaged"):
                decode_index(damaged, "x")
        for damaged in (b"", b"[]", b"{}", b"null", data[:-5], b"\xff"):
            with pytest.raises(LedgerCorrupt, match="x is damaged"):
                decode_index(damaged, "x")
