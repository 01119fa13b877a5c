"""Programs that do harm where nothing holds them, and how each must end; and a suite that plants them.

The suite needs no code of its own: a filter makes every answer ``pass``, and a document's test is hostile.
"""

from __future__ import annotations

from typing import Any

from evalrun_runner.execution.verdicts import ProgramEnd

RIGHT = "assert 1 + 1 == 2"
HOSTILE: dict[str, tuple[str, set[ProgramEnd]]] = {
    "fork bomb": ("import posix\nwhile True: posix.fork()", {ProgramEnd.FORBIDDEN}),
    "endless loop": ("while True: pass", {ProgramEnd.TIMED_OUT}),
    "full disk": ("with open('a', 'wb') as file:\n    while True: file.write(bytes(1 << 20))", {ProgramEnd.DISK}),
    "memory hog": ("x = []\nwhile True: x.append(bytearray(1 << 26))", {ProgramEnd.MEMORY, ProgramEnd.TIMED_OUT}),
    "network call": ("import socket\nsocket.create_connection(('127.0.0.1', 80))", {ProgramEnd.FORBIDDEN}),
    "environment": ("print(open('/proc/1/environ').read())", {ProgramEnd.FORBIDDEN, ProgramEnd.RAISED}),
    "killing its parent": ("import posix\nposix.kill(posix.getppid(), 9)", {ProgramEnd.FORBIDDEN}),
    "exit before the test": ("print('passed')\nimport posix\nposix._exit(0)", {ProgramEnd.ENDED_EARLY}),
    "thread bomb": (
        "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
        {ProgramEnd.PROCESSES, ProgramEnd.RAISED},
    ),
}
"""Program of each harm, and how it may end."""


def rows(copies: int = 1) -> list[dict[str, str]]:
    """Return the documents: every harm, each followed by a right program."""
    programs = [program for program, _ in HOSTILE.values()]
    return [{"prompt": "?", "test": one} for program in programs for one in (program, RIGHT)] * copies


TASK: dict[str, Any] = {
    "output_type": "generate_until",
    "unsafe_code": True,
    "doc_to_text": "{{prompt}}",
    "doc_to_target": "{{test}}",
    "generation_kwargs": {"until": ["END"], "do_sample": False, "max_gen_toks": 8},
    "filter_list": [
        {"name": "planted", "filter": [{"function": "regex", "regex_pattern": "(?!)", "fallback": "pass"}]}
    ],
    "metric_list": [{"metric": "code_eval", "aggregation": "mean", "higher_is_better": True, "k": [1]}],
    "metadata": {"version": 1.0},
}
