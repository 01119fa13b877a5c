"""What people get wrong: one message that names the file or the field, the right exit code, and no traceback."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.model_files import model_content, write_files
from support.runs import EVALRUN, STARTED, write_run, write_suite

QUESTIONS = ["What is one and one?", "What is two and two?"]


def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], list[object]]:
    """The arguments of a run whose document was changed."""

    def arguments(folder: Path) -> list[object]:
        file = write_run(folder / "run.yaml", write_suite(folder / "suite", QUESTIONS))
        document = yaml.safe_load(file.read_text())
        change(document)
        file.write_text(yaml.safe_dump(document))
        return [file]

    return arguments


def holding(text: str) -> Callable[[Path], list[object]]:
    """The arguments of a run whose file holds this text."""

    def arguments(folder: Path) -> list[object]:
        file = folder / "run.yaml"
        file.write_text(text)
        return [file]

    return arguments


def with_suite(change: Callable[[Path], object]) -> Callable[[Path], list[object]]:
    """The arguments of a run whose suite was changed."""

    def arguments(folder: Path) -> list[object]:
        suite = write_suite(folder / "suite", QUESTIONS)
        change(suite)
        return [write_run(folder / "run.yaml", suite)]

    return arguments


def with_model(change: Callable[[Path], object]) -> Callable[[Path], list[object]]:
    """The arguments of a run of a real engine whose model's folder was changed."""

    def arguments(folder: Path) -> list[object]:
        suite = write_suite(folder / "suite", QUESTIONS)
        model = folder / "model"
        write_files(model, model_content())
        change(model)
        file = write_run(folder / "run.yaml", suite, model={"uri": model.as_uri()}, engine={"vllm": {}})
        return [file]

    return arguments


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def pickle_only(model: Path) -> None:
    for shard in model.glob("*.safetensors*"):
        shard.rename(shard.with_suffix(".bin"))


def into_a_file(folder: Path) -> list[object]:
    (folder / "taken").write_text("a file is here")
    return [*edited(lambda run: None)(folder), "--output", folder / "taken" / "output"]


CASES: dict[str, tuple[Callable[[Path], list[object]], int, list[str]]] = {
    "no file": (lambda folder: [folder / "absent.yaml"], 2, ["absent.yaml", "expected the path of an EvalRun file"]),
    "an empty file": (holding(""), 2, ["run.yaml", "EvalRun"]),
    "not YAML": (holding("spec: [1, 2\nkind: {"), 2, ["run.yaml", "line"]),
    "not text": (holding("\x00\x01"), 2, ["run.yaml"]),
    "another kind": (edited(lambda run: run.update(kind="Job")), 2, ["run.yaml", "kind", "EvalRun"]),
    "an unknown field": (edited(lambda run: run["spec"].update(modle="x")), 2, ["run.yaml", "spec.modle"]),
    "an unknown option": (
        lambda folder: [*edited(lambda run: None)(folder), "--set", "spec.replicas.count=many"],
        2,
        ["spec.replicas.count"],
    ),
    "an unknown task": (
        edited(lambda run: run["spec"]["benchmarks"][0].update(task="sumz")),
        2,
        ["sumz"],
    ),
    "no suite": (
        edited(lambda run: run["spec"]["benchmarks"][0]["source"].update(path="./absent")),
        2,
        ["benchmark sums", "absent"],
    ),
    "a task without its data": (with_suite(lambda suite: (suite / "sums.jsonl").unlink()), 2, ["sums", "sums.jsonl"]),
    "an empty data set": (with_suite(lambda suite: (suite / "sums.jsonl").write_text("")), 2, ["sums"]),
    "data without a field": (
        with_suite(lambda suite: (suite / "sums.jsonl").write_text('{"question": "1"}\n')),
        2,
        ["sums", "answer"],
    ),
    "no model": (with_model(lambda model: model.rename(model.with_name("moved"))), 2, ["model"]),
    "a damaged model": (
        with_model(lambda model: truncate(model / "model-00002-of-00002.safetensors")),
        2,
        ["model-00002"],
    ),
    "a pickled model": (with_model(pickle_only), 2, ["safetensors"]),
    "an output that is no folder": (into_a_file, 2, ["taken", "choose another output"]),
    "a model in a volume of a cluster": (
        edited(lambda run: run["spec"]["model"].update(uri="pvc://models/llama")),
        2,
        ["spec.model.uri"],
    ),
    "a Secret that is not there": (
        edited(
            lambda run: run["spec"]["output"].update(
                uri="s3://evals/", storage={"credentialsSecretRef": {"name": "keys"}}
            )
        ),
        2,
        ["spec.output.storage", "keys"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_gives_one_message_and_an_exit_code(tmp_path: Path, case: str) -> None:
    arguments, code, expected = CASES[case]
    command = [str(EVALRUN), "run", *map(str, arguments(tmp_path))]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert done.stderr.count("evalrun: ") == 1, done.stderr
    message = done.stderr.partition("evalrun: ")[2]
    assert all(word in message for word in expected), message
    assert "Traceback" not in done.stderr
    assert STARTED not in done.stderr.partition("evalrun: ")[0], "nothing was started for it"
    assert done.stdout == ""
