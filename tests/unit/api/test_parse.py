"""Messages for wrong inputs: the field, what is expected, and why."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from evalrun_api.reading.parse import cluster_problems, parse_evalrun, parse_file, unlabelled
from evalrun_api.reading.problems import InvalidInput

SPEC: dict[str, Any] = {
    "model": {"uri": "s3://checkpoints/llama-3-8b/step-4000/"},
    "engine": {"vllm": {"args": {"gpu_memory_utilization": 0.9}}},
    "benchmarks": [{"task": "gsm8k", "numFewshot": 5, "limit": 200, "applyChatTemplate": True}],
    "output": {"uri": "s3://evals/"},
}
"""A nearly minimal spec."""


def evalrun(**spec: object) -> dict[str, Any]:
    """Build an EvalRun with some parts of its spec replaced."""
    return {
        "apiVersion": "evalrun.dev/v1alpha1",
        "kind": "EvalRun",
        "metadata": {"name": "x", "labels": {"kueue.x-k8s.io/queue-name": "gpu"}},
        "spec": copy.deepcopy(SPEC) | spec,
    }


def adapters(*given: dict[str, Any]) -> dict[str, Any]:
    return {"model": {"uri": "s3://abc/x", "adapters": list(given)}}


def engine_args(**args: object) -> dict[str, Any]:
    """Build a spec with these arguments of vLLM."""
    return {"engine": {"vllm": {"args": args}}}


def benchmark(**fields: object) -> dict[str, Any]:
    """Build a spec with one benchmark with these fields."""
    return {"benchmarks": [{"task": "gsm8k"} | fields]}


def gate(**fields: object) -> dict[str, Any]:
    """Build a spec with one gate with these fields."""
    return {"gates": [{"task": "gsm8k", "metric": "exact_match"} | fields]}


INVALID: list[tuple[dict[str, Any], str, str]] = [
    # model
    ({"model": {}}, "spec.model.uri", "is missing (Location of the weights"),
    ({"model": {"uri": "gs://x/y"}}, "spec.model.uri", "must look like s3://bucket/path/, hf://org/name"),
    ({"model": {"uri": "s3://abc/x", "revision": "main"}}, "spec.model.revision", "needs hf://"),
    ({"model": {"uri": "file:///m", "storage": {}}}, "spec.model.storage", "nothing is fetched"),
    ({"model": {"uri": "pvc://models/../x"}}, "spec.model.uri", "no '..'"),
    ({"model": {"uri": "s3://abc/x", "digest": "sha256:12"}}, "spec.model.digest", "64 hexadecimal digits"),
    ({"model": {"uri": "s3://abc/x", "cache": {}}}, "spec.model.cache.persistentVolumeClaim", "is missing"),
    (adapters({"name": "a", "uri": "pvc://claim/a"}), "spec.model.adapters[0].uri", "adapters are fetched from"),
    (adapters({"name": "A", "uri": "s3://abc/a"}), "spec.model.adapters[0].name", "must look like"),
    (adapters({"name": "a", "uri": "s3://abc/../a"}), "spec.model.adapters[0].uri", "no '..'"),
    (adapters({"name": "a", "uri": "s3://abc/a", "revision": "1"}), "spec.model.adapters[0].revision", "needs hf://"),
    (
        adapters({"name": "a", "uri": "file:///a", "storage": {}}),
        "spec.model.adapters[0].storage",
        "nothing is fetched",
    ),
    (adapters(*[{"name": "a", "uri": "s3://abc/a"}] * 2), "spec.model.adapters", "names of adapters must be unique"),
    (
        {**adapters({"name": "a", "uri": "s3://abc/a"}), "policy": {"stopEarly": {"rule": "width", "width": 0.1}}},
        "spec.policy",
        "would cut the adapters' short",
    ),
    # engine
    ({"engine": {}}, "spec.engine", "exactly one engine is needed: vllm or mock or recorded"),
    ({"engine": {"vllm": {}, "mock": {}}}, "spec.engine", "exactly one engine is needed"),
    ({"engine": {"vlm": {}}}, "spec.engine.vlm", "did you mean vllm?"),
    ({"engine": {"mock": {}, "numerics": "strickt"}}, "spec.engine.numerics", "did you mean strict?"),
    ({"engine": {"vllm": {"tensorParallelSize": 0}}}, "spec.engine.vllm.tensorParallelSize", "at least 1, not 0"),
    (engine_args(worker_cls="my.Worker"), "spec.engine.vllm.args.worker_cls", "names code to load"),
    (engine_args(logits_processors=["a:B"]), "spec.engine.vllm.args.logits_processors", "names code to load"),
    (
        engine_args(trust_remote_code=True),
        "spec.engine.vllm.args.trust_remote_code",
        "code of a model is never executed",
    ),
    (engine_args(load_format="pt"), "spec.engine.vllm.args.load_format", '"pt" is refused: it reads pickles'),
    (engine_args(load_format="auto"), "spec.engine.vllm.args.load_format", "falls back to pickles"),
    (engine_args(load_format="dummy"), "spec.engine.vllm.args.load_format", "hint: use one of safetensors, fast"),
    (engine_args(load_format="safetensor"), "spec.engine.vllm.args.load_format", "did you mean safetensors?"),
    (engine_args(model="x"), "spec.engine.vllm.args.model", "set spec.model.uri instead"),
    (
        engine_args(tensor_parallel_size=2),
        "spec.engine.vllm.args.tensor_parallel_size",
        "set spec.engine.vllm.tensorParallelSize",
    ),
    (engine_args(max_model_len=2), "spec.engine.vllm.args.max_model_len", "set spec.engine.vllm.maxModelLen instead"),
    (engine_args(gpu_memory_utilisation=1), "spec.engine.vllm.args.gpu_memory_utilisation", "gpu_memory_utilization?"),
    (engine_args(linear_backend="x"), "spec.engine.vllm.args.linear_backend", "not on the list"),
    (engine_args(swap_space=4), "spec.engine.vllm.args.swap_space", "vLLM removed swap space"),
    (engine_args(gpu_memory_utilization=1.5), "spec.engine.vllm.args.gpu_memory_utilization", "at most 1, not 1.5"),
    (engine_args(max_num_seqs="8"), "spec.engine.vllm.args.max_num_seqs", 'a whole number, not "8"'),
    # replicas
    ({"replicas": {"count": 0}}, "spec.replicas.count", "must be at least 1, not 0 (Number of replicas"),
    ({"replicas": {"count": 2, "minCount": 3}}, "spec.replicas.minCount", "must not be above count"),
    ({"replicas": {"resources": {"limits": {"memory": "3Xi"}}}}, "spec.replicas.resources.limits.memory", "64Gi"),
    ({"replicas": {"resources": {"limits": {"cpu": -1}}}}, "spec.replicas.resources.limits.cpu", "quantity"),
    ({"replicas": {"podTemplate": {}}}, "spec.replicas.podTemplate", "unknown field"),
    ({"replicas": {"tolerations": [{}]}}, "spec.replicas.tolerations[0].operator", "needs operator: Exists"),
    (
        {"replicas": {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}},
        "spec.replicas.tolerations[0].value",
        "needs operator: Equal",
    ),
    ({"replicas": {"nodeSelector": {"a.b/c": True}}}, "spec.replicas.nodeSelector[a.b/c]", "must be text"),
    # benchmarks
    ({"benchmarks": []}, "spec.benchmarks", "needs at least 1"),
    ({"benchmarks": [{"task": "a"}] * 1001}, "spec.benchmarks", "at most 1000 of them, not 1001"),
    ({"benchmarks": [{"task": "a"}, {"task": "b", "name": "a"}]}, "spec.benchmarks", "unique in a run"),
    (benchmark(limit=0), "spec.benchmarks[0].limit", "at least 1"),
    (benchmark(limit=1.5), "spec.benchmarks[0].limit", "whole number"),
    (benchmark(limit=5, sample={"size": 5}), "spec.benchmarks[0].sample", "give one of them"),
    (benchmark(sample={"size": 5, "fraction": 0.5}), "spec.benchmarks[0].sample", "exactly one size of the sample"),
    (benchmark(sample={"fraction": 5}), "spec.benchmarks[0].sample.fraction", "at most 1"),
    (benchmark(num_fewshot=1), "spec.benchmarks[0].num_fewshot", "did you mean numFewshot?"),
    (benchmark(task="a b"), "spec.benchmarks[0].task", "no spaces"),
    (benchmark(applyChatTemplate="yes"), "spec.benchmarks[0].applyChatTemplate", "true or false"),
    (benchmark(fewshotAsMultiturn=True), "spec.benchmarks[0].fewshotAsMultiturn", "applyChatTemplate"),
    (benchmark(generation={"temprature": 1}), "spec.benchmarks[0].generation.temprature", "did you mean temperature?"),
    (benchmark(generation={"maxGenToks": 1}), "spec.benchmarks[0].generation.maxGenToks", "did you mean max_gen_toks?"),
    (benchmark(generation={"until": "\n"}), "spec.benchmarks[0].generation.until", "must be a list"),
    (
        benchmark(generation={"do_sample": False, "temperature": 1}),
        "spec.benchmarks[0].generation.temperature",
        "greedy",
    ),
    (
        benchmark(generation={"do_sample": False, "top_p": 0.9}),
        "spec.benchmarks[0].generation.do_sample",
        "top_p, top_k and min_p do not change",
    ),
    (
        benchmark(generation={"do_sample": True, "temperature": 0}),
        "spec.benchmarks[0].generation.temperature",
        "set a temperature above 0",
    ),
    (benchmark(systemInstructionIn="user"), "spec.benchmarks[0].systemInstructionIn", "'system' or 'firstUserTurn'"),
    (benchmark(systemInstructionIn="system"), "spec.benchmarks[0].systemInstructionIn", "applyChatTemplate"),
    (benchmark(source={}), "spec.benchmarks[0].source", "exactly one source"),
    (benchmark(source={"path": "x", "s3": {"uri": "s3://abc/"}}), "spec.benchmarks[0].source", "exactly one source"),
    (benchmark(source={"s3": {"uri": "./x"}}), "spec.benchmarks[0].source.s3.uri", "s3://bucket/path/"),
    (benchmark(source={"pvc": {"claimName": "c", "path": "/a"}}), "spec.benchmarks[0].source.pvc.path", "relative"),
    (benchmark(source={"pvc": {"claimName": "c", "path": "a/.."}}), "spec.benchmarks[0].source.pvc.path", "'..'"),
    # gates, output, the rest
    (gate(), "spec.gates[0]", "at least one criterion"),
    (gate(baseline={"runName": "y"}), "spec.gates[0].maxRegression", "need each other"),
    (gate(min=0.5, maxRelativeRegression=0.1), "spec.gates[0].maxRegression", "need each other"),
    (gate(min=0.5, lowerIsBetter=True), "spec.gates[0].lowerIsBetter", "needs a baseline"),
    (gate(min=0.5, rule="point", confidence=0.9), "spec.gates[0].confidence", "needs rule: interval"),
    (gate(min=0.5, rule="points"), "spec.gates[0].rule", "'interval' or 'point'"),
    (gate(min=0.5, confidence=95), "spec.gates[0].confidence", "at most 0.999"),
    (gate(min=0.5, maxRegression=0.1), "spec.gates[0].maxRegression", "need each other"),
    (gate(min=0.7, max=0.6), "spec.gates[0].min", "no score could pass"),
    (gate(baseline={"runName": "y", "uri": "s3://abc/"}, maxRegression=0), "spec.gates[0].baseline", "exactly one"),
    ({"resumeFrom": {}}, "spec.resumeFrom", "exactly one reference to a run"),
    ({"output": {"uri": "./x", "storage": {}}}, "spec.output.storage", "needs s3://"),
    ({"output": {"uri": "http://x"}}, "spec.output.uri", "must look like s3://bucket/path/, or for local runs"),
    (
        {"output": {"uri": "s3://abc/", "storage": {"endpointUrl": "https://x"}}},
        "spec.output.storage.endpointUrl",
        "did you mean endpointURL?",
    ),
    (
        {"output": {"uri": "s3://abc/", "storage": {"endpointURL": "x"}}},
        "spec.output.storage.endpointURL",
        "https://s3.example.com",
    ),
    ({"seed": -1}, "spec.seed", "at least 0"),
    ({"policy": {"maxAttempts": 0}}, "spec.policy.maxAttempts", "at least 1"),
    ({"policy": {"stopEarly": {"rule": "gates"}}}, "spec.policy", "needs gates"),
    (
        {"policy": {"stopEarly": {"rule": "gates", "width": 0.1}}, **gate(min=0.5)},
        "spec.policy.stopEarly.width",
        "needs rule: width",
    ),
    ({"policy": {"stopEarly": {"rule": "width", "looks": 1}}}, "spec.policy.stopEarly.looks", "at least 2"),
    ({"policy": {"suspend": "true"}}, "spec.policy.suspend", "true or false"),
    ({"bencmarks": []}, "spec.bencmarks", "did you mean benchmarks?"),
]


@pytest.mark.parametrize(("spec", "path", "words"), INVALID, ids=lambda value: value if isinstance(value, str) else "")
def test_wrong_value_is_reported_with_field_and_reason(spec: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_evalrun(evalrun(**spec), "run.yaml")
    assert [problem.path for problem in caught.value.problems] == [path]
    assert words in caught.value.problems[0].message
    assert str(caught.value).startswith(f"run.yaml: {path}: ")


def test_all_problems_are_reported_at_once() -> None:
    wrong = evalrun(seed=-1, replicas={"count": 0}, benchmarks=[{"task": "a"}, {"task": "b", "limt": 3}])
    with pytest.raises(InvalidInput) as caught:
        parse_evalrun(wrong, "run.yaml")
    paths = {problem.path for problem in caught.value.problems}
    assert paths == {"spec.seed", "spec.replicas.count", "spec.benchmarks[1].limt"}
    assert str(caught.value).splitlines()[0] == "run.yaml: 3 problems"


def test_null_means_unset_as_in_the_api_server() -> None:
    run = parse_evalrun(evalrun(policy=None, **benchmark(limit=None)), "run.yaml")
    assert run.spec.policy.max_attempts == 3
    assert run.spec.benchmarks[0].limit is None


def test_unknown_field_with_null_is_still_unknown() -> None:
    with pytest.raises(InvalidInput, match="unknown field"):
        parse_evalrun(evalrun(sead=None), "run.yaml")


def test_object_of_the_api_server_is_parsed() -> None:
    mapping = evalrun()
    mapping["metadata"] |= {
        "uid": "0b0f",
        "generation": 1,
        "creationTimestamp": "2026-11-01T10:00:00Z",
        "managedFields": [{"manager": "kubectl"}],
        "ownerReferences": [],
        "finalizers": None,
    }
    mapping["status"] = {"phase": "Running", "written": "by a later version", "progress": {"planned": 3, "ok": 1}}
    run = parse_evalrun(mapping, "cluster")
    assert run.metadata.uid == "0b0f"
    assert run.status is not None
    assert run.status.progress is not None
    assert run.status.progress.ok == 1


def test_cluster_problems_lists_what_only_local_runs_may_do() -> None:
    run = parse_evalrun(
        evalrun(output={"uri": "./out"}, resumeFrom={"uri": "./old"}, **benchmark(source={"path": "./suite"})),
        "run.yaml",
    )
    assert [problem.path for problem in cluster_problems(run)] == [
        "spec.benchmarks[0].source.path",
        "spec.output.uri",
        "spec.resumeFrom.uri",
    ]
    assert cluster_problems(parse_evalrun(evalrun(), "run.yaml")) == []


@pytest.mark.parametrize(
    ("given", "local"), [("tool_use", False), ("./t.jinja", True), ("t.jinja", True), ("a/t", True)]
)
def test_a_file_with_a_chat_template_is_for_local_runs(given: str, local: bool) -> None:
    model = {"uri": "hf://org/m", "chatTemplate": given}
    problems = cluster_problems(parse_evalrun(evalrun(model=model), "run.yaml"))
    assert [problem.path for problem in problems] == ["spec.model.chatTemplate"] * local


BOMB = "\n".join(
    ["a: &a [1,1,1,1,1,1,1,1,1,1]"]
    + [
        f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]
)
GOOD = yaml.safe_dump(evalrun())
FILES: list[tuple[str | bytes, str]] = [
    ("", "the file is empty"),
    ("---\n---\n# nothing\n", "the file is empty"),
    ("a: [", "not valid YAML: line 1, column 5"),
    ("a: 1\n  b: 2", "not valid YAML: line 2, column 4"),
    ("\x00", "not valid YAML: special characters are not allowed"),
    (b"\xff\xfe\xfd", "not UTF-8 text"),
    ("[1]", "document 1 is a list, not a mapping"),
    ("hello", "document 1 is text, not a mapping"),
    ("1: 2", "a key must be a string"),
    ("a: 1\nb: 2\na: 3", "line 3, column 1: duplicate key 'a'"),
    ("a: !!python/object:os.system x", "line 1, column 4: could not determine a constructor"),
    ("a: !!bool maybe", "does not fit its tag"),
    (BOMB, "more than 200,000 values"),
    ("a: &a [*a]", "more than 200,000 values"),
    ("[" * 1500, "nested too deeply"),
    ("#" * 5_000_000, "expected at most 4,194,304"),
    ("kind: EvalRun", "apiVersion: is missing, expected evalrun.dev/v1alpha1"),
    ("apiVersion: evalrun.dev/v1\nkind: EvalRun", 'apiVersion: must be evalrun.dev/v1alpha1, not "evalrun.dev/v1"'),
    ("apiVersion: evalrun.dev/v1alpha1\nkind: Evalrun", 'kind: must be EvalRun, not "Evalrun"'),
    ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}", "contains no EvalRun"),
    (f"{GOOD}---\n{GOOD}", "contains 2 EvalRuns, expected one"),
    (f"{GOOD}---\napiVersion: apps/v1\nkind: Deployment", "not a Deployment (apps/v1)"),
    (f"{GOOD}---\napiVersion: v1\nkind: ConfigMap", "metadata.name: is missing in a ConfigMap"),
    (f"{GOOD}---\napiVersion: v1\nkind: Secret\nmetadata: {{name: s}}", "needs the label evalrun.dev/use: storage"),
    (
        f"{GOOD}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata: {{a: 1}}",
        "data.a: of the ConfigMap c",
    ),
    (
        f"{GOOD}---\napiVersion: v1\nkind: Secret\nmetadata: {{name: s, labels: {{evalrun.dev/use: storage}}}}\n"
        "data: {a: hello!}",
        "must be base64",
    ),
]


@pytest.mark.parametrize(("text", "words"), FILES, ids=[words for _, words in FILES])
def test_wrong_file_is_reported_in_one_line(text: str | bytes, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_file(text, "run.yaml")
    assert str(caught.value).startswith("run.yaml: ")
    assert len(caught.value.problems) == 1
    assert words in str(caught.value)


def test_file_may_contain_the_objects_that_it_names() -> None:
    text = f"""{GOOD}---
