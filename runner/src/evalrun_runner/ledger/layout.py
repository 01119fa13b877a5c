"""The keys of a run's objects, in one place. The layout is the same on S3 and in a directory."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

RUN = "run.json"
PLAN = "plan.json"
MODEL = "model.json"
RESULTS = "results.json"
COMPLETE = "COMPLETE"
MANIFEST = "manifest/"
PARTS = "parts/"
EPOCHS = "epochs/"
CARRIED = "carried/"
CORRUPT = "corrupt/"

_PART = re.compile(r"^parts/(?P<task>[^/]+)/(?P<chunk>\d{8})\.parquet$")


def task_dir(task: str) -> str:
    """A task's name as one path component: everything but letters, digits, '_', '-', '.' is percent-encoded."""
    return quote(task, safe="").replace("~", "%7E")


def segment(task: str, number: int) -> str:
    """The manifest segment ``number`` of a leaf task."""
    return f"{MANIFEST}{task_dir(task)}/{number:06d}.parquet"


def task_index(task: str) -> str:
    """Written when a leaf task's manifest is whole: its segments, items and digest."""
    return f"{MANIFEST}{task_dir(task)}/index.json"


def part(task: str, chunk: int) -> str:
    """The committed results of one chunk of a leaf task."""
    return f"{PARTS}{task_dir(task)}/{chunk:08d}.parquet"


def carried(task: str, chunk: int) -> str:
    """An earlier run's part of a chunk with items that are asked again; the ok ones are kept."""
    return f"{CARRIED}{task_dir(task)}/{chunk:08d}.parquet"


def parse_part(key: str) -> tuple[str, int] | None:
    """The (task, chunk) of a part's key, or None if the key is no part's."""
    match = _PART.match(key)
    return (unquote(match["task"]), int(match["chunk"])) if match else None


def epoch(number: int) -> str:
    """The claim of driver process ``number``."""
    return f"{EPOCHS}{number:06d}"


def samples(task: str) -> str:
    """lm-eval's sample layout for one leaf task."""
    return f"samples_{task_dir(task)}.jsonl"
