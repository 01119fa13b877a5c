"""How the operator reaches its API server: from inside the cluster, or with a kubeconfig. The client and kopf alike."""

from __future__ import annotations

import os

import kopf
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from evalrun_operator.kube.errors import NoCluster

CONNECTIONS = 64
"""At the same time: more than there are workers, as each makes a few calls at once."""


async def configuration() -> Configuration:
    """The service account's within a cluster (its token is read again every minute), else KUBECONFIG's.

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
            f"no API server: {error}. Run the operator in a pod with a service account, or set KUBECONFIG to a "
            "kubeconfig file"
        ) from error
    return found


async def login(found: Configuration) -> kopf.ConnectionInfo:
    """The same for kopf, which asks again when the API server no longer takes the credentials."""
    said = await found.get_api_key_with_prefix("BearerToken", alias="authorization")
    return kopf.ConnectionInfo(
        server=found.host,
        ca_path=found.ssl_ca_cert,
        insecure=not found.verify_ssl,
        # The client keeps the scheme with the token: "bearer …".
        token=said.split(" ", 1)[-1].strip() if said else None,
        certificate_path=found.cert_file,
        private_key_path=found.key_file,
    )
