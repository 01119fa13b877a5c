"""Models from the hub: the real client against a local server that speaks the hub's protocol."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub.utils._http import default_client_factory, set_client_factory

from cluster.pki import Pki
from evalrun_api import ModelLocation, StorageAccess
from evalrun_runner.errors import InputError, StoreUnavailable
from evalrun_runner.models import FetchProgress, FetchStage, ModelSource, fetch_model, inspect_model, model_digest
from evalrun_runner.models.access import model_source
from support.model_files import Fetcher, model_content, write_files
from support.model_hub import HubServer, Repo

PATIENCE_S = 1.0
SHARD_1, SHARD_2 = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        server.repos["org/small"] = Repo()
        yield server


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)


def source(hub: HubServer, revision: str | None = None, digest: str | None = None) -> ModelSource:
    return ModelSource("hf://org/small", revision, digest, endpoint=hub.endpoint)


@pytest.fixture
def private_hub(tmp_path: Path) -> Iterator[HubServer]:
    """Provide a mirror whose certificate a private authority has signed."""
    keys = Pki(tmp_path / "pki")
    keys.create()
    keys.certificate("hub", "/CN=hub", "IP:127.0.0.1")
    with HubServer(keys.folder / "hub.crt") as server:
        server.repos["org/small"] = Repo()
        yield server
    set_client_factory(default_client_factory)


def test_c27_a_mirror_is_asked_with_the_authority_that_the_run_names(private_hub: HubServer, tmp_path: Path) -> None:
    private_hub.repos["org/small"].commit(model_content())
    access = StorageAccess(endpoint_url=f"{private_hub.endpoint}/", ca_bundle_file=str(tmp_path / "pki" / "ca.crt"))
    mirror = model_source(ModelLocation(name="small", uri="hf://org/small", storage=access))
    with pytest.raises(StoreUnavailable, match=private_hub.endpoint):
        fetch_model(replace(mirror, ca_bundle=None), tmp_path / "cache", patience_s=0)
    assert fetch_model(mirror, tmp_path / "cache").files == tuple(sorted(model_content()))


def test_an_authority_that_is_none_is_named(hub: HubServer, tmp_path: Path) -> None:
    file = tmp_path / "root.pem"
    file.write_text("no certificate")
    with pytest.raises(InputError, match=r"caBundleRef: root\.pem cannot be read as certificates.*expected PEM"):
        fetch_model(replace(source(hub), ca_bundle=str(file)), tmp_path / "cache")


def test_a_branch_is_resolved_to_a_commit_and_only_model_files_are_fetched(hub: HubServer, tmp_path: Path) -> None:
    content = model_content()
    other = {"README.md": b"#", "modeling.py": b"print()", "pytorch_model.bin": b"pickle", "onnx/config.json": b"{}"}
    commit = hub.repos["org/small"].commit(content | other)
    seen: list[FetchProgress] = []
    model = fetch_model(source(hub), tmp_path / "cache", progress=seen.append)
    assert model.revision == commit
    assert model.files == tuple(sorted(content))
    assert {p.name for p in model.path.iterdir()} == {*content, ".evalrun.json"}
    assert model.digest == model_digest(write_files(tmp_path / "copy", content))
    assert set(hub.gets) == set(content)
    downloading = [each for each in seen if each.stage is FetchStage.DOWNLOADING]
    assert downloading[-1].done == downloading[-1].total == sum(map(len, content.values()))
    assert all(a.done <= b.done for a, b in itertools.pairwise(downloading))


def test_a_second_fetch_downloads_nothing_and_a_commit_asks_nothing(hub: HubServer, tmp_path: Path) -> None:
    commit = hub.repos["org/small"].commit(model_content())
    first = fetch_model(source(hub), tmp_path)
    gets, requests = hub.gets.total(), hub.requests
    assert fetch_model(source(hub), tmp_path) == first
    assert hub.gets.total() == gets
    assert hub.requests == requests + 1
    assert fetch_model(source(hub, revision=commit), tmp_path) == first
    assert hub.requests == requests + 1


def test_inspecting_a_model_pins_its_commit_and_content_without_the_weights(hub: HubServer, tmp_path: Path) -> None:
    content = model_content()
    repo = hub.repos["org/small"]
    commit = repo.commit(content)
    model = inspect_model(source(hub), tmp_path / "driver")
    assert model.files == tuple(sorted(content))
    assert (model.source.revision, model.source.digest) == (
        commit,
        model_digest(write_files(tmp_path / "copy", content)),
    )
    assert set(hub.gets) == {name for name in content if name not in {SHARD_1, SHARD_2}}
    requests = hub.requests
    assert inspect_model(model.source, tmp_path / "driver") == model
    assert hub.requests == requests, "a commit that was looked at needs no hub"
    repo.commit(model_content(seed=2))
    assert fetch_model(model.source, tmp_path / "replica").digest == model.source.digest


def test_a_moved_branch_is_another_model_and_the_old_commit_stays(hub: HubServer, tmp_path: Path) -> None:
    repo = hub.repos["org/small"]
    old = repo.commit(model_content(seed=1))
    before = fetch_model(source(hub), tmp_path)
    new = repo.commit(model_content(seed=2))
    after = fetch_model(source(hub), tmp_path)
    assert (before.revision, after.revision) == (old, new)
    assert before.digest != after.digest
    assert fetch_model(source(hub, revision=old), tmp_path) == before
    with pytest.raises(InputError, match=rf"expected {before.digest}\n  found    {after.digest}"):
        fetch_model(source(hub, digest=before.digest), tmp_path)


def test_the_endpoint_of_the_environment_is_read_at_each_call(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repos["org/small"].commit(model_content())
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    assert fetch_model(ModelSource("hf://org/small"), tmp_path).files


@pytest.mark.parametrize(
    ("uri", "revision", "message"),
    [
        ("hf://org/none", None, "is not there, or is private"),
        ("hf://org/small", "v9", "no such revision"),
        ("hf://org/small/sub", None, "expected hf://org/name"),
        ("hf://org/gated", None, "is gated"),
        ("hf://org/private", None, "is not there, or is private"),
    ],
)
def test_missing_and_forbidden_models_are_reported(
    hub: HubServer, tmp_path: Path, uri: str, revision: str | None, message: str
) -> None:
    hub.repos["org/small"].commit(model_content())
    hub.repos["org/gated"] = Repo(gated=True)
    hub.repos["org/gated"].commit(model_content())
    hub.repos["org/private"] = Repo(token="secret")
    hub.repos["org/private"].commit(model_content())
    with pytest.raises(InputError, match=message):
        fetch_model(ModelSource(uri, revision, endpoint=hub.endpoint), tmp_path)


def test_a_token_opens_a_private_model(hub: HubServer, tmp_path: Path) -> None:
    hub.repos["org/small"] = Repo(token="secret")
    hub.repos["org/small"].commit(model_content())
    token = tmp_path / "HF_TOKEN"
    token.write_text("secret\n")
    private = replace(source(hub), token_file=str(token))
    assert fetch_model(private, tmp_path).files
    hub.repos["org/small"].token = "renewed"
    hub.repos["org/small"].commit(model_content(seed=2))
    with pytest.raises(InputError, match="is private"):
        fetch_model(private, tmp_path)
    token.write_text("renewed")
    assert fetch_model(private, tmp_path).files


def test_a_model_without_safetensors_is_refused_before_any_download(hub: HubServer, tmp_path: Path) -> None:
    hub.repos["org/small"].commit({"config.json": b"{}", "tokenizer.json": b"{}", "pytorch_model.bin": b"pickle"})
    with pytest.raises(InputError, match=r"weights only as pytorch_model\.bin.*save_pretrained"):
        fetch_model(source(hub), tmp_path)
    assert not hub.gets


def test_code_in_a_model_is_never_fetched(hub: HubServer, tmp_path: Path) -> None:
    files = {"config.json": b'{"auto_map": {"AutoConfig": "x.Y"}}', "x.py": b"raise SystemExit"}
    hub.repos["org/small"].commit(model_content() | files)
    assert "x.py" not in fetch_model(source(hub), tmp_path).files
    assert "x.py" not in hub.gets


def test_a_broken_connection_is_retried(hub: HubServer, tmp_path: Path) -> None:
    content = model_content()
    hub.repos["org/small"].commit(content)
    hub.cut = 1
    model = fetch_model(source(hub), tmp_path / "cache")
    assert model.digest == model_digest(write_files(tmp_path / "copy", content))
    assert hub.cut == 0


def test_a_busy_hub_is_waited_for_and_a_dead_one_given_up(hub: HubServer, tmp_path: Path) -> None:
    hub.repos["org/small"].commit(model_content())
    hub.fail = 2
    assert fetch_model(source(hub), tmp_path).files
    hub.fail = 1000
    with pytest.raises(StoreUnavailable, match="503"):
        fetch_model(source(hub), tmp_path, patience_s=PATIENCE_S)


def test_bytes_changed_in_transit_are_detected_and_fetched_again(hub: HubServer, tmp_path: Path) -> None:
    hub.repos["org/small"].commit(model_content())
    hub.corrupt = 1
    with pytest.raises(StoreUnavailable, match="damaged on its way"):
        fetch_model(source(hub), tmp_path)
    assert fetch_model(source(hub), tmp_path).files
    assert sorted(hub.gets[name] for name in (SHARD_1, SHARD_2)) == [1, 2]


def test_a_killed_download_is_never_a_model_and_the_next_process_continues_it(hub: HubServer, tmp_path: Path) -> None:
    content = model_content(values=600_000)
    hub.repos["org/small"].commit(content)
    small = sum(len(data) for name, data in content.items() if not name.endswith(".safetensors"))
    killed = Fetcher(repr(source(hub)), tmp_path, halt_at=small + 1)
    killed.go()
    assert killed.line() == "halted"
    killed.kill()
    assert not [path for path in (tmp_path / "models").iterdir() if not path.name.startswith(".")]
    model = fetch_model(source(hub), tmp_path)
    assert model.digest == model_digest(write_files(tmp_path / "copy", content))
    assert hub.gets["config.json"] == 1


def test_two_processes_share_one_download(hub: HubServer, tmp_path: Path) -> None:
    content = model_content()
    hub.repos["org/small"].commit(content)
    both = [Fetcher(repr(source(hub)), tmp_path) for _ in range(2)]
    for fetcher in both:
        fetcher.go()
    digests = [[line for line in iter(fetcher.line, "") if line != "waiting"] for fetcher in both]
    assert [fetcher.close() for fetcher in both] == [0, 0]
    assert digests[0] == digests[1] == [model_digest(write_files(tmp_path / "copy", content))]
    assert set(hub.gets.values()) == {1}


def test_a_process_that_waits_for_a_killed_one_takes_over(hub: HubServer, tmp_path: Path) -> None:
    hub.repos["org/small"].commit(model_content())
    first, second = Fetcher(repr(source(hub)), tmp_path, halt_at=1), Fetcher(repr(source(hub)), tmp_path)
    first.go()
    assert first.line() == "halted"
    second.go()
    assert second.line() == "waiting"
    first.kill()
    assert second.line().startswith("sha256:")
    assert second.close() == 0
