"""Cluster with EvalRun installed as users install it, and runs on it, observed from outside.

The pods are the project's own images, the operator comes from the chart, the store is SeaweedFS in a pod. Runs whose
faults are tested use the mock engine, which costs no processor: the tests are about Kubernetes, not about a model.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.binaries import HELM, binary
from cluster.cluster import Cluster
from cluster.node import Node
from cluster.process import run
from cluster.seaweed import PORT as SEAWEED_PORT
from cluster.seaweed import Seaweed
from evalrun_api import RunProgress
from evalrun_api.wire.pods import HTTP_PORT, LABEL_COMPONENT, LABEL_RUN, LABEL_USE, USE_STORAGE, Component
from evalrun_runner.ledger.layout import PARTS, RUN
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.records.results import ItemStatus
from evalrun_runner.store.base import ObjectStore
from evalrun_runner.store.open import StoreSpec, open_store
from evalrun_runner.store.s3 import S3Settings

Object = dict[str, Any]

ROOT = Path(__file__).parents[2]
SYSTEM, NAMESPACE = "evalrun-system", "evals"
OPERATOR_IMAGE, RUNNER_IMAGE = "localhost/evalrun-operator", "localhost/evalrun-runner"
DEPLOYMENT = "evalrun-operator"
SUITE = "sums"
ITEMS = 600
TOKENS_PER_ITEM = 75
"""Approximate number of the mock engine's answers."""
END_SECONDS = 300.0
USE = {LABEL_USE: USE_STORAGE}
"""Labels of what runs may use."""


def image_layouts() -> list[Path]:
    """Return the project's images, built if anything in them changed."""
    built = subprocess.run([ROOT / "scripts" / "images.sh", "all"], stdout=subprocess.PIPE, text=True, check=True)
    return [Path(line.split()[2]) for line in built.stdout.splitlines()]


def documented(word: str) -> list[str]:
    """Return the commands of the first block of docs/kubernetes.md that contains this word."""
    text = (ROOT / "docs" / "kubernetes.md").read_text()
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    block = next(block for block in blocks if word in block)
    return [line.removeprefix("$ ") for line in block.replace("\\\n", " ").splitlines()]


def suite_config_map(items: int = ITEMS, name: str = SUITE) -> Object:
    """Build a suite of short questions, as a ConfigMap."""
    rows = [{"question": f"What is {n} and {n % 7}?", "answer": str(n % 20)} for n in range(items)]
    return config_map_of_tasks(name, {"sums": rows}, "number", "(\\d+)")


def config_map_of_tasks(name: str, tasks: dict[str, list[dict[str, str]]], filter_name: str, pattern: str) -> Object:
    """Build a suite of tasks, named with their questions, whose answers are what a filter's pattern finds."""
    data = {}
    for task, rows in tasks.items():
        data[f"{task}.jsonl"] = "".join(json.dumps(row) + "\n" for row in rows)
        data[f"{task}.yaml"] = json.dumps(
            {
                "task": task,
                "dataset_path": "json",
                "dataset_kwargs": {"data_files": {"test": f"{task}.jsonl"}},
                "test_split": "test",
                "output_type": "generate_until",
                "doc_to_text": "Question: {{question}}\nAnswer:",
                "doc_to_target": "{{answer}}",
                "generation_kwargs": {"until": ["Question:"], "do_sample": False, "max_gen_toks": 256},
                "filter_list": [
                    {
                        "name": filter_name,
                        "filter": [{"function": "regex", "regex_pattern": pattern}, {"function": "take_first"}],
                    }
                ],
                "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
                "metadata": {"version": 1.0},
            }
        )
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": USE}, "data": data}


