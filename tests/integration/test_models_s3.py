"""Models in S3: a real SeaweedFS, sometimes behind a front that misbehaves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mypy_boto3_s3.client import S3Client

from evalrun_runner.errors import InputError, StoreUnavailable
from evalrun_runner.models import FetchProgress, FetchStage, LocalModel, ModelSource, inspect_model, model_digest
from evalrun_runner.models import fetch_model as fetch
from evalrun_runner.models.origins import Origins
from evalrun_runner.models.s3 import THREADS, S3Origin
from evalrun_runner.store.s3 import make_client
from support.model_files import Fetcher, model_content, write_files
from support.seaweed import FlakyProxy, Seaweed

BUCKET = "checkpoints"
RANGE = 1 << 16
SHARD_2 = "model-00002-of-00002.safetensors"


@pytest.fixture(scope="module")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    with Seaweed(tmp_path_factory.mktemp("s3")) as server:
        server.create_bucket(BUCKET)
        yield server


@pytest.fixture
def proxy(seaweed: Seaweed) -> Iterator[FlakyProxy]:
    with FlakyProxy(seaweed.port) as front:
        yield front


@pytest.fixture
def client(seaweed: Seaweed) -> Iterator[S3Client]:
    client = make_client(seaweed.settings())
    yield client
    client.close()


@pytest.fixture
def source(seaweed: Seaweed, tmp_path: Path) -> ModelSource:
    return ModelSource(f"s3://{BUCKET}/{tmp_path.name}/step-4000/", storage=seaweed.reader_settings())


def fetch_model(source: ModelSource, cache: Path, *, threads: int = THREADS, **options: Any) -> LocalModel:
    """Fetch in ranges so small that a file has several."""
    origins = Origins(s3=partial(S3Origin, range_bytes=RANGE, threads=threads))
    return fetch(source, cache, origins=origins, **options)


def upload(client: S3Client, source: ModelSource, content: dict[str, bytes]) -> None:
    prefix = source.uri.removeprefix(f"s3://{BUCKET}/")
    for name, data in content.items():
        client.put_object(Bucket=BUCKET, Key=prefix + name, Body=data)


def through(proxy: FlakyProxy, source: ModelSource) -> ModelSource:
    assert source.storage
    return replace(source, storage=proxy.before(source.storage))


def test_a_complete_model_is_fetched_and_nothing_else(client: S3Client, source: ModelSource, tmp_path: Path) -> None:
    content = model_content() | {"additional_chat_templates/tools.jinja": b"{{ tools }}", "empty.json": b""}
    upload(client, source, content | {"train.py": b"", "optimizer.pt": b"x", "step-1/config.json": b"{}"})
    seen: list[FetchProgress] = []
    model = fetch_model(source, tmp_path / "cache", progress=seen.append)
    assert model.files == tuple(sorted(content))
    assert model.digest == model_digest(write_files(tmp_path / "copy", content))
    assert {each.name for each in model.path.iterdir()} == {
        *(name.partition("/")[0] for name in content),
        ".evalrun.json",
    }
    downloading = [each for each in seen if each.stage is FetchStage.DOWNLOADING]
    assert downloading[-1].done == downloading[-1].total == sum(map(len, content.values()))
    assert fetch_model(replace(source, uri=source.uri.rstrip("/"), digest=model.digest), tmp_path / "cache").digest


def test_a_second_fetch_lists_and_downloads_nothing(
    client: S3Client, source: ModelSource, proxy: FlakyProxy, tmp_path: Path
) -> None:
    upload(client, source, model_content())
    first = fetch_model(through(proxy, source), tmp_path)
    before = proxy.requests
    assert fetch_model(through(proxy, source), tmp_path) == first
    assert proxy.requests == before + 1


def test_inspecting_a_model_lists_it_and_reads_everything_but_weights(
    client: S3Client, source: ModelSource, proxy: FlakyProxy, tmp_path: Path
) -> None:
    content = model_content()
    upload(client, source, content)
    model = inspect_model(through(proxy, source), tmp_path / "driver")
    small = [name for name in content if not name.endswith(".safetensors")]
    assert proxy.requests == 1 + len(small)
    assert model.files == tuple(sorted(content))
    assert model.source.digest is None
    assert inspect_model(source, tmp_path / "driver").source.listing == model.source.listing
    assert fetch_model(model.source, tmp_path / "replica").digest
    upload(client, source, model_content(seed=2))
    with pytest.raises(InputError, match="was changed since this run looked at it first"):
        fetch_model(model.source, tmp_path / "late")


def test_an_overwritten_model_is_another_one(client: S3Client, source: ModelSource, tmp_path: Path) -> None:
    upload(client, source, model_content(seed=1))
    before = fetch_model(source, tmp_path)
    upload(client, source, model_content(seed=2))
    after = fetch_model(source, tmp_path)
    assert before.digest != after.digest
    assert before.path != after.path
    with pytest.raises(InputError, match=f"expected {before.digest}"):
        fetch_model(replace(source, digest=before.digest), tmp_path)


def test_a_change_of_the_model_during_the_download_is_noticed(
    client: S3Client, source: ModelSource, tmp_path: Path
) -> None:
    content = model_content()
    upload(client, source, content)
    changed: list[bool] = []

    def change(progress: FetchProgress) -> None:
        if progress.done > 100_000 and not changed:
            changed.append(True)
            upload(client, source, {SHARD_2: model_content(seed=9)[SHARD_2]})

    with pytest.raises(InputError, match=f"{SHARD_2} was changed or deleted while the model was downloaded"):
        fetch_model(source, tmp_path, progress=change, threads=1)


def test_a_failing_store_is_waited_for_and_a_dead_one_given_up(
    client: S3Client, source: ModelSource, proxy: FlakyProxy, tmp_path: Path
) -> None:
    upload(client, source, model_content())
    proxy.misbehaviour.slow_down = 4
    proxy.misbehaviour.drop = 4
    assert fetch_model(through(proxy, source), tmp_path / "patient").files
    proxy.misbehaviour.down = True
    with pytest.raises(StoreUnavailable, match="tried"):
        fetch_model(through(proxy, source), tmp_path / "impatient", patience_s=0.5)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("s3://no-such-bucket/x/", "bucket does not exist"),
        (f"s3://{BUCKET}/nothing/here/", "holds no files"),
        ("s3:///x", "names no bucket"),
    ],
)
def test_missing_models_are_reported(source: ModelSource, tmp_path: Path, uri: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fetch_model(replace(source, uri=uri), tmp_path)


def test_wrong_credentials_are_an_input_error(seaweed: Seaweed, source: ModelSource, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not know this access key"):
        fetch_model(replace(source, storage=seaweed.wrong_settings()), tmp_path)


def test_a_prefix_above_the_model_names_its_folders(client: S3Client, source: ModelSource, tmp_path: Path) -> None:
    upload(client, source, model_content())
    with pytest.raises(InputError, match="step-4000"):
        fetch_model(replace(source, uri=source.uri.removesuffix("step-4000/")), tmp_path)


def test_a_truncated_shard_is_detected_and_discarded(client: S3Client, source: ModelSource, tmp_path: Path) -> None:
    content = model_content()
    upload(client, source, content | {SHARD_2: content[SHARD_2][:-7]})
    with pytest.raises(InputError, match=rf"{SHARD_2} is damaged"):
        fetch_model(source, tmp_path)
    assert not list((tmp_path / "models").glob(".partial-*"))


def test_a_killed_download_continues_where_it_stopped(
    client: S3Client, source: ModelSource, proxy: FlakyProxy, tmp_path: Path
) -> None:
    content = model_content(values=400_000)
    upload(client, source, content)
    total = sum(map(len, content.values()))
    killed = Fetcher(repr(source), tmp_path, halt_at=total * 3 // 4)
    killed.go()
    assert killed.line() == "halted"
    killed.kill()
    assert not [path for path in (tmp_path / "models").iterdir() if not path.name.startswith(".")]
    model = fetch_model(through(proxy, source), tmp_path)
    assert model.digest == model_digest(write_files(tmp_path / "copy", content))
    # What was in flight is read again: at most one range for each thread.
    assert proxy.requests <= 1 + (total // 4) // RANGE + THREADS + 1


def test_two_processes_share_one_download(
    client: S3Client, source: ModelSource, proxy: FlakyProxy, tmp_path: Path
) -> None:
    content = model_content()
    upload(client, source, content)
    both = [Fetcher(repr(through(proxy, source)), tmp_path) for _ in range(2)]
    for fetcher in both:
        fetcher.go()
    digests = [[line for line in iter(fetcher.line, "") if line != "waiting"] for fetcher in both]
    assert [fetcher.close() for fetcher in both] == [0, 0]
    assert digests[0] == digests[1] == [model_digest(write_files(tmp_path / "copy", content))]
    ranges = sum(-(-len(data) // RANGE) for data in content.values())
    assert proxy.requests == 2 + ranges  # a listing each, and every range once
