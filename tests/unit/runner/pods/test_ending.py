"""What a driver says at its end: phase, reason and exit code of everything that can end it."""

from __future__ import annotations

import pickle

import pytest

from evalrun_api import (
    Counts,
    EvalRunSpec,
    ModelLocation,
    Phase,
    Reason,
    RunConfig,
    RunLocation,
    RunProgress,
    RunResult,
    Work,
)
from evalrun_api.wire.pods import ExitCode
from evalrun_runner.errors import (
    InputError,
    Interrupted,
    LedgerCorrupt,
    RunFailed,
    StoreDenied,
    StoreFull,
    StoreUnavailable,
    Superseded,
    default_reason,
)
from evalrun_runner.pods.ending import ending_of_error, ending_of_result

CONFIG = RunConfig(
    name="my-run",
    uid="u",
    spec=EvalRunSpec.model_validate(
        {
            "model": {"uri": "hf://org/llama"},
            "engine": {"mock": {}},
            "replicas": {"count": 2},
            "benchmarks": [{"task": "a"}],
            "output": {"uri": "out"},
        }
    ),
    results=RunLocation(uri="file:///out/"),
    model=ModelLocation(name="llama", uri="hf://org/llama"),
)
PROGRESS = RunProgress(phase=Phase.RUNNING, counts=Counts(planned=9, ok=4), work=Work(kept=1))
FAILED, INVALID = Phase.FAILED, Phase.INVALID
MANY = Reason.TOO_MANY_FAILED_ITEMS


@pytest.mark.parametrize(
    ("error", "phase", "reason", "code"),
    [
        (InputError("a field"), INVALID, Reason.INVALID_SPEC, ExitCode.INVALID),
        (InputError("a task", reason=Reason.TASK_INVALID), INVALID, Reason.TASK_INVALID, ExitCode.INVALID),
        (StoreDenied("no bucket"), INVALID, Reason.STORAGE_DENIED, ExitCode.INVALID),
        (StoreDenied("two won", reason=Reason.STORAGE_UNSAFE), FAILED, Reason.STORAGE_UNSAFE, ExitCode.FINAL),
        (StoreUnavailable("503"), FAILED, Reason.STORAGE_UNAVAILABLE, ExitCode.FAILED),
        (StoreFull("full"), FAILED, Reason.STORAGE_FULL, ExitCode.FAILED),
        (LedgerCorrupt("damaged"), FAILED, Reason.LEDGER_CORRUPT, ExitCode.FINAL),
        (Superseded("epoch 2"), FAILED, Reason.SUPERSEDED, ExitCode.SUPERSEDED),
        (RunFailed("died", reason=Reason.REPLICAS_FAILED), FAILED, Reason.REPLICAS_FAILED, ExitCode.FAILED),
        (
            RunFailed("mostly", reason=Reason.TOO_MANY_FAILED_ITEMS),
            FAILED,
            Reason.TOO_MANY_FAILED_ITEMS,
            ExitCode.FINAL,
        ),
        (Interrupted("stopped"), Phase.SUSPENDED, Reason.INTERRUPTED, ExitCode.STOPPED),
        (ZeroDivisionError("division by zero"), FAILED, Reason.INTERNAL_ERROR, ExitCode.FAILED),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_every_error_has_its_phase_reason_and_exit_code(
    error: BaseException, phase: Phase, reason: Reason, code: ExitCode
) -> None:
    ending = ending_of_error(error, CONFIG, PROGRESS, in_preflight=True)
    assert (ending.result.phase, ending.code) == (phase, code)
    assert ending.result.failure is not None
    assert ending.result.failure.reason is reason
    assert str(error) in ending.result.failure.message
    assert (ending.result.counts, ending.result.work) == (PROGRESS.counts, PROGRESS.work), "what is committed is said"
    assert ending.result.results_uri == "file:///out/"


def test_a_denial_is_the_users_mistake_only_in_the_first_preflight() -> None:
    denied = StoreDenied("the bucket is gone")
    later = CONFIG.model_copy(update={"attempt": 2})
    for config, in_preflight in ((CONFIG, False), (later, True), (later, False)):
        ending = ending_of_error(denied, config, PROGRESS, in_preflight=in_preflight)
        assert (ending.result.phase, ending.code) == (Phase.FAILED, ExitCode.FAILED)


def test_a_configuration_that_cannot_be_read_is_not_read_again() -> None:
    ending = ending_of_error(ValueError("two\nlines"), None, PROGRESS, in_preflight=True)
    assert ending.code is ExitCode.FINAL
    assert ending.result.failure is not None
    assert ending.result.failure.message == "ValueError: lines"


@pytest.mark.parametrize(("phase", "code"), [(Phase.SUCCEEDED, ExitCode.DONE), (Phase.FAILED, ExitCode.FINAL)])
def test_a_result_is_final(phase: Phase, code: ExitCode) -> None:
    ending = ending_of_result(RunResult(phase=phase))
    assert (ending.code, ending.over) == (code, True)


def test_replicas_wait_for_the_next_driver() -> None:
    over = {
        type(error): ending_of_error(error, CONFIG, PROGRESS, in_preflight=False).over
        for error in (Interrupted("stopped"), Superseded("epoch 2"), RunFailed("died"), InputError("wrong"))
    }
    assert over == {Interrupted: False, Superseded: False, RunFailed: True, InputError: True}


def test_the_default_reason_applies_to_errors_without_one_and_survives_pickling() -> None:
    with pytest.raises(InputError) as caught, default_reason(Reason.TASK_INVALID), default_reason(Reason.MODEL_INVALID):
        raise InputError("no weights")
    assert pickle.loads(pickle.dumps(caught.value)).reason is Reason.MODEL_INVALID
    with pytest.raises(InputError) as caught, default_reason(Reason.MODEL_INVALID):
        raise InputError("no run", reason=Reason.NOT_FOUND)
    assert caught.value.reason is Reason.NOT_FOUND
    with pytest.raises(RunFailed) as failed, default_reason(Reason.MODEL_INVALID):
        raise RunFailed("a disk")
    assert failed.value.reason is Reason.INTERNAL_ERROR
