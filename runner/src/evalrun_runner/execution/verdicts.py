"""Verdicts on programs, and the limits under which programs run. The program's process imports this: only stdlib."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

MOST_DETAIL = 200
"""Maximum length of what is kept of a program's own words, in characters."""


class ProgramEnd(StrEnum):
    """How a program ended. Only ``PASSED`` passes, as in lm-eval; the others say why it did not."""

    PASSED = "passed"
    RAISED = "raised"
    """It raised an exception, such as a failed assertion of its test."""
    TIMED_OUT = "timedOut"
    MEMORY = "memory"
    """It asked for more memory than it may have."""
    DISK = "disk"
    """It wrote more bytes or files than it may."""
    PROCESSES = "processes"
    """It started more threads than it may."""
    FORBIDDEN = "forbidden"
    """It raised the error of something that the sandbox refuses: a socket, a process, a file outside."""
    ENDED_EARLY = "endedEarly"
    """Its process ended before its test did, whatever it printed and whatever its exit code."""
    KILLED = "killed"
    """Its process was killed by a signal of its own doing, such as a segmentation fault."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use."""

    seconds: float = 3.0
    """Processor time: lm-eval's limit of its wall clock, which a busy machine would let run out for right programs."""
    idle_factor: float = 3.0
    """The wall clock may show so many times ``seconds``, for programs that sleep or wait."""
    memory_bytes: int = 512 << 20
    """Address space. Where a pod exceeds its memory, Kubernetes ends all of it, engine included: so it is not more."""
    disk_bytes: int = 32 << 20
    """Sum of its files, which are gone after it."""
    files: int = 64
    """Files that it makes, and file descriptors."""
    threads: int = 32

    @property
    def wall_seconds(self) -> float:
        """Maximum time by the wall clock."""
        return self.seconds * self.idle_factor


USUAL_LIMITS = Limits()
"""Limits of lm-eval's time, and of everything else what no benchmark's right program needs."""


@dataclass(frozen=True, slots=True)
class Execution:
    """Verdict on one program."""

    cause: ProgramEnd
    detail: str = ""
    """The exception's type and first words, or the signal. Made by the program: not to be trusted."""
    seconds: float = 0.0
    """Time by the wall clock."""

    @property
    def passed(self) -> bool:
        """Whether the program ran to the end of its test without an exception."""
        return self.cause is ProgramEnd.PASSED
