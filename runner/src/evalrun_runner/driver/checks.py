"""List of the checks of a run's benchmarks that need no engine: they end before a replica is asked for."""

from __future__ import annotations

from evalrun_api import EvalRunSpec, RunWarning
from evalrun_runner.benchmarks.chat import ChatTemplate
from evalrun_runner.benchmarks.checks.declarations import check_declarations
from evalrun_runner.benchmarks.checks.preview import plain_turns
from evalrun_runner.benchmarks.checks.summary import check_surveys
from evalrun_runner.benchmarks.checks.turns import check_turns
from evalrun_runner.benchmarks.checks.wishes import check_wishes
from evalrun_runner.benchmarks.code_eval import prove_sandbox
from evalrun_runner.benchmarks.load import LoadedBenchmarks
from evalrun_runner.benchmarks.possible_scores import check_groups, possible_scores
from evalrun_runner.driver.dry_run import EngineRules, try_out
from evalrun_runner.driver.gate_checks import check_gates
from evalrun_runner.driver.preflight import Preflight
from evalrun_runner.driver.reasoning import check_thinking_model, check_thinking_tasks
from evalrun_runner.driver.wishes import check_settings_of_run


def check_benchmarks(
    setting: Preflight, benchmarks: LoadedBenchmarks, chat: ChatTemplate | None
) -> tuple[RunWarning, ...]:
    """Check what is known of the benchmarks without an engine, the cheapest first.

    Args:
        setting: The run's surroundings.
        benchmarks: Its leaf tasks and groups.
        chat: The model's chat template, if a benchmark applies one.

    Returns:
        What the reader of the scores should know. It follows from the run's input alone, so that every driver of the
        run finds the same.

    Raises:
        InputError: Something is wrong that would end items, scores or gates later.
    """
    spec = setting.config.spec
    if setting.model is not None:
        check_thinking_model(spec, setting.tokenizer)
    return (
        *check_settings_of_run(setting.config),
        *check_turns(benchmarks, chat),
        *_check(spec, benchmarks, chat, EngineRules.of(setting)),
    )


def check_without_model(spec: EvalRunSpec, benchmarks: LoadedBenchmarks) -> tuple[RunWarning, ...]:
    """Check what is known of the benchmarks without a model; conversations are rendered as plain turns.

    Raises:
        InputError: Something is wrong that would end items, scores or gates later.
    """
    return _check(spec, benchmarks, plain_turns, None)


def _check(
    spec: EvalRunSpec, benchmarks: LoadedBenchmarks, chat: ChatTemplate | None, engine: EngineRules | None
) -> tuple[RunWarning, ...]:
    scores, may_fail = possible_scores(benchmarks), spec.policy.max_failed_items
    check_gates(spec.gates, spec.benchmarks, scores)
    check_declarations(benchmarks)
    check_thinking_tasks(spec, benchmarks)
    if benchmarks.runs_code:
        prove_sandbox()
    return (
        *check_wishes(spec.benchmarks, benchmarks),
        *check_surveys(benchmarks.surveys, may_fail),
        *check_groups(scores),
        *try_out(benchmarks, chat, engine, may_fail=may_fail),
    )
