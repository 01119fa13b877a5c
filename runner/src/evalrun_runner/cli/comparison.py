"""The command ``evalrun compare``: opens the runs, compares them, prints what came of it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evalrun_runner.comparing.comparison import ComparisonRequest, compare_two
from evalrun_runner.comparing.document import two_runs_document
from evalrun_runner.comparing.figure import ranking_svg
from evalrun_runner.comparing.opening import open_runs
from evalrun_runner.comparing.ranking import compare_many
from evalrun_runner.comparing.ranking_document import ranking_document
from evalrun_runner.comparing.scored import ScoredRun
from evalrun_runner.comparing.two import MarginVerdict
from evalrun_runner.errors import InputError, LedgerCorrupt, ObjectMissing, StoreDenied

MARGIN_BROKEN, MARGIN_UNDECIDED = 3, 4
_DAMAGED = (
    "hint: remove COMPLETE from that output and start the run again: sound parts are kept, the others are made anew"
)


@dataclass(frozen=True, slots=True)
class ComparisonOptions:
    """Options of ``evalrun compare``."""

    tasks: tuple[str, ...]
    metric: str | None
    only: tuple[str, ...]
    margin: float | None
    confidence: float
    range: str | None
    allow_differences: bool
    items: int
    figure: Path | None
    json: bool


def compare(places: Sequence[str], options: ComparisonOptions) -> int:
    """Compare runs and print the comparison; return the exit code.

    Raises:
        InputError: They cannot be compared, or an option is wrong.
    """
    request = _request(options)
    if options.figure is not None and options.figure.suffix.lower() != ".svg":
        raise InputError(f"--figure {options.figure}: expected the name of an SVG file, such as ranks.svg")
    try:
        runs = open_runs(places, options.only)
        if len(runs) > 2:
            return _ranked(runs, request, options)
        report = compare_two(runs[0], runs[1], request)
    except StoreDenied as error:
        raise InputError(str(error), reason=error.reason) from error
    except (LedgerCorrupt, ObjectMissing) as error:
        # Damage is no failure of this command: it is what it was given, and another file may be compared.
        raise InputError(f"{error}\n{_DAMAGED}", reason=error.reason) from error
    if options.figure is not None:
        raise InputError("--figure draws the ranks of three runs or more, and here are two")
    if options.json:
        print(json.dumps(two_runs_document(report, request), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        from evalrun_runner.cli.comparison_tables import print_two

        print_two(report, request)
    margin = report.headline.margin
    match None if margin is None else margin.verdict:
        case MarginVerdict.BROKEN:
            return MARGIN_BROKEN
        case MarginVerdict.UNDECIDED:
            return MARGIN_UNDECIDED
        case _:
            return 0


def _ranked(runs: Sequence[ScoredRun], request: ComparisonRequest, options: ComparisonOptions) -> int:
    if request.margin is not None:
        raise InputError("--margin compares two runs, and here are more\nhint: give the baseline and the candidate")
    report = compare_many(runs, request)
    if options.json:
        print(json.dumps(ranking_document(report, request), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        from evalrun_runner.cli.ranking_tables import print_many

        print_many(report, request)
    if options.figure is not None:
        try:
            options.figure.write_text(ranking_svg(report), encoding="utf-8")
        except OSError as error:
            raise InputError(f"--figure {options.figure}: {error.strerror}") from error
    return 0


def _request(options: ComparisonOptions) -> ComparisonRequest:
    if not 0.5 <= options.confidence < 1:
        raise InputError(f"--confidence {options.confidence:g}: expected a number from 0.5 to below 1, such as 0.95")
    if options.items < 0:
        raise InputError(f"--items {options.items}: expected a number of items to show, 0 or more")
    bounds = None if options.range is None else _range(options.range)
    if options.margin is not None:
        reach = 1.0 if bounds is None else bounds[1] - bounds[0]
        if not 0 <= options.margin < math.inf:
            raise InputError(f"--margin {options.margin:g}: expected a loss that is accepted, 0 or more")
        if bounds is None and options.margin >= reach:
            raise InputError(
                f"--margin {options.margin:g}: expected a difference of scores, such as 0.02 for two points\n"
                "hint: give --range LOW:HIGH for scores that do not run from 0 to 1"
            )
    return ComparisonRequest(
        tasks=options.tasks,
        metric=options.metric,
        confidence=options.confidence,
        margin=options.margin,
        bounds=bounds,
        allow_differences=options.allow_differences,
        items=options.items,
    )


def _range(text: str) -> tuple[float, float]:
    low, _, high = text.partition(":")
    try:
        bounds = float(low), float(high)
    except ValueError:
        bounds = (0.0, 0.0)
    if not -math.inf < bounds[0] < bounds[1] < math.inf:
        raise InputError(f"--range {text}: expected the least and the greatest possible score, such as 1:5")
    return bounds
