#!/bin/sh
# Package: lm-eval 0.4.13, multiple choice with `doc_to_target: "{{answer}}"`
#
# Behaviour: where the right answer is one of the choices and is written in digits, it is not looked up among the
# choices but taken for the place of a choice, counted from 0. With the choices 1, 2, 3 and the answer "1", the right
# one is 2. A model that knows every answer scores 0.0; the same questions with the numbers written as words score 1.0.
# An answer beyond the last place is only a line in the log, and its question is scored as wrong.
#
# What one would have guessed: a text is compared with the texts of the choices, as it is for every answer that is not
# made of digits ("one", "1.5", "-1").
#
# Cause: a template of target that renders to digits is turned into a number where the task has choices, which is how
# tasks with a column of places work.
#
# Why it matters: numeric options are what arithmetic, counting and date questions have. The score is low, not
# absent, and rises with a model that is systematically off by one; nothing in the results tells it from a weak model.
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

logging.disable(logging.ERROR)
NUMBERS = {"digits": ["1", "2", "3"], "words": ["one", "two", "three"]}
TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {name}.jsonl}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
metric_list: [{{metric: acc}}]
"""
for name, choices in NUMBERS.items():
    rows = [
        {"question": f"How many letters has {'x' * (n + 1)}?", "choices": choices, "answer": choices[n]}
        for n in (0, 1, 2) for _ in range(10)
    ]  # fmt: skip
    Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path(f"{name}.yaml").write_text(TASK.format(name=name))


class Knowing(LM):
    """A model that counts the letters, and gives the choice that says so the highest log-probability."""

    def loglikelihood(self, requests):
        texts = [request.args for request in requests]
        right = [choice.strip() in {of[prompt.count("x") - 1] for of in NUMBERS.values()} for prompt, choice in texts]
        return [(-0.1, True) if one else (-9.0, False) for one in right]

    def loglikelihood_rolling(self, requests):
        raise NotImplementedError

    def generate_until(self, requests):
        raise NotImplementedError


tasks = TaskManager(include_path=".", include_defaults=False)
found = lm_eval.simple_evaluate(model=Knowing(), tasks=[*NUMBERS], task_manager=tasks, bootstrap_iters=0)
scores = {name: found["results"][name]["acc,none"] for name in NUMBERS}
taken = [sample["target"] for sample in found["samples"]["digits"][::10]]
print("score of a model that knows every answer:", scores)
print("answers 1, 2, 3 among the choices 1, 2, 3 are taken for the places:", taken)
sys.exit(0 if scores == {"digits": 0.0, "words": 1.0} else "an answer in digits is now looked up like any other")
PYTHON
