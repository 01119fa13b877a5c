"""The store misbehaves in mid-run: the run waits, says so, and goes on; what is hopeless is said before it starts."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.store.credentials import ACCESS_KEY, SECRET_KEY
from evalrun_runner.store.s3 import S3Settings, S3Store
from support.runs import STARTED, Ground, Run, make_ground, parts, results_in, write_run
from support.seaweed import FlakyProxy, Seaweed, free_ports

BUCKET = "evals"
PATIENT = {"options": {"store_patience": 120.0}}


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return make_ground(tmp_path_factory)


@pytest.fixture(scope="module")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    with Seaweed(tmp_path_factory.mktemp("store")) as server:
        server.create_bucket(BUCKET)
        yield server


def secret(settings: S3Settings) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s3-write", "labels": {"evalrun.dev/use": "storage"}},
        "stringData": {key: Path(str(settings.credentials_dir), key).read_text() for key in (ACCESS_KEY, SECRET_KEY)},
    }


def on_s3(file: Path, suite: Path, settings: S3Settings, uri: str = f"s3://{BUCKET}/") -> Path:
    """A run's file with its keys in a Secret of its own."""
    storage = {
        "endpointURL": settings.endpoint_url,
        "region": "us-east-1",
        "addressingStyle": "path",
        "credentialsSecretRef": {"name": "s3-write"},
    }
    return write_run(file, suite, secret(settings), output={"uri": uri, "storage": storage})


def test_a_run_survives_a_store_that_refuses_answers_wrongly_and_is_killed(
    ground: Ground, seaweed: Seaweed, tmp_path: Path
) -> None:
    with FlakyProxy(seaweed.port) as proxy:
        file = on_s3(tmp_path / "run.yaml", ground.suite, proxy.before(seaweed.settings()))
        uri = f"s3://{BUCKET}/one/"
        with ground.closed(), Run(tmp_path, ["run", file, "--output", uri, "--port", "0"], settings=PATIENT) as run:
            ground.reached(run)
            # 503 for a while, while replicas have parts to commit; then the store itself is gone.
            proxy.misbehaviour.down = True
            ground.open()
            run.until(lambda: "SlowDown" in (run.progress().degraded or ""), "word of the store's trouble")
            seaweed.kill()
            proxy.misbehaviour.down = False
            assert run.progress().counts.ok == ground.free_items, "nothing counts that is not committed"
            # What is committed now is answered with 500 a few times.
            proxy.misbehaviour.commit_then_500 = 4
            seaweed.start()
            assert run.ended() == 0, run.stderr
    store = S3Store(BUCKET, "one", seaweed.settings())
    assert results_in(store.get("results.json")) == ground.results
    assert set(store.list("parts/")) == ground.parts
    assert len(list(Ledger(store).committed_parts())) == len(ground.parts), "nothing is doubled"
    assert f"{ground.planned} ok + 0 failed + 0 quarantined; 0 kept from before, 0 redone" in run.stdout
    assert "Traceback" not in run.stderr
    assert "writer-secret" not in run.stderr + run.stdout + store.get("run.json").decode()


@pytest.mark.parametrize("wrong", ["keys", "bucket", "endpoint", "read-only"])
def test_an_unusable_store_gives_one_message_before_any_replica_starts(
    ground: Ground, seaweed: Seaweed, tmp_path: Path, wrong: str
) -> None:
    (port,) = free_ports(1)
    settings, uri, expected = {
        "keys": (seaweed.wrong_settings(), f"s3://{BUCKET}/", "does not know this access key"),
        "bucket": (seaweed.settings(), "s3://not-there/", "not-there"),
        "endpoint": (
            replace(seaweed.settings(), endpoint_url=f"http://127.0.0.1:{port}"),
            "s3://any/",
            str(port),
        ),
        "read-only": (seaweed.reader_settings(), f"s3://{BUCKET}/", "may not do this"),
    }[wrong]
    with Run(tmp_path, ["run", on_s3(tmp_path / "run.yaml", ground.suite, settings, uri)]) as run:
        # An endpoint that is down may be up again; the others are wrong in what was given.
        assert run.ended(60) == (1 if wrong == "endpoint" else 2), run.stderr
        (said,) = [line for line in run.stderr.splitlines() if line.startswith("evalrun:")]
        assert expected in said
        assert STARTED not in run.stderr
        assert "Traceback" not in run.stderr
        assert run.stdout == ""


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own; skips the test, saying why, where this user may not mount one."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)],
        check=False,
        capture_output=True,
        text=True,
    )
    if mounted.returncode != 0:
        pytest.skip(f"no small disk to fill: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(file: Path) -> None:
    """Write until no byte is left."""
    handle = os.open(file, os.O_CREAT | os.O_WRONLY)
    try:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    os.write(handle, b"x" * size)
            except OSError:
                continue
    finally:
        os.close(handle)


def test_a_full_disk_pauses_the_run_until_there_is_space(ground: Ground, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4) as disk:
        output = disk / "output"
        command = ["run", write_run(tmp_path / "run.yaml", ground.suite), "--output", output, "--port", "0"]
        with ground.closed(), Run(tmp_path, command, settings=PATIENT) as run:
            ground.reached(run)
            fill(disk / "filler")
            ground.open()
            run.until(lambda: "No space left" in (run.progress().degraded or ""), "word of the full disk")
            assert run.progress().counts.ok == ground.free_items
            (disk / "filler").unlink()
            assert run.ended() == 0, run.stderr
        assert results_in((output / "results.json").read_bytes()) == ground.results
        assert parts(output).keys() == ground.parts
        assert not [file for file in output.rglob(".tmp.*")]

        # No space from the start: said at once.
        fill(disk / "filler")
        with Run(tmp_path, ["run", tmp_path / "run.yaml", "--output", disk / "other"]) as run:
            assert run.ended(60) == 1, run.stderr
            assert run.stderr.count("evalrun:") == 1
            assert "No space left" in run.stderr
            assert "Traceback" not in run.stderr
