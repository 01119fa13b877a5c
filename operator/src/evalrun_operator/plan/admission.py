"""The queue of a run: what its Jobs carry counts, whoever put it there, not what its EvalRun says.

Kueue's webhook labels and suspends Jobs that name no queue, where a namespace has a LocalQueue named default; so the
driver's Job may wait, too. Time in a queue never counts against a deadline.
"""

from __future__ import annotations

from datetime import timedelta

from evalrun_api import Reason
from evalrun_operator.plan import findings as find
from evalrun_operator.plan.findings import Finding
from evalrun_operator.plan.situation import Situation
from evalrun_operator.state.observed import Admission


def admitted(situation: Situation) -> Finding:
    """Return whether the run may use its resources."""
    driver, replicas = situation.attempt.driver, situation.attempt.replicas
    if driver is not None and driver.queued:
        return find.false(Reason.WAITING_FOR_ADMISSION, _waits("driver", driver.admission))
    if replicas is not None and replicas.queued:
        return find.false(Reason.WAITING_FOR_ADMISSION, _waits("replicas", replicas.admission))
    if situation.queue is None:
        return find.true(Reason.NO_QUEUE, "the run's Jobs are in no queue")
    if replicas is None:
        message = f"queue {situation.queue} is asked to admit the replicas once preflight has passed"
        return find.false(Reason.WAITING_FOR_ADMISSION, message)
    return find.true(Reason.ADMITTED, f"queue {situation.queue} admitted the replicas")


def waiting_message(situation: Situation) -> str:
    """Describe what a queued run waits for."""
    return admitted(situation).message


def dispatched(situation: Situation) -> str | None:
    """Return why a run cannot go on in another cluster; None unless MultiKueue takes one of its Jobs there."""
    parts = (situation.attempt.driver, situation.attempt.replicas)
    found = next((part.admission for part in parts if part is not None and part.admission.elsewhere), None)
    if found is None:
        return None
    queue = found.queue or "default"
    words = f" ({found.message})" if found.message else ""
    return (
        f"MultiKueue is not supported: queue {queue} sends Jobs to other clusters{words}, where the run's driver, "
        "configuration and Secrets are not; hint: name a LocalQueue whose ClusterQueue has no admission check of "
        "MultiKueue, and create the run again"
    )


def may_leave(situation: Situation) -> bool:
    """Tell whether the driver has waited for its replicas' admission long enough to leave until then."""
    replicas = situation.attempt.replicas
    if replicas is None or not replicas.queued or replicas.admission.since is None:
        return False
    patience = timedelta(seconds=situation.settings.queued_driver_seconds)
    return situation.now - replicas.admission.since >= patience


def _waits(part: str, admission: Admission) -> str:
    if not admission.queue:
        told = f": {admission.message}" if admission.message else ""
        return f"the Job of the {part} is suspended, and names no queue{told}"
    told = f": {admission.message}" if admission.message else ""
    return f"queue {admission.queue} has not admitted the {part} yet{told}"
