"""``evalrun rescore``: recorded answers scored anew, as a run that asks no engine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalrun_api import EvalRunSpec, RunLocation
from evalrun_api.base import API_VERSION, KIND
from evalrun_api.reading.parse import EvalRunFile, parse_documents
from evalrun_runner.cli import commands
from evalrun_runner.cli.files import override
from evalrun_runner.cli.localize import absolute
from evalrun_runner.driver.record import read_record
from evalrun_runner.errors import InputError, StoreDenied
from evalrun_runner.store.access import store_spec
from evalrun_runner.store.open import open_store

if TYPE_CHECKING:
    from evalrun_runner.driver.assembly import DriverOptions

MOST_PROCESSES = 16


@dataclass(frozen=True, slots=True)
class RescoreOptions:
    """Options of ``evalrun rescore``."""

    answers: Path | None
    suite: Path | None
    tasks: tuple[str, ...]
    name: str
    output: str
    settings: tuple[str, ...]
    allow_code: bool
    json: bool


def rescore(uri: str | None, options: RescoreOptions, driver: DriverOptions | None = None) -> int:
    """Score recorded answers; return the exit code of the run.

    Args:
        uri: Output of the run whose answers are scored; None with ``answers``.
        options: The options of the command.
        driver: Settings of the driver process; the usual ones by default.

    Raises:
        InputError: There are no such answers, or they do not fit the tasks.
    """
    if (uri is None) == (options.answers is None):
        raise InputError("expected either the output of a run, or --answers FILE; hint: `evalrun rescore --help`")
    spec = _of_file(options) if uri is None else _of_run(uri, options)
    document: dict[str, Any] = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": "rescored"},
        "spec": spec,
    }
    for setting in options.settings:
        override(document, setting)
    file = parse_documents([document], "evalrun rescore")
    return _run(file, options, driver)


def _run(file: EvalRunFile, options: RescoreOptions, driver: DriverOptions | None) -> int:
    run = commands.RunOptions(
        output=None,
        settings=(),
        fresh=False,
        allow_code=options.allow_code,
        port=None,
        json=options.json,
        dry_run=False,
    )
    return commands.run_parsed(file, Path.cwd(), run, driver)


def _of_file(options: RescoreOptions) -> dict[str, Any]:
    assert options.answers is not None, "it was asked for before"
    if not options.tasks:
        raise InputError("--answers: which task were they asked for? Expected --task NAME, which may be repeated")
    file = options.answers.resolve()
    source = {} if options.suite is None else {"source": {"path": str(options.suite.resolve())}}
    return {
        "model": {"name": options.name, "uri": file.as_uri()},
        "benchmarks": [{"task": task, **source} for task in options.tasks],
        **_common(str(file), options),
    }


def _of_run(uri: str, options: RescoreOptions) -> dict[str, Any]:
    place = absolute(uri)
    try:
        record = read_record(open_store(store_spec(RunLocation(uri=place))))
    except StoreDenied as error:
        raise InputError(str(error), reason=error.reason) from error
    if record is None:
        raise InputError(f"{uri} holds no run: there is no run.json; expected the output of a finished run")
    spec = record.spec.to_dict()
    policy = {name: value for name, value in spec.get("policy", {}).items() if name != "stopEarly"}
    return {
        **{name: value for name, value in spec.items() if name in {"model", "seed", "gates"}},
        "benchmarks": _benchmarks(record.spec, spec["benchmarks"], options),
        **({"policy": policy} if policy else {}),
        **_common(place, options),
    }


def _benchmarks(
    asked: EvalRunSpec, written: list[Mapping[str, Any]], options: RescoreOptions
) -> list[Mapping[str, Any]]:
    known = {name for benchmark in asked.benchmarks for name in (benchmark.resolved_name, benchmark.task)}
    if unknown := sorted(set(options.tasks) - known):
        raise InputError(f"--task {unknown[0]}: the run has no such benchmark; it has {', '.join(sorted(known))}")
    found: list[Mapping[str, Any]] = []
    replaced = False
    for benchmark, one in zip(asked.benchmarks, written, strict=True):
        if options.tasks and not {benchmark.resolved_name, benchmark.task} & set(options.tasks):
            continue
        if options.suite is not None and benchmark.source is not None:
            replaced = True
            found.append({**one, "source": {"path": str(options.suite.resolve())}})
        else:
            found.append(one)
    if options.suite is not None and not replaced:
        raise InputError(
            f"--suite {options.suite}: none of the run's benchmarks is of a suite of your own; they are lm-eval's tasks"
        )
    return found


def _common(recorded: str, options: RescoreOptions) -> dict[str, Any]:
    return {
        "engine": {"recorded": {"uri": recorded}},
        "replicas": {"count": max(1, min(os.cpu_count() or 1, MOST_PROCESSES))},
        "output": {"uri": options.output},
    }
