"""Prove a sandbox before any model's code runs in it: hostile programs must fail, harmless ones must pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from evalrun_runner.execution.verdicts import Execution, Limits, ProgramEnd

PROBE_LIMITS = Limits(seconds=10.0)
_IMPORTS = "import posix, socket, sys\n"
_OUTSIDE = """
{before}
for name in {names}:
    try:
        open(name, {mode!r})
    except OSError:
        continue
    raise AssertionError(name)
"""


@dataclass(frozen=True, slots=True)
class _Probe:
    """Program that must end in one way."""

    what: str
    """What it shows when it ends otherwise."""
    program: str
    cause: ProgramEnd


_PROBES = (
    _Probe("a right program fails", "import math, bisect\nassert math.gcd(4, 6) == 2", ProgramEnd.PASSED),
    _Probe("numpy cannot be used", "import numpy\nassert numpy.ones(3).sum() == 3", ProgramEnd.PASSED),
    _Probe("modules cannot be loaded", "import sqlite3, zoneinfo\nassert sqlite3.sqlite_version", ProgramEnd.PASSED),
    _Probe(
        "a program cannot write in its folder",
        "open('a', 'w').write('b')\nassert open('a').read() == 'b'",
        ProgramEnd.PASSED,
    ),
    _Probe("a wrong program passes", "assert False", ProgramEnd.RAISED),
    _Probe("a program that ends early passes", "import posix\nposix._exit(0)", ProgramEnd.ENDED_EARLY),
    _Probe(
        "sockets can be opened", _IMPORTS + "socket.socket(socket.AF_INET, socket.SOCK_STREAM)", ProgramEnd.FORBIDDEN
    ),
    _Probe("processes can be made", _IMPORTS + "if posix.fork() == 0: posix._exit(0)", ProgramEnd.FORBIDDEN),
    _Probe("files can be executed", _IMPORTS + "posix.execv(sys.executable, ['python'])", ProgramEnd.FORBIDDEN),
    _Probe("other processes can be signalled", _IMPORTS + "posix.kill(posix.getppid(), 0)", ProgramEnd.FORBIDDEN),
    _Probe(
        "the environment of processes can be read",
        _OUTSIDE.format(before="", names="('/proc/1/environ', '/proc/self/environ')", mode="r"),
        ProgramEnd.PASSED,
    ),
    _Probe(
        "files outside can be read",
        _OUTSIDE.format(
            before="",
            names="('/etc/passwd', '/etc/hostname', '/run/secrets/kubernetes.io/serviceaccount/token')",
            mode="r",
        ),
        ProgramEnd.PASSED,
    ),
    _Probe(
        "files outside can be written",
        _OUTSIDE.format(
            before="import sys",
            names="[f + '/evalrun-probe' for f in ('/tmp', '/var/tmp', '/dev/shm', sys.prefix, sys.base_prefix)]",
            mode="w",
        ),
        ProgramEnd.PASSED,
    ),
    _Probe("memory has no limit", f"x = bytearray({PROBE_LIMITS.memory_bytes})", ProgramEnd.MEMORY),
    _Probe("files have no limit", f"open('a', 'wb').truncate({PROBE_LIMITS.disk_bytes + 1})", ProgramEnd.DISK),
)


def failed_probes(run: Callable[[str, Limits], Execution]) -> list[str]:
    """Return what is wrong with a sandbox; empty for one that holds.

    Args:
        run: Runs a program in the sandbox.
    """
    wrong = []
    for probe in _PROBES:
        found = run(probe.program, PROBE_LIMITS)
        if found.cause is not probe.cause:
            wrong.append(f"{probe.what} (expected {probe.cause.value}, found {found.cause.value} {found.detail!r})")
    return wrong