@dataclass
class Platform:
    """Cluster with everything on it."""

    cluster: Cluster
    seaweed: Seaweed
    keys: Path
    """Set an empty folder for the store's keys as files."""
    values: dict[str, str] = field(default_factory=dict)

    # Installing ---------------------------------------------------------------------------------------------------

    def install(self) -> None:
        """Install the store and what docs/kubernetes.md tells users to; then add the tests' own values and suite."""
        self.seaweed.start()
        for bucket in ("evals", "checkpoints"):
            self.seaweed.make_bucket(bucket)
        for command in documented("helm install"):
            self.shell(command)
        # Like a careful administrator.
        enforce = "pod-security.kubernetes.io/enforce=restricted"
        self.cluster.kubectl("label", "namespace", NAMESPACE, SYSTEM, enforce)
        self.cluster.api.create(suite_config_map(), NAMESPACE)
        self.upgrade()
        self.operator_ready()

    def shell(self, command: str) -> str:
        """Run a command of the documentation as its reader would."""
        environment = self.cluster.environment()
        environment["PATH"] = f"{binary(HELM).parent}:{environment['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def upgrade(self, **values: str) -> None:
        """Upgrade the release to the tests' values and these."""
        self.values |= values
        words = [word for name, value in self.values.items() for word in ("--set-string", f"{name}={value}")]
        self.cluster.helm(
            *("upgrade", "evalrun", str(ROOT / "helm" / "evalrun"), "--namespace", SYSTEM, "--reset-then-reuse-values"),
            *("--values", str(ROOT / "tests" / "e2e" / "values.yaml")),
            *words,
        )

    def storage_secret(self, name: str, key: str, secret: str, *, labelled: bool = True) -> None:
        """Create the Secret with the store's keys, for runs."""
        labels = USE if labelled else {}
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "labels": labels},
            "stringData": {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret},
        }
        self.cluster.api.create(body, NAMESPACE)

    # The operator ---------------------------------------------------------------------------------------------------

    def operator_ready(self) -> None:
        """Wait until the current operator works."""

        def rolled_out() -> bool:
            deployment = self.cluster.api.get("deployments", DEPLOYMENT, SYSTEM)
            status = deployment["status"]
            current = status.get("observedGeneration") == deployment["metadata"]["generation"]
            counts = {status.get(each) for each in ("replicas", "updatedReplicas", "readyReplicas")}
            return current and counts == {deployment["spec"]["replicas"]} and self.leader() is not None

        self.cluster.wait_for(rolled_out, 90, "the operator to work", SYSTEM)

    def stop_operator(self) -> None:
        """Scale it to 0 and wait until its pods are deleted."""
        self.cluster.kubectl("-n", SYSTEM, "scale", f"deployment/{DEPLOYMENT}", "--replicas=0")
        self.cluster.wait_for(lambda: not self.operator_pods(), 60, "the operator to be gone", SYSTEM)

    def start_operator(self) -> None:
        """Scale it to 2 and wait until one of them works."""
        self.cluster.kubectl("-n", SYSTEM, "scale", f"deployment/{DEPLOYMENT}", "--replicas=2")
        self.operator_ready()

    def operator_pods(self) -> list[Object]:
        """Return its pods."""
        return self.cluster.api.list("pods", SYSTEM, labels="app.kubernetes.io/name=evalrun-operator")

    def leader_identity(self) -> str:
        """Return the holder of the Lease; '' if nobody holds it."""
        found = self.cluster.api.list("leases", SYSTEM, fields=f"metadata.name={DEPLOYMENT}")
        return str((found[0]["spec"] if found else {}).get("holderIdentity") or "")

    def leader(self) -> Object | None:
        """Return the pod of the operator that leads."""
        name = self.leader_identity().partition("_")[0]
        return next((pod for pod in self.operator_pods() if pod["metadata"]["name"] == name), None)

    # Nodes ----------------------------------------------------------------------------------------------------------

    @contextmanager
    def last_node_kept_free(self) -> Iterator[None]:
        """Keep new pods off the last node inside the block."""
        last = self.cluster.nodes[-1]
        self.cluster.kubectl("cordon", last.name)
        try:
            yield
        finally:
            last.uncordon()

    def node_to_lose(self) -> Node:
        """Find a node without the store, the cluster's own services and Prometheus: usually the last one."""
        first, *others = self.cluster.nodes  # this machine reaches the cluster through the first node
        for node in reversed(others):
            pods = self.cluster.api.list("pods", None, fields=f"spec.nodeName={node.name}")
            if {pod["metadata"]["namespace"] for pod in pods} <= {NAMESPACE, SYSTEM}:
                return node
        raise AssertionError(f"what every run needs is on every node but {first.name}")

    # The network ----------------------------------------------------------------------------------------------------

    @contextmanager
    def store_away(self) -> Iterator[None]:
        """Make the store unreachable inside the block; its data stay."""
        with self._refused(self.seaweed.pod(), "INPUT", SEAWEED_PORT):
            yield
        self.seaweed.wait_ready()

    @contextmanager
    def operator_without_rights(self) -> Iterator[None]:
        """Let the operator do nothing but lead inside the block."""
        binding = self.cluster.api.get("clusterrolebindings", DEPLOYMENT)
        self.cluster.kubectl("delete", "clusterrolebinding", DEPLOYMENT)
        try:
            yield
        finally:
            metadata = {part: binding["metadata"][part] for part in ("name", "labels", "annotations")}
            self.cluster.api.create({**binding, "metadata": metadata})

    @contextmanager
    def _refused(self, pod: Object, chain: str, port: int) -> Iterator[None]:
        """Break the connections of a pod, existing and new ones."""
        machine = self.cluster.node(pod["spec"]["nodeName"]).machine
        process = machine.container_processes(pod["status"]["containerStatuses"][0]["containerID"])[0]
        within = ("nsenter", "--target", str(process.pid), "--net", "iptables")
        rule = ("-p", "tcp", "--dport", str(port), "-j", "REJECT", "--reject-with", "tcp-reset")
        run(*within, "--insert", chain, *rule)
        try:
            yield
        finally:
            run(*within, "--delete", chain, *rule)

    # Runs -----------------------------------------------------------------------------------------------------------

    def store(self, uri: str) -> ObjectStore:
        """Open a run's results, from outside the cluster."""
        (self.keys / "AWS_ACCESS_KEY_ID").write_text(self.seaweed.key)
        (self.keys / "AWS_SECRET_ACCESS_KEY").write_text(self.seaweed.secret)
        settings = S3Settings(
            endpoint_url=self.seaweed.outside,
            region="us-east-1",
            addressing_style="path",
            credentials_dir=str(self.keys),
        )
        return open_store(StoreSpec(uri, settings))

    def run(
        self,
        name: str,
        *,
        seconds: float | None = None,
        count: int = 2,
        node_selector: dict[str, str] | None = None,
        labels: dict[str, str] | None = None,
        **spec: Any,
    ) -> Run:
        """Apply a run of the mock engine with a GPU for each replica; it lasts about ``seconds`` with ``count``."""
        mock = {} if seconds is None else {"tokensPerSecond": round(ITEMS * TOKENS_PER_ITEM / count / seconds, 1)}
        storage = {
            "endpointURL": self.seaweed.endpoint,
            "addressingStyle": "path",
            "credentialsSecretRef": {"name": "s3"},
        }
        body = {
            "apiVersion": "evalrun.dev/v1alpha1",
            "kind": "EvalRun",
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels or {}},
            "spec": {
                "model": {"name": "mock", "uri": "hf://test/mock"},
                "engine": {"mock": mock},
                "replicas": {
                    "count": count,
                    "nodeSelector": node_selector or {},
                    "resources": {
                        "requests": {"cpu": "50m", "memory": "256Mi"},
                        "limits": {"nvidia.com/gpu": 1, "memory": "2Gi"},
                    },
                },
                "benchmarks": [{"task": "sums", "source": {"configMap": {"name": SUITE}}}],
                "output": {"uri": "s3://evals/", "storage": storage},
                **spec,
            },
        }
        self.cluster.apply(json.dumps(body), NAMESPACE)
        return Run(self, name)


