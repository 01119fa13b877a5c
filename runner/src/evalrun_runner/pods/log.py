"""Log of a pod: lines with a time on stdout."""

from __future__ import annotations

import sys
from datetime import UTC, datetime


def say(text: str) -> None:
    """Write a line with the time; further lines of the text are indented below it."""
    first, *more = text.rstrip().split("\n") or [""]
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    sys.stdout.write("".join(f"{line}\n" for line in (f"{now} {first}", *(f"    {line}" for line in more))))
    sys.stdout.flush()
