"""Objects that are created for a run: whole manifests against golden files, and properties of every one of them.

``UPDATE_GOLDEN=1 pytest tests/unit/operator/test_backend_manifests.py`` rewrites the files.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from evalrun_api import RunConfig
from evalrun_api.wire.pods import NO_HEAD_SECONDS, RAY_PORTS, Component, Environment
from evalrun_operator.kube.objects import Create
from evalrun_operator.settings import NetworkPolicySettings, OperatorSettings, PodSettings
from evalrun_operator.state.backend import Objects
from evalrun_operator.state.desired import Desired, DesiredState
from support.evalruns import make_run
from support.operator_backend_cases import CASES, REFERENCES, backend, created, kueue, mock, pvc_and_suite, vllm_s3

GOLDEN = Path(__file__).parent / "golden"
JOBS = ("driver", "replica")


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    """Return everything that is created for a run."""
    make, settings = CASES[request.param]
    return created(make(), settings)


@pytest.mark.parametrize("name", CASES)
def test_manifests_equal_golden_files(name: str) -> None:
    make, settings = CASES[name]
    text = yaml.dump_all(created(make(), settings).values(), Dumper=_Plain, sort_keys=False, width=120)
    file = GOLDEN / f"{name}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text)
    assert text == file.read_text(), "see the diff; if it is meant, run with UPDATE_GOLDEN=1"


# Security ---------------------------------------------------------------------------------------------------------


def test_every_container_of_every_pod_is_restricted(case: dict[str, dict[str, Any]]) -> None:
    for component in JOBS:
        spec = case[component]["spec"]["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 1000
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert "initContainers" not in spec
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["readOnlyRootFilesystem"] is True
            assert "privileged" not in context


def test_no_pod_reaches_its_host_or_the_api_server(case: dict[str, dict[str, Any]]) -> None:
    for component in JOBS:
        spec = case[component]["spec"]["template"]["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers", "nodeName", "schedulerName"} & spec.keys()
        kinds = {kind for volume in spec["volumes"] for kind in volume.keys() - {"name"}}
        assert kinds <= {"configMap", "secret", "emptyDir", "persistentVolumeClaim"}
        assert not any("hostPort" in port for port in spec["containers"][0].get("ports", ()))


def test_only_intended_mounts_are_writable(case: dict[str, dict[str, Any]]) -> None:
    for component in JOBS:
        mounts = case[component]["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
        assert {mount["mountPath"] for mount in mounts if not mount["readOnly"]} == {"/cache", "/tmp", "/dev/shm"}
        assert len({mount["mountPath"] for mount in mounts}) == len(mounts)


def test_pods_mount_only_the_secrets_of_their_run() -> None:
    for component in JOBS:
        spec = created(vllm_s3())[component]["spec"]["template"]["spec"]
        secrets = [volume["secret"] for volume in spec["volumes"] if "secret" in volume]
        assert secrets == [
            {"secretName": "s3-write", "defaultMode": 0o440},
            {"secretName": "s3-read", "defaultMode": 0o440},
        ]
        keys = [each["valueFrom"]["secretKeyRef"] for each in spec["containers"][0]["env"] if _from_secret(each)]
        assert keys == [{"name": "llama-step-4000-0f3c9a52-ray", "key": "token"}]


def _from_secret(variable: dict[str, Any]) -> bool:
    return "secretKeyRef" in variable.get("valueFrom", {})


def test_network_policy_admits_only_the_runs_own_pods() -> None:
    policy = created(mock())["NetworkPolicy"]["spec"]
    own = {"matchLabels": {"evalrun.dev/run": "0f3c9a52-7c7a-4a55-9d5e-6f2f1a9b8c7d"}}
    assert policy["podSelector"] == own
    assert policy["ingress"] == [{"from": [{"podSelector": own}]}]


def test_c16_no_pod_reaches_link_local_addresses() -> None:
    policy = created(mock())["NetworkPolicy"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    _, dns, others = policy["egress"]
    assert {port["port"] for port in dns["ports"]} == {53}
    blocks = [peer["ipBlock"] for peer in others["to"] if "ipBlock" in peer]
    assert [block["cidr"] for block in blocks] == ["0.0.0.0/0", "::/0"]
    assert "169.254.0.0/16" in blocks[0]["except"]
    assert {"fe80::/10", "fd00:ec2::254/128"} <= set(blocks[1]["except"])
    for block in blocks:
        version = ipaddress.ip_network(block["cidr"]).version
        assert {ipaddress.ip_network(each).version for each in block["except"]} == {version}


def test_metadata_services_may_be_allowed_and_nothing_blocked() -> None:
    def egress(**settings: Any) -> list[dict[str, Any]]:
        policy = OperatorSettings(network_policy=NetworkPolicySettings(**settings))
        rules: list[dict[str, Any]] = created(mock(), policy)["NetworkPolicy"]["spec"].get("egress", [])
        return rules

    agent = {"to": [{"ipBlock": {"cidr": "169.254.170.23/32"}}]}
    assert egress(metadata_services=("169.254.170.23/32",))[-1] == agent
    own = {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}
    assert egress(egress=(own,), metadata_services=("169.254.170.23/32",))[2:] == [own, agent]
    assert egress(egress=(own,))[2:] == [own]
    assert egress(blocked=()) == []


def test_no_policy_rule_is_open_by_being_empty() -> None:
    make, settings = CASES["administrators"]
    policy = created(make(), settings)["NetworkPolicy"]["spec"]
    assert all(rule["from"] for rule in policy["ingress"])
    assert policy["ingress"][1]["ports"] == [{"port": 8080, "protocol": "TCP"}]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    dns = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}
    assert dns in policy["egress"]


def test_network_policy_is_created_unless_disabled() -> None:
    settings = OperatorSettings(network_policy=NetworkPolicySettings(enabled=False))
    assert "NetworkPolicy" not in created(mock(), settings)


# Belonging --------------------------------------------------------------------------------------------------------


def test_children_are_owned_by_their_run_and_never_block_its_deletion(case: dict[str, dict[str, Any]]) -> None:
    for manifest in case.values():
        metadata = manifest["metadata"]
        (owner,) = metadata["ownerReferences"]
        assert owner["kind"] == "EvalRun"
        assert owner["controller"] is True
        assert owner["blockOwnerDeletion"] is False
        assert "finalizers" not in metadata
        assert metadata["labels"]["evalrun.dev/run"] == owner["uid"]
        assert metadata["annotations"]["evalrun.dev/run-name"] == owner["name"]
        assert len(metadata["name"]) <= 63


def test_driver_job_is_created_last() -> None:
    changes = backend().changes(mock(), DesiredState(1, Desired.RUNNING), Objects(), REFERENCES)
    kinds = [change.kind.kind for change in changes if isinstance(change, Create)]
    assert kinds == ["Secret", "ConfigMap", "Service", "NetworkPolicy", "Job"]


def test_names_of_what_pods_read_are_unique_to_the_run() -> None:
    builder = make_run("again")
    first = created(builder.build())
    builder.uid = "ffffffff-7c7a-4a55-9d5e-6f2f1a9b8c7d"
    second = created(builder.build())
    for kind in ("Secret", "ConfigMap", "Service", "NetworkPolicy"):
        assert first[kind]["metadata"]["name"] != second[kind]["metadata"]["name"]
    assert first["driver"]["metadata"]["name"] == second["driver"]["metadata"]["name"] == "again-a1-driver"


def test_token_is_random_and_shared_by_all_attempts() -> None:
    def secret(attempt: int) -> dict[str, Any]:
        changes = backend().changes(mock(), DesiredState(attempt, Desired.RUNNING), Objects(), REFERENCES)
        return dict(changes[0].manifest) if isinstance(changes[0], Create) else {}

    assert secret(1) == secret(2)
    assert secret(1)["stringData"] == {"token": "0" * 64}


def test_long_names_with_dots_become_valid_host_names() -> None:
    run = make_run("a.very.long.name." * 14 + "x").build()
    for manifest in created(run).values():
        assert len(manifest["metadata"]["name"]) <= 63
        assert "." not in manifest["metadata"]["name"]


# Jobs -------------------------------------------------------------------------------------------------------------


def test_driver_job_has_one_try_and_ignores_disruptions() -> None:
    spec = created(mock())["driver"]["spec"]
    assert (spec["backoffLimit"], spec["completions"], spec["parallelism"]) == (0, 1, 1)
    assert spec["podReplacementPolicy"] == "Failed"
    assert spec["activeDeadlineSeconds"] == 3600
    rules = spec["podFailurePolicy"]["rules"]
    assert [(rule["action"], rule.get("onExitCodes", {}).get("values")) for rule in rules] == [
        ("FailJob", [2, 3]),
        ("Ignore", None),
        ("Ignore", [75]),
    ]


def test_driver_has_no_deadline_unless_set() -> None:
    (*_, made) = backend().changes(mock(), DesiredState(1, Desired.RUNNING), Objects(), REFERENCES)
    assert isinstance(made, Create)
    assert "activeDeadlineSeconds" not in made.manifest["spec"]


def test_replicas_are_indexes_that_fail_independently() -> None:
    spec = created(vllm_s3())["replica"]["spec"]
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"] == 8
    assert spec["backoffLimitPerIndex"] > 10
    assert "maxFailedIndexes" not in spec
    assert "suspend" not in spec


def test_only_replicas_are_queued_with_their_minimum() -> None:
    made = created(kueue())
    replicas = made["replica"]
    assert replicas["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpu-eval"
    assert replicas["metadata"]["labels"]["kueue.x-k8s.io/priority-class"] == "nightly"
    assert replicas["metadata"]["annotations"]["kueue.x-k8s.io/job-min-parallelism"] == "2"
    assert replicas["metadata"]["annotations"]["kueue.x-k8s.io/job-completions-equal-parallelism"] == "true"
    assert replicas["spec"]["suspend"] is True
    assert not any("kueue" in text for kind, each in made.items() if kind != "replica" for text in _labels(each))


def _labels(manifest: dict[str, Any]) -> Iterator[str]:
    yield from manifest["metadata"]["labels"]
    yield from manifest["metadata"]["annotations"]


def test_minimum_equal_to_count_is_not_passed_to_kueue() -> None:
    made = created(make_run().with_replicas(4, minCount=4).in_queue("q").build())
    assert not any("kueue" in key for key in made["replica"]["metadata"]["annotations"])


# Pods -------------------------------------------------------------------------------------------------------------


def test_pods_tolerate_lost_nodes_only_briefly() -> None:
    spec = created(mock())["replica"]["spec"]["template"]["spec"]
    assert {(each["key"], each["tolerationSeconds"]) for each in spec["tolerations"]} == {
        ("node.kubernetes.io/not-ready", 30),
        ("node.kubernetes.io/unreachable", 30),
    }


@pytest.mark.parametrize(
    ("toleration", "ours"),
    [
        ({"operator": "Exists"}, set()),
        ({"operator": "Exists", "effect": "NoSchedule"}, {"not-ready", "unreachable"}),
        ({"key": "node.kubernetes.io/not-ready", "operator": "Exists", "tolerationSeconds": 5}, {"unreachable"}),
        ({"key": "other", "operator": "Exists"}, {"not-ready", "unreachable"}),
    ],
)
def test_tolerations_of_the_user_win(toleration: dict[str, Any], ours: set[str]) -> None:
    run = make_run().with_replicas(1, tolerations=[toleration]).build()
    for component in JOBS:
        given, *added = created(run)[component]["spec"]["template"]["spec"]["tolerations"]
        assert given["operator"] == "Exists"
        assert {each["key"].rpartition("/")[2] for each in added} == ours


def test_replica_requests_default_to_its_limits() -> None:
    resources = created(vllm_s3())["replica"]["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert resources["limits"] == {"nvidia.com/gpu": "2", "memory": "64Gi"}
    assert resources["requests"] == {"nvidia.com/gpu": "2", "memory": "64Gi", "cpu": "8"}


@pytest.mark.parametrize(("args", "gpus"), [({}, "4"), ({"pipeline_parallel_size": 2}, "8")])
def test_replica_requests_its_gpus_by_default(args: dict[str, Any], gpus: str) -> None:
    run = make_run().with_spec(engine={"vllm": {"tensorParallelSize": 4, "args": args}}).build()
    children = created(run)
    resources = children["replica"]["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert resources["limits"] == {"nvidia.com/gpu": gpus}
    assert RunConfig.from_json(children["ConfigMap"]["data"]["run.json"]).gpus_per_replica == int(gpus)


@pytest.mark.parametrize("engine", [{"mock": {}}, {"vllm": {}}])
@pytest.mark.parametrize("given", [None, {"limits": {"nvidia.com/gpu": 1}}, {"requests": {"ephemeral-storage": "1Gi"}}])
def test_replicas_always_request_cpu_and_memory(engine: dict[str, Any], given: dict[str, Any] | None) -> None:
    run = make_run().with_replicas(1, **({} if given is None else {"resources": given})).with_spec(engine=engine)
    resources = created(run.build())["replica"]["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert {"cpu", "memory"} <= set(resources["requests"])


def test_given_cpu_and_memory_are_kept() -> None:
    given = {"limits": {"nvidia.com/gpu": 2, "memory": "4Gi"}, "requests": {"cpu": "250m"}}
    run = make_run().with_replicas(1, resources=given).with_spec(engine={"vllm": {"tensorParallelSize": 2}}).build()
    resources = created(run)["replica"]["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert resources["requests"] == {"nvidia.com/gpu": "2", "memory": "4Gi", "cpu": "250m"}


def test_driver_has_no_gpu_and_follows_the_administrators_placement() -> None:
    make, settings = CASES["administrators"]
    spec = created(make(), settings)["driver"]["spec"]["template"]["spec"]
    assert spec["nodeSelector"] == {"pool": "cpu"}
    assert "runtimeClassName" not in spec
    assert spec["priorityClassName"] == "evals"
    assert "nvidia.com/gpu" not in spec["containers"][0]["resources"].get("limits", {})


def test_administrators_labels_never_replace_required_ones() -> None:
    settings = OperatorSettings(pods=PodSettings(labels={"evalrun.dev/run": "other", "team": "a"}))
    labels = created(mock(), settings)["replica"]["spec"]["template"]["metadata"]["labels"]
    assert labels["evalrun.dev/run"].startswith("0f3c9a52")
    assert labels["team"] == "a"


def test_claim_for_model_and_cache_is_one_volume_writable_only_as_cache() -> None:
    spec = created(pvc_and_suite())["replica"]["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    claims = [volume["persistentVolumeClaim"] for volume in volumes.values() if "persistentVolumeClaim" in volume]
    assert claims == [{"claimName": "suites", "readOnly": True}, {"claimName": "models"}]
    mounts = {mount["mountPath"]: mount for mount in spec["containers"][0]["volumeMounts"]}
    assert mounts["/models/models"]["name"] == mounts["/cache"]["name"]
    assert mounts["/models/models"]["readOnly"] is True


def test_every_file_in_the_config_is_under_a_mount(case: dict[str, dict[str, Any]]) -> None:
    config = RunConfig.from_json(case["ConfigMap"]["data"]["run.json"])
    stores = [(config.model.uri, config.model.storage), (config.results.uri, config.results.storage)]
    stores += [(suite.uri, suite.storage) for suite in config.suites.values()]
    named = [
        path
        for uri, storage in stores
        for path in (storage.ca_bundle_file, storage.credentials_dir, uri.removeprefix("file://"))
        if path is not None and path.startswith("/")
    ]
    for component in JOBS:
        mounts = case[component]["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
        for path in named:
            assert any(f"{path}/".startswith(f"{mount['mountPath']}/") for mount in mounts), path


def test_pod_environment_follows_the_contract() -> None:
    made = created(mock())
    for component in Component:
        variables = {
            variable["name"]: variable.get("value")
            for variable in made[component]["spec"]["template"]["spec"]["containers"][0]["env"]
        }
        expected = {*Environment, "HOME", "XDG_CACHE_HOME", "USER", "LOGNAME", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"}
        expected -= {Environment.TERMINATION_LOG, Environment.FIRST_HEAD_SECONDS}
        if component is Component.DRIVER:
            expected.discard(Environment.HEAD)
        assert set(variables) == expected
        assert variables["RAY_AUTH_MODE"] == "token"
    assert variables["EVALRUN_HEAD"] == f"{made['Service']['metadata']['name']}.team.svc"


def test_pods_have_grace_time_to_commit() -> None:
    spec = created(mock())["driver"]["spec"]["template"]["spec"]
    assert 30 < spec["terminationGracePeriodSeconds"] < NO_HEAD_SECONDS
    assert spec["containers"][0]["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert all(port not in RAY_PORTS.values() for port in (8080, 6379))


def test_service_selects_the_unready_driver_of_this_attempt_only() -> None:
    spec = created(mock())["Service"]["spec"]
    assert spec["publishNotReadyAddresses"] is True
    assert spec["clusterIP"] == "None"
    labels = created(mock())["driver"]["spec"]["template"]["metadata"]["labels"]
    assert spec["selector"].items() <= labels.items()
    assert set(spec["selector"]) == {"evalrun.dev/run", "evalrun.dev/attempt", "evalrun.dev/component"}
