"""Scoring in a process of its own, outside the engine's loop.

Metrics are other people's code: a regular expression may run forever, a parser may crash. If a chunk takes too long,
the process is killed and the chunk's items are scored one by one; an item that hangs or crashes is ``failed``.
Building a task is a separate request before that: a failure there is not the fault of an item, and fails the run.

The processes exchange pickles over a ``multiprocessing`` connection; both ends are this module, on one machine. The
child ends when the connection closes, and with the thread that started it, so that it never outlives a replica, however
that dies and whatever a metric does.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from evalrun_runner.errors import EvalRunError, RunFailed
from evalrun_runner.execution.verdicts import USUAL_LIMITS
from evalrun_runner.records.plan import Item
from evalrun_runner.records.results import ItemResult, ItemStatus, Outcome, unscored

if TYPE_CHECKING:
    from evalrun_runner.benchmarks.recipe import TaskRecipe

START_SECONDS = 300.0
"""Maximum time for a child to import lm-eval and build a task on a busy machine, in seconds."""
SECONDS_OF_A_PROGRAM = USUAL_LIMITS.wall_seconds + 1.0
"""Added to the maximum time for each response of a task that runs code, in seconds: programs have limits themselves."""
PASSED_ON = frozenset(
    {"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "XDG_CACHE_HOME", "HF_HOME", "NLTK_DATA", "PYTHONPATH"}
)
"""Environment variables that a metric may see."""
_PR_SET_PDEATHSIG = 1


class ScoringDied(Exception):
    """Death of the child, which crashed or was killed because it took too long."""


class ScoringProcess:
    """Parent's end of the scoring process. Only one thread may use it, and the child ends with that thread.

    Args:
        recipes: Recipes of the run's leaf tasks, by name.
        timeout: Maximum time for a chunk, or for one item that is scored alone, in seconds.
    """

    def __init__(self, recipes: Mapping[str, TaskRecipe], *, timeout: float = 120.0) -> None:
        self._recipes = dict(recipes)
        self._timeout = timeout
        self._child: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._built: set[str] = set()

    def score(self, task: str, items: Sequence[Item], outcomes: Sequence[Outcome]) -> list[ItemResult]:
        """Score items, and return the rows of a part, one per item.

        Raises:
            RunFailed: Scoring cannot work at all.
            InputError: The task cannot be scored in chunks.
        """
        try:
            return self._score(task, items, outcomes)
        except ScoringDied:
            return [self._alone(task, item, outcome) for item, outcome in zip(items, outcomes, strict=True)]

    def start(self) -> None:
        """Start the child, so that it imports lm-eval while the engine loads; does nothing if it was started.

        Raises:
            RunFailed: The child cannot be started.
        """
        if self._child is not None:
            return
        # Metrics are other people's code: they get no credentials, neither of stores nor of Ray.
        environment = {name: value for name, value in os.environ.items() if name in PASSED_ON}
        environment |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        self._built.clear()
        self._connection, theirs = multiprocessing.Pipe()
        with theirs:
            # -P: the child must not import from the working directory.
            command = [sys.executable, "-P", "-m", "evalrun_runner.replica.scoring", str(theirs.fileno())]
            self._child = subprocess.Popen(  # noqa: S603  our own interpreter and module
                command,
                stdin=subprocess.DEVNULL,
                stdout=2,  # what a metric prints goes to the log
                pass_fds=(theirs.fileno(),),
                env=environment,
            )
        try:
            self._connection.send(self._recipes)
        except OSError as error:
            code = self._child.wait()
            self.close()
            raise RunFailed(
                f"the scoring process cannot be started: the scoring process ended with code {code}"
            ) from error

    def close(self) -> None:
        """End the child."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None

    def _alone(self, task: str, item: Item, outcome: Outcome) -> ItemResult:
        try:
            (result,) = self._score(task, [item], [outcome])
        except ScoringDied as error:
            failed = Outcome(ItemStatus.FAILED, outcome.responses, f"ScoringDied: {error}")
            return unscored(item, failed)
        return result

    def _score(self, task: str, items: Sequence[Item], outcomes: Sequence[Outcome]) -> list[ItemResult]:
        self._build(task)
        programs = sum(map(_responses, outcomes)) if self._recipes[task].runs_code else 0
        patience = self._timeout + programs * SECONDS_OF_A_PROGRAM
        results: list[ItemResult] = self._ask((task, list(items), list(outcomes)), patience)
        return results

    def _build(self, task: str) -> None:
        """Make sure that the child has built the task.

        Raises:
            RunFailed: The task cannot be built.
        """
        self.start()
        if task in self._built:
            return
        try:
            self._ask(task, START_SECONDS)
        except ScoringDied:
            # The child may have been killed while it was idle; if a second one dies, the task is the cause.
            try:
                self.start()
                self._ask(task, START_SECONDS)
            except ScoringDied as error:
                raise RunFailed(f"task {task}: its metrics cannot be built in the scoring process: {error}") from error
        self._built.add(task)

    def _ask(self, message: Any, patience: float) -> Any:
        child, connection = self._child, self._connection
        assert child is not None and connection is not None
        late = threading.Event()

        def kill() -> None:
            late.set()
            child.kill()

        # A watchdog instead of poll(): a child may also hang while half of a message is sent.
        watchdog = threading.Timer(patience, kill)
        watchdog.start()
        try:
            connection.send(message)
            answer = connection.recv()
        except (EOFError, OSError) as error:
            code = child.wait()
            self.close()
            if late.is_set():
                raise ScoringDied(f"there was no answer within {patience:g} s") from error
            raise ScoringDied(f"the scoring process ended with code {code}") from error
        finally:
            watchdog.cancel()
        if isinstance(answer, EvalRunError):
            raise answer
        return answer


def _responses(outcome: Outcome) -> int:
    return sum(map(len, outcome.responses))


def _serve(connection: Connection) -> None:
    """Serve as the child: receive the recipes, then names of tasks to build and chunks to score, until the end."""
    # A metric that never returns never reads the connection, so the kernel must end the child with its parent.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    from evalrun_runner.benchmarks.score import Scorer

    scorers: dict[str, Scorer] = {}

    def answer(request: Any) -> Any:
        if not isinstance(request, str):
            task, items, outcomes = request
            return scorers[task].score(items, outcomes)
        try:
            scorers[request] = Scorer(recipes[request])
        except Exception as error:  # noqa: BLE001  whatever keeps a task from being built fails the run, by name
            reason = f"{type(error).__name__}: {error}"
            return RunFailed(f"task {request}: its metrics cannot be built in the scoring process: {reason}")
        return None

    try:
        recipes = connection.recv()
        while True:
            request = connection.recv()
            try:
                result = answer(request)
            except EvalRunError as error:
                result = error
            connection.send(result)
    except (EOFError, ConnectionError):
        return


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])))
