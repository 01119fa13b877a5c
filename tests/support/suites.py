"""Suites for tests: folders with lm-eval YAML and data, made from public benchmark data or from a few lines."""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import lm_eval.tasks
import pytest
import yaml
from lm_eval.tasks._yaml_loader import load_yaml

DATA_VARIABLE = "EVALRUN_BENCHMARK_DATA"
LM_EVAL_TASKS = Path(lm_eval.tasks.__file__).parent
Row = Mapping[str, Any]


def benchmark_data() -> Path:
    """The folder with public benchmark data; skips the test, saying why, where there is none."""
    folder = Path(os.environ.get(DATA_VARIABLE, Path(__file__).parents[3] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no public benchmark data: {folder} is not there; set {DATA_VARIABLE} to the folder that holds it")
    return folder


class Suite:
    """A suite under construction: ``Suite(folder).with_data(...).with_task(...)``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def with_data(self, name: str, rows: Iterable[Row]) -> Suite:
        """Write ``<name>.jsonl``."""
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (self.folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
        return self

    def with_task(self, task: str, *, data: str | None = None, **config: Any) -> Suite:
        """Write ``<task>.yaml``; ``data`` names the JSON lines that are its test split."""
        return self._write(task, {"task": task, **(self.reading(data) if data else {}), **config})

    def with_group(self, group: str, tasks: list[Any], **config: Any) -> Suite:
        """Write a group."""
        return self._write(group, {"group": group, "task": tasks, **config})

    def with_own_task(self, path: str, *, data: str, task: str | None = None, **config: Any) -> Suite:
        """One of lm-eval's own tasks, by its YAML's path, over other data."""
        own = load_yaml(LM_EVAL_TASKS / path, resolve_func=False)
        for key in ("dataset_name", "training_split", "validation_split", "tag"):
            own.pop(key, None)
        name = task or own["task"]
        return self._write(name, {**own, **self.reading(data), "task": name, **config})

    def including(self, path: str, task: str, *, data: str, **config: Any) -> Suite:
        """One of lm-eval's own tasks with its functions, over other data; needs ``allow_code``."""
        own = {"include": str(LM_EVAL_TASKS / path), "dataset_name": None}
        return self._write(task, {**own, "task": task, **self.reading(data), **config})

    def with_file(self, name: str, text: str) -> Suite:
        """Any file."""
        (self.folder / name).write_text(text, encoding="utf-8")
        return self

    def reading(self, test: str, **splits: str) -> dict[str, Any]:
        """The keys that make a task read JSON lines of this suite as its test split and further splits."""
        files = {split: str(self.folder / f"{name}.jsonl") for split, name in {"test": test, **splits}.items()}
        return {"dataset_path": "json", "dataset_kwargs": {"data_files": files}, "test_split": "test"}

    def _write(self, name: str, config: Mapping[str, Any]) -> Suite:
        text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
        return self.with_file(f"{name}.yaml", text)


def json_lines(path: Path, count: int) -> list[dict[str, Any]]:
    """The first rows of a JSON lines file, gzipped or not."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in islice(data.splitlines(), count)]


def gsm8k(suite: Suite, data: Path, count: int = 30) -> Suite:
    """GSM8K as lm-eval defines it, few-shot from the training split."""
    suite.with_data("gsm8k_test", json_lines(data / "gsm8k" / "test.jsonl", count))
    suite.with_data("gsm8k_train", json_lines(data / "gsm8k" / "train.jsonl", 60))
    return suite.with_own_task(
        "gsm8k/gsm8k.yaml",
        data="gsm8k_test",
        training_split="train",
        **_files(suite, "gsm8k_test", train="gsm8k_train"),
    )


def gsm8k_self_consistency(suite: Suite, data: Path, count: int = 12) -> Suite:
    """Several answers for each question, and a vote among them."""
    suite.with_data("gsm8k_votes", json_lines(data / "gsm8k" / "test.jsonl", count))
    own = load_yaml(LM_EVAL_TASKS / "gsm8k" / "gsm8k-cot-self-consistency.yaml", resolve_func=False)
    filters = own["filter_list"]
    filters[2]["filter"][0]["k"] = 3
    return suite.with_own_task(
        "gsm8k/gsm8k-cot-self-consistency.yaml", data="gsm8k_votes", repeats=5, filter_list=filters
    )


def humaneval_code(suite: Suite, data: Path, count: int = 164, *, own: str = "humaneval") -> Suite:
    """HumanEval as lm-eval defines it, by the name of one of its own tasks."""
    suite.with_data("humaneval", json_lines(data / "humaneval" / "HumanEval.jsonl.gz", count))
    return suite.including(f"humaneval/{own}.yaml", own, data="humaneval")


def mbpp_code(suite: Suite, data: Path, count: int = 500) -> Suite:
    """MBPP as lm-eval defines it: the test split of the full set, problems 11 to 510."""
    rows = [row for row in json_lines(data / "mbpp" / "mbpp.jsonl", 974) if 11 <= row["task_id"] <= 510]
    return suite.with_data("mbpp", rows[:count]).including("mbpp/mbpp.yaml", "mbpp", data="mbpp")


def mbpp_sanitized(suite: Suite, data: Path, count: int = 427) -> Suite:
    """Sanitized MBPP with lm-eval's prompt and metric: its tests need the imports that its data names."""
    rows = json.loads((data / "mbpp" / "sanitized-mbpp.json").read_text(encoding="utf-8"))
    tests = "{% for line in test_imports %}{{line}}\n{% endfor %}{{test_list | join('\n')}}"
    suite.with_data("mbpp_sanitized", rows[:count])
    return suite.including(
        "mbpp/mbpp_plus.yaml", "mbpp_sanitized", data="mbpp_sanitized", doc_to_target=tests, num_fewshot=0
    )


def mmlu(suite: Suite, data: Path, count: int = 25, *, weight_by_size: bool = True) -> Suite:
    """MMLU as lm-eval defines it: subjects in groups in a group, few-shot from dev in its canonical order."""
    families = {
        "mmlu_stem": ("anatomy", "astronomy"),
        "mmlu_humanities": ("philosophy", "prehistory"),
    }
    template = load_yaml(LM_EVAL_TASKS / "mmlu" / "default" / "_default_template_yaml")
    for place, subject in enumerate(name for subjects in families.values() for name in subjects):
        # Subjects of different sizes, so that weighting by size shows.
        suite.with_data(
            f"{subject}_test", _mmlu_rows(data / "mmlu" / "test" / f"{subject}_test.csv", count + 3 * place)
        )
        suite.with_data(f"{subject}_dev", _mmlu_rows(data / "mmlu" / "dev" / f"{subject}_dev.csv", 5))
        suite.with_task(
            f"mmlu_{subject}",
            **{**template, **suite.reading(f"{subject}_test", dev=f"{subject}_dev")},
            task_alias=subject,
            description=f"The following are multiple choice questions (with answers) about {subject}.\n\n",
        )
    aggregation = {"aggregate_metric_list": [{"metric": "acc", "weight_by_size": weight_by_size}]}
    for family, subjects in families.items():
        suite.with_group(family, [f"mmlu_{subject}" for subject in subjects], **aggregation, metadata={"version": 2})
    return suite.with_group("mmlu", list(families), **aggregation, metadata={"version": 2})


def bbh(suite: Suite, data: Path, count: int = 12) -> Suite:
    """BIG-Bench-Hard with chain of thought, as lm-eval defines it: few-shot examples stand in the YAML."""
    names = ("snarks", "boolean_expressions", "word_sorting")
    for name in names:
        rows = json.loads((data / "bbh" / f"{name}.json").read_text(encoding="utf-8"))["examples"][:count]
        suite.with_data(name, rows)
        suite.with_own_task(f"bbh/cot_fewshot/{name}.yaml", data=name)
    metric = {"metric": "exact_match", "aggregation": "mean", "weight_by_size": True, "filter_list": "get-answer"}
    tasks = [f"bbh_cot_fewshot_{name}" for name in names]
    return suite.with_group("bbh", tasks, aggregate_metric_list=[metric], metadata={"version": 3.0})


def arc(suite: Suite, data: Path, count: int = 30) -> Suite:
    """ARC, easy and challenge under one tag: every metric of multiple choice, mutual information among them."""
    metrics = ("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "brier_score", "exact_match")
    for name in ("arc_easy", "arc_challenge"):
        rows = [row for row in json_lines(data / "arc" / f"{name}.jsonl", 2 * count) if len(row["choices"]) == 4]
        suite.with_data(name, rows[:count])
        suite.with_task(
            name,
            data=name,
            tag="arc_both",
            output_type="multiple_choice",
            doc_to_text="{{query}}\nAnswer:",
            doc_to_choice="choices",
            doc_to_target="gold",
            metric_list=[{"metric": metric} for metric in metrics],
            metadata={"version": 1.0},
        )
    return suite


def boolq(suite: Suite, data: Path, count: int = 40) -> Suite:
    """BoolQ with the metrics that are made of all documents at once: f1 and Matthews' correlation."""
    suite.with_data("boolq", json_lines(data / "boolq" / "boolq.jsonl", count))
    return suite.with_task(
        "boolq",
        data="boolq",
        output_type="multiple_choice",
        doc_to_text="{{query}}",
        doc_to_choice="choices",
        doc_to_target="gold",
        metric_list=[{"metric": "acc"}, {"metric": "f1"}, {"metric": "mcc"}],
    )


def winogrande(suite: Suite, data: Path, count: int = 40) -> Suite:
    """WinoGrande: several contexts and one continuation."""
    suite.with_data("winogrande", json_lines(data / "winogrande" / "winogrande.jsonl", count))
    return suite.with_task(
        "winogrande",
        data="winogrande",
        output_type="multiple_choice",
        doc_to_text="{{gold}}",
        doc_to_choice="context_options",
        doc_to_target="continuation",
        metric_list=[{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    )


def ifeval_prompts(suite: Suite, data: Path, count: int = 30) -> Suite:
    """IFEval's prompts, scored by text metrics alone."""
    suite.with_data("ifeval", json_lines(data / "ifeval" / "input_data.jsonl", count))
    return suite.with_task(
        "ifeval_prompts",
        data="ifeval",
        output_type="generate_until",
        doc_to_text="prompt",
        doc_to_target="{{instruction_id_list[0]}}",
        generation_kwargs={"until": [], "do_sample": False, "temperature": 0.0, "max_gen_toks": 1280},
        filter_list=[
            {"name": "lower", "filter": [{"function": "lowercase"}, {"function": "take_first"}]},
            {"name": "plain", "filter": [{"function": "remove_whitespace"}, {"function": "take_first"}]},
        ],
        metric_list=[{"metric": "exact_match", "ignore_case": True, "ignore_punctuation": True}],
    )


def ifeval(suite: Suite, data: Path, count: int = 30) -> Suite:
    """IFEval with lm-eval's own code, without the kinds of instruction that need nltk's data from the network."""
    needs_nltk_data = {"length_constraints:number_sentences", "change_case:capital_word_frequency"}
    rows = [
        row
        for row in json_lines(data / "ifeval" / "input_data.jsonl", 3 * count)
        if not needs_nltk_data.intersection(row["instruction_id_list"])
    ]
    suite.with_data("ifeval", rows[:count])
    reading = yaml.safe_dump({**suite.reading("ifeval"), "dataset_name": None})
    return suite.with_file("ifeval.yaml", f"include: {LM_EVAL_TASKS}/ifeval/ifeval.yaml\ntask: ifeval\n{reading}")


def humaneval(suite: Suite, data: Path, count: int = 20) -> Suite:
    """HumanEval without running code: corpus-level text metrics against the canonical solution."""
    suite.with_data("humaneval", json_lines(data / "humaneval" / "HumanEval.jsonl.gz", count))
    return suite.with_task(
        "humaneval_text",
        data="humaneval",
        output_type="generate_until",
        doc_to_text="{{prompt}}",
        doc_to_target="{{canonical_solution}}",
        metric_list=[{"metric": metric} for metric in ("bleu", "chrf", "ter", "exact_match")],
        generation_kwargs={"until": ["\nclass", "\ndef"], "max_gen_toks": 512},
    )


def rolling(suite: Suite, data: Path, count: int = 25) -> Suite:
    """Perplexity of whole texts."""
    suite.with_data("passages", json_lines(data / "boolq" / "boolq.jsonl", count))
    return suite.with_task(
        "passages",
        data="passages",
        output_type="loglikelihood_rolling",
        doc_to_text="",
        doc_to_target="{{query}}",
        metric_list=[{"metric": metric} for metric in ("word_perplexity", "byte_perplexity", "bits_per_byte")],
    )


def last_words(suite: Suite, data: Path, count: int = 30) -> Suite:
    """The last word of a text, as LAMBADA asks for it."""
    suite.with_data("last_words", json_lines(data / "gsm8k" / "test.jsonl", count))
    return suite.with_task(
        "last_words",
        data="last_words",
        output_type="loglikelihood",
        doc_to_text="{{question.split(' ')[:-1]|join(' ')}}",
        doc_to_target="{{' '+question.split(' ')[-1]}}",
        metric_list=[{"metric": "perplexity"}, {"metric": "acc"}],
    )


def several_targets(suite: Suite, data: Path, count: int = 20) -> Suite:
    """Answers of which any may be right, and a tag in the answer's place."""
    rows = json_lines(data / "gsm8k" / "test.jsonl", count)
    answers = [{**row, "targets": [row["answer"].split("#### ")[-1], "seven"]} for row in rows]
    suite.with_data("targets", answers)
    return suite.with_task(
        "several_targets",
        data="targets",
        output_type="generate_until",
        doc_to_text="{{question}}",
        doc_to_target="targets",
        filter_list=[
            {
                "name": "number",
                "filter": [{"function": "regex", "regex_pattern": "#### (\\S+)"}, {"function": "take_first"}],
            }
        ],
        metric_list=[{"metric": "exact_match"}],
    )


CODE = '''
"""A suite's own code: a partial, a metric with several values, a filter class, an aggregation."""

from functools import partial

from lm_eval.api.filter import Filter


def _with_number(docs, sign):
    return docs.map(lambda doc: {"number": sign + doc["answer"].split("#### ")[-1]})


process_docs = partial(_with_number, sign="#### ")


class LastLine(Filter):
    def apply(self, resps, docs):
        return [[(text.splitlines() or [""])[-1] for text in inst] for inst in resps]


def parts(references, predictions, **kwargs):
    return {"hit": float(references[0] in predictions[0]), "length": len(predictions[0])}


def most(values):
    return max(values)


def process_results(doc, results):
    return {"overlap": (len(results[0]), {"doc": doc["number"]})}


def aggregate_overlap(values):
    return sum(length for length, _ in values) / len(values)


def across(resps, docs):
    longest = max(len(inst[0]) for inst in resps)
    return [[str(longest - len(inst[0]))] for inst in resps]
'''


def with_code(suite: Suite, data: Path, count: int = 20) -> Suite:
    """Tasks that hold code; for suites whose owner is trusted."""
    suite.with_file("code.py", CODE)
    suite.with_data("code", json_lines(data / "gsm8k" / "test.jsonl", count))
    files = json.dumps({"test": str(suite.folder / "code.jsonl")})
    common = f"""
dataset_path: json
dataset_kwargs: {{data_files: {files}}}
test_split: test
output_type: generate_until
process_docs: !function code.process_docs
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{number}}}}"
num_fewshot: 2
"""
    suite.with_file(
        "several_values.yaml",
        f"""task: several_values
{common}
filter_list:
  - name: last
    filter: [{{function: !function code.LastLine}}, {{function: take_first}}]
metric_list:
  - metric: !function code.parts
    aggregation: !function code.most
    higher_is_better: false
""",
    )
    return suite.with_file(
        "own_results.yaml",
        f"""task: own_results
{common}
process_results: !function code.process_results
metric_list:
  - metric: overlap
    aggregation: !function code.aggregate_overlap
    higher_is_better: true
""",
    )


def _files(suite: Suite, test: str, **splits: str) -> dict[str, Any]:
    return {"dataset_kwargs": suite.reading(test, **splits)["dataset_kwargs"]}


def _mmlu_rows(path: Path, count: int) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {
                "question": row["question"],
                "choices": [row[f"choice{i}"] for i in range(4)],
                "answer": int(row["answer"]),
            }
            for row in islice(csv.DictReader(file), count)
        ]
