"""Report and samples as one HTML page each: all is in it, nothing is asked of the network, and it needs no script.

The page's Content-Security-Policy allows its own style sheet, by hash, and nothing else: were markup of a model to get
past the escaping, it could neither run nor load anything.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from evalrun_runner.report import words
from evalrun_runner.report.charts import Chart
from evalrun_runner.report.content import ItemList, ReportContent, Tone
from evalrun_runner.report.sample_content import SamplesContent
from evalrun_runner.report.text import visible

if TYPE_CHECKING:
    from jinja2 import Template

MOST_BYTES = 8_000_000
"""Size of a page, whatever a model answered."""
SIGNS = {Tone.GOOD: "✔", Tone.BAD: "✘", Tone.UNSURE: "?", Tone.PLAIN: "–"}  # noqa: RUF001  (the sign of no verdict)
_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class PageCharts:
    """Drawings of a page; None where there is nothing to draw, or drawing failed."""

    forest: Chart | None = None
    changes: Chart | None = None
    ranks: Sequence[Chart | None] = ()
    pace: Chart | None = None


def html(content: ReportContent, charts: PageCharts) -> bytes:
    """Render the page; the lists of items are halved until it is at most ``MOST_BYTES`` long."""
    while True:
        data = _render("report.html.j2", page=content, charts=charts, number=words.number, signs=SIGNS)
        shown = sum(len(one.items) for one in content.item_lists)
        if len(data) <= MOST_BYTES or not shown:
            return data
        content = replace(content, item_lists=tuple(map(_halved, content.item_lists)))


def samples_html(content: SamplesContent) -> bytes:
    """Render a page of samples; they are halved until it is at most ``MOST_BYTES`` long, and the page says so."""
    left_out = False
    while True:
        data = _render("samples.html.j2", page=content, left_out=left_out)
        if len(data) <= MOST_BYTES or not content.samples:
            return data
        content, left_out = replace(content, samples=content.samples[: len(content.samples) // 2]), True


def _render(template: str, **variables: object) -> bytes:
    page = _template(template).render(style=_style(), style_hash=_hash(_style()), **variables)
    # Half of a surrogate pair has a name in the page already; what is left cannot be encoded by anyone.
    return page.encode("utf-8", "replace")


def _halved(items: ItemList) -> ItemList:
    return replace(items, items=items.items[: len(items.items) // 2])


@cache
def _template(name: str) -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalizer(Markup),
    )
    environment.filters["drawing"] = Markup
    return environment.get_template(name)


def _finalizer(markup: type[str]) -> Callable[[object], object]:
    """Return what every value goes through on its way into the page, before it is escaped."""
    return lambda value: visible(value) if isinstance(value, str) and not isinstance(value, markup) else value


@cache
def _style() -> str:
    from markupsafe import Markup

    return Markup((_FOLDER / "report.css").read_text(encoding="utf-8"))  # noqa: S704  (ours, no value in it)


def _hash(style: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(str(style).encode()).digest()).decode()
