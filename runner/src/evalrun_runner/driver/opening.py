"""Beginning of a run and of its preview: the preflight, and the plan that the output holds already."""

from __future__ import annotations

from collections.abc import Callable

from evalrun_api import Phase, Reason, RunConfig
from evalrun_runner.driver.preflight import Preflight
from evalrun_runner.driver.progress import View, Watcher
from evalrun_runner.errors import default_reason
from evalrun_runner.planning.identity import Plan, check_may_resume, read_plan


def open_run(
    config: RunConfig, watcher: Watcher, preflight: Callable[[RunConfig], Preflight]
) -> tuple[Preflight, Plan | None]:
    """Run the preflight, and read the plan that is there, if any.

    Raises:
        InputError: Something in the run is wrong, or the output holds another plan.
        RunFailed: The store or the model could not be read.
    """
    watcher.show(View(Phase.STARTING, "checking the store and the model"))
    # What else can be wrong there (a suite, a secret, an address) says so itself.
    with default_reason(Reason.MODEL_INVALID):
        setting = preflight(config)
    with default_reason(Reason.PLAN_MISMATCH):
        if (plan := read_plan(setting.store)) is not None:
            check_may_resume(plan, setting.identity, config.results.uri)
    return setting, plan
