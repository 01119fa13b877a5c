"""Names of public classes across the four packages."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGES = ("crds", "monitoring", "operator", "runner")


def public_classes() -> dict[str, list[str]]:
    """Return the places of each public class, by its name."""
    places: dict[str, list[str]] = defaultdict(list)
    for package in PACKAGES:
        for path in sorted((ROOT / package / "src").rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places[node.name].append(f"{path.relative_to(ROOT)}:{node.lineno}")
    return places


def test_public_class_name_exists_once() -> None:
    places = public_classes()
    assert len(places) > 100, "the packages were found"
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
