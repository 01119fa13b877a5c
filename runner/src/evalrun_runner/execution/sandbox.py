"""The runner's end of one sandbox: start it, hand it programs one after another, judge how they ended."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from evalrun_runner.errors import RunFailed
from evalrun_runner.execution.program import CONFINED, NONCE_BYTES
from evalrun_runner.execution.surroundings import ENVIRONMENT
from evalrun_runner.execution.verdicts import MOST_DETAIL, Execution, Limits, ProgramEnd
from evalrun_runner.execution.walls import Walls

START_SECONDS = 60.0
"""Maximum time for a sandbox to start on a busy machine."""
_SPARE_SECONDS = 30.0
"""Time beyond a program's own that the zygote may take to answer."""
_MOST_REPORT = 4096
MOST_PROGRAM = 4 << 20
"""Maximum length of a program, in characters."""
_CAUSES: frozenset[str] = frozenset(
    {ProgramEnd.PASSED, ProgramEnd.RAISED, ProgramEnd.MEMORY, ProgramEnd.DISK, ProgramEnd.FORBIDDEN}
)
"""Causes that a program's own process may report."""


class SandboxDied(RunFailed):
    """A sandbox cannot be started, ended in its work, or did not confine a program: no verdict on the program."""


class ProgramSandbox:
    """One sandbox, for one thread at a time.

    Raises:
        SandboxDied: It cannot be started; the message says why.
    """

    def __init__(self, walls: Walls) -> None:
        self.walls = walls
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control = ours
        with theirs:
            # -P, -s: nothing is imported from the working directory or the user's own site.
            arguments = [str(theirs.fileno()), walls.value, tempfile.gettempdir()]
            self._process = subprocess.Popen(  # noqa: S603  our own interpreter and module
                [sys.executable, "-P", "-s", "-m", "evalrun_runner.execution.zygote", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=ENVIRONMENT,
                cwd="/",
                # Ctrl-C is for the runner; the sandbox ends when the control socket closes.
                start_new_session=True,
            )
        try:
            answer = self._answer(START_SECONDS)
        except SandboxDied:
            self.close()
            raise
        if "error" in answer:
            self.close()
            raise SandboxDied(str(answer["error"]))
        self.landlock = int(answer["landlock"])
        """Version of Landlock that holds programs besides, 0 for none."""

    def run(self, program: str, limits: Limits) -> Execution:
        """Run a program, and return the verdict.

        Raises:
            SandboxDied: There is no verdict, for a reason outside the program.
        """
        if len(program) > MOST_PROGRAM:
            raise SandboxDied(f"the program has {len(program):,} characters: expected at most {MOST_PROGRAM:,}")
        nonce = secrets.token_hex(NONCE_BYTES // 2).encode()
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                try:
                    socket.send_fds(self._control, [json.dumps(asdict(limits)).encode()], [theirs.fileno()])
                except OSError as error:
                    raise SandboxDied("the sandbox has ended") from error
            ours.settimeout(_SPARE_SECONDS)
            self._expect_confined(ours)
            # A program that ended already reads nothing.
            with suppress(ConnectionError, TimeoutError):
                ours.sendall(nonce + program.encode("utf-8", "surrogatepass"))
                ours.shutdown(socket.SHUT_WR)
            answer = self._answer(limits.wall_seconds + _SPARE_SECONDS)
            report = _received(ours)
        return _verdict(answer, report, nonce)

    def _expect_confined(self, channel: socket.socket) -> None:
        """Wait until the program's process is confined: before that it is given no program."""
        try:
            said = channel.recv(len(CONFINED))
            if said == CONFINED:
                return
            said += channel.recv(_MOST_REPORT)
        except OSError as error:
            raise SandboxDied(f"a program's process said nothing within {_SPARE_SECONDS:g} s") from error
        why = said.decode(errors="replace") or "it ended"
        self._answer(_SPARE_SECONDS)
        raise SandboxDied(f"a program's process cannot be confined: {why}")

    def close(self) -> None:
        """End the sandbox and whatever runs in it."""
        self._control.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answer(self, seconds: float) -> dict[str, Any]:
        self._control.settimeout(seconds)
        try:
            message = self._control.recv(1 << 16)
        except OSError as error:
            raise SandboxDied(f"the sandbox did not answer within {seconds:g} s") from error
        if not message:
            raise SandboxDied("the sandbox has ended")
        answer: dict[str, Any] = json.loads(message)
        return answer


def _received(channel: socket.socket) -> bytes:
    """Return what a program's process, which has ended, left in its channel."""
    channel.settimeout(1.0)
    received = b""
    with suppress(OSError):
        while len(received) < _MOST_REPORT and (some := channel.recv(_MOST_REPORT)):
            received += some
    return received[:_MOST_REPORT]


def _verdict(answer: dict[str, Any], report: bytes, nonce: bytes) -> Execution:
    seconds, status = float(answer["seconds"]), int(answer["status"])
    if answer["stopped"] is not None:
        return Execution(ProgramEnd(answer["stopped"]), "", seconds)
    if report.startswith(nonce):
        said, _, detail = report[len(nonce) :].decode("ascii", "replace").partition(" ")
        if said in _CAUSES:
            return Execution(ProgramEnd(said), detail[:MOST_DETAIL], seconds)
    if os.WIFSIGNALED(status):
        return Execution(ProgramEnd.KILLED, signal.Signals(os.WTERMSIG(status)).name, seconds)
    return Execution(ProgramEnd.ENDED_EARLY, f"exit code {os.waitstatus_to_exitcode(status)}", seconds)
