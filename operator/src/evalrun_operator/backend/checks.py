"""Checks of a spec for what the schema accepts and a cluster would reject, before anything is created from it.

The API server would answer each with 422, forever; such a run is Invalid.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from evalrun_api import EvalRun, EvalRunSpec, Reason, RunLocation, TaintEffect
from evalrun_api.base import OBJECT_NAME
from evalrun_operator.backend.job_manifests import LABEL_PRIORITY
from evalrun_operator.backend.limits import limit_problems
from evalrun_operator.backend.resources import gpus_per_replica, is_gpu, quantity, replica_resources
from evalrun_operator.backend.runconfig import runconfig
from evalrun_operator.names import LABEL_QUEUE, results_uri
from evalrun_operator.observe.references import named_runs
from evalrun_operator.settings import AcceleratorSettings, OperatorSettings
from evalrun_operator.state.observed import Missing, References

MAX_RUNCONFIG_BYTES = 950_000
"""Bytes of a RunConfig. A ConfigMap holds 1 MiB; the rest is left for what a later version of the operator may add to
the RunConfig of a run that began with this one.
"""

_NATIVE = {"cpu", "memory", "ephemeral-storage"}
_WORD = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_VALUE = re.compile(rf"({_WORD})?")
_DOMAIN = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"
_KEY = re.compile(rf"({_DOMAIN}/)?{_WORD}")


def spec_problems(
    run: EvalRun, settings: OperatorSettings | None = None, references: References | None = None
) -> tuple[Missing, ...]:
    """List everything that is wrong, or above the limits of the settings; each is InvalidSpec.

    Args:
        run: The run.
        settings: The operator's settings; None: the defaults.
        references: What the names in the spec stand for. Without them other runs count as if they lay beside this one.
    """
    settings = settings or OperatorSettings()
    accelerators = settings.accelerators
    found = (
        *_queue(run),
        *_gpus(run.spec, accelerators),
        *_resources(run.spec, accelerators),
        *_places(run.spec),
        *_size(run, settings, references),
        *limit_problems(run.spec, settings),
    )
    return tuple(Missing(field, Reason.INVALID_SPEC, message) for field, message in found)


def _queue(run: EvalRun) -> Iterator[tuple[str, str]]:
    for label in (LABEL_QUEUE, LABEL_PRIORITY):
        value = run.metadata.labels.get(label)
        if value and not re.fullmatch(OBJECT_NAME, value):
            yield (
                f"metadata.labels[{label}]",
                f"{value!r} cannot be the name of a Kueue object: expected lower-case letters, digits, '-' and '.'",
            )


def _gpus(spec: EvalRunSpec, accelerators: AcceleratorSettings) -> Iterator[tuple[str, str]]:
    if spec.engine.vllm is None:
        return
    size, gpus = spec.engine.vllm.gpus, gpus_per_replica(spec, accelerators)
    # Without any GPU vLLM runs on the CPU, with a build that can.
    if gpus != size and not (gpus == 0 and size == 1):
        yield (
            "spec.replicas.resources.limits",
            f"a replica requests {gpus} GPUs and its engine uses {size} (spec.engine.vllm: "
            f"{spec.engine.vllm.gpus_said}); hint: set the limit of {accelerators.default} to {size}, or leave "
            "resources out",
        )


def _resources(spec: EvalRunSpec, accelerators: AcceleratorSettings) -> Iterator[tuple[str, str]]:
    resources = replica_resources(spec, accelerators)
    for part, amounts in (("limits", resources.limits), ("requests", resources.requests)):
        for name, amount in amounts.items():
            field = f"spec.replicas.resources.{part}[{name}]"
            if name not in _NATIVE and not _is_vendors(name):
                yield (
                    field,
                    "is not a resource of a replica: expected cpu, memory, ephemeral-storage, or a device by its "
                    "vendor's name, as in nvidia.com/gpu",
                )
            elif name not in _NATIVE and quantity(amount) % 1:
                what = "GPUs" if is_gpu(name, accelerators) else "devices"
                yield field, f"{amount} is not a whole number: {what} cannot be divided"
    for name, request in resources.requests.items():
        limit = resources.limits.get(name)
        field = f"spec.replicas.resources.requests[{name}]"
        if name not in _NATIVE and (limit is None or quantity(limit) != quantity(request)):
            yield field, f"{request} must equal its limit ({limit or 'none is set'}): devices cannot be overcommitted"
        elif limit is not None and quantity(request) > quantity(limit):
            yield field, f"{request} is above its limit, {limit}; hint: lower it or raise the limit"


def _places(spec: EvalRunSpec) -> Iterator[tuple[str, str]]:
    for key, value in spec.replicas.node_selector.items():
        field = f"spec.replicas.nodeSelector[{key}]"
        if not _is_key(key):
            yield field, "is not a label key: expected a name, or example.com/name"
        if not _VALUE.fullmatch(value):
            yield field, f"{value!r} is not a label value: expected letters, digits, '-', '_' and '.', at most 63"
    for number, toleration in enumerate(spec.replicas.tolerations):
        field = f"spec.replicas.tolerations[{number}]"
        if toleration.key is not None and not _is_key(toleration.key):
            yield f"{field}.key", f"{toleration.key!r} is not a taint key: expected a name, or example.com/name"
        if toleration.value is not None and not _VALUE.fullmatch(toleration.value):
            yield (
                f"{field}.value",
                f"{toleration.value!r} is not a taint value: expected letters, digits, '-', '_' and '.'",
            )
        if toleration.toleration_seconds is not None and toleration.effect is not TaintEffect.NO_EXECUTE:
            yield f"{field}.tolerationSeconds", "needs effect: NoExecute, because no other taint evicts pods"


def _size(run: EvalRun, settings: OperatorSettings, references: References | None) -> Iterator[tuple[str, str]]:
    """Check the RunConfig itself, not the spec: it repeats the stores of every suite and of every run named."""
    named = references or References(runs=dict.fromkeys(named_runs(run.spec), RunLocation(uri=results_uri(run))))
    size = len(runconfig(run, run.spec.policy.max_attempts, settings, named).to_json().encode())
    if size > MAX_RUNCONFIG_BYTES:
        yield (
            "spec",
            f"makes a RunConfig of {size:,} bytes, expected at most {MAX_RUNCONFIG_BYTES:,}, which fit into the "
            "ConfigMap of its pods; hint: put fewer benchmarks or gates into a run, or shorten addresses and "
            "systemInstruction",
        )


def _is_key(key: str) -> bool:
    return _KEY.fullmatch(key) is not None and len(key.rpartition("/")[0]) <= 253


def _is_vendors(resource: str) -> bool:
    """Check that it is an extended resource, by the rules of the API server."""
    domain, slash, name = resource.partition("/")
    native = domain == "kubernetes.io" or domain.endswith(".kubernetes.io") or domain.startswith("requests.")
    # A quota counts it as "requests.<name>", which must be a valid name as well.
    return bool(slash) and not native and _is_key(resource) and len(f"requests.{domain}") <= 253 and bool(name)
