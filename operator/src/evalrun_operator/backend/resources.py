"""Resources of a replica, and the number of GPUs in them."""

from __future__ import annotations

import re
from decimal import Decimal

from evalrun_api import EvalRunSpec, Resources
from evalrun_operator.settings import AcceleratorSettings

MOCK_REQUESTS = {"cpu": "100m", "memory": "512Mi"}
"""Requests of a replica with the mock engine: a Ray node and a process."""
CPU_PER_GPU, GIBIBYTES_PER_GPU = 1, 8
"""Requests of a replica with vLLM, for each GPU; one without GPUs requests as much as one with one.

Without requests for cpu and memory a pod is refused in every namespace whose quota counts them, and elsewhere it is the
first to be evicted.
"""

_QUANTITY = re.compile(r"([0-9.]+)(?:[eE]([+-]?[0-9]+)|([a-zA-Z]*))")
_UNITS = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY_UNITS = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_MOST_DIGITS = 20
"""Limit of a quantity's exponent and of its digits: Kubernetes' own end at 2⁶³."""
_ACCELERATORS = re.compile(
    r"[^/]+/(gpu|gpu\.shared|mig-.+)|gpu\.intel\.com/(i915|xe)|google\.com/tpu|habana\.ai/gaudi|"
    r"aws\.amazon\.com/neuron(core|device)?|huawei\.com/Ascend[A-Za-z0-9]+"
)
"""Devices of known vendors: NVIDIA, AMD, Intel, Google, AWS, Huawei. Network cards are devices too, but none of these.
"""
_KNOWN = AcceleratorSettings()


def replica_resources(spec: EvalRunSpec, accelerators: AcceleratorSettings = _KNOWN) -> Resources:
    """Return the resources of one replica, from the spec or by default.

    Requests default to limits; cpu and memory are always requested.
    """
    resources = spec.replicas.resources
    if resources is None:
        gpus = 0 if spec.engine.vllm is None else spec.engine.vllm.gpus
        resources = Resources(limits={accelerators.default: gpus} if gpus else {})
    given = {**resources.limits, **resources.requests}
    defaults = _default_requests(spec, _gpus(resources, accelerators))
    missing = {name: amount for name, amount in defaults.items() if name not in given}
    return Resources(limits=resources.limits, requests={**given, **missing})


def _default_requests(spec: EvalRunSpec, gpus: int) -> dict[str, int | str]:
    if spec.engine.vllm is None:
        return dict(MOCK_REQUESTS)
    share = max(1, gpus)
    return {"cpu": CPU_PER_GPU * share, "memory": f"{GIBIBYTES_PER_GPU * share}Gi"}


def is_gpu(resource: str, accelerators: AcceleratorSettings = _KNOWN) -> bool:
    """Tell whether a resource counts GPUs, or other accelerators: of any vendor, whole, shared or partitioned."""
    named = (accelerators.default, *accelerators.resources)
    return resource in named or _ACCELERATORS.fullmatch(resource) is not None


def gpus_per_replica(spec: EvalRunSpec, accelerators: AcceleratorSettings = _KNOWN) -> int:
    """Return the GPUs of one replica; 0 means that it runs on CPU."""
    return _gpus(replica_resources(spec, accelerators), accelerators)


def _gpus(resources: Resources, accelerators: AcceleratorSettings) -> int:
    return sum(int(quantity(amount)) for name, amount in resources.limits.items() if is_gpu(name, accelerators))


def quantity(value: int | str) -> Decimal:
    """Parse a Kubernetes quantity, whose form the schema has checked."""
    match = _QUANTITY.fullmatch(str(value))
    assert match is not None
    number, exponent, unit = Decimal(match[1]), match[2], match[3]
    if unit in _BINARY_UNITS:
        return number * (1 << _BINARY_UNITS[unit])
    power = _UNITS[unit] if exponent is None else max(-_MOST_DIGITS, min(_MOST_DIGITS, int(exponent)))
    return number.scaleb(power)
