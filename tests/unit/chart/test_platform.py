"""What platform teams set: proxies, mirrors, certificates, OpenShift, schedulers, limits, whose scores count."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from evalrun_operator.backend.identity import Identity
from evalrun_operator.backend.job_manifests import driver_job, replicas_job
from evalrun_operator.settings import LimitSettings, OperatorSettings
from support.chart import CHART, NAMESPACE, helm, of_kind, refused, render, the
from support.evalruns import make_run

Object = dict[str, Any]
GPU_RUN = make_run().with_spec(engine={"vllm": {}}).build()


def settings_of(values: Object) -> OperatorSettings:
    (text,) = [
        one["data"]["settings.yaml"] for one in of_kind(render(values), "ConfigMap") if "settings.yaml" in one["data"]
    ]
    return OperatorSettings.model_validate(yaml.safe_load(text), by_alias=True, by_name=False)


def operator_pod(values: Object) -> Object:
    spec: Object = the(render(values), "Deployment")["spec"]["template"]["spec"]
    return spec


def run_pods(values: Object) -> list[Object]:
    """Return the pods of a run, driver and replica."""
    settings, identity = settings_of(values), Identity.of(GPU_RUN, 1)
    jobs = (driver_job(GPU_RUN, identity, settings, None), replicas_job(GPU_RUN, identity, settings, 1))
    return [job["spec"]["template"]["spec"] for job in jobs]


def environment(pod: Object) -> dict[str, Any]:
    (container,) = pod["containers"]
    named = [each["name"] for each in container["env"]]
    assert len(named) == len(set(named))
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


def runner(**values: Any) -> Object:
    return {"runner": values}


# Environment ------------------------------------------------------------------------------------------------------


def test_c18_runs_and_operator_take_further_variables() -> None:
    env = [
        {"name": "HF_HUB_OFFLINE", "value": "1"},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    ]
    for pod in (*run_pods(runner(pods={"env": env})), operator_pod({"operator": {"env": env}})):
        assert environment(pod)["HF_HUB_OFFLINE"] == "1"
        assert environment(pod)["KEY"] == {"secretKeyRef": {"name": "s", "key": "k"}}


def test_defaults_may_be_replaced_and_the_contract_may_not() -> None:
    for pod in run_pods(runner(pods={"env": [{"name": "HOME", "value": "/data/home"}]})):
        assert environment(pod)["HOME"] == "/data/home"
    for name in ("EVALRUN_CONFIG", "POD_IP", "RAY_AUTH_TOKEN"):
        assert "env" in refused(runner(pods={"env": [{"name": name, "value": "x"}]}))
        with pytest.raises(ValueError, match=f"{name} is set by EvalRun itself"):
            OperatorSettings.model_validate({"pods": {"env": [{"name": name, "value": "x"}]}}, by_alias=True)


def test_c18_proxies_leave_the_cluster_alone() -> None:
    proxy = {"http": "http://p:3128", "https": "http://p:3129", "noProxy": "s3.internal,10.0.0.0/8"}
    direct = "localhost,127.0.0.1,::1,.svc,.cluster.local,s3.internal,10.0.0.0/8"
    expected = {"HTTP_PROXY": "http://p:3128", "HTTPS_PROXY": "http://p:3129", "NO_PROXY": direct}
    for pod in run_pods(runner(proxy=proxy)):
        found = environment(pod)
        assert {name: found[name] for name in expected} == expected
        assert {name: found[name.lower()] for name in expected} == expected
    assert not any("PROXY" in name.upper() for pod in run_pods({}) for name in environment(pod))
    assert not any("PROXY" in name.upper() for name in environment(operator_pod(runner(proxy=proxy))))


def test_c18_certificates_are_trusted_by_every_library() -> None:
    for pod in run_pods(runner(caBundle={"configMap": "company-ca", "key": "bundle.pem"})):
        found = environment(pod)
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"):
            assert found[name] == "/etc/ssl/evalrun/ca.crt"
        (volume,) = [each for each in pod["volumes"] if each["name"] == "ca-bundle"]
        assert volume["configMap"] == {"name": "company-ca", "items": [{"key": "bundle.pem", "path": "ca.crt"}]}
        (mount,) = [each for each in pod["containers"][0]["volumeMounts"] if each["name"] == "ca-bundle"]
        assert (mount["mountPath"], mount["readOnly"]) == ("/etc/ssl/evalrun", True)


def test_c27_a_mirror_of_the_hub_is_set_for_all_runs() -> None:
    for pod in run_pods(runner(hubEndpoint="https://hub.example.com")):
        assert environment(pod)["HF_ENDPOINT"] == "https://hub.example.com"


# Volumes ----------------------------------------------------------------------------------------------------------


def test_c18_runs_and_operator_take_further_volumes() -> None:
    values: Object = {
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "sets"}}],
        "volumeMounts": [{"name": "data", "mountPath": "/data", "readOnly": True}],
    }
    for pod in (*run_pods(runner(pods=values)), operator_pod({"operator": values})):
        assert values["volumes"][0] in pod["volumes"]
        assert values["volumeMounts"][0] in pod["containers"][0]["volumeMounts"]
        names = [each["name"] for each in pod["volumes"]]
        assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("pods", "said"),
    [
        ({"volumes": [{"name": "v0", "emptyDir": {}}]}, "the name v0 is taken"),
        ({"volumes": [{"name": "a"}, {"name": "a"}]}, "the name a is taken"),
        ({"volumeMounts": [{"name": "a", "mountPath": "/data"}]}, "there is no volume a"),
        ({"volumes": [{"name": "a"}], "volumeMounts": [{"name": "a", "mountPath": "/cache/"}]}, "/cache belongs to"),
        ({"volumes": [{"name": "a"}], "volumeMounts": [{"name": "a", "mountPath": "/etc/evalrun/x"}]}, "belongs to"),
    ],
)
def test_volumes_that_no_pod_could_have_stop_the_operator_at_its_start(pods: Object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        OperatorSettings.model_validate({"pods": pods}, by_alias=True)


# Security contexts ------------------------------------------------------------------------------------------------

IDS = {"runAsUser", "runAsGroup", "fsGroup"}


def contexts(values: Object) -> list[Object]:
    return [pod.get("securityContext", {}) for pod in (*run_pods(values), operator_pod(values))]


def test_c18_security_contexts_may_be_emptied() -> None:
    empty: Object = {"securityContext": {}, "containerSecurityContext": {}}
    values = {"operator": empty, "runner": {"pods": empty}}
    assert contexts(values) == [{}, {}, {}]
    for pod in (*run_pods(values), operator_pod(values)):
        assert "securityContext" not in pod
        assert "securityContext" not in pod["containers"][0]


def test_c18_single_fields_may_be_left_out_or_replaced() -> None:
    own = {"runAsUser": None, "runAsGroup": None, "fsGroup": None, "supplementalGroups": [7]}
    for context in contexts({"operator": {"securityContext": own}, "runner": {"pods": {"securityContext": own}}}):
        assert not IDS & context.keys()
        assert context["supplementalGroups"] == [7]
    for pod in run_pods(runner(pods={"containerSecurityContext": {"readOnlyRootFilesystem": False}})):
        assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is False
        assert pod["containers"][0]["securityContext"]["allowPrivilegeEscalation"] is False


def test_c18_openshift_assigns_users_and_groups() -> None:
    done = helm(
        *("template", "evalrun", str(CHART), "-n", NAMESPACE, "--api-versions", "security.openshift.io/v1"),
    )
    objects = [one for one in yaml.safe_load_all(done.stdout) if one]
    (text,) = [one["data"]["settings.yaml"] for one in of_kind(objects, "ConfigMap")]
    for context in (
        the(objects, "Deployment")["spec"]["template"]["spec"]["securityContext"],
        yaml.safe_load(text)["pods"]["securityContext"],
    ):
        assert not IDS & context.keys()
        assert context["runAsNonRoot"] is True
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}


def test_credentials_are_readable_without_a_group_of_the_pods() -> None:
    run = (
        make_run().with_spec(output={"uri": "s3://evals/", "storage": {"credentialsSecretRef": {"name": "s3"}}}).build()
    )

    def mode(values: Object) -> int:
        spec = driver_job(run, Identity.of(run, 1), settings_of(values), None)["spec"]["template"]["spec"]
        (volume,) = [each["secret"] for each in spec["volumes"] if "secret" in each]
        return int(volume["defaultMode"])

    assert mode({}) == 0o440
    assert mode(runner(pods={"securityContext": {}})) == 0o444


def test_a_user_without_a_name_has_one() -> None:
    for pod in run_pods({}):
        assert {"USER", "LOGNAME"} <= environment(pod).keys()


# Placement --------------------------------------------------------------------------------------------------------


def test_c18_schedulers_and_spread() -> None:
    zones = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
    placed = {"schedulerName": "volcano", "topologySpreadConstraints": [zones]}
    for pod in (*run_pods(runner(pods=placed)), operator_pod({"operator": placed})):
        assert pod["schedulerName"] == "volcano"
        (spread,) = pod["topologySpreadConstraints"]
        assert zones.items() <= spread.items()
    driver, replica = run_pods(runner(pods=placed))
    for pod, component in ((driver, "driver"), (replica, "replica")):
        labels = {"evalrun.dev/run": GPU_RUN.metadata.uid, "evalrun.dev/component": component}
        assert pod["topologySpreadConstraints"][0]["labelSelector"] == {"matchLabels": labels}
    own = {**zones, "labelSelector": {"matchLabels": {"a": "b"}}}
    for pod in run_pods(runner(pods={"topologySpreadConstraints": [own]})):
        assert pod["topologySpreadConstraints"] == [own]
    assert "schedulerName" not in operator_pod({})


def test_pods_have_users_of_their_own_where_asked() -> None:
    for pod in run_pods(runner(pods={"hostUsers": False})):
        assert pod["hostUsers"] is False
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for pod in run_pods({}):
        assert "hostUsers" not in pod


# Names and registries ---------------------------------------------------------------------------------------------


def test_c18_names_may_be_replaced() -> None:
    assert the(render({"nameOverride": "evals"}), "Deployment")["metadata"]["name"] == "evalrun-evals-operator"
    assert the(render({"fullnameOverride": "lm"}), "Deployment")["metadata"]["name"] == "lm-operator"


@pytest.mark.parametrize(
    ("repository", "expected"),
    [("ghcr.io/evalrun/x", "mirror:5000/evalrun/x"), ("evalrun/x", "mirror:5000/evalrun/x"), ("x", "mirror:5000/x")],
)
def test_c18_a_registry_replaces_all(repository: str, expected: str) -> None:
    image = {"repository": repository, "tag": "1"}
    values = {
        "global": {"imageRegistry": "mirror:5000", "imagePullSecrets": ["m"]},
        "image": image,
        "runner": {"image": image},
    }
    pod = operator_pod(values)
    assert pod["containers"][0]["image"] == settings_of(values).image.reference == f"{expected}:1"
    assert pod["imagePullSecrets"] == [{"name": "m"}]
    assert settings_of(values).image.pull_secrets == ("m",)


# Limits -----------------------------------------------------------------------------------------------------------


def test_c15_limits_reach_the_operator() -> None:
    limits = {
        "maxReplicas": 8,
        "maxGPUs": 64,
        "priorityClasses": [],
        "tolerationKeys": ["gpu"],
        "runtimeClasses": ["nvidia"],
    }
    found = settings_of(runner(limits=limits, allowedEndpoints=["https://*.example.com"]))
    assert found.limits == LimitSettings(
        max_replicas=8, max_gpus=64, priority_classes=(), toleration_keys=("gpu",), runtime_classes=("nvidia",)
    )
    assert found.allowed_endpoints == ("https://*.example.com",)
    assert settings_of({}).limits == LimitSettings()
    assert settings_of({}).allowed_endpoints is None


@pytest.mark.parametrize(
    "values",
    [
        {"limits": {"maxReplicas": 0}},
        {"limits": {"maxGPU": 1}},
        {"limits": {"priorityClasses": "evals"}},
        {"allowedEndpoints": ["s3.example.com"]},
        {"accelerators": {"default": "gpu"}},
        {"proxy": {"https": "p:3128"}},
        {"pods": {"volumeMounts": [{"name": "a", "mountPath": "data"}]}},
    ],
)
def test_limits_that_mean_nothing_are_refused(values: Object) -> None:
    assert "runner" in refused(runner(**values))


# The network ------------------------------------------------------------------------------------------------------


def test_c16_runs_do_not_reach_metadata_services() -> None:
    blocked = settings_of({}).network_policy.blocked
    assert {"169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128"} <= set(blocked)
    allowed = settings_of({"networkPolicy": {"metadataServices": ["169.254.170.23/32"]}})
    assert allowed.network_policy.metadata_services == ("169.254.170.23/32",)


# Scores -----------------------------------------------------------------------------------------------------------


def test_c20_a_pod_speaks_for_its_own_namespace_only() -> None:
    monitor = the(render({"metrics": {"podMonitor": {"enabled": True}}}), "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    first = endpoint["metricRelabelings"][0]
    assert (first["action"], first["sourceLabels"]) == ("replace", ["run_namespace", "namespace"])
    assert (first["targetLabel"], first["regex"], first["replacement"]) == ("run_namespace", ".+;(.+)", "$1")
    assert "honorLabels" not in endpoint
    own = [{"action": "labeldrop", "regex": "host"}]
    values = {"metrics": {"podMonitor": {"enabled": True, "metricRelabelings": own}}}
    (endpoint,) = the(render(values), "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert endpoint["metricRelabelings"] == [first, *own]


# Policies ---------------------------------------------------------------------------------------------------------


def policies(values: Object) -> dict[str, Object]:
    return {one["metadata"]["name"]: one for one in of_kind(render(values), "ValidatingAdmissionPolicy")}


def test_c19_policies_bound_the_operators_account_only() -> None:
    found = policies({})
    assert set(found) == {
        f"evalrun-operator-{name}" for name in ("children", "jobs", "pods", "secrets", "services", "limits")
    }
    bindings = of_kind(render({}), "ValidatingAdmissionPolicyBinding")
    assert {one["spec"]["policyName"] for one in bindings} == set(found)
    for name, policy in found.items():
        assert policy["spec"]["failurePolicy"] == "Fail"
        (condition,) = policy["spec"]["matchConditions"]
        who = f"request.userInfo.username == 'system:serviceaccount:{NAMESPACE}:evalrun-operator'"
        assert condition["expression"] == who or name.endswith("-limits")


def test_policies_are_of_the_cluster_and_left_out_where_the_operator_is_not() -> None:
    assert policies({"watch": {"namespaces": ["team-a"]}}) == {}
    assert policies({"admissionPolicies": {"enabled": False}}) == {}
    assert policies({"watch": {"namespaces": ["team-a"]}, "admissionPolicies": {"enabled": True}})


def test_policies_know_what_the_administrator_adds() -> None:
    added = {
        "serviceAccountName": "evals",
        "volumes": [{"name": "data", "hostPath": {"path": "/data"}}],
        "securityContext": {},
        "containerSecurityContext": {},
    }
    jobs = policies(runner(pods=added, caBundle={"configMap": "ca"}))["evalrun-operator-jobs"]
    rules = {one["message"]: one["expression"] for one in jobs["spec"]["validations"]}
    assert "in ['', 'evals']" in rules["pods of runs have the service account that the administrator chose"]
    assert "['ca-bundle', 'data']" in rules["pods of runs mount ConfigMaps, Secrets, claims and folders of their own"]
    assert not any("restricted" in message or "as root" in message for message in rules)
