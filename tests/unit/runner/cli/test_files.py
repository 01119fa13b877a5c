"""EvalRun files and --set: what is set, and how a mistake is named."""

from __future__ import annotations

import io
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from evalrun_api.reading.problems import InvalidInput
from evalrun_runner.cli.files import override, parse
from evalrun_runner.errors import InputError

RUN: dict[str, Any] = {
    "apiVersion": "evalrun.dev/v1alpha1",
    "kind": "EvalRun",
    "metadata": {"name": "r"},
    "spec": {
        "model": {"name": "m", "uri": "hf://org/m"},
        "engine": {"mock": {}},
        "replicas": {"count": 1},
        "benchmarks": [{"task": "a"}, {"task": "b", "limit": 3}],
        "output": {"uri": "out"},
    },
}


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("spec.replicas.count=3", ("spec", "replicas", "count"), 3),
        ("spec.benchmarks.1.limit=5", ("spec", "benchmarks", 1, "limit"), 5),
        ("spec.benchmarks[1].limit=5", ("spec", "benchmarks", 1, "limit"), 5),
        ("spec.benchmarks.0.limit=0.5", ("spec", "benchmarks", 0, "limit"), 0.5),
        ("spec.benchmarks.0={task: c, limit: 1}", ("spec", "benchmarks", 0), {"task": "c", "limit": 1}),
        ("spec.policy.maxFailedItems=2", ("spec", "policy", "maxFailedItems"), 2),
        ("spec.model.uri=file:///a=b", ("spec", "model", "uri"), "file:///a=b"),
        ("metadata.name='7'", ("metadata", "name"), "7"),
        ("spec.output.samples=true", ("spec", "output", "samples"), True),
        ("spec.gates=[{task: a, metric: acc, min: 0.5}]", ("spec", "gates", 0, "min"), 0.5),
        ("spec.policy=", ("spec", "policy"), None),
        # As a file is read, and the API server reads it: no dates, no numbers to the base 60, and this is a number.
        ("metadata.labels.day=2001-99-99", ("metadata", "labels", "day"), "2001-99-99"),
        ("metadata.labels.time=12:30", ("metadata", "labels", "time"), "12:30"),
        ("spec.gates=[{task: a, metric: acc, min: 1e-3}]", ("spec", "gates", 0, "min"), 0.001),
    ],
)
def test_a_field_is_set(setting: str, path: tuple[str | int, ...], value: object) -> None:
    document = deepcopy(RUN)
    override(document, setting)
    for key in path:
        document = document[key]  # type: ignore[index]  # a path into YAML
    assert document == value


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("spec.replicas.count", "expected PATH=VALUE, e.g. spec.replicas.count=1"),
        ("=3", "expected PATH=VALUE"),
        ("spec..count=3", "expected PATH=VALUE"),
        ("spec.replicas.count=[1", "the value is not valid YAML: line 1, column 3: "),
        (
            "spec.replicas.count={a: 1, a: 2}",
            "the value is not valid YAML: line 1, column 8: ",
        ),
        ("spec.replicas.count=---\n1\n---\n2", "the value is more than one YAML document"),
        ("spec.benchmarks.2.limit=1", "'2' is no place in a list of 2, counted from 0"),
        ("spec.benchmarks.-1.limit=1", "'-1' is no place in a list of 2"),
        ("spec.benchmarks.b.limit=1", "'b' is no place in a list of 2"),
        ("spec.benchmarks.2=x", "'2' is no place in a list of 2"),
        ("spec.model.uri.deep=1", "'deep' lies in a plain value, not in a mapping or list"),
        ("spec.model.uri.deep.er=1", "'deep' lies in a plain value"),
    ],
)
def test_a_mistake_is_named(setting: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        override(deepcopy(RUN), setting)
    assert str(refused.value).startswith(f"--set {setting}: {message}")


def test_overrides_apply_to_the_run_alone_and_in_order(tmp_path: Path) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "labels": {"evalrun.dev/use": "storage"}},
        "stringData": {"AWS_ACCESS_KEY_ID": "0123"},
    }
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump_all([secret, RUN]))
    parsed = parse(str(file), ["spec.replicas.count=2", "spec.replicas.count=4", "metadata.name=other"])
    assert (parsed.evalrun.spec.replicas.count, parsed.evalrun.metadata.name) == (4, "other")
    assert parsed.secrets["s"].data == {"AWS_ACCESS_KEY_ID": b"0123"}
    assert parse(str(file), []).evalrun.spec.replicas.count == 1


def test_what_is_set_is_checked_like_what_is_written(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(RUN))
    with pytest.raises(InvalidInput, match=r"spec\.replicas\.count"):
        parse(str(file), ["spec.replicas.count=many"])
    with pytest.raises(InvalidInput, match="maxFailed"):
        parse(str(file), ["spec.policy.maxFailed=1"])


def test_a_file_that_is_not_there_or_a_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.yaml: No such file or directory; expected the path"):
        parse(str(tmp_path / "nothing.yaml"), [])
    with pytest.raises(InputError, match="Is a directory"):
        parse(str(tmp_path), [])


def test_a_dash_reads_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(yaml.safe_dump(RUN).encode())))
    assert parse("-", []).evalrun.metadata.name == "r"


@pytest.mark.parametrize(
    ("uri", "meant"),
    [
        ("../m", "file://{here}/m"),
        ("./m", "file://{here}/files/m"),
        ("~/m", "file://{here}/home/m"),
        ("/abs/m", "file:///abs/m"),
        ("there", "file://{here}/files/there"),
        ("file://~/m", "file://{here}/home/m"),
        ("file://m", "file://{here}/files/m"),
        ("file:/abs/m", "file:///abs/m"),
        ("file://usr/bin", "file:///usr/bin"),
        ("org/name-1.5B", "hf://org/name-1.5B"),
    ],
)
def test_the_address_that_was_meant_for_a_model_is_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, meant: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "files" / "there").mkdir(parents=True)
    file = tmp_path / "files" / "run.yaml"
    run = deepcopy(RUN)
    run["spec"]["model"]["uri"] = uri
    run["spec"]["seed"] = -1
    file.write_text(yaml.safe_dump(run))
    with pytest.raises(InvalidInput) as refused:
        parse(str(file), [])
    model, seed = sorted(str(problem) for problem in refused.value.problems)
    assert model.startswith("spec.model.uri: must look like")
    assert model.endswith(f"hint: did you mean {meant.format(here=tmp_path)}?")
    assert seed.startswith("spec.seed: ")


@pytest.mark.parametrize(("own", "uri"), [(None, "file:///given"), ({"uri": "out"}, "out")])
def test_an_output_of_the_command_stands_in_for_one_that_the_file_does_not_name(
    own: dict[str, str] | None, uri: str, tmp_path: Path
) -> None:
    document = deepcopy(RUN)
    del document["spec"]["output"]
    if own is not None:
        document["spec"]["output"] = own
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(document))
    assert parse(str(file), [], output="file:///given").evalrun.spec.output.uri == uri


def test_without_an_output_anywhere_it_is_missing(tmp_path: Path) -> None:
    document = deepcopy(RUN)
    del document["spec"]["output"]
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(document))
    with pytest.raises(InvalidInput, match=r"spec\.output"):
        parse(str(file), [])
