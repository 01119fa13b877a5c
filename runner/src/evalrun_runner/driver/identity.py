"""What makes two runs the same plan: only then may one resume the other's ledger."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalrun_api import RunConfig
from evalrun_runner.errors import InputError

Identity = Mapping[str, Any]


def identity_of(config: RunConfig, model_digest: str | None, suites: Mapping[str, Path]) -> Identity:
    """Everything that answers depend on; not the number of replicas, nor output, gates and policy.

    ``suites`` are the folders of the user's own suites, by benchmark: their content counts, not their place.
    """
    spec = config.spec
    benchmarks = []
    for benchmark in spec.benchmarks:
        entry = benchmark.to_dict()
        if benchmark.resolved_name in suites:
            entry["source"] = {"sha256": folder_digest(suites[benchmark.resolved_name])}
        benchmarks.append(entry)
    return {
        "model": {"name": config.model.name, "digest": model_digest},
        "engine": spec.engine.to_dict(),
        "benchmarks": benchmarks,
        "seed": spec.seed,
    }


def folder_digest(folder: Path) -> str:
    """sha256 over the sorted lines ``<sha256>  <relative path>`` of all files in a folder."""
    lines = []
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        if not any(part.startswith((".", "__pycache__")) for part in file.relative_to(folder).parts):
            lines.append(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(folder)}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def check_same_plan(earlier: Identity, now: Identity, where: str) -> None:
    """Raises ``InputError`` that names every field in which the plans differ."""
    differing = sorted(_differences(json.loads(json.dumps(earlier)), json.loads(json.dumps(now)), ""))
    if differing:
        raise InputError(
            f"{where} holds another plan; these differ: {'; '.join(differing[:6])}. Give another output, or --fresh to "
            "write to a new folder beside it"
        )


def _differences(earlier: Any, now: Any, path: str) -> list[str]:
    if isinstance(earlier, dict) and isinstance(now, dict):
        return [
            line
            for key in sorted(set(earlier) | set(now))
            for line in _differences(earlier.get(key), now.get(key), f"{path}.{key}" if path else key)
        ]
    if isinstance(earlier, list) and isinstance(now, list) and len(earlier) == len(now):
        pairs = enumerate(zip(earlier, now, strict=True))
        return [line for number, (a, b) in pairs for line in _differences(a, b, f"{path}[{number}]")]
    return [] if earlier == now else [f"{path}: {_short(earlier)} there, {_short(now)} now"]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
