"""What a run would ask, without an engine: all is checked, nothing is written, each task shows its first document."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from evalrun_api import EvalRunSpec, Phase, Reason, RunConfig, RunWarning, SuiteLocation
from evalrun_runner.benchmarks.checks.preview import TaskPreview, plain_turns, preview_tasks
from evalrun_runner.benchmarks.suites.fetch import fetch_suites
from evalrun_runner.driver.baselines import check_baselines
from evalrun_runner.driver.checks import check_benchmarks, check_without_model
from evalrun_runner.driver.gate_sizes import check_sizes
from evalrun_runner.driver.opening import open_run
from evalrun_runner.driver.preflight import Preflight, chat_template, load_tasks, run_preflight
from evalrun_runner.driver.progress import View, Watcher
from evalrun_runner.driver.record import now
from evalrun_runner.errors import default_reason
from evalrun_runner.models.cache import default_cache


def preview_run(
    config: RunConfig, watcher: Watcher, preflight: Callable[[RunConfig], Preflight] = run_preflight
) -> Iterator[TaskPreview]:
    """Check a run as it is checked before any engine starts, and preview its tasks with the model's own template.

    Args:
        config: The run.
        watcher: Is told what is warned of.
        preflight: Opens and reads the store, brings the suites, checks the model.

    Raises:
        InputError: Something in the run is wrong.
        RunFailed: The store or the model could not be read.
    """
    setting, plan = open_run(config, watcher, preflight)
    watcher.show(View(Phase.STARTING, "loading the tasks"))
    with default_reason(Reason.TASK_INVALID):
        benchmarks = load_tasks(config.spec, setting.suites, allow_code=config.allow_code)
        chat = chat_template(setting, now() if plan is None else plan.clock)
        warnings = check_benchmarks(setting, benchmarks, chat)
    sizes = check_sizes(config.spec.gates, config.spec.benchmarks, benchmarks)
    for warning in (*warnings, *check_baselines(config), *sizes):
        watcher.log(f"warning: {warning.line}")
    return preview_tasks(benchmarks, chat)


def preview_spec(
    spec: EvalRunSpec, suites: Mapping[str, SuiteLocation], warn: Callable[[RunWarning], object], *, allow_code: bool
) -> Iterator[TaskPreview]:
    """Check and preview the tasks of a spec alone; conversations are shown without a model's template.

    Args:
        spec: The spec.
        suites: Where its suites are, by the name of their benchmark.
        warn: Is told what is warned of.
        allow_code: Whether suites of the user's own may hold code.

    Raises:
        InputError: A benchmark is wrong or unavailable.
    """
    folders = fetch_suites(suites, default_cache() / "suites")
    benchmarks = load_tasks(spec, folders, allow_code=allow_code)
    for warning in (*check_without_model(spec, benchmarks), *check_sizes(spec.gates, spec.benchmarks, benchmarks)):
        warn(warning)
    return preview_tasks(benchmarks, plain_turns)
