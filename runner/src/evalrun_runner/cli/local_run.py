"""A run on this machine: its file resolved, its driver in this process, Ctrl-C and SIGTERM its request to stop."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, TypeVar

from evalrun_api import Phase, RunConfig, RunResult
from evalrun_api.reading.parse import EvalRunFile
from evalrun_api.wire.outputs import IntervalRecord
from evalrun_runner.benchmarks.checks.preview import TaskPreview
from evalrun_runner.cli.display import Display
from evalrun_runner.cli.failures import result_of
from evalrun_runner.cli.localize import LocalResolver
from evalrun_runner.cli.main import end_now
from evalrun_runner.cli.scratch import Scratch
from evalrun_runner.driver.assembly import Adapters, DriverOptions
from evalrun_runner.driver.cancellation import Cancellation
from evalrun_runner.driver.host import Host
from evalrun_runner.driver.rehearsal import preview_run
from evalrun_runner.driver.results import read_strata
from evalrun_runner.driver.run import run
from evalrun_runner.errors import EvalRunError, InputError, Interrupted, StoreDenied

if TYPE_CHECKING:
    from evalrun_runner.cli.commands import RunOptions
    from evalrun_runner.fleet.protocol import StartFleet

T = TypeVar("T")

STOPPED = "stopped; what is committed stays, the same command goes on from there"


class LocalHost(Host):
    """This machine: knows whether everything was checked that can be checked before an engine loads."""

    checked = False

    def preflight_passed(self) -> None:
        """See ``Host``."""
        self.checked = True


class LocalRun:
    """One ``evalrun run``.

    Args:
        file: The EvalRun file.
        base: Folder that the paths of suites are relative to.
        options: The options of the command.
        driver: Settings of the driver process; the usual ones by default.
    """

    def __init__(self, file: EvalRunFile, base: Path, options: RunOptions, driver: DriverOptions | None) -> None:
        self._file = file
        self._base = base
        self._options = options
        self._driver = driver or DriverOptions()
        self._host = LocalHost()
        self._config: RunConfig | None = None
        self._display: Display | None = None
        self.strata: Sequence[IntervalRecord] = ()
        """Scores of strata and tags, after a run that succeeded."""

    def run(self, start_fleet: StartFleet) -> RunResult:
        """Run the file on replicas that ``start_fleet`` lets load the engine. Raises ``EvalRunError``."""

        def act(config: RunConfig, cancellation: Cancellation, display: Display) -> RunResult:
            driver = replace(self._driver, cancellation=cancellation, host=self._host)
            result = run(config, driver, display, Adapters(start_fleet))
            if result.phase is Phase.SUCCEEDED:
                self.strata = read_strata(config.results)
            return result

        return self._with_config(act)

    def preview(self) -> list[TaskPreview]:
        """Check everything that can be checked without an engine, and preview the tasks. Raises ``EvalRunError``."""
        return self._with_config(lambda config, _, display: list(preview_run(config, display)))

    def failed(self, error: Exception) -> RunResult:
        """Return the result of this run that ended with an error."""
        progress = None if self._display is None else self._display.progress()
        return result_of(error, progress, None if self._config is None else self._config.results.uri)

    def _with_config(self, act: Callable[[RunConfig, Cancellation, Display], T]) -> T:
        """Resolve the file, and act on it while its Secrets and the display are there."""
        options = self._options
        with Scratch() as scratch, signals() as cancellation:
            resolver = LocalResolver(
                self._file,
                self._base,
                scratch,
                output=options.output,
                fresh=options.fresh,
                allow_code=options.allow_code,
            )
            try:
                config = self._config = resolver.config()
                # What libraries print on their own is no result: stdout is for results.
                with Display(config, port=options.port) as self._display, redirect_stdout(sys.stderr):
                    return act(config, cancellation, self._display)
            except EvalRunError as error:
                meant = self._meant(error, cancellation)
                if meant is error:
                    raise
                raise meant from error

    def _meant(self, error: EvalRunError, cancellation: Cancellation) -> EvalRunError:
        """Return what an error of the preflight means on one machine, where a person has just typed the command."""
        if self._host.checked or isinstance(error, Interrupted):
            return error
        if cancellation.requested:
            # A library caught the interruption, and raised something of its own.
            return Interrupted(STOPPED)
        # Nothing has worked before: keys, bucket or folder are wrong, not away.
        return InputError(str(error), reason=error.reason) if isinstance(error, StoreDenied) else error


@contextmanager
def signals() -> Iterator[Cancellation]:
    """Turn Ctrl-C and SIGTERM into a request to stop, or an interruption where nobody looks; twice ends the process."""
    cancellation = Cancellation()

    def handle(number: int, frame: FrameType | None) -> None:
        if cancellation.requested:
            end_now("evalrun: ended at once; what is committed stays")
        if not cancellation.request():
            raise Interrupted(STOPPED)
        print("\nevalrun: stopping; what is complete is committed first. Again to end at once.", file=sys.stderr)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield cancellation
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
