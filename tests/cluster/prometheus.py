"""Real Prometheus in a pod, which discovers its targets by the pods' annotations, as a plain installation does.

prometheus = Prometheus(cluster, config, rules)
prometheus.start()                   # needs prometheus.image() among the cluster's images
prometheus.query("up")               # from the test's own process, by the service's address
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from cluster.api import Object
from cluster.binaries import PROMETHEUS, binary
from cluster.client import Client, condition, documents
from cluster.images import Files, write_image
from cluster.prometheus_api import PrometheusApi

IMAGE = "localhost/evalrun-test/prometheus:1"
NAMESPACE = "evalrun-monitoring"
PORT = 9090
_READY_S = 90.0
_NOBODY = 65534
_RULES = "rules.yaml"


def image() -> Path:
    """Return the archive of the image: the static binary and nothing else."""
    program = binary(PROMETHEUS)
    return write_image(
        IMAGE, Files({"prometheus": program}, folders=("tmp", "data", "etc"), config={"Entrypoint": ["/prometheus"]})
    )


class Prometheus(PrometheusApi):
    """Prometheus in a namespace of its own, which may list pods and nothing else."""

    def __init__(self, client: Client, config: Mapping[str, Any], rules: str) -> None:
        """Set its configuration and its file of rules, both as YAML text."""
        self.client = client
        self._config = {**config, "rule_files": [_RULES]}
        self._rules = rules

    def start(self) -> None:
        """Create it, and wait until it answers; its data last as long as its pod."""
        if self.client.api.find("namespaces", NAMESPACE) is None:
            self.client.create_namespace(NAMESPACE, {"pod-security.kubernetes.io/enforce": "restricted"})
        for body in documents(_MANIFESTS):
            self.client.api.apply(body, NAMESPACE)
        data = {"prometheus.yml": json.dumps(self._config), _RULES: self._rules}
        files: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "prometheus"}, "data": data}
        self.client.api.apply(files, NAMESPACE)
        self.client.wait_for(self._available, _READY_S, "Prometheus to answer", NAMESPACE)

    def remove(self) -> None:
        """Delete it with its data, if it exists."""
        self.client.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")
        roles = ("clusterrole,clusterrolebinding", "evalrun-test-prometheus")
        self.client.kubectl("delete", *roles, "--ignore-not-found")

    @cached_property
    def url(self) -> str:
        """Its address for processes on this machine, which has a route to the cluster's services."""
        service = self.client.api.get("services", "prometheus", NAMESPACE)
        return f"http://{service['spec']['clusterIP']}:{PORT}"

    def _available(self) -> bool:
        deployment = self.client.api.get("deployments", "prometheus", NAMESPACE)
        return condition(deployment, "Available") == "True" and self.ready()


_MANIFESTS = f"""
apiVersion: v1
kind: ServiceAccount
metadata: {{name: prometheus}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: evalrun-test-prometheus}}
rules:
- {{apiGroups: [""], resources: [pods], verbs: [get, list, watch]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: evalrun-test-prometheus}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: evalrun-test-prometheus}}
subjects: [{{kind: ServiceAccount, name: prometheus, namespace: {NAMESPACE}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: prometheus}}
spec: {{selector: {{app: prometheus}}, ports: [{{port: {PORT}}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: prometheus}}
spec:
  selector: {{matchLabels: {{app: prometheus}}}}
  strategy: {{type: Recreate}}
  template:
    metadata: {{labels: {{app: prometheus}}}}
    spec:
      serviceAccountName: prometheus
      securityContext: {{runAsNonRoot: true, runAsUser: {_NOBODY}, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
      - name: prometheus
        image: {IMAGE}
        args:
        - --config.file=/etc/prometheus/prometheus.yml
        - --storage.tsdb.path=/data
        - --scrape.discovery-reload-interval=1s # pods of tests live for seconds
        securityContext:
          allowPrivilegeEscalation: false
          readOnlyRootFilesystem: true
          capabilities: {{drop: [ALL]}}
        ports: [{{containerPort: {PORT}}}]
        readinessProbe: {{httpGet: {{path: /-/ready, port: {PORT}}}, periodSeconds: 1}}
        volumeMounts:
        - {{name: data, mountPath: /data}}
        - {{name: config, mountPath: /etc/prometheus}}
      volumes:
      - {{name: data, emptyDir: {{}}}}
      - {{name: config, configMap: {{name: prometheus}}}}
"""
