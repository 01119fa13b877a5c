"""The CRD on a real API server: every rule refuses what breaks it, by name; nothing right is refused."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.api import ApiError
from cluster.cluster import Cluster
from support.operator_scene import with_evalruns

Object = dict[str, Any]

ROOT = Path(__file__).parents[2]
CRD = yaml.safe_load((ROOT / "crds" / "evalrun.dev_evalruns.yaml").read_text())
SCHEMA = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]


@pytest.fixture(scope="module")
def server(control_plane: Cluster) -> Cluster:
    return with_evalruns(control_plane)


def run(name: str = "x", **spec: Any) -> Object:
    return {
        "apiVersion": "evalrun.dev/v1alpha1",
        "kind": "EvalRun",
        "metadata": {"name": name},
        "spec": {
            "model": {"uri": "s3://models/tiny/"},
            "engine": {"vllm": {}},
            "benchmarks": [{"task": "gsm8k"}],
            "output": {"uri": "s3://evals/"},
        }
        | spec,
    }


def benchmark(**fields: Any) -> Object:
    return run(benchmarks=[{"task": "gsm8k", **fields}])


def gate(**fields: Any) -> Object:
    return run(gates=[{"task": "gsm8k", "metric": "exact_match", **fields}])


def toleration(**fields: Any) -> Object:
    return run(replicas={"tolerations": [fields]})


REFUSED: dict[str, tuple[Object, str, str]] = {
    "a password in an address": (
        run(output={"uri": "s3://evals/", "storage": {"endpointURL": "https://a:topsecret@s3.example.com"}}),
        "spec.output.storage.endpointURL",
        "has a user or a password in it",
    ),
    "a region of the hub": (
        run(model={"uri": "hf://org/name", "storage": {"region": "eu-1"}}),
        "spec.model.storage",
        "region, addressingStyle and checksums are S3's",
    ),
    "a revision of S3": (
        run(model={"uri": "s3://models/tiny/", "revision": "main"}),
        "spec.model.revision",
        "revision needs hf://",
    ),
    "credentials for a volume": (
        run(model={"uri": "pvc://models/tiny", "storage": {}}),
        "spec.model.storage",
        "storage needs s3:// or hf://",
    ),
    "a model above its claim": (run(model={"uri": "pvc://models/../x"}), "spec.model.uri", "no '..' in it"),
    "two engines": (run(engine={"vllm": {}, "mock": {}}), "spec.engine", "exactly one engine is needed"),
    "no engine": (run(engine={}), "spec.engine", "exactly one engine is needed"),
    "more at least than at most": (
        run(replicas={"count": 1, "minCount": 2}),
        "spec.replicas.minCount",
        "minCount must not be above count",
    ),
    "a toleration of what": (
        toleration(operator="Equal"),
        "spec.replicas.tolerations[0].operator",
        "a toleration without key tolerates every taint",
    ),
    "a value of any": (
        toleration(key="gpu", operator="Exists", value="a"),
        "spec.replicas.tolerations[0].value",
        "value needs operator: Equal",
    ),
    "turns without a template": (
        benchmark(fewshotAsMultiturn=True),
        "spec.benchmarks[0].fewshotAsMultiturn",
        "fewshotAsMultiturn needs applyChatTemplate",
    ),
    "a warm greedy": (
        benchmark(generation={"do_sample": False, "temperature": 0.7}),
        "spec.benchmarks[0].generation.temperature",
        "do_sample: false means greedy",
    ),
    "a narrow greedy": (
        benchmark(generation={"do_sample": False, "top_p": 0.9}),
        "spec.benchmarks[0].generation.do_sample",
        "top_p, top_k and min_p do not change",
    ),
    "a greedy sample": (
        benchmark(generation={"do_sample": True, "temperature": 0}),
        "spec.benchmarks[0].generation.temperature",
        "temperature: 0 means greedy",
    ),
    "a turn without a template": (
        benchmark(systemInstructionIn="firstUserTurn"),
        "spec.benchmarks[0].systemInstructionIn",
        "systemInstructionIn needs applyChatTemplate",
    ),
    "a template of a laptop": (
        run(model={"uri": "s3://models/tiny/", "chatTemplate": "./mine.jinja"}),
        "spec.model.chatTemplate",
        "a file is one of the machine that runs",
    ),
    "two sources": (
        benchmark(source={"configMap": {"name": "a"}, "pvc": {"claimName": "b"}}),
        "spec.benchmarks[0].source",
        "exactly one source is needed",
    ),
    "a folder of a laptop": (
        benchmark(source={"path": "./suite"}),
        "spec.benchmarks[0].source.path",
        "path is a folder of the machine that runs",
    ),
    "a suite above its claim": (
        benchmark(source={"pvc": {"claimName": "a", "path": "../b"}}),
        "spec.benchmarks[0].source.pvc.path",
        "no '..' in it",
    ),
    "results in a pod": (run(output={"uri": "/results"}), "spec.output.uri", "in a cluster results go to S3"),
    "credentials for a folder": (
        run(output={"uri": "/results", "storage": {}}),
        "spec.output.storage",
        "storage needs s3://",
    ),
    "results elsewhere": (run(output={"uri": "s3://evals/../x"}), "spec.output.uri", "no '..' in it"),
    "no earlier run": (run(resumeFrom={}), "spec.resumeFrom", "exactly one reference to a run is needed"),
    "an earlier run in a folder": (
        run(resumeFrom={"uri": "/old"}),
        "spec.resumeFrom.uri",
        "in a cluster results are on S3",
    ),
    "a gate that asks nothing": (gate(), "spec.gates[0]", "a gate needs at least one criterion"),
    "a regression against nothing": (
        gate(min=0.1, maxRegression=0.1),
        "spec.gates[0].maxRegression",
        "baseline and maxRegression (or maxRelativeRegression) need each other",
    ),
    "less is better than what": (
        gate(min=0.1, lowerIsBetter=True),
        "spec.gates[0].lowerIsBetter",
        "lowerIsBetter needs a baseline",
    ),
    "the confidence of a point": (
        gate(min=0.1, rule="point", confidence=0.9),
        "spec.gates[0].confidence",
        "confidence needs rule: interval",
    ),
    "a sample of no size": (
        benchmark(sample={"seed": 1}),
        "spec.benchmarks[0].sample",
        "exactly one size of the sample is needed",
    ),
    "the first ones at random": (
        benchmark(limit=5, sample={"size": 5}),
        "spec.benchmarks[0].sample",
        "limit takes the first documents and sample takes random ones",
    ),
    "more answers than there are": (
        benchmark(repeats=4, k=[1, 5]),
        "spec.benchmarks[0].k",
        "pass@k needs at least k answers to each document",
    ),
    "adapters cut short": (
        run(
            model={"uri": "s3://models/tiny/", "adapters": [{"name": "a", "uri": "s3://adapters/a/"}]},
            gates=[{"task": "gsm8k", "metric": "acc", "min": 0.1}],
            policy={"stopEarly": {"rule": "gates"}},
        ),
        "spec.policy",
        "stopEarly looks at the model's own scores only",
    ),
    "answers that are there already": (
        run(engine={"recorded": {"uri": "s3://evals/nightly-12345678/"}}),
        "spec.engine.recorded",
        "answers that are there already are scored on one machine",
    ),
    "an adapter on a volume": (
        run(model={"uri": "s3://models/tiny/", "adapters": [{"name": "a", "uri": "pvc://adapters/a"}]}),
        "spec.model.adapters[0].uri",
        "adapters are fetched from s3:// or hf://",
    ),
    "a width that nobody waits for": (
        run(
            gates=[{"task": "gsm8k", "metric": "acc", "min": 0.1}],
            policy={"stopEarly": {"rule": "gates", "width": 0.1}},
        ),
        "spec.policy.stopEarly.width",
        "width needs rule: width",
    ),
    "stopping by no gate": (
        run(policy={"stopEarly": {"rule": "gates"}}),
        "spec.policy",
        "stopEarly with rule: gates needs gates",
    ),
    "a gate no score passes": (gate(min=0.9, max=0.1), "spec.gates[0].min", "min must not be above max"),
    "two baselines": (
        gate(baseline={"runName": "a", "uri": "s3://evals/a/"}, maxRegression=0.1),
        "spec.gates[0].baseline",
        "exactly one reference to a run is needed",
    ),
    "a baseline in a folder": (
        gate(baseline={"uri": "/old"}, maxRegression=0.1),
        "spec.gates[0].baseline.uri",
        "in a cluster results are on S3",
    ),
    "thinking without an end": (
        run(engine={"vllm": {"reasoning": {"budget": 5}}}),
        "spec.engine.vllm.reasoning",
        "exactly one end of the thinking is needed",
    ),
    "a start of thinking beside a parser": (
        run(engine={"vllm": {"reasoning": {"parser": "qwen3", "startToken": "<think>"}}}),
        "spec.engine.vllm.reasoning.startToken",
        "startToken goes with endToken",
    ),
    "a budget of switched off reasoning": (
        benchmark(reasoning={"enabled": False, "budget": 5}),
        "spec.benchmarks[0].reasoning.enabled",
        "which enabled: false switches off",
    ),
    "effort without a chat template": (
        benchmark(reasoning={"effort": "low"}),
        "spec.benchmarks[0].reasoning",
        "effort needs applyChatTemplate: true",
    ),
}
"""Objects, the field and the words by which they are refused."""

CHANGES: dict[str, Object] = {
    "spec.model": {"model": {"uri": "s3://models/other/"}},
    "spec.engine": {"engine": {"vllm": {"maxModelLen": 5}}},
    "spec.benchmarks": {"benchmarks": [{"task": "mmlu"}]},
    "spec.seed": {"seed": 5},
    "spec.output": {"output": {"uri": "s3://other/"}},
    "spec.resumeFrom": {"resumeFrom": {"runName": "old"}},
    "spec.gates": {"gates": [{"task": "gsm8k", "metric": "acc", "min": 0.5}]},
    "spec.replicas.resources": {"replicas": {"resources": {"limits": {"memory": "1Gi"}}}},
    "spec.replicas.nodeSelector": {"replicas": {"nodeSelector": {"a": "b"}}},
    "spec.replicas.tolerations": {"replicas": {"tolerations": [{"operator": "Exists"}]}},
    "spec.replicas.priorityClassName": {"replicas": {"priorityClassName": "high"}},
    "spec.replicas.runtimeClassName": {"replicas": {"runtimeClassName": "nvidia"}},
    "spec.policy.maxAttempts": {"policy": {"maxAttempts": 9}},
    "spec.policy.maxFailedItems": {"policy": {"maxFailedItems": 9}},
    "spec.policy.stopEarly": {"policy": {"stopEarly": {"rule": "width"}}},
}
"""What cannot be changed, and a change of it."""


def rules(schema: object) -> Iterator[Object]:
    if isinstance(schema, dict):
        yield from schema.get("x-kubernetes-validations", ())
        for value in schema.values():
            yield from rules(value)


def test_every_rule_of_the_crd_is_tested_here() -> None:
    words = [words for _, _, words in REFUSED.values()]
    fields = {field.rpartition(".")[2] for field in CHANGES}
    for rule in rules(SCHEMA):
        if "oldSelf" in rule["rule"]:
            assert rule["message"].split()[0] in fields
        else:
            assert any(one in rule["message"] for one in words), rule["message"]


@pytest.mark.parametrize("name", REFUSED)
def test_a_broken_rule_is_refused_by_name(server: Cluster, name: str) -> None:
    body, field, words = REFUSED[name]
    with pytest.raises(ApiError) as refused:
        server.api.create(body)
    causes = {(cause["field"], cause["message"]) for cause in refused.value.body["details"]["causes"]}
    assert any(field == at and words in message for at, message in causes), causes
    # kubectl prints the message: it alone must say enough.
    assert field in refused.value.body["message"] and words in refused.value.body["message"]


@pytest.mark.parametrize("field", CHANGES)
def test_fixed_fields_cannot_be_changed(server: Cluster, field: str) -> None:
    if server.api.find("evalruns", "fixed") is None:
        server.api.create(run("fixed"))
    with pytest.raises(ApiError, match="cannot be changed") as refused:
        server.api.patch("evalruns", "fixed", {"spec": CHANGES[field]})
    assert field in refused.value.body["message"]


def test_changeable_fields_can_be_changed(server: Cluster) -> None:
    server.api.create(run("elastic"))
    policy = {"suspend": True, "ttlSecondsAfterFinished": 5, "activeDeadlineSeconds": 60}
    changed = server.api.patch(
        "evalruns", "elastic", {"spec": {"policy": policy, "replicas": {"count": 3, "minCount": 2}}}
    )
    assert changed["spec"]["policy"].items() >= policy.items()
    assert changed["spec"]["replicas"] == {"count": 3, "minCount": 2}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (run(engine={"vllm": {"args": {"worker_cls": "evil.Worker"}}}), "worker_cls"),
        (run(benchmarks=[]), "spec.benchmarks"),
        (run(replicas={"count": 0}), "spec.replicas.count"),
        (run(replicas={"template": {"hostNetwork": True}}), "template"),
        (run(model={"uri": "ftp://models"}), "spec.model.uri"),
        (run(seed="many"), "spec.seed"),
        (run(polcy={"suspend": True}), "polcy"),
    ],
)
def test_fields_of_the_wrong_type_or_name_are_refused_with_strict_validation(
    server: Cluster, body: Object, words: str
) -> None:
    path = f"{server.api.resource('evalruns').path('default')}?fieldValidation=Strict"  # kubectl's own default
    with pytest.raises(ApiError) as refused:
        server.api.request("POST", path, body)
    assert words in refused.value.body["message"]


def test_arguments_of_chat_templates_keep_their_types(server: Cluster) -> None:
    arguments = {"enable_thinking": False, "effort": "low", "n": 1, "share": 0.5}
    body = benchmark(applyChatTemplate=True, chatTemplateArgs=arguments, reasoning={"budget": 64})
    created = server.api.create({**body, "metadata": {"name": "template-args"}})
    assert created["spec"]["benchmarks"][0]["chatTemplateArgs"] == arguments
    assert created["spec"]["benchmarks"][0]["reasoning"] == {"enabled": True, "budget": 64}


def test_null_drops_a_generation_argument_and_is_kept(server: Cluster) -> None:
    generation = {"num_beams": None, "do_sample": None, "temperature": 0.7, "top_p": None}
    created = server.api.create(run("nulls", benchmarks=[{"task": "gsm8k", "generation": generation, "limit": None}]))

    assert created["spec"]["benchmarks"][0]["generation"] == generation
    assert "limit" not in created["spec"]["benchmarks"][0]
    # A later change of the run checks the rules over the nulls again.
    server.api.patch("evalruns", "nulls", {"spec": {"policy": {"suspend": True}}})


def test_every_example_for_a_cluster_is_accepted(server: Cluster) -> None:
    examples = sorted((ROOT / "examples" / "kubernetes").glob("*.yaml"))
    assert examples
    for file in examples:
        for document in filter(lambda one: "kind" in one, yaml.safe_load_all(file.read_text())):
            body = copy.deepcopy(document)
            body["metadata"].pop("namespace", None)
            kind, path = body["kind"], server.api.resource(body["kind"]).path("default")
            made = server.api.request("POST", f"{path}?dryRun=All&fieldValidation=Strict", body)
            assert made["kind"] == kind, file


def test_a_complete_status_is_stored(server: Cluster) -> None:
    server.api.create(run("finished"))
    score = {"task": "gsm8k", "metric": "acc", "filter": "none", "value": 0.5, "stderr": 0.1, "n": 120}
    kept = server.api.patch("evalruns", "finished", {"status": {"scores": [score]}}, subresource="status")
    assert kept["status"]["scores"] == [score]


def test_the_columns_are_readable(server: Cluster) -> None:
    server.api.create(run("columns"))
    display = {
        "model": "tiny",
        "progress": "1,204/1,319",
        "score": "0.6831[0.6575,0.7076]",
        "gate": "Passed",
        "replicas": "8/8",
    }
    status = {"phase": "Running", "attempt": 1, "display": {**display, "eta": "12m", "reason": "PodsRefused"}}
    server.api.patch("evalruns", "columns", {"status": status}, subresource="status")
    header, line = server.kubectl("get", "evr", "columns").splitlines()
    assert header.split() == ["NAME", "PHASE", "MODEL", "PROGRESS", "SCORE", "GATE", "REPLICAS", "ETA", "AGE", "REASON"]
    assert line.split()[:8] == ["columns", "Running", *display.values(), "12m"]
    assert line.split()[-1] == "PodsRefused"
