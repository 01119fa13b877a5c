"""CPU time and memory of `evalrun compare` on two runs of a million items, each in a process of its own.

The runs are made up: nine of ten items are right, 3% change. They are written as outputs of EvalRun (parts of 64
items), as lm-eval's samples with prompts of about 600 characters, and as one table.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.command_line import EVALRUN
from bench.pairs import Goal, Spread
from bench.report import Row, Section
from evalrun_runner.comparing.keys import text_hash
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.ledger.manifest import chunk_digest
from evalrun_runner.ledger.parts import Writer
from evalrun_runner.records.plan import Chunk
from evalrun_runner.records.results import ItemResult, ItemStatus, Outcome, Response
from evalrun_runner.store.memory import MemoryStore

MOST_SECONDS, MOST_BYTES = 10.0, 1 << 30
CHUNK = 64
WARM_ITEMS = 1_000
TEXT = "A question of many words that a model reads before it answers. " * 9


def measure(items: int, scratch: Path, say: Callable[[str], None]) -> Section:
    """Measure a comparison of each kind of input."""
    rows = []
    for what, write in (("EvalRun", write_evalrun), ("lm-eval", write_lm_eval), ("table", write_table)):
        compare(write(scratch / "first" / what, WARM_ITEMS), scratch)  # an installed program has its modules compiled
        seconds, size = compare(write(scratch / what, items), scratch)
        say(f"compare {items:,} items, {what}: {seconds:.1f} s of CPU, {size / 2**20:.0f} MiB")
        rows.append(Row(f"{what}: CPU", Spread.of([seconds]), Goal(at_most=MOST_SECONDS), "s"))
        rows.append(Row(f"{what}: memory", Spread.of([size / 2**20]), Goal(at_most=MOST_BYTES / 2**20), "MiB"))
    assert __doc__ is not None
    return Section(f"Comparison of two runs of {items:,} items", __doc__, rows)


def compare(places: Sequence[Path], scratch: Path) -> tuple[float, int]:
    """Compare runs; return the CPU seconds and the peak memory in bytes of the command."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(scratch / "bytecode"), "PYTHONDONTWRITEBYTECODE": ""}
    command = [str(EVALRUN), "compare", *map(str, places), "--items", "0"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, places
    return used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


def scores(run: int, items: int) -> list[float]:
    """Make the scores of the first or the second run up."""
    draw = random.Random(1)
    right = [draw.random() < 0.9 for _ in range(items)]
    changed = [draw.random() < 0.03 for _ in range(items)]
    return [float(one != (flip and run == 1)) for one, flip in zip(right, changed, strict=True)]


def write_evalrun(folder: Path, items: int) -> list[Path]:
    """Write the parts and results of two runs; a comparison of the same items reads no manifest."""
    hashes = [text_hash(str(number)) for number in range(items)]
    for run, name in enumerate("ab"):
        # In memory first: a directory's store syncs each object, which takes a quarter of an hour for both runs.
        store = MemoryStore(name)
        ledger = Ledger(store)
        values = scores(run, items)
        for chunk, first in enumerate(range(0, items, CHUNK)):
            mine = hashes[first : first + CHUNK]
            planned = Chunk("t", chunk, 0, first, len(mine), 1.0, chunk_digest(mine))
            rows = [
                ItemResult(
                    first + place,
                    one,
                    Outcome(ItemStatus.OK, ((Response(f"the answer is {one}", "stop", 100, 20),),)),
                    json.dumps({"none": {"exact_match": values[first + place]}}),
                    json.dumps({"none": [one]}),
                )
                for place, one in enumerate(mine)
            ]
            ledger.commit_part(planned, rows, Writer("r", "vllm"))
        config = {"metric_list": [{"metric": "exact_match"}]}
        given = {"configs": {"t": config}, "results": {"t": {}}, "model_name": name, "evalrun": {"engine": "vllm"}}
        ledger.claim_epoch()
        ledger.write_results(1, json.dumps(given).encode())
        ledger.complete(1)
        for key in store.list(""):
            file = folder / name / key
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(store.get(key))
    return [folder / "a", folder / "b"]


def write_lm_eval(folder: Path, items: int) -> list[Path]:
    """Write the samples and results of two runs of lm-eval."""
    found = []
    for run, name in enumerate("ab"):
        (folder / name).mkdir(parents=True)
        with (folder / name / "samples_t_1.jsonl").open("w") as file:
            for number, score in enumerate(scores(run, items)):
                digest = text_hash(str(number))
                sample = {
                    "doc_id": number,
                    "doc": {"question": f"{TEXT}{number}"},
                    "target": str(number),
                    "arguments": {"gen_args_0": {"arg_0": f"{TEXT}{number}", "arg_1": {"until": ["\n"]}}},
                    "resps": [[f"the answer is {number}"]],
                    "filtered_resps": [str(number)],
                    "filter": "none",
                    "metrics": ["exact_match"],
                    "doc_hash": digest,
                    "prompt_hash": digest,
                    "target_hash": digest,
                    "exact_match": score,
                }
                file.write(f"{json.dumps(sample)}\n")
        results = folder / name / "results_1.json"
        config = {"t": {"metric_list": [{"metric": "exact_match"}]}}
        results.write_text(json.dumps({"results": {"t": {}}, "configs": config, "model_name": name}))
        found.append(results)
    return found


def write_table(folder: Path, items: int) -> list[Path]:
    """Write a table of two models."""
    folder.mkdir(parents=True)
    file = folder / "scores.csv"
    with file.open("w") as lines:
        lines.write("item,a,b\n")
        lines.writelines(
            f"item-{number},{one:g},{other:g}\n"
            for number, (one, other) in enumerate(zip(scores(0, items), scores(1, items), strict=True))
        )
    return [file]
