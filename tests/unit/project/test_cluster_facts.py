"""Decisions of the test cluster's library without a cluster: addresses, notes on disk, images, names of kinds."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from cluster import images
from cluster.api import Api, ApiUnreachable
from cluster.binaries import KUBE, KWOK, PROGRAMS, binary, cache, kubernetes_version
from cluster.client import condition, documents, is_ready
from cluster.controlplane import Endpoints, Flags
from cluster.errors import ClusterError
from cluster.fake_nodes import FakeNodes, stages
from cluster.process import Daemon, Process, until
from cluster.state import INDEXES, MAX_NODES, Addresses, NodeOptions, State, known, this_process


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def make_state(name: str = "one", **facts: Any) -> State:
    return State(name, 2, Endpoints("198.18.0.1", 6443, 2379, 2380, "s", "t", pod_reachable=True), index=3, **facts)


class TestAddresses:
    def test_networks_of_a_cluster_are_separate(self) -> None:
        one = Addresses(5)
        parts = [one.fabric, one.link, one.services, *(one.pods(number) for number in range(MAX_NODES))]
        assert all(part.subnet_of(one.network) for part in parts)
        assert not [pair for pair in itertools.combinations(parts, 2) if pair[0].overlaps(pair[1])]
        assert all(one.pods(number).subnet_of(one.all_pods) for number in range(MAX_NODES))

    def test_clusters_share_no_address(self) -> None:
        networks = [Addresses(index).network for index in range(INDEXES)]
        assert len(set(networks)) == INDEXES
        assert not [pair for pair in itertools.pairwise(networks) if pair[0].overlaps(pair[1])]

    def test_names_fit_an_interface(self) -> None:
        assert len(Addresses(INDEXES - 1).name) <= 15


class TestState:
    def test_saved_facts_are_loaded(self) -> None:
        state = make_state(options=NodeOptions(2, 1024), flags=Flags(scheduler=("--v=4",)), owner=this_process())
        state.save()
        assert State.load("one") == state
        assert known() == [state]
        assert State.load("other") is None

    def test_cluster_is_abandoned_when_its_process_ends(self) -> None:
        ended = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        owner = Process.of(ended.pid)
        assert owner is not None
        state = make_state(owner=(owner.pid, owner.started))
        assert not state.abandoned
        ended.communicate(b"\n")
        assert state.abandoned

    def test_persistent_cluster_is_never_abandoned(self) -> None:
        assert not make_state(owner=None).abandoned


class TestProcess:
    def test_reused_process_id_is_not_the_owner(self) -> None:
        me = Process.of(os.getpid())
        assert me is not None
        assert me.alive
        assert not Process(me.pid, me.started - 1).alive

    def test_daemon_is_found_by_its_file_and_outlives_its_starter(self, tmp_path: Path) -> None:
        def daemon() -> Daemon:
            return Daemon("sleeper", lambda: ["sleep", "1000"], tmp_path / "log", tmp_path / "pid")

        daemon().start()
        again = daemon()
        assert again.alive
        first = again.process
        again.start()
        assert again.process == first, "it runs already"
        again.kill()
        assert not daemon().alive

    def test_daemon_that_ends_at_once_is_explained(self, tmp_path: Path) -> None:
        program = ["sh", "-c", "echo no such luck; exit 3"]
        daemon = Daemon("unlucky", lambda: program, tmp_path / "log", tmp_path / "pid")

        def start_and_wait() -> None:
            daemon.start()  # whether it is seen alive first is a race
            daemon.wait(lambda: False, 5)

        with pytest.raises(ClusterError, match="unlucky ended"):
            start_and_wait()
        assert "no such luck" in daemon.tail()

    def test_timeout_names_what_was_awaited(self) -> None:
        with pytest.raises(ClusterError, match=r"waited 0\.05 s in vain for the moon"):
            until(lambda: False, 0.05, lambda: "the moon")


class TestImages:
    def test_same_content_makes_the_same_archive(self, tmp_path: Path) -> None:
        (tmp_path / "tool").write_text("#!/bin/sh\n")
        content = images.Files({"bin/tool": tmp_path / "tool"}, {"bin/alias": "tool"}, ("tmp",), {"Cmd": ["tool"]})
        first = images.write_image("localhost/x:1", content)
        assert images.write_image("localhost/x:1", content) == first
        other = images.write_image("localhost/y:1", content)
        assert images.identity(first) != images.identity(other)
        with tarfile.open(first) as tar:
            index = tar.extractfile("index.json")
            assert index is not None
            (entry,) = json.load(index)["manifests"]
            assert entry["annotations"] == {"io.containerd.image.name": "localhost/x:1"}
            names = tar.getnames()
        assert f"blobs/sha256/{entry['digest'].removeprefix('sha256:')}" in names

    def test_file_that_is_not_an_image_is_rejected_by_name(self, tmp_path: Path) -> None:
        with tarfile.open(tmp_path / "other.tar", "w") as tar:
            tar.add(__file__, "test.py")
        with pytest.raises(ClusterError, match=r"other\.tar is neither an OCI nor a Docker image archive"):
            images.identity(tmp_path / "other.tar")
        with pytest.raises(ClusterError, match="cannot be read"):
            images.identity(tmp_path / "missing.tar")


class TestApi:
    def test_kinds_are_known_by_all_their_names(self) -> None:
        class Answering(Api):
            def request(self, method: str, path: str, *_: object, **__: object) -> Any:
                return _discovery(path)

        api = Answering("https://127.0.0.1:1", "ca")
        assert api.resource("po") == api.resource("Pod") == api.resource("pods")
        assert api.resource("jobs.batch").path("n", "x", "status") == "/apis/batch/v1/namespaces/n/jobs/x/status"
        assert api.resource("pods").path(None) == "/api/v1/pods"
        assert api.resource("nodes").path("ignored", "a") == "/api/v1/nodes/a"
        assert api.resource("events").prefix == "/api/v1", "the core group's comes first"
        with pytest.raises(ClusterError, match="knows no 'evr'"):
            api.resource("evr")

    def test_unavailable_server_raises_its_own_error(self, tmp_path: Path) -> None:
        api = Api("https://127.0.0.1:1", str(_some_certificate(tmp_path)))
        with pytest.raises(ApiUnreachable, match=r"127\.0\.0\.1:1/readyz"):
            api.request("GET", "/readyz")

    def test_conditions_of_any_object_are_parsed(self) -> None:
        pod = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        assert is_ready(pod)
        assert condition(pod, "Other") is None
        assert not is_ready({"status": {}})

    def test_empty_documents_are_skipped(self) -> None:
        assert documents("---\na: 1\n---\n---\nb: 2\n") == [{"a": 1}, {"b": 2}]


class TestBuilds:
    def test_every_program_is_pinned(self) -> None:
        build = Path(images.__file__).parent / "build"
        for program in (*PROGRAMS, KWOK):
            assert (build / program.name / "go.mod").exists()
        assert kubernetes_version().startswith("v1.")

    def test_missing_go_is_reported_with_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("shutil.which", lambda *_, **__: None)
        with pytest.raises(ClusterError, match="install Go"):
            binary(KUBE)
        assert cache().name == "cluster"


def test_fake_pods_get_the_requested_address() -> None:
    assert 'podIP: "198.18.0.9"' in stages(FakeNodes(1, pod_address="198.18.0.9"))
    assert "podIP: {{ PodIPWith" in stages(FakeNodes(1))


def _discovery(root: str) -> Any:
    def kind(name: str, plural: str, *short: str, namespaced: bool = True) -> Any:
        return {
            "resource": plural,
            "responseKind": {"kind": name},
            "scope": "Namespaced" if namespaced else "Cluster",
            "singularResource": name.lower(),
            "shortNames": list(short),
        }

    core = [kind("Pod", "pods", "po"), kind("Node", "nodes", "no", namespaced=False), kind("Event", "events", "ev")]
    groups = {
        "/api": [("", "v1", core)],
        "/apis": [("batch", "v1", [kind("Job", "jobs")]), ("events.k8s.io", "v1", [kind("Event", "events", "ev")])],
    }
    return {
        "items": [
            {"metadata": {"name": name}, "versions": [{"version": version, "resources": resources}]}
            for name, version, resources in groups[root]
        ]
    }


def _some_certificate(folder: Path) -> Path:
    path = folder / "ca.crt"
    subject = ["-subj", "/CN=x", "-keyout", str(folder / "ca.key"), "-out", str(path)]
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", *subject]
    subprocess.run(made, check=True, capture_output=True)
    return path
