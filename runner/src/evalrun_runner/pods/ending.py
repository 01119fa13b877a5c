"""Translation of a driver's end into its termination message and exit code, with the only classification of errors."""

from __future__ import annotations

from dataclasses import dataclass

from evalrun_api import Failure, Phase, Reason, RunConfig, RunProgress, RunResult
from evalrun_api.wire.pods import ExitCode
from evalrun_runner.errors import EvalRunError, InputError, Interrupted, StoreDenied, Superseded

FINAL = frozenset({Reason.TOO_MANY_FAILED_ITEMS, Reason.LEDGER_CORRUPT, Reason.STORAGE_UNSAFE, Reason.OUT_OF_MEMORY})
"""Reasons that another attempt would only repeat."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a driver process ends its attempt."""

    result: RunResult
    code: ExitCode

    @property
    def over(self) -> bool:
        """Whether this attempt's replicas are done, because no other driver continues with them.

        If a driver was stopped or superseded, its replicas wait for the next one.
        """
        return self.code not in {ExitCode.STOPPED, ExitCode.SUPERSEDED}


def ending_of_result(result: RunResult) -> Ending:
    """Return the ending of a run that reached its result."""
    return Ending(result, ExitCode.DONE if result.phase is Phase.SUCCEEDED else ExitCode.FINAL)


def ending_of_error(
    error: BaseException, config: RunConfig | None, progress: RunProgress, *, in_preflight: bool
) -> Ending:
    """Return the ending of a run that raised an error.

    Args:
        error: The error.
        config: The configuration; None if it could not be read.
        progress: The progress before the error.
        in_preflight: Whether preflight had not passed yet.
    """
    phase, code = _classify(error, first=config is not None and config.attempt == 1 and in_preflight)
    if isinstance(error, EvalRunError):
        failure = Failure(reason=error.reason, message=str(error))
    else:
        failure = Failure(reason=Reason.INTERNAL_ERROR, message=f"{type(error).__name__}: {_last_line(error)}")
    return Ending(
        RunResult(
            phase=phase,
            counts=progress.counts,
            work=progress.work,
            results_uri=None if config is None else config.results.uri,
            failure=failure,
        ),
        # If this runner cannot read the configuration, no other attempt's can.
        code if config is not None else ExitCode.FINAL,
    )


def _classify(error: BaseException, *, first: bool) -> tuple[Phase, ExitCode]:
    match error:
        case InputError():
            return Phase.INVALID, ExitCode.INVALID
        case Interrupted():
            return Phase.SUSPENDED, ExitCode.STOPPED
        case Superseded():
            return Phase.FAILED, ExitCode.SUPERSEDED
        case EvalRunError() if error.reason in FINAL:
            return Phase.FAILED, ExitCode.FINAL
        # In the first preflight, a refused bucket or refused credentials are mistakes; later, they have worked before.
        case StoreDenied() if first:
            return Phase.INVALID, ExitCode.INVALID
        case _:
            return Phase.FAILED, ExitCode.FAILED


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else "without a word"
