"""When a replica that left is replaced, and when a run gives up on its replicas. Pure: departures in, decisions out.

Two counts decide, and only suspicious departures (a crash, a kill of a hung replica) add to them; a node that is lost
or preempted never does, however often.

*Failures* are departures one after another with nothing committed in between. A run in which no replica lasts gives
up after more than

    most_failures + quarantined items

of them: each quarantined item has cost an engine of its own, and is out of the way since.

*Failed starts* are replicas that crashed before they were ready while others work. After more than ``most_failures``
of them no further one is started in their place, and the run goes on with those that work. These are still replaced
when they leave: a run without replicas would stand still.

The pause before a replacement, with n = failures + failed starts, is none for n <= 1, since most crashes happen once,
then ``first_pause * 2^(n - 2)`` seconds up to ``longest_pause``, since what is missing (memory, a device) may be on
its way back.

*Unstarted* is a process that ended before it said a word: no model was loaded and no item seen, so that it is the
machine or the installation, and hardly passes by itself. More than ``most_unstarted`` in a row, while no other replica
works, end the run.

Example, of one replica that crashes each time it is started, with the defaults: it is replaced at once, then after 5,
10, 20 and 40 seconds, and the sixth crash ends the run.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from evalrun_api.backoff import backoff
from evalrun_runner.dispatch.policy import Departure


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Numbers that decisions on restarts depend on."""

    most_failures: int = 5
    """Failures in a row, and failed starts altogether, that are met with another replica."""
    most_unstarted: int = 2
    """Processes in a row that could not be started, and are met with another one."""
    first_pause: float = 5.0
    """Seconds between the second failure and its replacement; doubles with each further one."""
    longest_pause: float = 60.0
    """Seconds between a failure and its replacement, at most."""


class Reached(Enum):
    """How far a replica came before it left."""

    NOTHING = auto()
    """Its process ended, or was given up, before it said a word."""
    PROCESS = auto()
    """Its engine was not loaded."""
    ENGINE = auto()
    """It was ready."""


@dataclass(frozen=True, slots=True)
class Replace:
    """Start another replica when its pause is over: ``Restarts.take_due`` counts it from ``at`` on."""

    at: float


@dataclass(frozen=True, slots=True)
class StopReplacing:
    """Start no replica in the place of this one: the run goes on with the ``working`` ones."""

    working: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """End the run."""

    message: str
    """Reason in words for people."""


RestartDecision = Replace | StopReplacing | GiveUp


class Restarts:
    """The restarts of one driver's replicas. ``now`` is seconds on any clock that does not go back."""

    def __init__(self, policy: RestartPolicy | None = None) -> None:
        self._policy = policy or RestartPolicy()
        self._failures = 0
        self._failed_starts = 0
        self._unstarted = 0
        self._due: list[float] = []

    @property
    def failures(self) -> int:
        """Suspicious departures in a row with nothing committed in between."""
        return self._failures

    def committed(self) -> None:
        """Start the count of failures anew: some replica has committed something."""
        self._failures = 0

    def left(
        self,
        departure: Departure,
        detail: str,
        now: float,
        *,
        reached: Reached,
        working: int,
        quarantined: int,
    ) -> RestartDecision:
        """Decide what follows the departure of a replica.

        Args:
            departure: Why it left. A drained replica is not to be given: its machine takes no other one.
            detail: What it left with, for people.
            now: When it left.
            reached: How far it came.
            working: Replicas that are ready now.
            quarantined: Items that were found to kill engines so far.
        """
        self._unstarted = self._unstarted + 1 if reached is Reached.NOTHING else 0
        if self._unstarted > self._policy.most_unstarted and not working:
            return GiveUp(
                f"no replica can be started: {self._unstarted} processes in a row ended without a word; the last: "
                f"{detail}\nhint: a replica is a process in this command's own Python environment; look for what keeps "
                "a second one from running: sitecustomize, PYTHONPATH, a limit of memory or processes"
            )
        if reached is not Reached.ENGINE and working:
            self._failed_starts += departure.suspicious
            if self._failed_starts > self._policy.most_failures:
                return StopReplacing(working)
        else:
            self._failures += departure.suspicious
        if self._failures > self._policy.most_failures + quarantined:
            return GiveUp(
                f"{self._failures} replicas in a row left with nothing committed in between; the last: {detail}"
            )
        tries = self._failures + self._failed_starts
        at = now + backoff(tries - 1, self._policy.first_pause, self._policy.longest_pause)
        self._due.append(at)
        return Replace(at)

    def take_due(self, now: float) -> int:
        """Return how many replacements are to be started now, each of them once."""
        if not self._due:
            return 0
        waiting = [at for at in self._due if at > now]
        due = len(self._due) - len(waiting)
        self._due = waiting
        return due
