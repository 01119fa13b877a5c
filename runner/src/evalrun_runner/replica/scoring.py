"""Scoring in a process of its own, off the engine's loop.

Metrics are other people's code: a regular expression may run for ever, a parser may crash. The process is killed when
a chunk takes too long; its items are then scored one by one, and the one that hangs or crashes is ``failed``, by name.
Building a task comes before that and is asked for by itself: what fails there is no item's fault, and fails the run.

The protocol is length-prefixed pickles over the child's stdin and stdout; both ends are this module, on one machine.
The child ends when its stdin closes, and with the thread that started it, so that it never outlives a replica, however
that dies and whatever a metric is doing.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from evalrun_runner.errors import EvalRunError, RunFailed
from evalrun_runner.records.plan import Item
from evalrun_runner.records.results import ItemResult, ItemStatus, Outcome

if TYPE_CHECKING:
    from evalrun_runner.benchmarks.recipe import TaskRecipe

_HEADER = struct.Struct(">Q")
START_SECONDS = 300.0
"""For a child to import lm-eval and build a task, on a busy machine."""
PASSED_ON = frozenset(
    {"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "XDG_CACHE_HOME", "HF_HOME", "NLTK_DATA", "PYTHONPATH"}
)
"""What of the environment a metric may see."""
_PR_SET_PDEATHSIG = 1


class ScoringDied(Exception):
    """The child crashed or was killed for taking too long."""


class ScoringProcess:
    """The parent's end; used by one thread, with which the child ends.

    ``timeout``: seconds for a chunk, or for one item when scored alone.
    """

    def __init__(self, recipes: Mapping[str, TaskRecipe], *, timeout: float = 120.0) -> None:
        self._recipes = dict(recipes)
        self._timeout = timeout
        self._child: subprocess.Popen[bytes] | None = None
        self._built: set[str] = set()

    def score(self, task: str, items: Sequence[Item], outcomes: Sequence[Outcome]) -> list[ItemResult]:
        """Rows of a part, one for each item.

        Raises ``RunFailed`` if scoring cannot work at all, ``InputError`` for a task that cannot be scored in chunks.
        """
        try:
            return self._score(task, items, outcomes)
        except ScoringDied:
            return [self._alone(task, item, outcome) for item, outcome in zip(items, outcomes, strict=True)]

    def start(self) -> None:
        """Start the child now, so that it imports lm-eval while the engine loads. Raises ``RunFailed``."""
        if self._child is not None:
            return
        # -P: the child must not import from the working directory.
        command = [sys.executable, "-P", "-m", "evalrun_runner.replica.scoring"]
        # Metrics are other people's code: they get no credentials, neither of stores nor of Ray.
        environment = {name: value for name, value in os.environ.items() if name in PASSED_ON}
        environment |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        self._built.clear()
        self._child = subprocess.Popen(  # noqa: S603  our own interpreter and module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        try:
            self._send(self._recipes)
        except ScoringDied as error:
            self.close()
            raise RunFailed(f"the scoring process cannot be started: {error}") from error

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            for pipe in (self._child.stdin, self._child.stdout):
                if pipe is not None:
                    pipe.close()
            self._child = None

    def _alone(self, task: str, item: Item, outcome: Outcome) -> ItemResult:
        try:
            (result,) = self._score(task, [item], [outcome])
        except ScoringDied as error:
            failed = Outcome(ItemStatus.FAILED, outcome.responses, f"ScoringDied: {error}")
            return ItemResult(item.doc_id, item.hash, failed)
        return result

    def _score(self, task: str, items: Sequence[Item], outcomes: Sequence[Outcome]) -> list[ItemResult]:
        self._build(task)
        results: list[ItemResult] = self._ask((task, list(items), list(outcomes)), self._timeout)
        return results

    def _build(self, task: str) -> None:
        """Have a child that has built the task. Raises ``RunFailed``."""
        self.start()
        if task in self._built:
            return
        try:
            self._ask(task, START_SECONDS)
        except ScoringDied:
            # It may have been killed while it had nothing to do; a second one that dies over this is no accident.
            try:
                self.start()
                self._ask(task, START_SECONDS)
            except ScoringDied as error:
                raise RunFailed(f"task {task}: its metrics cannot be built in the scoring process: {error}") from error
        self._built.add(task)

    def _ask(self, message: Any, patience: float) -> Any:
        try:
            self._send(message)
            answer = self._receive(patience)
        except ScoringDied:
            self.close()
            raise
        if isinstance(answer, EvalRunError):
            raise answer
        return answer

    def _send(self, message: Any) -> None:
        assert self._child is not None and self._child.stdin is not None
        try:
            _write(self._child.stdin, message)
        except BrokenPipeError as error:
            raise ScoringDied(f"the scoring process ended with code {self._child.wait()}") from error

    def _receive(self, patience: float) -> Any:
        deadline = time.monotonic() + patience
        try:
            header = self._read(_HEADER.size, deadline)
            return pickle.loads(self._read(_HEADER.unpack(header)[0], deadline))  # noqa: S301  from our own child
        except TimeoutError as error:
            raise ScoringDied(f"there was no answer within {patience:g} s") from error

    def _read(self, size: int, deadline: float) -> bytes:
        assert self._child is not None and self._child.stdout is not None
        pipe = self._child.stdout.fileno()
        parts = bytearray()
        while len(parts) < size:
            ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            block = os.read(pipe, min(1 << 20, size - len(parts)))
            if not block:
                raise ScoringDied(f"the scoring process ended with code {self._child.wait()}")
            parts += block
        return bytes(parts)


def _write(pipe: IO[bytes], message: Any) -> None:
    # Past the file's buffer: what a dead process did not take must not come up again when the pipe is closed.
    data = pickle.dumps(message)
    left = memoryview(_HEADER.pack(len(data)) + data)
    while left:
        left = left[os.write(pipe.fileno(), left) :]


def _read_exactly(pipe: IO[bytes], size: int) -> bytes:
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _serve() -> None:
    """The child: recipes first, then names of tasks to build and chunks to score, until stdin closes."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # What a metric prints goes to the log, not into the protocol.
    # A metric that never returns never looks at stdin: the kernel ends it with its parent.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def receive() -> Any:
        return pickle.loads(_read_exactly(requests, _HEADER.unpack(_read_exactly(requests, _HEADER.size))[0]))  # noqa: S301

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
        recipes = receive()
        while True:
            request = receive()
            try:
                said = answer(request)
            except EvalRunError as error:
                said = error
            _write(answers, said)
    except EOFError:
        return


if __name__ == "__main__":
    _serve()
