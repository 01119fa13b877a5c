"""Side of a comparison in a process of its own, so that sides share no interpreter, engine or threads."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

END_SECONDS = 60.0


class ChildFailed(Exception):
    """Error in a side; the message is its traceback."""


class Child:
    """Object in another process: ``call("method", …)`` calls ``object.method(…)`` there.

    Args:
        make: Function that makes the object in that process, and imports what it needs.
        arguments: Arguments of ``make``.
        log: File for the process's output.
    """

    def __init__(self, make: Callable[..., Any], *arguments: Any, log: Path) -> None:
        self._log = log
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(make, arguments, there, log), name=log.stem)
        self._process.start()
        there.close()
        self._answer()

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the object and return its result.

        Raises:
            ChildFailed: The method raised an error, or the process ended.
        """
        self._pipe.send((method, arguments))
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(END_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self) -> Any:
        try:
            worked, answer = self._pipe.recv()
        except EOFError:
            self._process.join(END_SECONDS)
            raise ChildFailed(f"it ended with code {self._process.exitcode}; its output is {self._log}") from None
        if not worked:
            raise ChildFailed(f"{answer}\nits output is {self._log}")
        return answer


def _end_with_parent() -> None:
    """End this side when the bench ends in any way; otherwise, a side in mid-run would continue for minutes."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _serve(make: Callable[..., Any], arguments: tuple[Any, ...], pipe: Connection, log: Path) -> None:
    with log.open("a") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    code = 0
    try:
        side = make(*arguments)
        pipe.send((True, None))
        while True:
            method, given = pipe.recv()
            pipe.send((True, getattr(side, method)(*given)))
    except EOFError:
        pass
    except Exception:
        pipe.send((False, traceback.format_exc()))
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    # An orderly exit would wait for threads and processes that engines leave behind.
    for child in multiprocessing.active_children():
        child.terminate()
    os._exit(code)
