"""An admission webhook that refuses pods, in the words of OpenShift's security context constraints."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cluster.api import Api
from cluster.pki import Pki

SCC_WORDS = (
    'unable to validate against any security context constraint: [provider "anyuid": Forbidden: not usable by user or '
    "serviceaccount, provider restricted-v2: .spec.securityContext.fsGroup: Invalid value: []int64{1000}: 1000 is not "
    "an allowed group, provider restricted-v2: .containers[0].runAsUser: Invalid value: 1000: must be in the ranges: "
    '[1000660000, 1000669999], provider "privileged": Forbidden: not usable by user or serviceaccount]'
)
_NAME = "scc.evalrun.test"


@contextmanager
def refusing_pods(api: Api, namespace: str, address: str, folder: Path, words: str = SCC_WORDS) -> Iterator[None]:
    """Refuse every new pod of a namespace inside the block.

    Args:
        api: The cluster's API, as an administrator.
        namespace: The namespace.
        address: Address of this machine, as the API server sees it.
        folder: An empty folder, for certificates.
        words: What the webhook answers.
    """
    pki = Pki(folder / "pki")
    pki.create()
    pki.certificate("webhook", "/CN=webhook", f"IP:{address}")
    server = ThreadingHTTPServer(("0.0.0.0", 0), _handler(words))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.folder / "webhook.crt", pki.folder / "webhook.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    url = f"https://{address}:{server.server_address[1]}/"
    api.apply(_configuration(url, base64.b64encode(pki.authority.read_bytes()).decode(), namespace))
    try:
        yield
    finally:
        api.delete("validatingwebhookconfigurations", _NAME)
        server.shutdown()
        server.server_close()


def _configuration(url: str, authority: str, namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": _NAME},
        "webhooks": [
            {
                "name": _NAME,
                "clientConfig": {"url": url, "caBundle": authority},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }
        ],
    }


def _handler(words: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = {"code": 403, "reason": "Forbidden", "message": words}
            response = {"uid": review["request"]["uid"], "allowed": False, "status": status}
            body = json.dumps(
                {"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response}
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the test tells."""

    return Handler
