"""Implementation of the commands."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from evalrun_api import Phase, RunLocation, RunResult, Verdict
from evalrun_api.reading.parse import cluster_problems
from evalrun_api.reading.problems import InvalidInput
from evalrun_runner.cli.display import Display, print_results
from evalrun_runner.cli.files import base_of, parse
from evalrun_runner.cli.localize import LocalResolver, absolute
from evalrun_runner.driver.cancellation import Cancellation
from evalrun_runner.errors import EvalRunError, InputError, Interrupted, RunFailed

if TYPE_CHECKING:
    from evalrun_runner.driver.assembly import DriverOptions

GATE_FAILED, GATE_INCONCLUSIVE = 3, 4


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Options of ``evalrun run``."""

    output: str | None
    settings: tuple[str, ...]
    fresh: bool
    allow_code: bool
    port: int | None
    json: bool


def run(file: str, options: RunOptions, driver: DriverOptions | None = None) -> int:
    """Run a file on this machine; return the exit code.

    Args:
        file: The EvalRun file; ``-`` for stdin.
        options: The options of the command.
        driver: Settings of the driver process; the usual ones by default. Its cancellation is replaced by Ctrl-C's.
    """
    parsed = parse(file, options.settings)
    base = base_of(file)
    with tempfile.TemporaryDirectory(prefix="evalrun-") as scratch, _signals() as cancellation:
        resolver = LocalResolver(
            parsed, base, Path(scratch), output=options.output, fresh=options.fresh, allow_code=options.allow_code
        )
        config = resolver.config()
        from evalrun_runner.driver.assembly import DriverOptions
        from evalrun_runner.driver.run import run

        # What libraries print on their own (Ray does, of a dead worker) is no result: stdout is the result's alone.
        with Display(config, port=options.port) as display, redirect_stdout(sys.stderr):
            result = run(config, replace(driver or DriverOptions(), cancellation=cancellation), display)
    if options.json:
        print(result.to_json(indent=2))
    else:
        print_results(result)
    return exit_code(result)


def exit_code(result: RunResult) -> int:
    """0, or 1 before 3 before 4."""
    if result.phase is not Phase.SUCCEEDED:
        if result.failure is not None:
            print(f"evalrun: {result.failure.message}", file=sys.stderr)
        return RunFailed.exit_code
    match result.verdict:
        case Verdict.FAILED:
            return GATE_FAILED
        case Verdict.INCONCLUSIVE:
            return GATE_INCONCLUSIVE
        case _:
            return 0


def validate(files: Sequence[str], settings: Sequence[str], *, cluster: bool) -> int:
    """Check files, print what is wrong with each, and return the exit code."""
    code = 0
    for file in files:
        try:
            evalrun = parse(file, settings).evalrun
            if cluster and (problems := cluster_problems(evalrun)):
                raise InvalidInput(file, problems)
        except (InvalidInput, EvalRunError) as error:
            print(error, file=sys.stderr)
            code = InputError.exit_code
        else:
            print(f"{file}: valid")
    return code


def results(uri: str, *, json_output: bool) -> int:
    """Print a finished run's scores and verdicts; return the exit code. Raises ``InputError`` where there are none."""
    from evalrun_runner.driver.results import read_result

    result = read_result(RunLocation(uri=absolute(uri)))
    if json_output:
        print(result.to_json(indent=2))
    else:
        print_results(result)
    return exit_code(result)


def tasks(pattern: str, source: Path | None) -> int:
    """List benchmarks; return 2 if none matches."""
    from evalrun_runner.benchmarks.listing import list_tasks

    found = 0
    for row in list_tasks(pattern, source):
        print(f"{row.name:<60} {row.kind:<6} {row.output_type or ''}")
        found += 1
    if not found:
        raise InputError(f"no task, group or tag fits {pattern!r}; try a part of a name, or a glob such as 'mmlu_*'")
    return 0


def fetch(uri: str, output: Path, revision: str | None, digest: str | None) -> None:
    """Copy a model to a folder."""
    from evalrun_runner.models.copy import copy_model
    from evalrun_runner.models.types import ModelSource
    from evalrun_runner.store.s3 import S3Settings

    if "://" not in uri:
        uri = Path(uri).resolve().as_uri() if Path(uri).is_dir() else f"hf://{uri}"
    source = ModelSource(
        uri=uri,
        revision=revision,
        digest=digest,
        storage=S3Settings(endpoint_url=os.environ.get("AWS_ENDPOINT_URL")) if uri.startswith("s3://") else None,
    )
    found = copy_model(source, output)
    print(f"{found.path}\n{found.digest}" + (f"\nrevision {found.revision}" if found.revision else ""))


@contextmanager
def _signals() -> Iterator[Cancellation]:
    """Turn Ctrl-C and SIGTERM into a request to stop, or an interruption where nobody looks; twice ends the process."""
    cancellation = Cancellation()

    def handle(number: int, frame: FrameType | None) -> None:
        if cancellation.requested:
            os._exit(Interrupted.exit_code)
        if not cancellation.request():
            raise Interrupted("stopped; what is committed stays, the same command goes on from there")
        print("\nevalrun: stopping; what is complete is committed first. Again to end at once.", file=sys.stderr)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield cancellation
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
