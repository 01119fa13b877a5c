"""Tests of the test cluster itself: what it runs, the faults that it causes, and that it leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cluster import cgroups, prometheus, seaweed
from cluster.api import ApiUnreachable, Object
from cluster.binaries import missing_for_nodes
from cluster.cluster import Cluster, sweep
from cluster.controlplane import API_SERVER, CONTROLLER_MANAGER
from cluster.errors import ClusterError
from cluster.fixtures import require
from cluster.images import BUSYBOX_IMAGE
from cluster.machine import KUBELET
from cluster.node import GPU
from cluster.process import environment
from cluster.state import Addresses, State

pytestmark = [pytest.mark.slow]
ROOT = Path(__file__).parents[2]
_FOREVER = "trap 'exit 143' TERM; sleep 10000 & wait"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Provide two nodes for this module alone, which breaks them."""
    require(missing_for_nodes())
    with Cluster(nodes=2, gpus=2, name="library") as started:
        yield started


def make_pod(cluster: Cluster, name: str, script: str = _FOREVER, node: int | None = None, gpus: int = 0) -> Object:
    resources = {"limits": {GPU: str(gpus)}} if gpus else {}
    container = {"name": "main", "image": BUSYBOX_IMAGE, "command": ["sh", "-c", script], "resources": resources}
    spec: Object = {"containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 3}
    if node is not None:
        spec["nodeSelector"] = {"kubernetes.io/hostname": cluster.nodes[node].name}
    meta = {"name": name, "labels": {"app": name}}
    return cluster.api.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})


def test_a_pod_runs_answers_exec_and_has_logs(cluster: Cluster) -> None:
    make_pod(cluster, "hello", f"echo hello from the log; {_FOREVER}")
    cluster.wait_pod("hello")
    assert cluster.kubectl("exec", "hello", "--", "echo", "hello", "inside").strip() == "hello inside"
    assert cluster.kubectl("logs", "hello").strip() == "hello from the log"


def test_a_service_is_reachable_by_name_from_pods_and_from_this_machine(cluster: Cluster) -> None:
    serve = "mkdir /tmp/www; hostname >/tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www"
    for number, node in enumerate(cluster.nodes):
        make_pod(cluster, f"web-{number}", serve, node=number)
        cluster.api.patch("pods", f"web-{number}", {"metadata": {"labels": {"app": "web"}}})
        assert cluster.wait_pod(f"web-{number}")["spec"]["nodeName"] == node.name
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
    address = cluster.api.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec})[
        "spec"
    ]["clusterIP"]

    looked_up = cluster.kubectl("exec", "web-0", "--", "nslookup", "web.default.svc.cluster.local")
    assert address in looked_up
    both = {"web-0\n", "web-1\n"}
    ask = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do wget -qO- http://web.default.svc; done"

    def here() -> set[str]:
        try:
            return {urllib.request.urlopen(f"http://{address}", timeout=5).read().decode() for _ in range(8)}
        except OSError:  # kube-proxy has not received it yet
            return set()

    cluster.wait_for(lambda: here() == both, 20, "both pods to answer this process")
    for pod in ("web-0", "web-1"):  # from the pod behind the service itself, and from another node
        answers = cluster.kubectl("exec", pod, "--", "sh", "-c", ask)
        assert set(answers.splitlines(keepends=True)) == both


def test_gpus_are_allocated_and_survive_a_restart_of_the_kubelet(cluster: Cluster) -> None:
    node = cluster.nodes[0]
    node.parts[KUBELET].kill()
    node.start_agents()
    assert node.status()["status"]["allocatable"][GPU] == "2"
    for name in ("gpu-1", "gpu-2"):
        make_pod(cluster, name, gpus=2)
    placed = {cluster.wait_pod(name)["spec"]["nodeName"] for name in ("gpu-1", "gpu-2")}
    assert placed == {"node-0", "node-1"}
    make_pod(cluster, "gpu-3", gpus=1)

    def refused() -> bool:
        conditions = cluster.api.get("pods", "gpu-3")["status"].get("conditions", [])
        return any("Insufficient nvidia.com/gpu" in one.get("message", "") for one in conditions)

    cluster.wait_for(refused, 20, "the third pod to find no GPU")
    cluster.kubectl("delete", "pod", "gpu-1", "gpu-2", "gpu-3")


