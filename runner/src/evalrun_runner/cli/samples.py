"""``evalrun samples``: items of a run for people, in the terminal and as an HTML page."""

from __future__ import annotations

import sys
import tempfile
import webbrowser
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from evalrun_api import RunLocation
from evalrun_runner.cli.localize import absolute
from evalrun_runner.driver.results import read_results
from evalrun_runner.errors import InputError, ObjectMissing, StoreDenied
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.report.details import ItemDetails
from evalrun_runner.report.page import samples_html
from evalrun_runner.report.sample_content import Sample, SamplesContent, ShownAnswer, read_sample
from evalrun_runner.report.samples import MOST_SHOWN, Chosen, SampleRequest, choose, main_scores_of
from evalrun_runner.report.text import one_line
from evalrun_runner.store.access import store_spec
from evalrun_runner.store.base import ObjectStore
from evalrun_runner.store.open import open_store


@dataclass(frozen=True, slots=True)
class SamplesOptions:
    """Options of ``evalrun samples``."""

    tasks: tuple[str, ...]
    wrong: bool
    failed: bool
    diff: str | None
    items: int
    html: Path | None
    open: bool


def samples(uri: str, options: SamplesOptions) -> None:
    """Show items of a run.

    Raises:
        InputError: There are no items, or an option is wrong.
        LedgerCorrupt: An object of the run is damaged.
    """
    if not 1 <= options.items <= MOST_SHOWN:
        raise InputError(f"--items {options.items}: expected a number from 1 to {MOST_SHOWN:,}")
    try:
        content = _content(uri, options)
    except StoreDenied as error:
        raise InputError(str(error), reason=error.reason) from error
    if options.html is not None or options.open:
        _write_page(content, options)
    elif sys.stdout.isatty():
        click.echo_via_pager(f"{line}\n" for line in lines_of(content))
    else:
        for line in lines_of(content):
            print(line)


def _content(uri: str, options: SamplesOptions) -> SamplesContent:
    store = open_store(store_spec(RunLocation(uri=absolute(uri))))
    other = None if options.diff is None else open_store(store_spec(RunLocation(uri=absolute(options.diff))))
    request = SampleRequest(options.tasks, options.wrong, options.failed, options.items)
    chosen = choose(store, request, _mains(store), other)
    details = ItemDetails(Ledger(store))
    others = None if other is None else ItemDetails(Ledger(other))
    return SamplesContent(
        title=f"Samples of {one_line(store.uri)}",
        remark=_remark(chosen, options),
        samples=[read_sample(place, details, others) for place in chosen.places],
    )


def _mains(store: ObjectStore) -> dict[str, tuple[tuple[str, str], bool]]:
    try:
        return main_scores_of(read_results(store))
    except ObjectMissing:
        return {}


def _remark(chosen: Chosen, options: SamplesOptions) -> str:
    asked = " or ".join(
        [
            *(["are wrong (their task's first score is not the best)"] if options.wrong else []),
            *(["have no score"] if options.failed else []),
        ]
    )
    what = f"{chosen.fitting:,} of {chosen.seen:,} items"
    if options.diff is not None:
        what += f" have another score than in {one_line(options.diff)}"
        if asked:
            what += f" and {asked}"
        if chosen.unpaired:
            what += f"; {chosen.unpaired:,} more are not there, or were asked differently"
    elif asked:
        what += f" {asked}"
    shown = len(chosen.places)
    return f"{what}." if shown == chosen.fitting else f"{what}; {shown:,} of them are shown, drawn at random."


def _write_page(content: SamplesContent, options: SamplesOptions) -> None:
    file = options.html or Path(tempfile.mkdtemp(prefix="evalrun-samples-")) / "samples.html"
    try:
        file.write_bytes(samples_html(content))
    except OSError as error:
        raise InputError(f"--html {file}: {error.strerror}; expected the name of a file that can be written") from error
    print(file)
    if options.open and not webbrowser.open(file.resolve().as_uri()):
        print("evalrun: there is no browser here; open the file above in one", file=sys.stderr)


def lines_of(content: SamplesContent) -> Iterator[str]:
    """Yield the lines that a terminal shows; no control character is in them."""
    yield content.remark
    for sample in content.samples:
        yield ""
        yield from _lines_of(sample)


def _lines_of(sample: Sample) -> Iterator[str]:
    yield f"── {sample.task}, item {sample.doc} "
    yield from _block("prompt", sample.prompt)
    yield from _block("target", sample.target)
    yield from _answer_lines(sample.ours, "")
    if sample.theirs is not None:
        yield from _answer_lines(sample.theirs, " there")


def _answer_lines(one: ShownAnswer, where: str) -> Iterator[str]:
    yield from _block(f"answer{where}", one.answer)
    for name, text in one.filtered:
        yield from _block(f"filter {name}{where}", text)
    if one.scores:
        yield from _block(f"score{where}", ", ".join(f"{name} {value}" for name, value in one.scores))
    yield from _block(f"why{where}", one.why)


def _block(name: str, text: str) -> Sequence[str]:
    """Return a text under its name, indented; nothing for an empty one."""
    return [f"  {name}:", *(f"    {line}" for line in text.split("\n"))] if text else []
