"""The input of every decision: a run, its present attempt, and what it has used up so far."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from evalrun_api import Disruptions, EvalRunStatus
from evalrun_operator.names import LABEL_QUEUE
from evalrun_operator.plan.budgets import COUNTED, disruptions_so_far
from evalrun_operator.plan.ending import AttemptOutcome, ending_of
from evalrun_operator.settings import OperatorSettings
from evalrun_operator.state.desired import Desired, DesiredState
from evalrun_operator.state.observed import Attempt, Observed


@dataclass(frozen=True, slots=True)
class Situation:
    """The input of every decision."""

    observed: Observed
    settings: OperatorSettings
    now: datetime
    number: int
    """Number of the present attempt; 0 before the first."""
    charged: int
    """Charged attempts before the present one."""
    spent: float
    """Seconds of running so far."""
    disruptions: Disruptions | None = None
    """Disruptions of the driver since the last finished item."""
    status: EvalRunStatus = field(default_factory=EvalRunStatus)

    @property
    def attempt(self) -> Attempt:
        """The existing children of the present attempt."""
        return self.observed.attempt(self.number)

    @property
    def deadline(self) -> int | None:
        """The value of policy.activeDeadlineSeconds."""
        return self.observed.run.spec.policy.active_deadline_seconds

    @property
    def deadline_over(self) -> bool:
        """Whether the run has used up its time."""
        return self.deadline is not None and self.spent >= self.deadline

    @property
    def too_often_disrupted(self) -> bool:
        """Whether the run has used up its disruptions."""
        most = self.observed.run.spec.policy.resolved_max_disruptions
        return self.disruptions is not None and self.disruptions.count > most

    @property
    def queue(self) -> str | None:
        """The queue that the replicas' Job carries; before there is one, that which it will probably carry."""
        if self.attempt.replicas is not None:
            return self.attempt.replicas.admission.queue or None
        of_driver = self.attempt.driver.admission.queue if self.attempt.driver is not None else ""
        return self.observed.run.metadata.labels.get(LABEL_QUEUE) or of_driver or None

    @property
    def queued(self) -> bool:
        """Whether a queue keeps a part of the run from starting."""
        driver, replicas = self.attempt.driver, self.attempt.replicas
        return (driver is not None and driver.queued) or (replicas is not None and replicas.queued)

    def desired(self, driver: Desired, replicas: Desired, number: int | None = None) -> DesiredState:
        """Build the desired state of the present attempt, or of attempt ``number``."""
        # Under a queue a driver may wait forever: a limit on its Job would cost its replicas their place in the queue.
        spent = int(self.spent)
        unlimited = self.deadline is None or self.queue is not None or self.queued
        left = None if self.deadline is None or unlimited else max(1, self.deadline - spent)
        return DesiredState(
            self.number if number is None else number,
            driver,
            replicas,
            count=self.observed.run.spec.replicas.count,
            seconds_left=left,
            queue=self.queue,
            seconds_spent=spent,
        )


def situation_of(observed: Observed, settings: OperatorSettings, status: EvalRunStatus, now: datetime) -> Situation:
    """Assemble the input of a decision."""
    since = 0.0 if status.active_since is None else (now - status.active_since) / timedelta(seconds=1)
    situation = Situation(
        observed,
        settings,
        now,
        number=observed.last_attempt,
        charged=status.charged_attempts or 0,
        spent=(status.active_seconds or 0) + max(0.0, since),
        status=status,
    )
    charged = uncharged = 0
    for number in range(status.attempt or 1, situation.number):
        driver = observed.attempt(number).driver
        ending = None
        if driver is not None and driver.phase.ended:
            ending = ending_of(driver, deadline_over=situation.deadline_over)
        if ending is not None and ending.verdict is AttemptOutcome.RETRY:
            charged += 1
        elif status.phase not in COUNTED:
            uncharged += 1
    return replace(
        situation,
        charged=situation.charged + charged,
        disruptions=disruptions_so_far(observed, uncharged, now),
    )
