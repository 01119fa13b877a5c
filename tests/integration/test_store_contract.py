"""One contract, three stores: memory, a directory, and S3 on a real SeaweedFS."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest
from botocore.credentials import ReadOnlyCredentials

from evalrun_runner.errors import ObjectMissing, StoreDenied, StoreUnavailable
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.store.base import ObjectStore
from evalrun_runner.store.credentials import FileCredentials
from evalrun_runner.store.directory import DirectoryStore
from evalrun_runner.store.memory import MemoryStore
from evalrun_runner.store.open import StoreSpec, open_store
from evalrun_runner.store.probe import probe_store
from evalrun_runner.store.s3 import S3Store
from support.seaweed import FlakyProxy, Seaweed, write_credentials


@pytest.fixture(scope="module")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    with Seaweed(tmp_path_factory.mktemp("s3")) as server:
        server.create_bucket("evals")
        yield server


@pytest.fixture
def proxy(seaweed: Seaweed) -> Iterator[FlakyProxy]:
    with FlakyProxy(seaweed.port) as front:
        yield front


@pytest.fixture(params=["memory", "directory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    match request.param:
        case "memory":
            return MemoryStore()
        case "directory":
            return DirectoryStore(tmp_path / "not made yet" / "run")
        case _:
            seaweed: Seaweed = request.getfixturevalue("seaweed")
            return S3Store("evals", f"{tmp_path.name}/ü run", seaweed.settings())


def test_written_objects_are_read_back(store: ObjectStore) -> None:
    for data in (b"", b"\0\xff" * 5, b"x" * 3_000_000):
        store.put("a/b", data)
        assert store.get("a/b") == data
    assert store.exists("a/b")


def test_a_missing_object_is_reported_as_missing(store: ObjectStore) -> None:
    store.put("a/b", b"1")
    for key in ("a/c", "a", "a/b/c", "x/y"):
        assert not store.exists(key)
        with pytest.raises(ObjectMissing, match=key):
            store.get(key)
        store.delete(key)
    with pytest.raises(ObjectMissing):
        store.move("a/c", "a/d")
    assert list(store.list("")) == ["a/b"]


def test_the_first_creator_wins_and_so_does_its_retry(store: ObjectStore) -> None:
    assert store.create("epochs/000001", b"mine")
    assert not store.create("epochs/000001", b"other")
    assert store.create("epochs/000001", b"mine")
    assert store.get("epochs/000001") == b"mine"


def test_exactly_one_of_several_concurrent_creators_wins(store: ObjectStore) -> None:
    start = Barrier(8)

    def create(number: int) -> bool:
        start.wait()
        return store.create("race", b"%d" % number)

    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(create, range(8)))
    assert won.count(True) == 1
    assert store.get("race") == b"%d" % won.index(True)


def test_a_listing_is_complete(store: ObjectStore) -> None:
    keys = ["a/b", "a.b", "a/b.c/d", "a0", "b%2Fc/1 2", "a/b-c", "parts/ä/00000001.parquet", "parts/ä/00000002.parquet"]
    for key in keys:
        store.put(key, b"")
    assert sorted(store.list("")) == sorted(keys)
    assert sorted(store.list("a/")) == ["a/b", "a/b-c", "a/b.c/d"]
    assert list(store.list("a/b.")) == ["a/b.c/d"]
    assert sorted(store.list("parts/ä/0000000")) == keys[-2:]
    assert list(store.list("none/")) == list(store.list("nothing")) == []


def test_a_listing_is_longer_than_a_page(store: ObjectStore) -> None:
    folders = ("many", "many/a", "many/a.b", "many/a/c")
    keys = sorted(f"{folder}/{number:05d}" for folder in folders for number in range(600))
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda key: store.put(key, b""), keys))
    assert sorted(store.list("many/")) == keys


def test_delete_and_move(store: ObjectStore) -> None:
    store.put("parts/1", b"damaged")
    store.put("corrupt/parts/1", b"older")
    store.move("parts/1", "corrupt/parts/1")
    assert list(store.list("")) == ["corrupt/parts/1"]
    assert store.get("corrupt/parts/1") == b"damaged"
    assert store.create("parts/1", b"again")
    store.delete("parts/1")
    store.delete("parts/1")
    assert not store.exists("parts/1")


@pytest.mark.parametrize(
    "key", ["", "/a", "../a", "a/../../b", "a//b", "a/", ".tmp.a", "a/.tmp.b/c", "a\nb", "x" * 300]
)
def test_keys_that_some_store_cannot_hold_are_refused(store: ObjectStore, key: str) -> None:
    for call in (lambda: store.put(key, b""), lambda: store.create(key, b""), lambda: store.get(key)):
        with pytest.raises(StoreDenied, match="key"):
            call()


def test_the_probe_passes_and_leaves_nothing(store: ObjectStore) -> None:
    probe_store(store)
    assert list(store.list("")) == []


def test_a_spec_can_be_sent_to_another_process(seaweed: Seaweed) -> None:
    spec = pickle.loads(pickle.dumps(StoreSpec("s3://evals/spec", seaweed.settings())))
    store = open_store(spec)
    store.put("x", b"1")
    assert store.uri == spec.uri == "s3://evals/spec/"
    assert "writer-secret" not in repr(spec)


class TestS3Faults:
    """What a store's refusals become."""

    def test_wrong_credentials_are_denied(self, seaweed: Seaweed) -> None:
        store = S3Store("evals", "r", seaweed.wrong_settings())
        for call in (lambda: store.create("a", b""), lambda: list(store.list("")), lambda: store.exists("a")):
            with pytest.raises(StoreDenied, match=r"s3://evals/r/.*127\.0\.0\.1.*credentials"):
                call()

    def test_a_reader_cannot_write(self, seaweed: Seaweed) -> None:
        store = S3Store("evals", "r", seaweed.reader_settings())
        with pytest.raises(StoreDenied, match=r"AccessDenied.*put"):
            probe_store(store)

    def test_a_missing_bucket_is_denied(self, seaweed: Seaweed) -> None:
        store = S3Store("nowhere", "r", seaweed.settings())
        with pytest.raises(StoreDenied, match="bucket does not exist"):
            list(store.list(""))
        with pytest.raises(StoreDenied):
            probe_store(store)

    def test_an_unreachable_store_is_unavailable(self, seaweed: Seaweed) -> None:
        store = S3Store("evals", "r", replace(seaweed.settings(), endpoint_url="http://127.0.0.1:1"))
        with pytest.raises(StoreUnavailable, match="Check the endpoint"):
            store.get("a")

    def test_rotated_keys_are_read_from_their_files(self, tmp_path: Path) -> None:
        with Seaweed(tmp_path / "own") as seaweed:
            seaweed.create_bucket("evals")
            settings = replace(seaweed.settings(), credentials_dir=str(tmp_path / "secret"))
            write_credentials(tmp_path / "secret", ("writer-key", "writer-secret"))
            store = S3Store("evals", "r", settings)
            store.put("a", b"1")
            seaweed.rotate(("new-key", "new-secret"))
            with pytest.raises(StoreDenied, match="does not know this access key"):
                store.get("a")
            write_credentials(tmp_path / "secret", ("new-key", "new-secret"))
            assert store.get("a") == b"1"
            (tmp_path / "secret" / "AWS_SECRET_ACCESS_KEY").unlink()
            with pytest.raises(StoreDenied, match="AWS_SECRET_ACCESS_KEY cannot be read"):
                store.get("a")

    def test_a_request_denied_while_the_files_changed_is_retried(
        self, seaweed: Seaweed, proxy: FlakyProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "secret"
        write_credentials(folder, ("revoked-key", "revoked-secret"))
        settings = replace(proxy.before(seaweed.settings()), credentials_dir=str(folder))
        store = S3Store("evals", "renewed", settings)
        read = FileCredentials.get_frozen_credentials

        def sign_then_renew(credentials: FileCredentials) -> ReadOnlyCredentials:
            signed_with = read(credentials)
            write_credentials(folder, ("writer-key", "writer-secret"))
            return signed_with

        monkeypatch.setattr(FileCredentials, "get_frozen_credentials", sign_then_renew)
        for call in (lambda: store.create("a", b"1"), lambda: store.exists("a"), lambda: list(store.list(""))):
            write_credentials(folder, ("revoked-key", "revoked-secret"))
            before = proxy.requests
            assert call()
            assert proxy.requests == before + 2

    def test_a_few_refusals_are_retried_and_many_are_reported(self, seaweed: Seaweed, proxy: FlakyProxy) -> None:
        store = S3Store("evals", "flaky", proxy.before(seaweed.settings()))
        proxy.misbehaviour.slow_down = 1
        proxy.misbehaviour.drop = 1
        store.put("a", b"1")
        assert store.repeated == 2
        proxy.misbehaviour.down = True
        with pytest.raises(StoreUnavailable, match="SlowDown"):
            store.get("a")
        assert store.repeated == 4
        proxy.misbehaviour.down = False
        assert store.get("a") == b"1"
        assert store.repeated == 4

    def test_a_create_that_committed_but_answered_500_counts_as_won(self, seaweed: Seaweed, proxy: FlakyProxy) -> None:
        store = S3Store("evals", "flaky", proxy.before(seaweed.settings()))
        proxy.misbehaviour.commit_then_500 = 1
        assert store.create("committed", b"mine")
        assert not store.create("committed", b"other")

    def test_an_epoch_whose_claim_answered_500_is_claimed_once(self, seaweed: Seaweed, proxy: FlakyProxy) -> None:
        ledger = Ledger(S3Store("evals", "claims", proxy.before(seaweed.settings())))
        proxy.misbehaviour.commit_then_500 = 1
        assert ledger.claim_epoch() == ledger.highest_epoch() == 1
        assert ledger.claim_epoch() == 2

    @pytest.mark.slow
    def test_acknowledged_writes_survive_a_kill(self, tmp_path: Path) -> None:
        with Seaweed(tmp_path) as server:
            server.create_bucket("evals")
            store = S3Store("evals", "r", server.settings())
            store.create("a", b"1")
            server.kill()
            with pytest.raises(StoreUnavailable):
                store.get("a")
            server.restart()
            assert store.get("a") == b"1"
            assert not store.create("a", b"2")
