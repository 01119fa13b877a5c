"""The other objects of an attempt: token, configuration, address, network policy."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from evalrun_api.wire.pods import CONFIG_KEY, HTTP_PORT, LABEL_RUN, RAY_PORT, TOKEN_KEY, Component
from evalrun_operator import names
from evalrun_operator.backend.identity import Identity
from evalrun_operator.kube.objects import Manifest
from evalrun_operator.settings import NetworkPolicySettings

_DNS: Mapping[str, Any] = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}


def token_secret(identity: Identity, token: str) -> Manifest:
    """Build the Secret with the token that Ray requires; one for all attempts of a run."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": identity.metadata(identity.token_secret, names.run_labels(identity.uid)),
        "type": "Opaque",
        "immutable": True,
        "stringData": {TOKEN_KEY: token},
    }


def config_map(identity: Identity, config: str) -> Manifest:
    """Build the ConfigMap with the whole input of the runner, a RunConfig as JSON."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": identity.metadata(identity.config_map, identity.labels()),
        "immutable": True,
        "data": {CONFIG_KEY: config},
    }


def service(identity: Identity) -> Manifest:
    """Build the Service of the driver; its address is known before it is Ready, because replicas poll it to join."""
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
    """Build the policy: the run's pods reach each other; others reach only progress and metrics."""
    pods = {"matchLabels": {LABEL_RUN: identity.uid}}
    among_themselves = [{"podSelector": pods}]
    ingress: list[dict[str, Any]] = [{"from": among_themselves}]
    if settings.metrics_from:
        # Without peers there must be no rule: an empty `from` allows everybody.
        port = {"port": HTTP_PORT, "protocol": "TCP"}
        ingress.append({"from": [dict(peer) for peer in settings.metrics_from], "ports": [port]})
    spec: dict[str, Any] = {"podSelector": pods, "policyTypes": ["Ingress"], "ingress": ingress}
    rules = [dict(rule) for rule in settings.egress] or list(_all_but(settings.blocked))
    if rules and settings.metadata_services:
        rules.append({"to": [{"ipBlock": {"cidr": network}} for network in settings.metadata_services]})
    if rules:
        spec["policyTypes"] = ["Ingress", "Egress"]
        spec["egress"] = [{"to": among_themselves}, dict(_DNS), *rules]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": identity.metadata(identity.network_policy, names.run_labels(identity.uid)),
        "spec": spec,
    }


def _all_but(blocked: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the rule that allows everything but some networks; none where nothing is blocked.

    Pods and Services have addresses, too, which ipBlock covers in most network plugins, but not in all: peers by
    selector cover them everywhere.
    """
    networks = [ipaddress.ip_network(network) for network in blocked]
    if not networks:
        return
    blocks = [
        {"ipBlock": {"cidr": everything, **({"except": except_} if except_ else {})}}
        for version, everything in ((4, "0.0.0.0/0"), (6, "::/0"))
        for except_ in [[str(network) for network in networks if network.version == version]]
    ]
    yield {"to": [*blocks, {"namespaceSelector": {}}]}


def _selector(identity: Identity, component: Component) -> dict[str, str]:
    labels = identity.labels(component)
    return {key: labels[key] for key in labels if not key.startswith("app.kubernetes.io/")}
