"""A program's verdict is that of its test, and whatever it does harms nothing but its verdict."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
from pathlib import Path

import pytest

from evalrun_runner.execution.sandbox import MOST_PROGRAM, ProgramSandbox, SandboxDied
from evalrun_runner.execution.verdicts import Execution, Limits, ProgramEnd

SHORT = Limits(seconds=0.5, memory_bytes=384 << 20)
RIGHT = "def add(a, b): return a + b\n\nassert add(1, 2) == 3"
EVERYWHERE = "for one in range(64):\n    try: os.write(one, b'1passed')\n    except OSError: pass\n"
DEAF = "for one in range(1, 65):\n    try: signal.signal(one, signal.SIG_IGN)\n    except (OSError, ValueError): pass\n"
MORE = "import sys\ndel sys.modules['resource']\nimport resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))"
SWALLOW = "while True:\n    try:\n        {}\n    except BaseException:\n        pass\n"


def run(sandbox: ProgramSandbox, program: str, limits: Limits = SHORT) -> Execution:
    """Run it, and see that the sandbox is still good for the next one."""
    found = sandbox.run(program, limits)
    assert sandbox.run(RIGHT, Limits()).passed
    return found


def test_a_right_program_passes(sandbox: ProgramSandbox) -> None:
    assert run(sandbox, RIGHT).cause is ProgramEnd.PASSED


def test_a_program_that_raises_fails_with_its_words(sandbox: ProgramSandbox) -> None:
    found = run(sandbox, "assert False, 'seven'")
    assert (found.cause, found.detail) == (ProgramEnd.RAISED, "AssertionError: seven")


@pytest.mark.parametrize(
    "program",
    [
        "import os\nos._exit(0)",
        "print('passed')\nimport os\nos._exit(0)",
        # The expected words on every descriptor.
        "import os\n" + EVERYWHERE + "os._exit(0)",
        # What our own process would write, but for the number that it was given.
        "import os\nos.write(3, b'0' * 32 + b'passed ')\nos._exit(0)",
        "import signal, os\nsignal.raise_signal(signal.SIGKILL)",
        "import ctypes\nctypes.string_at(0)",
        "import sys\nsys.exit(0)",
        "raise KeyboardInterrupt",
        # Functions that come after the program are replaced by its own.
        "import os, json\nos.write = json.dumps = print = lambda *a: b'passed'\nassert False",
        "import os\nos._exit = lambda code: None\nassert False",
        "import builtins\nbuiltins.isinstance = lambda *a: True\nassert False",
        "class Liar(Exception):\n    def __str__(self): raise SystemExit\nraise Liar",
        "import sys\nassert [name for name in sys.modules if name.startswith('evalrun')]",
        "import evalrun_runner.execution.program as own\nown._cause = lambda error: 'passed'\nassert False",
    ],
)
def test_a_cheat_does_not_pass(sandbox: ProgramSandbox, program: str) -> None:
    assert not run(sandbox, program).passed


@pytest.mark.parametrize(
    ("program", "causes"),
    [
        ("while True: pass", {ProgramEnd.TIMED_OUT}),
        (SWALLOW.format("1 / 0"), {ProgramEnd.TIMED_OUT}),
        ("import time\ntime.sleep(60)", {ProgramEnd.TIMED_OUT}),
        ("import signal\n" + DEAF + "while True: pass", {ProgramEnd.TIMED_OUT}),
        ("import os\nwhile True: os.fork()", {ProgramEnd.RAISED}),
        ("import posix\nwhile True: posix.fork()", {ProgramEnd.FORBIDDEN}),
        ("import ctypes\nlibc = ctypes.CDLL(None)\nwhile True:\n    assert libc.fork() >= 0", {ProgramEnd.RAISED}),
        (
            "import threading, time\nthreading.stack_size(32768)\n"
            + SWALLOW.format("threading.Thread(target=time.sleep, args=(60,), daemon=True).start()"),
            {ProgramEnd.PROCESSES, ProgramEnd.TIMED_OUT, ProgramEnd.MEMORY},
        ),
        ("x = []\nwhile True: x.append(bytearray(1 << 26))", {ProgramEnd.MEMORY, ProgramEnd.TIMED_OUT}),
        ("import mmap\nx = [mmap.mmap(-1, 1 << 28) for _ in range(64)]", {ProgramEnd.MEMORY}),
        ("import mmap, os\nos.memfd_create('x')", {ProgramEnd.FORBIDDEN}),
        ("with open('a', 'wb') as file:\n    while True: file.write(bytes(1 << 20))", {ProgramEnd.DISK}),
        ("for i in range(999):\n    with open(str(i), 'wb') as file: file.write(bytes(1 << 20))", {ProgramEnd.DISK}),
        ("for i in range(10 ** 6): open(str(i), 'wb').close()", {ProgramEnd.DISK}),
        ("import socket\nsocket.create_connection(('127.0.0.1', 22))", {ProgramEnd.FORBIDDEN}),
        ("import socket\nsocket.socket(socket.AF_UNIX)", {ProgramEnd.FORBIDDEN}),
        ("open('/proc/1/environ')", {ProgramEnd.FORBIDDEN, ProgramEnd.RAISED}),
        ("open('/proc/self/mem', 'wb')", {ProgramEnd.FORBIDDEN, ProgramEnd.RAISED}),
        ("import posix\nposix.kill(posix.getppid(), 9)", {ProgramEnd.FORBIDDEN}),
        ("import posix\nposix.kill(-1, 9)", {ProgramEnd.FORBIDDEN}),
        ("import fcntl\nfcntl.fcntl(3, fcntl.F_SETOWN, 1)", {ProgramEnd.FORBIDDEN}),
        ("import ctypes\nassert ctypes.CDLL(None).prctl(1, 0, 0, 0, 0) == 0", {ProgramEnd.RAISED}),
        ("import ctypes\nassert ctypes.CDLL(None).ptrace(16, 1, 0, 0) == 0", {ProgramEnd.RAISED}),
        ("import ctypes\nassert ctypes.CDLL(None).unshare(0x10000000) == 0", {ProgramEnd.RAISED}),
        ("import posix\nposix.execv('/bin/sh', ['sh'])", {ProgramEnd.FORBIDDEN, ProgramEnd.RAISED}),
        ("import posix\nposix.unlink('/etc/passwd')", {ProgramEnd.FORBIDDEN}),
        ("import _posixsubprocess", {ProgramEnd.PASSED}),
        (MORE, {ProgramEnd.FORBIDDEN, ProgramEnd.RAISED}),
    ],
)  # fmt: skip
def test_a_hostile_program_ends_by_itself(sandbox: ProgramSandbox, program: str, causes: set[ProgramEnd]) -> None:
    assert run(sandbox, program).cause in causes


def test_a_program_sees_no_secret(sandbox: ProgramSandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("s3cr3t")
    seen = "import os\nassert 'PYTEST_CURRENT_TEST' not in os.environ and 'AWS' not in str(os.environ)"
    assert run(sandbox, seen).passed
    for path in (secret, Path(__file__), Path.home(), Path("/etc/passwd"), Path("/root/.bashrc")):
        assert not run(
            sandbox,
            f"import os\nopen({str(path)!r}).read() if not os.path.isdir({str(path)!r}) else os.listdir({str(path)!r})",
        ).passed


def test_a_program_finds_nothing_of_the_one_before(sandbox: ProgramSandbox) -> None:
    assert run(sandbox, "open('left', 'w').write('x')\nimport random\nrandom.seed(7)\nleft = 1").passed
    assert run(sandbox, "import os\nassert os.listdir('.') == [] and 'left' not in globals()").passed


def test_programs_leave_nothing_behind(sandbox: ProgramSandbox) -> None:
    before = set(os.listdir(tempfile.gettempdir()))
    run(sandbox, "open('left', 'w').write('x')")
    assert not [name for name in set(os.listdir(tempfile.gettempdir())) - before if name.startswith("evalrun-program")]


def test_a_program_reaches_no_listening_port(sandbox: ProgramSandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert (
            run(sandbox, f"import socket\nsocket.create_connection(('127.0.0.1', {port}))").cause
            is ProgramEnd.FORBIDDEN
        )


def test_the_same_program_draws_the_same_random_numbers(sandbox: ProgramSandbox) -> None:
    first = run(sandbox, "import random\nraise ValueError(random.random(), hash('a'))")
    assert run(sandbox, "import random\nraise ValueError(random.random(), hash('a'))").detail == first.detail


@pytest.mark.parametrize(
    "program",
    [
        "import numpy as np\nassert (np.ones((50, 50)) @ np.ones((50, 50)))[0, 0] == 50",
        "import asyncio\nasync def one(): return 1\nassert asyncio.run(one()) == 1",
        "import threading\nt = threading.Thread(target=print)\nt.start()\nt.join()",
        "from concurrent.futures import ThreadPoolExecutor as T\nassert list(T(4).map(abs, [-1, 2])) == [1, 2]",
        "from collections import namedtuple\nfrom dataclasses import dataclass\nassert namedtuple('P', 'x')(1).x == 1",
        "import sqlite3\nassert sqlite3.connect(':memory:').execute('select 1').fetchone() == (1,)",
        "import sys, io\nassert isinstance(sys.stdin, io.StringIO)\nprint('x', file=sys.stderr)",
        "x = '" + "a" * 500_000 + "'\nassert len(x) == 500_000",
        "assert __name__ == 'builtins'",
    ],
)
def test_ordinary_programs_pass(sandbox: ProgramSandbox, program: str) -> None:
    assert run(sandbox, program, Limits()).passed


def test_a_program_of_any_text_has_a_verdict(sandbox: ProgramSandbox) -> None:
    assert run(sandbox, "x = '\udcff'").cause is ProgramEnd.RAISED
    assert run(sandbox, "\0").cause is ProgramEnd.RAISED
    assert run(sandbox, "").cause is ProgramEnd.PASSED


def test_a_program_beyond_all_size_has_no_verdict(sandbox: ProgramSandbox) -> None:
    with pytest.raises(SandboxDied, match="characters"):
        sandbox.run("#" * (MOST_PROGRAM + 1), SHORT)


def test_processor_time_counts_and_not_the_clock_on_the_wall(sandbox: ProgramSandbox) -> None:
    assert run(sandbox, "import time\ntime.sleep(0.3)", Limits(seconds=0.2, idle_factor=50)).passed


def test_a_dead_sandbox_gives_no_verdict(sandbox: ProgramSandbox) -> None:
    other = ProgramSandbox(sandbox.walls)
    os.killpg(other._process.pid, signal.SIGKILL)
    other._process.wait()
    with pytest.raises(SandboxDied):
        other.run(RIGHT, SHORT)
    other.close()
