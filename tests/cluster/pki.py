"""Certificates and kubeconfigs of one cluster, created with openssl.

One authority signs all: servers, components, nodes and the administrator. None of the keys needs protection.
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from cluster.process import run

_DAYS = "3650"
_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Pki:
    """Authority in ``folder``, with the files that it signed: ``<name>.crt``, ``<name>.key``, ``<name>.kubeconfig``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = folder / "ca.crt"

    def create(self) -> None:
        """Create the authority and the key that signs service account tokens."""
        self.folder.mkdir(parents=True)
        subject = ("-subj", "/CN=test-ca", "-days", _DAYS)
        self._openssl("req", "-x509", *_CURVE, "-keyout", "ca.key", *subject, "-out", "ca.crt")
        self._openssl("genrsa", "-out", "service-accounts.key", "2048")

    def certificate(self, name: str, subject: str, alternative_names: str | None = None) -> None:
        """Sign a certificate for ``subject`` (``/O=group/CN=user``); ``alternative_names`` as ``DNS:a,IP:b``."""
        self._openssl("req", "-new", *_CURVE, "-keyout", f"{name}.key", "-subj", subject, "-out", f"{name}.csr")
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(
            f"subjectAltName={alternative_names or f'DNS:{name}'}\nextendedKeyUsage=serverAuth,clientAuth\n"
        )
        self._openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-days", _DAYS),
            *("-set_serial", "0x" + secrets.token_hex(8), "-out", f"{name}.crt", "-extfile", str(extensions)),
        )

    def kubeconfig(self, name: str, server: str) -> Path:
        """Write the kubeconfig of the certificate ``name``."""
        user = {"client-certificate": str(self.folder / f"{name}.crt"), "client-key": str(self.folder / f"{name}.key")}
        path = self.folder / f"{name}.kubeconfig"
        path.write_text(json.dumps(kubeconfig(server, self.authority, user), indent=1))
        return path

    def _openssl(self, *words: str) -> None:
        placed = [str(self.folder / word) if word.endswith((".key", ".crt", ".csr")) else word for word in words]
        run("openssl", *placed)


def kubeconfig(server: str, authority: Path, user: dict[str, str], namespace: str = "default") -> dict[str, object]:
    """Build a kubeconfig with one cluster, one user and one context."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority": str(authority)}}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}],
    }