def test_a_process_in_a_pod_can_be_killed_from_outside(cluster: Cluster) -> None:
    make_pod(cluster, "victim", node=0)
    pod = cluster.wait_pod("victim")
    cluster.nodes[0].kill_container(pod, where=lambda line: "trap" in line)
    ended = cluster.wait_pod("victim", phase="Failed")
    assert ended["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137


def test_a_disconnected_node_is_lost_and_returns_with_its_pods(cluster: Cluster) -> None:
    make_pod(cluster, "far", node=1)
    before = cluster.wait_pod("far")
    node = cluster.nodes[1]
    node.cut()
    node.wait_lost(30)
    assert node.machine.container_processes(before["status"]["containerStatuses"][0]["containerID"])
    node.heal()
    node.wait_ready()
    after = cluster.wait_pod("far")
    assert after["status"]["containerStatuses"] == before["status"]["containerStatuses"]


def test_a_node_that_loses_power_boots_again_and_runs_pods(cluster: Cluster) -> None:
    node = cluster.nodes[1]
    node.crash()
    assert not node.machine.running
    node.wait_lost(30)
    node.boot()
    assert node.status()["status"]["allocatable"][GPU] == "2"
    make_pod(cluster, "reborn", node=1)
    cluster.wait_pod("reborn")
    assert cluster.kubectl("exec", "reborn", "--", "echo", "yes").strip() == "yes"


def test_a_drained_node_takes_no_pods_until_it_is_uncordoned(cluster: Cluster) -> None:
    node = cluster.nodes[0]
    node.drain()
    assert not [
        p for p in cluster.api.list("pods", fields=f"spec.nodeName={node.name}") if p["status"]["phase"] == "Running"
    ]
    node.uncordon()
    node.wait_ready()


def test_pods_continue_while_the_api_server_is_killed_or_stopped(cluster: Cluster) -> None:
    make_pod(cluster, "steady", node=1)
    before = cluster.wait_pod("steady")["status"]["containerStatuses"]
    server = cluster.parts[API_SERVER]
    with cluster.api_server_away(), pytest.raises(ApiUnreachable):
        cluster.api.get("pods", "steady")
    server.stop()
    with pytest.raises(ApiUnreachable):
        cluster.api.request("GET", "/readyz", deadline_s=1)
    server.cont()
    cluster.wait_api()
    assert cluster.api.get("pods", "steady")["status"]["containerStatuses"] == before
    cluster.parts[CONTROLLER_MANAGER].restart()
    cluster.create_namespace("after-restart")


def test_a_service_account_has_only_its_own_rights(cluster: Cluster) -> None:
    cluster.create_namespace("tenant")
    tenant = cluster.as_service_account("tenant", "default")
    with pytest.raises(ClusterError, match="Forbidden"):
        tenant.kubectl("get", "pods")
    cluster.kubectl(
        "create", "rolebinding", "viewer", "--clusterrole=view", "--serviceaccount=tenant:default", "-n", "tenant"
    )
    tenant.wait_for(lambda: tenant.kubectl("auth", "can-i", "list", "pods") == "yes\n", 10, "the role to count")
    assert tenant.api.list("pods", "tenant") == []
    with pytest.raises(ClusterError, match="Forbidden"):
        tenant.kubectl("get", "secrets")


def test_an_image_is_added_to_a_running_cluster_and_serves_s3(cluster: Cluster) -> None:
    cluster.add_image(seaweed.image())
    store = seaweed.Seaweed(cluster)
    store.start()
    with urllib.request.urlopen(f"{store.outside}/healthz", timeout=10) as answer:
        assert answer.status == 200


def test_prometheus_with_the_documented_configuration_finds_annotated_pods(cluster: Cluster) -> None:
    serve = "mkdir /tmp/www; echo answer 42 >/tmp/www/numbers.txt; exec httpd -f -p 8080 -h /tmp/www"
    wanted = {"prometheus.io/scrape": "true", "prometheus.io/port": "8080", "prometheus.io/path": "/numbers.txt"}
    ports = [{"containerPort": 8080}, {"containerPort": 9999}]
    for name, asked in (("told", wanted), ("silent", {})):
        container = {"name": "main", "image": BUSYBOX_IMAGE, "command": ["sh", "-c", serve], "ports": ports}
        meta = {"name": name, "annotations": asked}
        cluster.api.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [container]}})
    cluster.add_image(prometheus.image())
    config = yaml.safe_load((ROOT / "examples" / "monitoring" / "prometheus.yaml").read_text())
    config["global"] = {"scrape_interval": "1s"}
    started = prometheus.Prometheus(cluster, config, rules="groups: []")
    started.start()
    ((labels, value),) = started.wait_for_series("answer", 60)
    assert (labels["namespace"], labels["pod"], value) == ("default", "told", 42)
    assert len(started.targets()) == 1, "only the port that is named, of the pod that asks for it"
    started.remove()


def test_helm_reaches_the_cluster(cluster: Cluster) -> None:
    assert cluster.helm("list", "--output", "json").strip() == "[]"


def test_a_failed_wait_names_its_condition_and_describes_the_cluster(cluster: Cluster) -> None:
    make_pod(cluster, "talker", "echo my last words; exit 7")
    cluster.wait_pod("talker", phase="Failed")
    with pytest.raises(ClusterError) as caught:
        cluster.wait_for(lambda: False, 0.3, "the moon", "default")
    for words in ("waited 0.3 s in vain for: the moon", "talker", "my last words"):
        assert words in str(caught.value)


_START_AND_DIE = """
import os, sys
from cluster.cluster import Cluster
cluster = Cluster(nodes=1, name="killed")
cluster.up()
print(cluster.state.index, flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_cluster_whose_process_was_killed_leaves_nothing_behind(cluster: Cluster) -> None:
    environ = {**environment(), "PYTHONPATH": str(Path(__file__).parents[1])}
    died = subprocess.run(
        [sys.executable, "-c", _START_AND_DIE], env=environ, capture_output=True, text=True, check=False
    )
    assert died.returncode == -9, died.stderr
    left = Addresses(int(died.stdout))
    assert left.index != cluster.state.index, "two clusters stand side by side"
    assert cgroups.processes(left.name)

    sweep()

    assert State.load("killed") is None
    assert not cgroups.exists(left.name)
    assert left.name not in Path("/proc/self/mounts").read_text()
    assert "/run/killed/" not in Path("/proc/self/mounts").read_text()
    assert not Path(f"/sys/class/net/{left.name}").exists()
    namespaces = subprocess.run(["ip", "netns", "list"], env=environ, capture_output=True, text=True, check=True).stdout
    assert left.name not in namespaces
    assert cluster.state.addresses.name in namespaces
    commands = [path.read_bytes() for path in _command_lines()]
    assert not [command for command in commands if b"/run/killed/" in command]
    cluster.wait_api()


def _command_lines() -> Iterator[Path]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        if path.exists():
            yield path
