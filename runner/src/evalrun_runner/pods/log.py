"""A pod's log: a line each, with the time, on stdout."""

from __future__ import annotations

import sys
from datetime import UTC, datetime


def say(text: str) -> None:
    """Write a line; what has several lines stays together, indented."""
    first, *more = text.rstrip().split("\n") or [""]
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    sys.stdout.write("".join(f"{line}\n" for line in (f"{now} {first}", *(f"    {line}" for line in more))))
    sys.stdout.flush()
