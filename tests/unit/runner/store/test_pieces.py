"""Stores without a server: the directory's faults, URIs, the probe, waiting, and what S3's answers mean."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, NoCredentialsError, ReadTimeoutError

from evalrun_runner.errors import InputError, ObjectMissing, StoreDenied, StoreError, StoreFull, StoreUnavailable
from evalrun_runner.store.directory import DirectoryStore, classify
from evalrun_runner.store.memory import MemoryStore
from evalrun_runner.store.open import StoreSpec, open_store
from evalrun_runner.store.probe import probe_store
from evalrun_runner.store.retry import Patience, with_backoff
from evalrun_runner.store.s3_errors import classify as classify_s3


class TestDirectory:
    """A directory as a store."""

    def test_a_full_disk_leaves_no_object(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        store = DirectoryStore(tmp_path)
        monkeypatch.setattr(os, "fsync", full)
        for call in (lambda: store.create("a", b"1"), lambda: store.put("a", b"1")):
            with pytest.raises(StoreFull, match=r"/a: No space left.*Free space"):
                call()
        assert os.listdir(tmp_path) == []

    def test_a_file_in_place_of_the_root_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "out").write_text("a file")
        store = DirectoryStore(tmp_path / "out")
        for call in (lambda: store.create("a", b""), lambda: store.put("a/b", b"")):
            with pytest.raises(StoreDenied, match="choose another output"):
                call()
        assert list(store.list("")) == []

    def test_a_directory_in_place_of_a_key_is_refused(self, tmp_path: Path) -> None:
        store = DirectoryStore(tmp_path)
        store.put("a/b", b"")
        for call in (lambda: store.create("a", b""), lambda: store.put("a", b"")):
            with pytest.raises(StoreDenied, match="a directory is where a file is needed"):
                call()

    @pytest.mark.parametrize(
        ("code", "expected"),
        [(errno.EDQUOT, StoreFull), (errno.EACCES, StoreDenied), (errno.EROFS, StoreDenied),
         (errno.EIO, StoreUnavailable), (errno.ESTALE, StoreUnavailable), (errno.EOPNOTSUPP, StoreDenied)],
    )  # fmt: skip
    def test_every_error_of_the_system_has_a_meaning(self, code: int, expected: type[StoreError]) -> None:
        error = classify(OSError(code, os.strerror(code)), Path("/run/a"))
        assert type(error) is expected
        assert "/run/a" in str(error)

    def test_a_writer_killed_in_mid_write_leaves_no_object(self, tmp_path: Path) -> None:
        program = (
            "import os, sys, pathlib\n"
            "from evalrun_runner.store.directory import DirectoryStore\n"
            "os.link = lambda *a: os.kill(os.getpid(), 9)\n"
            "DirectoryStore(pathlib.Path(sys.argv[1])).create('parts/1', b'half')\n"
        )
        killed = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False, timeout=60)
        store = DirectoryStore(tmp_path)
        assert killed.returncode == -9
        assert list((tmp_path / "parts").iterdir())
        assert list(store.list("")) == []
        assert store.create("parts/1", b"whole")
        assert list(store.list("")) == ["parts/1"]


class TestUris:
    """Where a run writes."""

    @pytest.mark.parametrize(
        ("text", "uri"),
        [("s3://b/x/y", "s3://b/x/y/"), ("s3://b", "s3://b/"), ("s3://b//x//", "s3://b/x/"), ("/o ut", "file:///o%20ut/"),
         ("file:///o%20ut/", "file:///o%20ut/"), ("/a/../b", "file:///b/"), ("/50%", "file:///50%25/")],
    )  # fmt: skip
    def test_normal_forms(self, text: str, uri: str) -> None:
        spec = StoreSpec(text)
        assert spec.uri == uri == StoreSpec(uri).uri == open_store(spec).uri

    def test_a_relative_path_is_made_absolute_here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert StoreSpec("out").uri == f"{tmp_path.as_uri()}/out/"

    @pytest.mark.parametrize(
        "text", ["", " ", "gs://b/x", "s3://", "s3:///x", "file://host/x", "s3://b/x?y", "https://a/b"]
    )
    def test_other_texts_are_refused(self, text: str) -> None:
        with pytest.raises(InputError, match=r"s3://bucket/prefix/|file:///"):
            StoreSpec(text)


class TwoWinners(MemoryStore):
    """A store that ignores If-None-Match."""

    def create(self, key: str, data: bytes) -> bool:
        self.put(key, data)
        return True


class LaggingList(MemoryStore):
    """A store that lists what was there a while ago."""

    def list(self, prefix: str) -> Iterator[str]:
        return iter(())


class StaleRead(MemoryStore):
    """A store that does not see what replaced an object."""

    def put(self, key: str, data: bytes) -> None:
        self.create(key, data)


class Undead(MemoryStore):
    """A store whose deletions do nothing."""

    def delete(self, key: str) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    ("store", "flaw"),
    [
        (TwoWinners("x"), "8 won"),
        (LaggingList("x"), "not listed"),
        (StaleRead("x"), "replaced"),
        (Undead("x"), "still there"),
    ],
)
def test_a_store_that_cannot_be_trusted_is_refused(store: MemoryStore, flaw: str) -> None:
    with pytest.raises(StoreDenied, match=rf"memory://x/ cannot be trusted.*{flaw}"):
        probe_store(store)


class ManualClock:
    """Time passes only by sleeping."""

    def __init__(self) -> None:
        self.time = 0.0
        self.slept: list[float] = []

    def now(self) -> float:
        """Seconds."""
        return self.time

    def sleep(self, seconds: float) -> None:
        """Advance."""
        self.slept.append(seconds)
        self.time += seconds


class TestBackoff:
    """Waiting for a store."""

    def test_waits_grow_until_the_call_succeeds(self) -> None:
        clock, told = ManualClock(), list[str]()
        answers: list[StoreError | None] = [StoreUnavailable("away"), StoreFull("full"), StoreUnavailable("away"), None]

        def call() -> str:
            if (error := answers.pop(0)) is not None:
                raise error
            return "done"

        done = with_backoff(
            call, Patience(60), clock=clock, on_wait=lambda e, _: told.append(str(e)), random_unit=lambda: 1.0
        )
        assert done == "done"
        assert told == ["away", "full", "away"]
        assert clock.slept == pytest.approx([0.2, 0.4, 0.8])

    def test_the_last_error_states_the_duration_of_the_tries(self) -> None:
        clock = ManualClock()

        def call() -> None:
            raise StoreFull("disk full")

        with pytest.raises(StoreFull, match=r"disk full \(tried \d+ times in 60 s\)"):
            with_backoff(call, Patience(60), clock=clock, on_wait=lambda *_: None)
        assert clock.time == pytest.approx(60)
        assert max(clock.slept) <= 15

    @pytest.mark.parametrize("error", [StoreDenied("no"), ObjectMissing("gone")])
    def test_errors_that_no_retry_fixes_are_raised_immediately(self, error: StoreError) -> None:
        clock = ManualClock()

        def call() -> None:
            raise error

        with pytest.raises(type(error)):
            with_backoff(call, Patience(60), clock=clock, on_wait=lambda *_: None)
        assert clock.slept == []


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [("NoSuchKey", 404, ObjectMissing), ("404", 404, ObjectMissing), ("NoSuchBucket", 404, StoreDenied),
     ("AccessDenied", 403, StoreDenied), ("InvalidAccessKeyId", 403, StoreDenied), ("403", 403, StoreDenied),
     ("ExpiredToken", 400, StoreDenied), ("", 401, StoreDenied), ("PermanentRedirect", 301, StoreDenied),
     ("NotImplemented", 501, StoreDenied), ("InvalidArgument", 400, StoreDenied), ("SlowDown", 503, StoreUnavailable),
     ("InternalError", 500, StoreUnavailable), ("", 429, StoreUnavailable), ("RequestTimeout", 400, StoreUnavailable),
     ("OperationAborted", 409, StoreUnavailable), ("InsufficientStorage", 507, StoreFull), ("507", 507, StoreFull),
     ("QuotaExceeded", 403, StoreFull), ("XMinioStorageFull", 507, StoreFull)],
)  # fmt: skip
def test_s3_answers(code: str, status: int, expected: type[StoreError]) -> None:
    answer = {"Error": {"Code": code, "Message": "why."}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = classify_s3(ClientError(answer, "PutObject"), where="s3://b/k (endpoint e)", bucket="b")  # type: ignore[arg-type]  # a real answer has more fields
    assert type(error) is expected
    assert "s3://b/k (endpoint e)" in str(error)


def test_s3_without_an_answer() -> None:
    timeout = classify_s3(ReadTimeoutError(endpoint_url="e"), where="k", bucket="b")
    nobody = classify_s3(NoCredentialsError(), where="k", bucket="b")
    assert (type(timeout), type(nobody)) == (StoreUnavailable, StoreDenied)
