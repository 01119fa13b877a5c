"""Daemons of a cluster: they outlive the process that starts them and are found again by files.

A daemon is identified by its process id and its start time, so that a recycled id is never killed instead.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cluster.errors import ClusterError

# Joins the cgroups given before "--", prints its process id, and executes the command.
_ENTER = """
pid=$1
shift
while [ "$1" != -- ]; do echo $$ >"$1" && shift; done
shift
echo $$ >"$pid.new" && mv "$pid.new" "$pid"
exec "$@"
"""
_STEP_S = 0.02


@dataclass(frozen=True)
class Process:
    """Process of this machine, identified by its id and start time."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """Return the process that has this id now; None if there is none, or a zombie."""
        try:
            # The name before the last ")" may contain spaces; the state follows and, 19 fields later, the start time.
            state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if state in "ZX" else cls(pid, int(rest[18]))

    @property
    def alive(self) -> bool:
        return Process.of(self.pid) == self

    def signal(self, number: int) -> None:
        """Send a signal; do nothing if the process has ended."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self, deadline_s: float = 10.0) -> None:
        """Send SIGKILL, and wait until it has ended."""
        self.signal(signal.SIGKILL)
        until(lambda: not self.alive, deadline_s, lambda: f"process {self.pid} to end after SIGKILL")


def until(condition: Callable[[], bool], deadline_s: float, what: Callable[[], str], step_s: float = _STEP_S) -> None:
    """Wait for a condition that is cheap to check.

    Raises:
        ClusterError: It did not hold within ``deadline_s`` seconds; the message includes ``what()``.
    """
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            raise ClusterError(f"waited {deadline_s:g} s in vain for {what()}")
        time.sleep(step_s)


def run(*command: str | Path, input_text: str | None = None, deadline_s: float = 120.0) -> str:
    """Run a command to its end, and return its standard output.

    Raises:
        ClusterError: It failed, was not found or took too long; the message includes its output.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, input=input_text, capture_output=True, text=True, check=False, timeout=deadline_s, env=environment()
        )
    except FileNotFoundError:
        raise ClusterError(f"there is no program {words[0]!r} on this machine") from None
    except subprocess.TimeoutExpired as late:
        raise ClusterError(f"{' '.join(words)} did not end within {deadline_s:g} s; it said {late.stderr!r}") from None
    if done.returncode:
        raise ClusterError(f"{' '.join(words)} failed with {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout


def environment() -> dict[str, str]:
    """Return the environment of this process, with the system's own programs on the PATH in any case."""
    return {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"}


@dataclass
class Daemon:
    """Program that can be started, killed, stopped and continued, from this process or another.

    ``command`` is called at each start. ``cgroups`` are the ``cgroup.procs`` files that it joins. ``enter`` is the
    prefix of the command that enters namespaces; ``host_pid`` translates the process id inside them to the id on
    this machine.
    """

    name: str
    command: Callable[[], list[str]]
    log: Path
    pid_file: Path
    cgroups: tuple[Path, ...] = ()
    enter: Callable[[], list[str]] = field(default=list)
    host_pid: Callable[[int], int | None] = field(default=lambda pid: pid)

    @property
    def process(self) -> Process | None:
        """Running process; None if there is none."""
        try:
            pid, started = self.pid_file.read_text().split()
        except FileNotFoundError:
            return None
        process = Process(int(pid), int(started))
        return process if process.alive else None

    @property
    def alive(self) -> bool:
        return self.process is not None

    def start(self) -> None:
        """Start it if it is not running; return when the process exists, which is before it answers."""
        if self.alive:
            return
        inner = self.pid_file.with_suffix(".inner")
        inner.unlink(missing_ok=True)
        words = ["sh", "-c", _ENTER, "sh", str(inner), *map(str, self.cgroups), "--", *self.command()]
        with self.log.open("ab") as log:
            # It has a session of its own and no parent: it outlives this process and never becomes a zombie.
            subprocess.run(
                ["setsid", "--fork", *self.enter(), *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=True,
                env=environment(),
                cwd="/",
            )
        until(inner.exists, 30.0, lambda: f"{self.name} to start; {self.tail()}")
        self._note(int(inner.read_text()))

    def _note(self, inner_pid: int) -> None:
        pid = self.host_pid(inner_pid)
        process = None if pid is None else Process.of(pid)
        if process is None:
            raise ClusterError(f"{self.name} ended as soon as it had started; {self.tail()}")
        self.pid_file.write_text(f"{process.pid} {process.started}")

    def kill(self) -> None:
        """Send SIGKILL; do nothing if it is not running."""
        if (process := self.process) is not None:
            process.kill()

    def wait(self, condition: Callable[[], bool], deadline_s: float, step_s: float = _STEP_S) -> None:
        """Wait until it is ready, as defined by ``condition``.

        Raises:
            ClusterError: It ended, or took too long; the message includes the end of its log.
        """
        until(
            lambda: condition() or not self.alive,
            deadline_s,
            lambda: f"{self.name} to be ready; {self.tail()}",
            step_s,
        )
        if not self.alive:
            raise ClusterError(f"{self.name} ended while it was waited for; {self.tail()}")

    def terminate(self, deadline_s: float = 30.0) -> None:
        """Send SIGTERM, and wait until it has ended."""
        if (process := self.process) is not None:
            process.signal(signal.SIGTERM)
            until(lambda: not process.alive, deadline_s, lambda: f"{self.name} to end; {self.tail()}")

    def stop(self) -> None:
        """Send SIGSTOP: the process keeps its connections and does nothing."""
        self._signal(signal.SIGSTOP)

    def cont(self) -> None:
        """Send SIGCONT, after `stop`."""
        self._signal(signal.SIGCONT)

    def restart(self) -> None:
        self.kill()
        self.start()

    def said(self) -> int:
        """Size of its log in bytes: the offset of what it writes next."""
        return self.log.stat().st_size if self.log.exists() else 0

    def text(self, start: int = 0) -> str:
        """Return its log from an offset on."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(start)
            return log.read().decode(errors="replace")

    def tail(self, lines: int = 15) -> str:
        """Return the end of its log, for messages."""
        return f"the end of {self.log}:\n" + "\n".join(self.text().splitlines()[-lines:])

    def _signal(self, number: int) -> None:
        process = self.process
        if process is None:
            raise ClusterError(f"{self.name} is not running")
        process.signal(number)


def kill_all(processes: Iterable[Process]) -> None:
    """Send SIGKILL to all, then wait for all."""
    found = list(processes)
    for process in found:
        process.signal(signal.SIGKILL)
    for process in found:
        process.kill()
