"""Implementation of the commands. What one of them needs is imported by it: the runner's libraries take seconds."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evalrun_api import Phase, RunLocation, RunResult, Verdict
from evalrun_runner.errors import InputError, RunFailed, StoreDenied

if TYPE_CHECKING:
    from evalrun_api.reading.parse import EvalRunFile
    from evalrun_runner.cli.local_run import LocalRun
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
    dry_run: bool


def run(file: str, options: RunOptions, driver: DriverOptions | None = None) -> int:
    """Run a file on this machine; return the exit code.

    Args:
        file: The EvalRun file; ``-`` for stdin.
        options: The options of the command.
        driver: Settings of the driver process; the usual ones by default. Its cancellation is replaced by Ctrl-C's.
    """
    from evalrun_runner.cli.failures import result_of
    from evalrun_runner.cli.files import base_of, parse
    from evalrun_runner.cli.localize import absolute

    try:
        parsed = parse(file, options.settings, None if options.output is None else absolute(options.output))
    except Exception as error:
        if options.json:
            print(result_of(error).to_json(indent=2))
        raise
    return run_parsed(parsed, base_of(file), options, driver)


def run_parsed(parsed: EvalRunFile, base: Path, options: RunOptions, driver: DriverOptions | None = None) -> int:
    """Run what a file says; return the exit code.

    Args:
        parsed: The file's content.
        base: Folder that its paths are relative to.
        options: The options of the command.
        driver: Settings of the driver process; the usual ones by default.
    """
    from evalrun_runner.cli.failures import result_of

    local: LocalRun | None = None
    try:
        if options.dry_run:
            from evalrun_runner.cli.preview import print_previews

            local = _local_run(parsed, base, options, driver)
            print_previews(local.preview(), json_output=options.json)
            return 0
        from evalrun_runner.cli.replicas import started_replicas

        # The replicas import the engine's libraries while this process imports the driver's and checks the run.
        with started_replicas(parsed.evalrun.spec) as start:
            local = _local_run(parsed, base, options, driver)
            result = local.run(start.fleet)
    except Exception as error:
        if options.json:
            failed = result_of(error) if local is None else local.failed(error)
            print(failed.to_json(indent=2))
        raise
    if options.json:
        print(result.to_json(indent=2))
    else:
        from evalrun_runner.cli.tables import print_results

        print_results(result, local.strata)
    return exit_code(result)


def _local_run(file: EvalRunFile, base: Path, options: RunOptions, driver: DriverOptions | None) -> LocalRun:
    from evalrun_runner.cli.local_run import LocalRun

    return LocalRun(file, base, options, driver)


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


def results(uri: str, *, json_output: bool) -> int:
    """Print a finished run's scores and verdicts; return the exit code. Raises ``InputError`` where there are none."""
    from evalrun_runner.cli.localize import absolute
    from evalrun_runner.cli.tables import print_results
    from evalrun_runner.driver.results import read_result, read_strata

    location = RunLocation(uri=absolute(uri))
    try:
        result = read_result(location)
    except StoreDenied as error:
        raise InputError(str(error), reason=error.reason) from error
    if json_output:
        print(result.to_json(indent=2))
    else:
        print_results(result, read_strata(location))
    return exit_code(result)


def tasks(pattern: str, source: Path | None, kind: str | None) -> None:
    """List benchmarks. Raises ``InputError`` if none matches."""
    from evalrun_runner.benchmarks.listing import list_tasks

    found, on_terminal = False, sys.stdout.isatty()
    for row in list_tasks(pattern, source):
        if kind not in {None, row.kind}:
            continue
        found = True
        if on_terminal:
            print(f"{row.name:<60} {row.kind:<6} {row.output_type:<22} {row.description}".rstrip())
        else:
            # For programs one tab between two fields, and nothing else.
            print("\t".join((row.name, row.kind, row.output_type, row.description)).rstrip())
    if not found:
        raise InputError(
            f"no {kind or 'task, group or tag'} fits {pattern!r}; try a part of a name, or a glob such as 'mmlu_*'"
        )


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
