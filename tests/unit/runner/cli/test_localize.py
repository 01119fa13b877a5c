"""What the operator resolves in a cluster, resolved on this machine, or refused by name."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from evalrun_api import RunConfig
from evalrun_api.reading.parse import EvalRunFile, FileObject, parse_file
from evalrun_runner.cli.localize import LocalResolver, absolute
from evalrun_runner.cli.scratch import Scratch
from evalrun_runner.errors import InputError

SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "keys", "labels": {"evalrun.dev/use": "storage"}},
    "data": {"AWS_ACCESS_KEY_ID": "aWQ="},
    "stringData": {"AWS_SECRET_ACCESS_KEY": "hush"},
}
CONFIG_MAP = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "suite"},
    "data": {"a.yaml": "task: a", "ca.crt": "CERT"},
}
STORAGE = {
    "endpointURL": "https://s3.example",
    "credentialsSecretRef": {"name": "keys"},
    "caBundleRef": {"name": "suite", "key": "ca.crt"},
}


def file_of(*further: dict[str, Any], metadata: dict[str, Any] | None = None, **spec: Any) -> EvalRunFile:
    run = {
        "apiVersion": "evalrun.dev/v1alpha1",
        "kind": "EvalRun",
        "metadata": metadata or {"name": "r"},
        "spec": {
            "model": {"name": "m", "uri": "hf://org/m"},
            "engine": {"mock": {}},
            "replicas": {"count": 1},
            "benchmarks": [{"task": "a"}],
            "output": {"uri": "out"},
            **spec,
        },
    }
    return parse_file(yaml.safe_dump_all([run, *further]), "run.yaml")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scratch").mkdir()
    return tmp_path


def localized(
    here: Path, file: EvalRunFile, output: str | None = None, *, fresh: bool = False, gpu: bool = False
) -> RunConfig:
    resolver = LocalResolver(
        file, here / "files", Scratch(here / "scratch"), output=output, fresh=fresh, has_gpu=lambda: gpu
    )
    return resolver.config()


def path_of(uri: str) -> Path:
    assert uri.startswith("file:///")
    return Path(uri.removeprefix("file://"))


def test_secrets_and_config_maps_become_files_that_only_this_user_reads(here: Path) -> None:
    storage = {"uri": "s3://bucket/evals", "storage": STORAGE}
    suite = [{"task": "a", "source": {"configMap": {"name": "suite"}}}]
    config = localized(here, file_of(SECRET, CONFIG_MAP, output=storage, benchmarks=suite))
    access = config.results.storage
    assert (access.endpoint_url, access.credentials_dir is not None) == ("https://s3.example", True)
    folder = Path(str(access.credentials_dir))
    assert {file.name: file.read_text() for file in folder.iterdir()} == {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "hush",
    }
    assert Path(str(access.ca_bundle_file)).read_text() == "CERT"
    assert (path_of(config.suites["a"].uri) / "a.yaml").read_text() == "task: a"
    for file in (here / "scratch").rglob("*"):
        if file.is_file() and not file.is_symlink():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    # What the runner is given names files and holds no secret.
    assert "hush" not in config.to_json()
    assert all(file.is_symlink() for file in folder.iterdir()), "no secret is on a disk"


@pytest.mark.parametrize("key", ["..", ".", "", "a/b"])
def test_a_key_that_is_no_file_name_is_refused(here: Path, key: str) -> None:
    file = file_of(SECRET, output={"uri": "s3://bucket", "storage": {"credentialsSecretRef": {"name": "keys"}}})
    strange = EvalRunFile(file.evalrun, {}, {"keys": FileObject("keys", {key: b"x"})})
    with pytest.raises(InputError, match=r"the key .* of the Secret keys is no file name"):
        localized(here, strange)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"output": {"uri": "s3://bucket", "storage": {"credentialsSecretRef": {"name": "keys"}}}},
            "spec.output.storage: the Secret keys is in a cluster, not here; add it to the file as a further document",
        ),
        (
            {"model": {"uri": "s3://bucket/m", "storage": {"caBundleRef": {"name": "ca", "key": "x"}}}},
            "spec.model.storage: the ConfigMap ca is in a cluster, not here",
        ),
        (
            {"benchmarks": [{"task": "b"}, {"task": "a", "source": {"configMap": {"name": "suite"}}}]},
            "spec.benchmarks[1].source.configMap: the ConfigMap suite is in a cluster",
        ),
        (
            {"benchmarks": [{"task": "a", "source": {"pvc": {"claimName": "c", "path": "p"}}}]},
            "spec.benchmarks[0].source.pvc is a volume of a cluster; here give a folder: --set",
        ),
        (
            {"model": {"uri": "pvc://claim/path"}},
            "spec.model.uri: pvc://claim/path is a volume of a cluster; here give a path: --set",
        ),
        (
            {"resumeFrom": {"runName": "earlier"}},
            "spec.resumeFrom.runName: only a cluster knows runs by name; here give the run's output: --set",
        ),
        (
            {"gates": [{"task": "a", "metric": "acc", "baseline": {"runName": "earlier"}, "maxRegression": 0.1}]},
            "spec.gates[0].baseline.runName: only a cluster knows runs by name",
        ),
    ],
)
def test_what_only_a_cluster_has_is_named_with_what_to_do(here: Path, spec: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as refused:
        localized(here, file_of(**spec))
    assert str(refused.value).startswith(message)


def test_paths_in_the_file_are_relative_to_it_and_those_of_the_command_to_the_working_directory(here: Path) -> None:
    spec: dict[str, Any] = {
        "benchmarks": [{"task": "a", "source": {"path": "../suites/mine"}}],
        "gates": [
            {"task": "a", "metric": "acc", "min": 0.1},
            {"task": "a", "metric": "acc", "baseline": {"uri": "runs/old"}, "maxRegression": 0.1},
        ],
        "resumeFrom": {"uri": "runs/older"},
    }
    config = localized(here, file_of(**spec))
    assert path_of(config.suites["a"].uri) == here / "suites" / "mine"
    files = here / "files"
    assert path_of(config.results.uri) == files / "out"
    assert [location and path_of(location.uri) for location in config.baselines] == [None, files / "runs" / "old"]
    assert config.resume_from is not None
    assert path_of(config.resume_from.uri) == files / "runs" / "older"
    assert path_of(localized(here, file_of(), "else where").results.uri.replace("%20", " ")) == here / "else where"


def test_the_run_is_the_same_one_the_next_time(here: Path) -> None:
    one, two = localized(here, file_of()), localized(here, file_of())
    assert (one.uid, one.results) == (two.uid, two.results)
    assert localized(here, file_of(), "other").uid != one.uid


def test_a_shared_bucket_gets_a_folder_of_its_own_that_stays_the_same(here: Path) -> None:
    uris = [
        localized(here, file_of(output={"uri": uri}, metadata=metadata)).results.uri
        for uri in ("s3://bucket/evals", "s3://bucket/evals/")
        for metadata in ({"name": "r"}, {"name": "r", "namespace": "default"}, {"name": "r", "namespace": "team"})
    ]
    assert uris[0] == uris[1] == uris[3] == uris[4]
    assert uris[2] == uris[5]
    assert uris[0].startswith("s3://bucket/evals/default/r-")
    assert uris[2].startswith("s3://bucket/evals/team/r-")
    assert len(uris[0].rpartition("-")[2].strip("/")) == 8
    # Given on the command line it is exactly there.
    assert localized(here, file_of(), "s3://bucket/exactly/").results.uri == "s3://bucket/exactly/"


def test_fresh_is_the_first_sibling_without_a_run(here: Path) -> None:
    assert path_of(localized(here, file_of(), fresh=True).results.uri) == here / "files" / "out"
    for name, expected in (("out", "out-2"), ("out-2", "out-3")):
        (here / "files" / name).mkdir(parents=True)
        (here / "files" / name / "run.json").write_text("{}")
        assert path_of(localized(here, file_of(), fresh=True).results.uri.rstrip("/")) == here / "files" / expected
    assert path_of(localized(here, file_of()).results.uri) == here / "files" / "out"


@pytest.mark.parametrize("gpu", [True, False])
def test_replicas_have_gpus_where_this_machine_has(here: Path, gpu: bool) -> None:
    two = {"vllm": {"tensorParallelSize": 2}}
    piped = {"vllm": {"tensorParallelSize": 2, "args": {"pipeline_parallel_size": 3}}}
    assert localized(here, file_of(engine=piped), gpu=gpu).gpus_per_replica == (6 if gpu else 0)
    assert localized(here, file_of(engine=two), gpu=gpu).gpus_per_replica == (2 if gpu else 0)
    assert localized(here, file_of(), gpu=gpu).gpus_per_replica == 0, "the mock engine needs none"


def test_a_generated_name_is_a_name_here_too(here: Path) -> None:
    assert localized(here, file_of(metadata={"generateName": "nightly-"})).name == "nightly-local"


@pytest.mark.parametrize("uri", ["gs://bucket/x", "https://example.com/x", "file://host/x", "s3://", "  "])
def test_what_no_run_can_write_to_is_refused(uri: str) -> None:
    with pytest.raises(InputError):
        absolute(uri)


def test_addresses_are_absolute(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here / "home"))
    assert absolute("s3://bucket/a/") == "s3://bucket/a/"
    assert path_of(absolute("a/../b")) == here / "b"
    assert path_of(absolute("~/runs")) == here / "home" / "runs"
    assert absolute("file:///a%20b") == "file:///a%20b"
    (here / "link").symlink_to(here / "real")
    assert path_of(absolute("link/x")) == here / "real" / "x"
    assert path_of(absolute("x", here / "base")) == here / "base" / "x"
    assert path_of(absolute("~/runs", here / "base")) == here / "home" / "runs"


def test_a_chat_template_is_a_name_or_a_file_relative_to_the_evalruns_file(here: Path) -> None:
    def chosen(given: str) -> str | None:
        return localized(here, file_of(model={"uri": "hf://org/m", "chatTemplate": given})).model.chat_template

    (here / "files").mkdir()
    (here / "files" / "50%.jinja").write_text("x")
    assert chosen("tool_use") == "tool_use"
    for given in ("50%.jinja", "./50%.jinja", (here / "files" / "50%.jinja").as_uri()):
        assert chosen(given) == (here / "files" / "50%.jinja").as_uri()
    with pytest.raises(
        InputError, match=r"spec\.model\.chatTemplate: there is no file .*/files/other\.jinja; expected the"
    ):
        chosen("other.jinja")


def test_the_address_of_a_model_in_the_home_is_offered_whole(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here / "home"))
    with pytest.raises(InputError, match=rf"did you mean {(here / 'home' / 'm').as_uri()}\?"):
        localized(here, file_of(model={"uri": "file:///~/m"}))
