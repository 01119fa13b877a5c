#!/bin/sh
# Package: lm-eval 0.4.13, few-shot sampling and the selection of items (`samples` of simple_evaluate,
# `--samples` on the command line)
#
# Behaviour: the few-shot examples of an item depend on which other items are evaluated with it. Selecting the
# second half of a task's items gives every one of them other examples, hence another prompt and possibly
# another score, than the same items get in a run over the whole task with the same seed. Only a prefix
# (`limit`) gives the same prompts.
#
# What one would have guessed: the examples of an item follow from the task, the seed and the item. Then a
# benchmark can be cut into shards, or one failed item asked again, and the results put together.
#
# Cause: one random generator is seeded once for the task and is advanced by every item that is built, in turn.
#
# Why it matters: sharding a few-shot benchmark over machines by --samples, or asking failed items again, measures
# something else than the run it is put together with, and nothing in the output says so: task, version, seed and
# number of examples are all the same.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv=$(command -v uv || true)
if [ -z "$uv" ]; then
    python3 -m venv "$work/tools"
    "$work/tools/bin/pip" install --quiet uv
    uv=$work/tools/bin/uv
fi
"$uv" venv --quiet --python "$(command -v python3)" "$work/venv"
"$uv" pip install --quiet --python "$work/venv" lm-eval==0.4.13 datasets==5.2.0
cd "$work"
HF_HOME="$work/hf" HF_DATASETS_DISABLE_PROGRESS_BARS=1 TQDM_DISABLE=1 HF_HUB_OFFLINE=1 "$work/venv/bin/python" - <<'PYTHON'
import json
import logging
import sys
from pathlib import Path

import lm_eval
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

logging.disable(logging.WARNING)
Path("test.jsonl").write_text("".join(json.dumps({"q": f"{n}+{n}=", "a": str(2 * n)}) + "\n" for n in range(100)))
Path("train.jsonl").write_text("".join(json.dumps({"q": f"{n}+1=", "a": str(n + 1)}) + "\n" for n in range(200)))
Path("sums.yaml").write_text("""
task: sums
dataset_path: json
dataset_kwargs: {data_files: {test: test.jsonl, train: train.jsonl}}
test_split: test
training_split: train
output_type: generate_until
doc_to_text: "{{q}}"
doc_to_target: "{{a}}"
num_fewshot: 3
generation_kwargs: {until: ["\\n"], do_sample: false, temperature: 0.0}
metric_list: [{metric: exact_match}]
""")


class Recorder(LM):
    """A model that keeps the prompts it is asked and answers nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.prompts: dict[str, str] = {}

    def generate_until(self, requests):
        self.prompts = {request.doc["q"]: request.args[0] for request in requests}
        return ["" for _ in requests]

    def loglikelihood(self, requests):
        raise NotImplementedError

    def loglikelihood_rolling(self, requests):
        raise NotImplementedError


def prompts(**selection) -> dict[str, str]:
    """Prompts by question, of one run with the seeds that lm-eval sets by itself."""
    model = Recorder()
    tasks = TaskManager(include_path=".", include_defaults=False)
    lm_eval.simple_evaluate(model=model, tasks=["sums"], task_manager=tasks, bootstrap_iters=0, **selection)
    return model.prompts


whole = prompts()
again = prompts()
prefix = prompts(limit=50)
half = prompts(samples={"sums": list(range(50, 100))})
one = prompts(samples={"sums": [99]})


def equal(some: dict[str, str]) -> int:
    return sum(whole[question] == prompt for question, prompt in some.items())


print(f"whole run again:            {equal(again)} of {len(again)} prompts equal")
print(f"limit=50:                   {equal(prefix)} of {len(prefix)} prompts equal")
print(f"samples 50 to 99:           {equal(half)} of {len(half)} prompts equal")
print(f"samples 99 only:            {equal(one)} of {len(one)} prompts equal")
print("item 99 in the whole run:  ", repr(whole["99+99="]))
print("item 99 alone:             ", repr(one["99+99="]))
unchanged = (equal(again), equal(prefix)) == (100, 50) and equal(half) < 5 and equal(one) == 0
sys.exit(0 if unchanged else "the examples of an item no longer depend on the other items")
PYTHON
