"""Oracle values for statistics, from `tests/data/statistics`; its README names their sources."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "data" / "statistics"


def small_case(name: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """What is given in a small case of `small_cases.json`, and what is expected."""
    cases = {case["id"]: case for case in json.loads((FOLDER / "small_cases.json").read_text(encoding="utf-8"))}
    return cases[name]["given"], cases[name]["expect"]


def table(name: str) -> list[dict[str, str]]:
    """Rows of a CSV file."""
    with (FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def document(name: str) -> Any:
    """A JSON file."""
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))
