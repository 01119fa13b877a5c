"""Keys of a run's objects. The layout is the same on S3 and in a directory."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote, unquote

RUN = "run.json"
PLAN = "plan.json"
MODEL = "model.json"
RESULTS = "results.json"
GATES = "gates.json"
REPORT_HTML = "report.html"
REPORT_MARKDOWN = "report.md"
LEASED = "leased.json"
STOPPED = "stopped.json"
TIMELINE = "timeline.json"
COMPLETE = "COMPLETE"
MANIFEST = "manifest/"
PARTS = "parts/"
EPOCHS = "epochs/"
CARRIED = "carried/"
CORRUPT = "corrupt/"

_PART = re.compile(r"^parts/(?P<task>[^/]+)/(?P<chunk>\d{8})\.parquet$")


@lru_cache(maxsize=4096)
def task_dir(task: str) -> str:
    """Encode a task's name as one path component: all but letters, digits, '_', '-', '.' is percent-encoded."""
    return quote(task, safe="").replace("~", "%7E")


def segment(task: str, number: int) -> str:
    """Return the key of manifest segment ``number`` of a leaf task."""
    return f"{MANIFEST}{task_dir(task)}/{number:06d}.parquet"


def task_index(task: str) -> str:
    """Return the key of a leaf task's index (segments, items and digest), written when its manifest is complete."""
    return f"{MANIFEST}{task_dir(task)}/index.json"


def part(task: str, chunk: int) -> str:
    """Return the key of the committed results of one chunk of a leaf task."""
    return f"{PARTS}{task_dir(task)}/{chunk:08d}.parquet"


def carried(task: str, chunk: int) -> str:
    """Return the key of an earlier run's part whose ok items are reused, while the other items are repeated."""
    return f"{CARRIED}{task_dir(task)}/{chunk:08d}.parquet"


def parse_part(key: str) -> tuple[str, int] | None:
    """Parse a part's key into (task, chunk); return None if it is not the key of a part."""
    match = _PART.match(key)
    return (unquote(match["task"]), int(match["chunk"])) if match else None


def epoch(number: int) -> str:
    """Return the key of the claim of driver process ``number``."""
    return f"{EPOCHS}{number:06d}"


def samples(task: str) -> str:
    """Return the key of a leaf task's samples in lm-eval's layout."""
    return f"samples_{task_dir(task)}.jsonl"
