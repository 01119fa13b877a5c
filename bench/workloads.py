"""Workloads: lm-eval's GSM8K and MMLU over local data, or the bundled suites if there is none.

All sides get the same folder with lm-eval YAML and absolute paths of data, so that each side can load it its own way.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
DATA_VARIABLE = "EVALRUN_BENCHMARK_DATA"
BUNDLED = ROOT / "examples" / "suites" / "quickstart"
SUBJECT = "international_law"
"""Subject of MMLU, of which five examples are about 550 tokens."""
WARM_ITEMS = 2

GENERATE, CHOICE = "generate", "choice"


@dataclass(frozen=True, slots=True)
class Workload:
    """Task in a suite of its own."""

    task: str
    suite: Path
    items: int


def data_folder() -> Path | None:
    """Return the folder of public benchmark data, None if there is none."""
    folder = Path(os.environ.get(DATA_VARIABLE, ROOT.parent / "shared" / "data"))
    return folder if (folder / "gsm8k").is_dir() and (folder / "mmlu").is_dir() else None


def describe() -> str:
    """Describe the workloads for the document."""
    if data_folder() is None:
        return f"the bundled suites: there is no folder with GSM8K and MMLU ({DATA_VARIABLE} names it)"
    return f"GSM8K and MMLU ({SUBJECT}), as lm-eval 0.4.13 defines them"


def write(folder: Path, items: Mapping[str, int], *, generated: int) -> dict[str, Workload]:
    """Write suites for ``GENERATE`` and ``CHOICE``, and small ones for warm-up (``warm-…``).

    Args:
        folder: The folder to write to.
        items: Number of items by kind.
        generated: Maximum number of tokens of a generation. Generations get no examples, so that they take the time
            and not their prompts.
    """
    data = data_folder()
    made = {}
    for kind, count in items.items():
        for name, first, many in ((kind, 0, count), (f"warm-{kind}", count, WARM_ITEMS)):
            config, rows = _bundled(kind) if data is None else _public(kind, data)
            if kind == GENERATE:
                config["num_fewshot"] = 0
            mine = [*islice(rows["test"], first, first + many)] or rows["test"][:many]
            suite = folder / name
            suite.mkdir(parents=True)
            _write_task(suite, f"bench_{name.replace('-', '_')}", config, {**rows, "test": mine}, generated)
            made[name] = Workload(f"bench_{name.replace('-', '_')}", suite, len(mine))
    return made


def _write_task(
    suite: Path, task: str, config: Mapping[str, Any], rows: Mapping[str, Sequence[Any]], generated: int
) -> None:
    files = {}
    for split, listed in rows.items():
        file = suite / f"{split}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in listed), encoding="utf-8")
        files[split] = str(file)
    whole = {**config, "task": task, "dataset_path": "json", "dataset_kwargs": {"data_files": files}}
    whole.pop("tag", None)
    if "generation_kwargs" in whole:
        whole["generation_kwargs"] = {**whole["generation_kwargs"], "max_gen_toks": generated}
    (suite / f"{task}.yaml").write_text(yaml.safe_dump(whole, sort_keys=False), encoding="utf-8")


def _bundled(kind: str) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    name = "word_sums" if kind == GENERATE else "everyday_choice"
    config = yaml.safe_load((BUNDLED / f"{name}.yaml").read_text(encoding="utf-8"))
    files = config.pop("dataset_kwargs")["data_files"]
    return config, {split: _json_lines(BUNDLED / file) for split, file in files.items()}


def _public(kind: str, data: Path) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    if kind == GENERATE:
        rows = {split: _json_lines(data / "gsm8k" / f"{split}.jsonl") for split in ("test", "train")}
        return _own("gsm8k/gsm8k.yaml") | {"training_split": "train"}, rows | {"train": rows["train"][:100]}
    config = _own("mmlu/default/_default_template_yaml") | {
        "description": f"The following are multiple choice questions (with answers) about {SUBJECT}.\n\n",
        "num_fewshot": 5,
    }
    return config, {split: _csv(data / "mmlu" / split / f"{SUBJECT}_{split}.csv") for split in ("test", "dev")}


def _own(path: str) -> dict[str, Any]:
    """Define one of lm-eval's own tasks, by the path of its YAML."""
    from lm_eval import tasks

    config: dict[str, Any] = yaml.safe_load((Path(tasks.__file__).parent / path).read_text(encoding="utf-8"))
    config.pop("dataset_name", None)
    return config


def _json_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _csv(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {
                "question": row["question"],
                "choices": [row[f"choice{number}"] for number in range(4)],
                "answer": int(row["answer"]),
            }
            for row in csv.DictReader(file)
        ]
