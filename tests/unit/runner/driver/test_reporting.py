"""The report of a run: made at its end, made again when gates change, and never the reason why a run fails."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from evalrun_api import Phase, RunLocation
from evalrun_runner.cli.report import report
from evalrun_runner.driver.assembly import Adapters, DriverOptions
from evalrun_runner.driver.reporting import read_report, write_report
from evalrun_runner.driver.results import read_result
from evalrun_runner.driver.run import run
from evalrun_runner.errors import InputError, StoreUnavailable
from evalrun_runner.ledger import layout
from evalrun_runner.store.directory import DirectoryStore
from support.one_process import OneReplica, Watching, config_of, sums

ITEMS = 12
HERE = Adapters(start_fleet=OneReplica)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a finished run."""
    folder = tmp_path_factory.mktemp("reported")
    watching = Watching()
    result = run(config_of(sums(folder / "suite", ITEMS), folder / "output"), DriverOptions(), watching, HERE)
    assert result.phase is Phase.SUCCEEDED
    assert not [line for line in watching.lines if "report" in line]
    return folder / "output"


def test_a_run_ends_with_its_report(finished: Path) -> None:
    page = (finished / layout.REPORT_HTML).read_text(encoding="utf-8")
    assert "No verdict" in page and "exact_match" in page and "evalrun results" in page
    assert "the end, which is not recorded" not in page
    assert (finished / layout.REPORT_MARKDOWN).read_text(encoding="utf-8").startswith("## ")


def test_the_command_makes_the_report_where_it_is_asked_for(finished: Path, tmp_path: Path) -> None:
    baseline, copy = (shutil.copytree(finished, tmp_path / name) for name in ("baseline", "copy"))
    report(str(finished), str(baseline), tmp_path / "elsewhere", also=[str(copy)])
    assert (tmp_path / "elsewhere" / "report.html").stat().st_size > 5_000
    assert (tmp_path / "elsewhere" / "report.md").exists()
    page = (tmp_path / "elsewhere" / "report.html").read_text(encoding="utf-8")
    assert "Against the baseline" in page and "two runs of one model" in page
    assert "Order of the runs" in page and "1 to 3" in page
    assert "Hardest items" in page and "items in" in page


def test_an_unfinished_run_has_no_report(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not there, or is empty"):
        read_report(RunLocation(uri=tmp_path.as_uri()), None, print)


class FullStore(DirectoryStore):
    """A store that takes no report."""

    def put(self, key: str, data: bytes) -> None:
        """Refuse."""
        raise StoreUnavailable(f"no room for {key}")


def test_a_report_that_cannot_be_written_is_a_warning(finished: Path) -> None:
    lines: list[str] = []
    write_report(FullStore(finished), read_result(RunLocation(uri=finished.as_uri())), None, lines.append)
    assert len(lines) == 1
    assert lines[0].startswith("warning: there is no report: StoreUnavailable: no room for report.html; hint: ")


def test_a_report_says_that_parts_are_missing(finished: Path, tmp_path: Path) -> None:
    output = shutil.copytree(finished, tmp_path / "copy")
    shutil.rmtree(output / "parts")
    lines: list[str] = []

    content = read_report(RunLocation(uri=output.as_uri()), None, lines.append)

    said = "Parts are missing from the output: 0 of 12 items are there."
    assert any(said in line for line in lines)
    assert content.warnings[0].startswith(said)
