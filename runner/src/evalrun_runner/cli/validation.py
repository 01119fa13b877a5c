"""The command ``evalrun validate``: the contract's rules, without the runner's libraries unless tasks are asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evalrun_api.reading.parse import EvalRunFile, cluster_problems, unlabelled
from evalrun_api.reading.problems import InvalidInput
from evalrun_runner.cli.files import base_of, parse
from evalrun_runner.driver.limits import check_limits
from evalrun_runner.errors import EvalRunError, InputError

if TYPE_CHECKING:
    from evalrun_api import RunWarning


@dataclass(frozen=True, slots=True)
class Checks:
    """What is checked besides the fields."""

    cluster: bool
    """What only a cluster asks for."""
    tasks: bool
    """Whether the tasks load; each is previewed."""
    allow_code: bool
    """Whether suites of the user's own may hold code."""


def validate(files: Sequence[str], settings: Sequence[str], checks: Checks) -> int:
    """Check files, print what is wrong with each, and return the exit code."""
    code = 0
    for file in files:
        try:
            parsed = parse(file, settings)
            if not checks.tasks:
                for warning in check_limits(parsed.evalrun.spec):
                    print(f"{file}: warning: {warning.line}", file=sys.stderr)
            if checks.cluster and (problems := [*cluster_problems(parsed.evalrun), *unlabelled(parsed)]):
                raise InvalidInput(file, problems)
            if checks.tasks:
                _preview(parsed, file, allow_code=checks.allow_code)
        except (InvalidInput, EvalRunError) as error:
            print(error, file=sys.stderr)
            code = max(code, error.exit_code if isinstance(error, EvalRunError) else InputError.exit_code)
        else:
            print(f"{file}: valid")
    return code


def _preview(parsed: EvalRunFile, file: str, *, allow_code: bool) -> None:
    from evalrun_api.wire.resolve import resolve_suites
    from evalrun_runner.cli.localize import LocalResolver
    from evalrun_runner.cli.preview import print_previews
    from evalrun_runner.cli.scratch import Scratch
    from evalrun_runner.driver.rehearsal import preview_spec

    spec = parsed.evalrun.spec
    with Scratch() as scratch:
        suites = resolve_suites(spec.benchmarks, LocalResolver(parsed, base_of(file), scratch))
        previews = preview_spec(spec, suites, _warn, allow_code=allow_code)
        print_previews(previews, json_output=False)


def _warn(warning: RunWarning) -> None:
    print(f"warning: {warning.line}", file=sys.stderr)
