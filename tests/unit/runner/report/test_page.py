"""The page and the Markdown as a whole, with content that wants to get out."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from evalrun_runner.report.charts import checked
from evalrun_runner.report.markdown import MOST_CHARACTERS
from evalrun_runner.report.page import MOST_BYTES
from evalrun_runner.report.write import render
from support.reports import HOSTILE, full_report

ELEMENTS = """
    html head meta title style body header main footer section h1 h2 h3 h4 p div span strong bdi a table caption thead
    tbody tr th td figure svg g path line rect text tspan circle defs clippath dl dt dd ul li details summary pre
"""


class Tags(HTMLParser):
    """Every element with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def no_warning(line: str) -> None:
    raise AssertionError(line)


def test_markup_of_a_model_stays_text_everywhere() -> None:
    page = render(full_report(HOSTILE), no_warning).html.decode()
    found = Tags(page).found
    assert {tag for tag, _ in found} <= set(ELEMENTS.split())
    assert not [name for _, attributes in found for name in attributes if name.startswith("on") or name == "style"]
    assert {attributes["href"] for tag, attributes in found if tag == "a"} <= {"#warnings"}
    assert not [attributes for _, attributes in found if {"src", "xlink:href", "action", "srcdoc"} & set(attributes)]
    assert "{{ 7*7 }}" in page and "⟦U+202E⟧" in page and "⟦U+0000⟧" in page


def test_the_page_allows_its_own_style_and_nothing_else() -> None:
    page = render(full_report(), no_warning).html.decode()
    policies = [one["content"] for tag, one in Tags(page).found if tag == "meta" and "http-equiv" in one]
    assert len(policies) == 1 and policies[0] is not None
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[A-Za-z0-9+/=]{44}'; base-uri 'none'; form-action 'none'", policies[0]
    )


def test_a_page_of_megabytes_of_answers_is_bounded() -> None:
    made = render(full_report("<" * 30_000, items=100, length=30_000), no_warning)
    assert len(made.html) <= MOST_BYTES
    assert len(made.markdown) <= 4 * MOST_CHARACTERS


def test_markdown_holds_no_markup_of_a_text() -> None:
    text = render(full_report(HOSTILE), no_warning).markdown.decode()
    for line in text.splitlines():
        bare = re.sub(r"</?(details|summary)>", "", line)
        assert "<" not in bare and "@" not in bare and "](" not in bare and "`" not in bare


def test_a_table_has_its_headings_and_every_picture_says_what_it_shows() -> None:
    found = Tags(render(full_report(), no_warning).html.decode()).found
    assert [one for tag, one in found if tag == "th" and "scope" not in one] == []
    figures = [one for tag, one in found if tag == "figure"]
    assert len(figures) == 4
    assert all(one["role"] == "img" and one["aria-label"] for one in figures)


@pytest.mark.parametrize(
    "inside", ["<script>x</script>", "<foreignObject><b/></foreignObject>", "<image href='x'/>", "<a href='x'/>"]
)
def test_a_drawing_keeps_shapes_alone(inside: str) -> None:
    found = checked(
        f"<svg xmlns='http://www.w3.org/2000/svg' onload='x()'><g style='x' fill='url(http://a)'>{inside}</g></svg>"
    )
    assert found == '<svg xmlns="http://www.w3.org/2000/svg"><g /></svg>'


def test_what_is_no_drawing_is_refused() -> None:
    with pytest.raises(ValueError, match="not with svg"):
        checked("<html/>")
