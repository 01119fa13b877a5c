"""An operator that dies, is deaf, or has no API server: runs converge, nothing is made twice, health does not lie."""

from __future__ import annotations

import pytest
import yaml

from cluster.cluster import Cluster
from evalrun_api import Phase
from evalrun_api.wire.pods import Component
from support.operator_scene import RUNNING, SUCCEEDED, Scene
from support.playing_kubelet import PlayingDriver
from support.tcp_proxy import TcpProxy


@pytest.mark.slow
def test_an_operator_that_dies_after_each_of_its_writes_still_completes_a_run(scene: Scene) -> None:
    operator = scene.operator(module="support.crashing_operator", progressSeconds=20)
    with operator, PlayingDriver("127.0.12.1", RUNNING) as progress:
        scene.apply()
        (driver,) = scene.kubelet.wait_pods(Component.DRIVER)
        scene.kubelet.runs(driver, ready=True, address=progress.address)
        for replica in scene.kubelet.wait_pods(Component.REPLICA, 2):
            scene.kubelet.runs(replica, ready=True)
        scene.wait_phase(Phase.RUNNING)
        for replica in scene.kubelet.wait_pods(Component.REPLICA, 2):
            scene.kubelet.ends(replica, 0)
        scene.kubelet.driver_ends(SUCCEEDED)
        status = scene.wait_phase(Phase.SUCCEEDED)

    deaths = operator.said("CRASH").splitlines()
    assert len(deaths) >= 8, "a Secret, a ConfigMap, a Service, a NetworkPolicy, two Jobs, statuses, events"
    assert status["attempt"] == 1 and status["chargedAttempts"] == 0
    assert status["scores"] == SUCCEEDED.to_dict()["scores"]
    assert scene.jobs() == ["nightly-a1-driver", "nightly-a1-replicas"], "nothing was made twice"
    events = scene.cluster.api.list("events", scene.namespace)
    made = [event for event in events if event["reason"] == "SuccessfulCreate"]
    assert sum(event.get("count", 1) for event in made) == 3, "one driver and two replicas, and no pod more"


def test_a_silent_watch_is_detected_and_missed_events_are_recovered(scene: Scene, control_plane: Cluster) -> None:
    port = control_plane.state.endpoints.api_port
    with TcpProxy("127.0.0.1", port) as proxy:
        environment = {"EVALRUN_TEST_WATCHES": f"https://127.0.0.1:{proxy.port}"}
        with scene.operator(module="support.deaf_operator", environment=environment, resyncSeconds=2) as operator:
            operator.wait_ready()
            scene.apply("heard")
            scene.wait_phase(Phase.STARTING, "heard")
            assert operator.asks("/healthz") == 200

            proxy.silent()
            scene.apply("unheard")
            scene.wait_phase(Phase.STARTING, "unheard")
            scene.wait(lambda: operator.asks("/healthz") == 500, "the silence to be seen", 2 * 2 + 2 / 6 + 3)
            assert "silent" in operator.said("ERROR")
            assert operator.stop() == 0


def test_an_unavailable_api_server_costs_only_time(scene: Scene, control_plane: Cluster) -> None:
    with TcpProxy("127.0.0.1", control_plane.state.endpoints.api_port) as proxy:
        config = yaml.safe_load(control_plane.kubeconfig.read_text())
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{proxy.port}"
        kubeconfig = scene.folder / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(config))
        with scene.operator(kubeconfig, resyncSeconds=1) as operator:
            operator.wait_ready()
            scene.apply()
            scene.kubelet.wait_pods(Component.DRIVER)
            scene.wait_phase(Phase.STARTING)
            proxy.refuse()
            scene.wait(
                lambda: len(operator.said("Cannot connect to host").splitlines()) >= 5, "the operator to notice", 20
            )
            assert operator.asks("/healthz") == 200, "a restart would mend nothing"
            scene.kubelet.driver_ends(SUCCEEDED)
            proxy.accept_again()
            scene.wait_phase(Phase.SUCCEEDED)
            assert operator.process is not None and operator.process.poll() is None, "the same process all along"


def test_an_operator_without_permission_for_secrets_names_the_missing_binding(scene: Scene) -> None:
    """With the rights of a cluster-wide installation, in a namespace that nobody opened to it."""
    rules = [
        {"apiGroups": ["evalrun.dev"], "resources": ["evalruns", "evalruns/status"], "verbs": ["*"]},
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["pods", "configmaps", "services", "events"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
        {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["*"]},
    ]
    api, namespace, rbac = scene.cluster.api, scene.namespace, "rbac.authorization.k8s.io"
    role = {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": {"name": "op"}, "rules": rules}
    api.create(role, namespace)
    binding = {"apiVersion": f"{rbac}/v1", "kind": "RoleBinding", "metadata": {"name": "op"}}
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": namespace}
    to = {"apiGroup": rbac, "kind": "Role", "name": "op"}
    api.create({**binding, "roleRef": to, "subjects": [subject]}, namespace)
    account = scene.cluster.as_service_account(namespace, "default", scene.folder)
    scene.secret("keys")
    with scene.operator(account.kubeconfig) as operator:
        operator.wait_ready()
        scene.apply("plain")
        scene.wait_phase(Phase.STARTING, "plain")
        scene.apply("with-keys", output={"uri": "s3://x-y-z/", "storage": {"credentialsSecretRef": {"name": "keys"}}})
        status = scene.wait_phase(Phase.PENDING, "with-keys")
        (accepted,) = (one for one in status["conditions"] if one["type"] == "Accepted")
        assert (accepted["status"], accepted["reason"]) == ("Unknown", "Forbidden")
        assert "evalrun-secret-reader" in accepted["message"]
