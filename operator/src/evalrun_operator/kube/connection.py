"""Connection to the API server, from inside the cluster or by a kubeconfig, for the client and for kopf."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import aiohttp
import kopf
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from evalrun_operator.kube.errors import NoCluster, explained

_OF_NAMESPACE = re.compile(r"/namespaces/(?P<namespace>[^/]+)/(?P<plural>[^/]+)$")
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


Heard = Callable[[str, str, str | None], None]
"""Receives each answer to a watch of one namespace: the namespace, the plural of the kind, and why it was refused; None
if it was not.
"""


class NotNow(aiohttp.ClientConnectionError):
    """A refusal that kopf should treat like a lost connection: it tries again, for as long as it takes.

    kopf ends, and the process with it, where a watch is refused for five minutes, and where the credentials that it was
    given are refused once.
    """


async def login(found: Configuration, heard: Heard) -> kopf.AiohttpSession:
    """Open the session of kopf's watches."""
    info = kopf.ConnectionInfo(
        server=found.host,
        ca_path=found.ssl_ca_cert,
        insecure=not found.verify_ssl,
        certificate_path=found.cert_file,
        private_key_path=found.key_file,
    )

    async def patiently(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        # The token is that of the moment: it is renewed every hour.
        header = await found.get_api_key_with_prefix("BearerToken", alias="authorization")
        if header:
            # The client keeps the scheme with the token: "bearer …".
            request.headers["Authorization"] = f"Bearer {header.split(' ', 1)[-1].strip()}"
        response = await handler(request)
        place = _OF_NAMESPACE.search(request.url.path)
        if response.status == 401 or (place is not None and response.status in {403, 404}):
            _, words = explained(await response.read())
            if place is not None and response.status != 401:
                heard(place["namespace"], place["plural"], words)
            raise NotNow(f"{request.method} {request.url.path} ({response.status}): {words}")
        if place is not None and response.ok:
            heard(place["namespace"], place["plural"], None)
        return response

    connector = aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context())
    session = aiohttp.ClientSession(connector=connector, middlewares=(patiently,))
    return kopf.AiohttpSession(server=found.host, aiohttp_session=session)