@dataclass(frozen=True)
class Run:
    """EvalRun on the platform."""

    platform: Platform
    name: str

    @property
    def cluster(self) -> Cluster:
        """Cluster on which it runs."""
        return self.platform.cluster

    def object(self) -> Object:
        """Return the object from the API server."""
        return self.cluster.api.get("evalruns", self.name, NAMESPACE)

    @property
    def status(self) -> Object:
        """Status of the run; empty before the operator has written one."""
        status: Object = self.object().get("status") or {}
        return status

    @property
    def uid(self) -> str:
        """Uid of the run."""
        return str(self.object()["metadata"]["uid"])

    def patch(self, **spec: Any) -> None:
        """Patch its spec."""
        self.cluster.api.patch("evalruns", self.name, {"spec": spec}, NAMESPACE)

    def condition(self, kind: str) -> tuple[str, str, str]:
        """Return status, reason and message of a condition."""
        for one in self.status.get("conditions", ()):
            if one["type"] == kind:
                return one["status"], one["reason"], one.get("message", "")
        return "", "", ""

    # Waiting --------------------------------------------------------------------------------------------------------

    def until(self, holds: Callable[[], Any], what: str, seconds: float = END_SECONDS) -> Any:
        """Wait for a condition; on failure show everything about the namespace."""
        return self.cluster.wait_for(holds, seconds, f"{self.name}: {what}; status {self._shown()}", NAMESPACE)

    def _shown(self) -> str:
        status = self.status
        return json.dumps({key: status.get(key) for key in ("phase", "attempt", "progress", "display")})

    def until_phase(self, *phases: str, seconds: float = END_SECONDS) -> Object:
        """Wait for one of these phases, and return the status."""
        self.until(lambda: self.status.get("phase") in phases, f"phase {' or '.join(phases)}", seconds)
        return self.status

    def until_items(self, items: int, seconds: float = END_SECONDS) -> None:
        """Wait until this many items are committed, according to the driver, with or without an operator."""

        def reached() -> bool:
            progress = self.progress()
            return progress is not None and progress.counts.done >= items

        self.until(reached, f"{items} items", seconds)

    def progress(self) -> RunProgress | None:
        """Return the progress that its driver reports; None if no driver answers."""
        for pod in self.pods(Component.DRIVER):
            if address := pod["status"].get("podIP"):
                try:
                    asked = ["curl", "-sf", "-m", "3", f"http://{address}:{HTTP_PORT}/progress"]
                    return RunProgress.from_json(subprocess.run(asked, capture_output=True, check=True).stdout)
                except subprocess.CalledProcessError:
                    continue
        return None

    # Its pods -------------------------------------------------------------------------------------------------------

    def pods(self, component: Component, *, over: bool = False) -> list[Object]:
        """Return its pods, oldest first; finished ones only on request."""
        pods = self.cluster.api.list("pods", NAMESPACE, f"{LABEL_RUN}={self.uid},{LABEL_COMPONENT}={component.value}")
        pods.sort(key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
        return [pod for pod in pods if over or pod["status"].get("phase") not in {"Succeeded", "Failed"}]

    def running(self, component: Component) -> list[Object]:
        """Return the pods that run and are not being deleted."""
        pods = [pod for pod in self.pods(component) if pod["status"]["phase"] == "Running"]
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def pod(self, component: Component) -> Object:
        """Return the newest running pod."""
        return self.running(component)[-1]

    def node_of(self, pod: Object) -> Node:
        """Return the node of a pod."""
        return self.cluster.node(pod["spec"]["nodeName"])

    def pod_uids(self) -> set[str]:
        """Return the uids of all its pods, including finished ones."""
        return {str(pod["metadata"]["uid"]) for component in Component for pod in self.pods(component, over=True)}

    def kill(self, component: Component) -> None:
        """Send SIGKILL to every process of its newest pod of this kind."""
        pod = self.pod(component)
        self.node_of(pod).kill_container(pod)

    def until_no_gpu_pods(self, seconds: float = 60.0) -> None:
        """Wait until it holds no GPUs."""
        self.until(lambda: not self.pods(Component.REPLICA), "no GPU pods", seconds)

    def jobs(self) -> set[str]:
        """Return the names of its Jobs."""
        return {job["metadata"]["name"] for job in self.cluster.api.list("jobs", NAMESPACE, f"{LABEL_RUN}={self.uid}")}

    # Results --------------------------------------------------------------------------------------------------------

    @property
    def ledger(self) -> Ledger:
        """Ledger of the run, read from outside the cluster."""
        return Ledger(self.store)

    @property
    def store(self) -> ObjectStore:
        """Store of its results, from outside the cluster."""
        return self.platform.store(self.results_uri)

    @property
    def results_uri(self) -> str:
        """URI of its results, known also before the status has it."""
        return f"s3://evals/{NAMESPACE}/{self.name}-{self.uid[:8]}/"

    def results(self) -> Object:
        """Return results.json of a complete run."""
        results: Object = json.loads(self.ledger.completed_results())
        return results

    def run_record(self) -> Object:
        """Return run.json, the provenance."""
        record: Object = json.loads(self.store.get(RUN))
        return record

    def manifest_digest(self) -> str:
        """Return the digest of every planned item."""
        index = self.ledger.task_index("sums")
        assert index is not None
        return index.digest

    def committed(self) -> dict[str, bytes]:
        """Return the bytes of the committed parts, by key."""
        store = self.store
        return {key: store.get(key) for key in store.list(PARTS)}

    def ended_well(self, items: int = ITEMS, *, task: str = "sums", seconds: float = END_SECONDS) -> Object:
        """Wait for its success, check the published invariants I1 to I3, and return the status."""
        status = self.until_phase("Succeeded", "Failed", "Invalid", seconds=seconds)
        assert status["phase"] == "Succeeded", json.dumps(status, indent=1)
        assert self.condition("Complete")[0] == "True"
        counts = status["progress"]
        assert counts["planned"] == items == counts["ok"] + counts["failed"] + counts["quarantined"]
        self._check_ledger(task, items)
        results = self.results()
        for score in status["scores"]:
            assert score["value"] == results["results"][score["task"]][f"{score['metric']},{score['filter']}"]
        self.until_no_gpu_pods(120)
        return status

    def is_as(self, undisturbed: Run) -> None:
        """Check I5: the same item set, the same manifest, the same scores."""
        assert self.manifest_digest() == undisturbed.manifest_digest()
        assert self.results()["results"] == undisturbed.results()["results"]

    def _check_ledger(self, task: str, items: int) -> None:
        """Check that every planned item has exactly one committed result."""
        ledger = self.ledger
        index = ledger.task_index(task)
        assert index is not None and index.items == items
        chunks = [chunk for number in range(index.segments) for chunk in ledger.read_chunks(task, number)]
        assert {(chunk.task, chunk.number) for chunk in chunks} == set(ledger.committed_parts())
        rows = [row for chunk in chunks for row in ledger.read_part(chunk).rows]
        assert len(rows) == items
        assert all(row.outcome.status is ItemStatus.OK for row in rows)