apiVersion: v1
kind: ConfigMap
metadata: {{name: suite}}
data: {{task.yaml: "task: mine"}}
binaryData: {{data.bin: AAE=}}
---
apiVersion: v1
kind: Secret
metadata: {{name: s3, labels: {{evalrun.dev/use: storage}}}}
stringData: {{AWS_ACCESS_KEY_ID: key}}
data: {{AWS_SECRET_ACCESS_KEY: c2VjcmV0}}
"""
    file = parse_file(text, "run.yaml")
    assert file.evalrun.metadata.name == "x"
    assert file.config_maps["suite"].data == {"task.yaml": b"task: mine", "data.bin": b"\x00\x01"}
    assert file.secrets["s3"].data == {"AWS_ACCESS_KEY_ID": b"key", "AWS_SECRET_ACCESS_KEY": b"secret"}
    assert "SECRET_ACCESS" not in repr(file)


def test_c15_a_cluster_asks_for_the_label_of_a_config_map() -> None:
    def problems(labels: str) -> list[str]:
        text = f"{GOOD}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: suite{labels}}}\ndata: {{a: b}}\n"
        return list(map(str, unlabelled(parse_file(text, "run.yaml"))))

    assert problems(", labels: {evalrun.dev/use: storage}") == []
    assert problems("") == [
        "metadata.labels: the ConfigMap suite needs the label evalrun.dev/use: storage in a cluster"
    ]


def test_scalars_are_read_like_kubernetes() -> None:
    text = GOOD.replace("metadata:\n", "metadata:\n  annotations: {day: 2026-11-01, time: 12:30}\n")
    run = parse_file(f"{text}  gates: [{{task: a, metric: b, max: 1e-3}}]\n", "run.yaml").evalrun
    assert run.metadata.annotations == {"day": "2026-11-01", "time": "12:30"}
    assert run.spec.gates[0].max == 0.001
