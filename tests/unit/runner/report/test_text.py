"""Text of models, data sets and suites on its way into a report."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalrun_runner.report.text import cut, in_markdown, one_line, shown, visible

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=200)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain\n\ttext", "plain\n\ttext"),
        ("a\x00b\x1b[31m", "a⟦U+0000⟧b⟦U+001B⟧[31m"),
        ("user\u202egnp.exe", "user⟦U+202E⟧gnp.exe"),
        ("\u2066hidden\u2069\u200f\ufeff", "⟦U+2066⟧hidden⟦U+2069⟧⟦U+200F⟧⟦U+FEFF⟧"),
        ("tags \U000e0041", "tags ⟦U+E0041⟧"),
        ("half \ud83d", "half ⟦U+D83D⟧"),
        ("one\r\ntwo\rthree", "one\ntwo\nthree"),
        ("مرحبا 你好 👩‍💻 é", "مرحبا 你好 👩‍💻 é"),
        ("Z" + "\u0301" * 50, "Z" + "\u0301" * 4),
    ],
)
def test_what_cannot_be_seen_is_named_and_what_can_be_read_stays(text: str, expected: str) -> None:
    assert visible(text) == expected


@given(ANY_TEXT)
def test_nothing_invisible_is_left(text: str) -> None:
    left = [one for one in visible(text) if one not in "\n\t\u200c\u200d"]
    assert not [one for one in left if unicodedata.category(one) in {"Cc", "Cf", "Cs", "Zl", "Zp"}]
    visible(text).encode()


@given(ANY_TEXT, st.integers(2, 50))
def test_a_long_text_keeps_its_ends_and_says_what_is_cut(text: str, most: int) -> None:
    found, left_out = cut(text, most)
    assert left_out == max(0, len(text) - most)
    assert found == text if not left_out else f"{left_out:,} characters are cut here" in found
    assert found.startswith(text[: most // 2])
    assert len(found) <= most + 60


def test_a_megabyte_is_cut_before_it_is_looked_at() -> None:
    found = shown("\u202e" * 1_000_000, 2_000)
    assert "998,000 characters are cut here" in found
    assert len(found) < 20_000


@given(ANY_TEXT)
def test_one_line_is_one_line(text: str) -> None:
    assert not set(one_line(text, 20)) & {"\n", "\r", "\t"}


@pytest.mark.parametrize("text", ["<img src=x>", "[a](http://b)", "@everyone", "a|b", "`x`", "# title", "#17", "**b**"])
def test_markdown_keeps_no_markup_of_a_text(text: str) -> None:
    assert not set(in_markdown(text)) & set("<>[]`*|@") and "#" not in in_markdown(text).replace("&#", "")


def test_a_time_stays_readable_in_markdown() -> None:
    assert in_markdown("2026-12-01T12:00:00+00:00") == "2026-12-01T12:00:00+00:00"
    assert in_markdown("+ no list") == "&#43; no list"
