"""Scoring in a process of its own, off the engine's loop.

Metrics are other people's code: a regular expression may run for ever, a parser may crash. The process is killed when
a chunk takes too long; its items are then scored one by one, and the one that hangs or crashes is ``failed``, by name.

The protocol is length-prefixed pickles over the child's stdin and stdout; both ends are this module, on one machine.
The child ends when its stdin closes, so that it never outlives a replica, however that dies.
"""

from __future__ import annotations

import os
import pickle
import select
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from evalrun_runner.errors import RunFailed
from evalrun_runner.records import Item, ItemResult, ItemStatus, Outcome

if TYPE_CHECKING:
    from evalrun_runner.benchmarks.recipe import TaskRecipe

_HEADER = struct.Struct(">Q")
START_SECONDS = 300.0
"""For a child to import lm-eval and build a task, on a busy machine."""


class ScoringDied(Exception):
    """The child crashed or was killed for taking too long."""


class ScoringProcess:
    """The parent's end. ``timeout``: seconds for a chunk, or for one item when scored alone."""

    def __init__(self, recipes: Mapping[str, TaskRecipe], *, timeout: float = 120.0) -> None:
        self._recipes = dict(recipes)
        self._timeout = timeout
        self._child: subprocess.Popen[bytes] | None = None
        self._built: set[str] = set()

    def score(self, task: str, items: Sequence[Item], outcomes: Sequence[Outcome]) -> list[ItemResult]:
        """Rows of a part, one for each item. Raises ``RunFailed`` if scoring cannot work at all."""
        try:
            return self._ask(task, items, outcomes)
        except ScoringDied:
            return [self._alone(task, item, outcome) for item, outcome in zip(items, outcomes, strict=True)]

    def start(self) -> None:
        """Start the child now, so that it imports lm-eval while the engine loads."""
        if self._child is None:
            # -P: the child must not import from the working directory.
            command = [sys.executable, "-P", "-m", "evalrun_runner.replica.scoring"]
            environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
            self._child = subprocess.Popen(  # noqa: S603  our own interpreter and module
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
            )
            self._built.clear()
            self._send(self._recipes)

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
            (result,) = self._ask(task, [item], [outcome])
        except ScoringDied as error:
            failed = Outcome(ItemStatus.FAILED, outcome.responses, f"ScoringDied: {error}")
            return ItemResult(item.doc_id, item.hash, failed)
        return result

    def _ask(self, task: str, items: Sequence[Item], outcomes: Sequence[Outcome]) -> list[ItemResult]:
        self.start()
        patience = self._timeout + (0.0 if task in self._built else START_SECONDS)
        try:
            self._send((task, list(items), list(outcomes)))
            answer = self._receive(patience)
        except ScoringDied:
            self.close()
            raise
        if isinstance(answer, str):
            raise RunFailed(f"task {task}: its metrics cannot be built in the scoring process: {answer}")
        self._built.add(task)
        results: list[ItemResult] = answer
        return results

    def _send(self, message: Any) -> None:
        assert self._child is not None and self._child.stdin is not None
        try:
            _write(self._child.stdin, message)
        except BrokenPipeError as error:
            raise ScoringDied(f"the scoring process ended with code {self._child.wait()}") from error

    def _receive(self, patience: float) -> Any:
        assert self._child is not None and self._child.stdout is not None
        deadline = time.monotonic() + patience
        pipe = self._child.stdout.fileno()
        header = self._read(pipe, _HEADER.size, deadline)
        return pickle.loads(self._read(pipe, _HEADER.unpack(header)[0], deadline))  # noqa: S301  from our own child

    def _read(self, pipe: int, size: int, deadline: float) -> bytes:
        assert self._child is not None
        parts = bytearray()
        while len(parts) < size:
            ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise ScoringDied(f"the metric gave no value within {self._timeout:g} s")
            block = os.read(pipe, min(1 << 20, size - len(parts)))
            if not block:
                raise ScoringDied(f"the scoring process ended with code {self._child.wait()}")
            parts += block
        return bytes(parts)


def _write(pipe: IO[bytes], message: Any) -> None:
    data = pickle.dumps(message)
    pipe.write(_HEADER.pack(len(data)) + data)
    pipe.flush()


def _read_exactly(pipe: IO[bytes], size: int) -> bytes:
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _serve() -> None:
    """The child: recipes first, then chunks until stdin closes."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # What a metric prints goes to the log, not into the protocol.

    def receive() -> Any:
        return pickle.loads(_read_exactly(requests, _HEADER.unpack(_read_exactly(requests, _HEADER.size))[0]))  # noqa: S301

    from evalrun_runner.benchmarks.score import Scorer

    scorers: dict[str, Scorer] = {}
    try:
        recipes = receive()
        while True:
            task, items, outcomes = receive()
            if task not in scorers:
                try:
                    scorers[task] = Scorer(recipes[task])
                except Exception as error:  # noqa: BLE001  any failure to build is told to the parent, which fails the run
                    _write(answers, f"{type(error).__name__}: {error}")
                    continue
            _write(answers, scorers[task].score(items, outcomes))
    except EOFError:
        return


if __name__ == "__main__":
    _serve()
