"""Connection to the API server, from inside the cluster or by a kubeconfig, for the client and for kopf."""

from __future__ import annotations

import os

import kopf
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from evalrun_operator.kube.errors import NoCluster

CONNECTIONS = 64
"""Concurrent connections: more than there are workers, as each worker makes a few calls at once."""


async def configuration() -> Configuration:
    """Load the service account of a pod (its token is read again every minute), else KUBECONFIG.

    Raises:
        NoCluster: There is neither, or it cannot be used.
    """
    found = Configuration(connection_pool_maxsize=CONNECTIONS)
    try:
        if "KUBECONFIG" in os.environ or "KUBERNETES_SERVICE_HOST" not in os.environ:
            await load_kube_config(client_configuration=found, persist_config=False)
        else:
            load_incluster_config(client_configuration=found)
    except (ConfigException, OSError) as error:
        raise NoCluster(
            f"no API server: {error}; hint: run the operator in a pod with a service account, or set KUBECONFIG to "
            "a kubeconfig file"
        ) from error
    return found


async def login(found: Configuration) -> kopf.ConnectionInfo:
    """Convert the configuration for kopf, which asks again when the API server rejects the credentials."""
    header = await found.get_api_key_with_prefix("BearerToken", alias="authorization")
    return kopf.ConnectionInfo(
        server=found.host,
        ca_path=found.ssl_ca_cert,
        insecure=not found.verify_ssl,
        # The client keeps the scheme with the token: "bearer …".
        token=header.split(" ", 1)[-1].strip() if header else None,
        certificate_path=found.cert_file,
        private_key_path=found.key_file,
    )
