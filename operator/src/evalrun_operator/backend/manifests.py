"""What an attempt's pods need beside themselves: the token, the configuration, an address, and closed doors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalrun_api import RunConfig
from evalrun_api.wire.pods import CONFIG_KEY, HTTP_PORT, LABEL_RUN, RAY_PORT, TOKEN_KEY, Component
from evalrun_operator import names
from evalrun_operator.backend.identity import Identity
from evalrun_operator.kube.objects import Manifest
from evalrun_operator.settings import NetworkPolicySettings

_DNS: Mapping[str, Any] = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}


def token_secret(identity: Identity, token: str) -> Manifest:
    """The token without which Ray answers nobody; one for all attempts of a run."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": identity.metadata(identity.token_secret, names.run_labels(identity.uid)),
        "type": "Opaque",
        "immutable": True,
        "stringData": {TOKEN_KEY: token},
    }


def config_map(identity: Identity, config: RunConfig) -> Manifest:
    """The whole input of the runner."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": identity.metadata(identity.config_map, identity.labels()),
        "immutable": True,
        "data": {CONFIG_KEY: config.to_json()},
    }


def service(identity: Identity) -> Manifest:
    """The driver's address, known before it is Ready: replicas ask it when to join."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": identity.metadata(identity.service, identity.labels()),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": _selector(identity, Component.DRIVER),
            "ports": [
                {"name": "http", "port": HTTP_PORT, "targetPort": HTTP_PORT, "protocol": "TCP"},
                {"name": "ray", "port": RAY_PORT, "targetPort": RAY_PORT, "protocol": "TCP"},
            ],
        },
    }


def network_policy(identity: Identity, settings: NetworkPolicySettings) -> Manifest:
    """The run's pods reach each other; nobody else reaches them but for progress and metrics."""
    pods = {"matchLabels": {LABEL_RUN: identity.uid}}
    among_themselves = [{"podSelector": pods}]
    ingress: list[dict[str, Any]] = [{"from": among_themselves}]
    if settings.metrics_from:
        # Without peers there must be no rule: an empty `from` is everybody.
        port = {"port": HTTP_PORT, "protocol": "TCP"}
        ingress.append({"from": [dict(peer) for peer in settings.metrics_from], "ports": [port]})
    spec: dict[str, Any] = {"podSelector": pods, "policyTypes": ["Ingress"], "ingress": ingress}
    if settings.egress:
        spec["policyTypes"] = ["Ingress", "Egress"]
        spec["egress"] = [{"to": among_themselves}, dict(_DNS), *(dict(rule) for rule in settings.egress)]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": identity.metadata(identity.network_policy, names.run_labels(identity.uid)),
        "spec": spec,
    }


def _selector(identity: Identity, component: Component) -> dict[str, str]:
    labels = identity.labels(component)
    return {key: labels[key] for key in labels if not key.startswith("app.kubernetes.io/")}
