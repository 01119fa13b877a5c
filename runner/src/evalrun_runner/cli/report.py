"""``evalrun report``: make the report of a finished run anew."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from evalrun_api import RunLocation
from evalrun_runner.cli.localize import absolute
from evalrun_runner.driver.reporting import read_report
from evalrun_runner.errors import InputError, StoreDenied
from evalrun_runner.ledger import layout
from evalrun_runner.report.write import render
from evalrun_runner.store.access import store_spec
from evalrun_runner.store.open import open_store


def report(uri: str, baseline: str | None, output: Path | None, also: Sequence[str] = ()) -> None:
    """Make a report, write it, and print where.

    Args:
        uri: The run's output.
        baseline: Output of the run to compare with.
        output: Folder to write to; None: beside the results.
        also: Outputs of more runs, for the order of all of them.

    Raises:
        InputError: There is no finished run, or it cannot be read.
        LedgerCorrupt: An object of it is damaged.
        StoreError: The report cannot be written.
    """
    location = RunLocation(uri=absolute(uri))
    other = None if baseline is None else RunLocation(uri=absolute(baseline))

    def log(line: str) -> None:
        print(line, file=sys.stderr)

    try:
        content = read_report(location, other, log, [RunLocation(uri=absolute(one)) for one in also])
    except StoreDenied as error:
        raise InputError(str(error), reason=error.reason) from error
    made = render(content, log)
    target = location if output is None else RunLocation(uri=output.resolve().as_uri())
    store = open_store(store_spec(target))
    for key, data in ((layout.REPORT_HTML, made.html), (layout.REPORT_MARKDOWN, made.markdown)):
        store.put(key, data)
        print(f"{store.uri}{key}")
