"""What people and programs are given of an error: one message, an exit code, and the result of a run that has none."""

from __future__ import annotations

import sys
import traceback

from evalrun_api import Counts, Failure, Phase, Reason, RunProgress, RunResult
from evalrun_api.reading.problems import InvalidInput
from evalrun_runner.errors import EvalRunError, InputError, Interrupted, first_line


def explain(error: Exception, shadow: str | None) -> int:
    """Print what went wrong on stderr, and return the exit code.

    Args:
        error: The error.
        shadow: Which module stands in for an installed one, if that may be the cause.
    """
    match error:
        case EvalRunError():
            print(f"evalrun: {error}{f' ({shadow})' if shadow else ''}", file=sys.stderr)
            return error.exit_code
        case InvalidInput():
            print(f"evalrun: {error}", file=sys.stderr)
            return InputError.exit_code
    traceback.print_exception(error)
    what = f"{type(error).__name__}: {first_line(error)}"
    print(f"evalrun: {what}. This is a defect: please report it with the lines above", file=sys.stderr)
    return EvalRunError.exit_code


def result_of(error: Exception, progress: RunProgress | None = None, uri: str | None = None) -> RunResult:
    """Return the result of a run that ended with an error.

    Args:
        error: The error.
        progress: How far the run was; None if it never began.
        uri: The run's output; None if it is not known yet.
    """
    match error:
        case InputError() | InvalidInput():
            phase = Phase.INVALID
        case Interrupted():
            phase = Phase.SUSPENDED
        case _:
            phase = Phase.FAILED
    match error:
        case EvalRunError():
            failure = Failure(reason=error.reason, message=str(error))
        case InvalidInput():
            failure = Failure(reason=Reason.INVALID_SPEC, message=str(error))
        case _:
            failure = Failure(reason=Reason.INTERNAL_ERROR, message=f"{type(error).__name__}: {first_line(error)}")
    result = RunResult(phase=phase, counts=Counts(), results_uri=uri, failure=failure)
    return result if progress is None else result.model_copy(update={"counts": progress.counts, "work": progress.work})
