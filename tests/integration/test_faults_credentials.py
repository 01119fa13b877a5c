"""Keys are rotated in mid-run and in mid-download: what runs goes on with the new ones, with no restart."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from evalrun_runner.errors import InputError
from evalrun_runner.models import FetchProgress, ModelSource, fetch_model, inspect_model, model_digest
from evalrun_runner.models.origins import Origins
from evalrun_runner.models.s3 import S3Origin
from evalrun_runner.store.credentials import ACCESS_KEY, SECRET_KEY
from evalrun_runner.store.s3 import S3Settings, S3Store, make_client
from support.model_files import model_content, write_files
from support.runs import Ground, Run, make_ground, results_in, write_run
from support.seaweed import Seaweed, write_credentials

BUCKET = "evals"
PATIENT = {"options": {"store_patience": 120.0}}
URI = f"s3://{BUCKET}/m/"
OLD, NEW = ("writer-key", "writer-secret"), ("renewed-key", "renewed-secret")

SMALL_RANGES = Origins(s3=partial(S3Origin, range_bytes=1 << 16))


@pytest.fixture
def seaweed(tmp_path: Path) -> Iterator[Seaweed]:
    with Seaweed(tmp_path / "store") as server:
        server.create_bucket(BUCKET)
        yield server


@pytest.fixture
def settings(seaweed: Seaweed, tmp_path: Path) -> S3Settings:
    write_credentials(tmp_path / "secret", OLD)
    return replace(seaweed.settings(), credentials_dir=str(tmp_path / "secret"))


def upload(settings: S3Settings) -> dict[str, bytes]:
    content = model_content()
    client = make_client(settings)
    for name, data in content.items():
        client.put_object(Bucket=BUCKET, Key=f"m/{name}", Body=data)
    return content


def run_with_keys(folder: Path, ground: Ground, seaweed: Seaweed) -> Path:
    """An EvalRun file whose output is on S3, with the keys as a Secret beside it."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s3-write", "labels": {"evalrun.dev/use": "storage"}},
        "stringData": dict(zip((ACCESS_KEY, SECRET_KEY), OLD, strict=True)),
    }
    storage = {
        "endpointURL": seaweed.endpoint,
        "region": "us-east-1",
        "addressingStyle": "path",
        "credentialsSecretRef": {"name": "s3-write"},
    }
    output = {"uri": f"s3://{BUCKET}/rotated/", "storage": storage}
    return write_run(folder / "run.yaml", ground.suite, secret, output=output)


def test_a_run_continues_when_its_keys_are_renewed(
    seaweed: Seaweed, settings: S3Settings, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ground = make_ground(tmp_path_factory)
    file = run_with_keys(tmp_path, ground, seaweed)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    arguments = ["run", file, "--output", f"s3://{BUCKET}/rotated/", "--port", "0"]
    surroundings = {"TMPDIR": str(scratch)}
    with ground.closed(), Run(tmp_path, arguments, settings=PATIENT, environment=surroundings) as run:
        ground.reached(run)
        seaweed.rotate(NEW)
        ground.open()
        run.until(lambda: "does not know this access key" in run.get("/progress"), "word of the revoked keys")
        (mounted,) = scratch.glob("evalrun-*/Secret/s3-write")
        for name, value in zip((ACCESS_KEY, SECRET_KEY), NEW, strict=True):
            fresh = mounted / f".{name}"
            fresh.write_text(value)
            fresh.replace(mounted / name)
        assert run.ended() == 0, run.stderr
    write_credentials(tmp_path / "secret", NEW)
    store = S3Store(BUCKET, "rotated", settings)
    assert results_in(store.get("results.json")) == ground.results
    said = run.stderr + run.stdout + store.get("run.json").decode()
    assert not [value for value in (OLD[1], NEW[1]) if value in said]
    assert f"{ground.planned} ok + 0 failed + 0 quarantined; 0 kept from before, 0 redone" in run.stdout


def test_no_key_stays_on_a_disk_when_the_driver_is_killed(
    seaweed: Seaweed, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ground = make_ground(tmp_path_factory)
    file = run_with_keys(tmp_path / "file", ground, seaweed)
    shared = set(Path("/dev/shm").iterdir())
    # Sockets of Ray do not fit below a long path.
    with tempfile.TemporaryDirectory(prefix="e", dir="/tmp", ignore_cleanup_errors=True) as scratch:
        surroundings = {"TMPDIR": scratch, "RAY_TMPDIR": scratch}
        arguments = ["run", file, "--output", f"s3://{BUCKET}/killed/", "--port", "0"]
        with ground.closed(), Run(tmp_path, arguments, environment=surroundings) as run:
            ground.reached(run)
            assert not holding(Path(scratch), OLD[1]), "while the run goes on"
            run.kill()
            run.until(lambda: not run.replicas(), "the replicas to leave with their driver", 20, or_ended=True)
            assert not holding(Path(scratch), OLD[1])
            assert not [file for file in set(Path("/dev/shm").iterdir()) - shared if holding(file, OLD[1])]


def holding(place: Path, secret: str) -> list[Path]:
    """The files at a place, or below it, that hold a secret."""
    found = []
    for file in [place, *place.rglob("*")]:
        # What a process holds open is no file on a disk.
        if file.is_symlink() or not file.is_file():
            continue
        with suppress(FileNotFoundError):
            if secret.encode() in file.read_bytes():
                found.append(file)
    return found


def test_a_download_continues_when_its_keys_are_renewed(seaweed: Seaweed, settings: S3Settings, tmp_path: Path) -> None:
    content = upload(settings)
    source = inspect_model(ModelSource(URI, storage=settings), tmp_path / "driver").source
    rotated: list[bool] = []

    def rotate(progress: FetchProgress) -> None:
        if progress.done > 100_000 and not rotated:
            rotated.append(True)
            # Other threads are denied before their files are renewed.
            seaweed.rotate(NEW)
            write_credentials(tmp_path / "secret", NEW)

    model = fetch_model(source, tmp_path / "cache", progress=rotate, origins=SMALL_RANGES)
    assert rotated
    assert model.digest == model_digest(write_files(tmp_path / "copy", content))
    write_credentials(tmp_path / "secret", OLD)
    with pytest.raises(InputError, match="does not know this access key"):
        inspect_model(source, tmp_path / "driver")


def test_keys_revoked_permanently_during_a_download_are_an_input_error(
    seaweed: Seaweed, settings: S3Settings, tmp_path: Path
) -> None:
    upload(settings)
    revoked: list[bool] = []

    def revoke(progress: FetchProgress) -> None:
        if progress.done > 100_000 and not revoked:
            revoked.append(True)
            seaweed.rotate(NEW)

    with pytest.raises(InputError, match=r"model\.uri: .*does not know this access key.*tried"):
        fetch_model(
            ModelSource(URI, storage=settings),
            tmp_path / "cache",
            progress=revoke,
            patience_s=1.0,
            origins=SMALL_RANGES,
        )
