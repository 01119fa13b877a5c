"""From what a driver ended with to its last words and its exit code: the one place where errors are classified."""

from __future__ import annotations

from dataclasses import dataclass

from evalrun_api import Failure, Phase, Reason, RunConfig, RunResult
from evalrun_api.wire.pods import ExitCode
from evalrun_api.wire.runprogress import RunProgress
from evalrun_runner.errors import EvalRunError, InputError, Interrupted, StoreDenied, Superseded

FINAL = frozenset({Reason.TOO_MANY_FAILED_ITEMS, Reason.LEDGER_CORRUPT, Reason.STORAGE_UNSAFE, Reason.OUT_OF_MEMORY})
"""What another attempt would only meet again."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a driver ends."""

    result: RunResult
    code: ExitCode

    @property
    def over(self) -> bool:
        """Whether this attempt's replicas are done: no other driver goes on with them.

        A driver that was stopped or overtaken is followed by another one, which its replicas wait for.
        """
        return self.code not in {ExitCode.STOPPED, ExitCode.SUPERSEDED}


def ending_of_result(result: RunResult) -> Ending:
    """Of a run that came to its result."""
    return Ending(result, ExitCode.DONE if result.phase is Phase.SUCCEEDED else ExitCode.FINAL)


def ending_of_error(
    error: BaseException, config: RunConfig | None, progress: RunProgress, *, in_preflight: bool
) -> Ending:
    """Of a run that did not. ``config`` None: it could not be read; ``progress``: how far it was."""
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
        # What no runner can read, no other attempt's can either.
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
        # Before anything was ever asked, a bucket or credentials that are refused are mistakes; later, they were good.
        case StoreDenied() if first:
            return Phase.INVALID, ExitCode.INVALID
        case _:
            return Phase.FAILED, ExitCode.FAILED


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else "without a word"
