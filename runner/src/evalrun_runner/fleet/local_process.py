"""A replica in a process of its own on the driver's machine: the driver's end."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from evalrun_runner.fleet.conversation import Answer, Ask, Begin, Load

END_SECONDS = 2.0
"""Time for a process that closed its connection to end by itself, in seconds; then it is killed."""
LAST_LINES = 12
MODULE = "evalrun_runner.fleet.replica_process"


@dataclass(frozen=True, slots=True)
class Ended:
    """The process has ended."""

    code: int
    """Exit code; negative: the signal that killed it."""
    output: str
    """The last lines of its output."""


class LocalProcess:
    """Process of one replica.

    A thread of its own receives what the process sends, so that nobody else waits for a process that hangs.
    """

    def __init__(self, environment: Mapping[str, str], output: Path, received: Received) -> None:
        """Start the process.

        Args:
            environment: Its whole environment.
            output: File for its stdout and stderr.
            received: Gets everything that the process says, and ``Ended`` as the last.
        """
        self.started = time.monotonic()
        self._output = output
        self._received = received
        self._connection, theirs = multiprocessing.Pipe()
        with theirs, output.open("wb") as out:
            # The driver's own interpreter and thereby its environment, whatever started the driver (uv, pipx, conda, a
            # notebook). -P: a replica must not import from the working directory.
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", "-m", MODULE, str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                pass_fds=(theirs.fileno(),),
                process_group=0,  # a terminal's Ctrl-C is the driver's to answer
            )
        threading.Thread(target=self._listen, name=output.stem, daemon=True).start()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def send(self, message: Begin | Ask) -> None:
        """Send a small message; that the process has ended is received, not raised."""
        with contextlib.suppress(OSError):
            self._connection.send(message)

    def load(self, message: Load) -> None:
        """Send the settings, which may be large: the process reads them when it has imported its libraries."""

        def send() -> None:
            with contextlib.suppress(OSError):
                self._connection.send(message)

        threading.Thread(target=send, name=f"load-{message.name}", daemon=True).start()

    def kill(self) -> None:
        """Kill the process and what it started; its end follows as ``Ended``."""
        if self._process.returncode is None:
            self._kill_group()

    def wait(self) -> None:
        """Wait for the end of a process that was killed."""
        self._process.wait()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _listen(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._received.put((self, self._connection.recv()))
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)
        self._kill_group()
        code = self._process.wait()
        self._connection.close()
        self._received.put((self, Ended(code, self._last_lines())))

    def _last_lines(self) -> str:
        try:
            lines = self._output.read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join([line for line in lines if line.strip()][-LAST_LINES:])


Received = queue.SimpleQueue[tuple[LocalProcess, Answer | Ended]]
"""What the processes of a fleet said, in the order in which it came."""
