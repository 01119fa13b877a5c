"""What a replica asks of its node, and how many GPUs that is."""

from __future__ import annotations

import re
from decimal import Decimal

from evalrun_api import EvalRunSpec
from evalrun_api.spec.replicas import Resources

GPU = "nvidia.com/gpu"
"""What is asked for where a spec says nothing."""
MOCK_RESOURCES = Resources(requests={"cpu": "100m", "memory": "512Mi"})
"""Of a replica that makes its answers up: a Ray node and a process."""

_QUANTITY = re.compile(r"([0-9.]+)(?:[eE]([+-]?[0-9]+)|([a-zA-Z]*))")
_UNITS = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY_UNITS = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_MOST_DIGITS = 20
"""Of a quantity's exponent and of its number: Kubernetes' own end with 2⁶³."""
_GPUS = re.compile(r"[^/]+/(gpu|gpu\.shared|mig-.+)")


def replica_resources(spec: EvalRunSpec) -> Resources:
    """Resources of one replica, as the spec has them or by default; requests default to limits."""
    resources = spec.replicas.resources
    if resources is None:
        if spec.engine.vllm is None:
            return MOCK_RESOURCES
        resources = Resources(limits={GPU: spec.engine.vllm.tensor_parallel_size})
    return Resources(limits=resources.limits, requests={**resources.limits, **resources.requests})


def is_gpu(resource: str) -> bool:
    """Whether a resource counts GPUs: of whatever vendor, whole, shared or a part of one."""
    return _GPUS.fullmatch(resource) is not None


def gpus_per_replica(spec: EvalRunSpec) -> int:
    """GPUs of one replica; 0: it runs on CPU."""
    return sum(int(quantity(amount)) for name, amount in replica_resources(spec).limits.items() if is_gpu(name))


def quantity(value: int | str) -> Decimal:
    """A Kubernetes quantity, whose form the schema has checked, as a number."""
    match = _QUANTITY.fullmatch(str(value))
    assert match is not None
    number, exponent, unit = Decimal(match[1]), match[2], match[3]
    if unit in _BINARY_UNITS:
        return number * (1 << _BINARY_UNITS[unit])
    power = _UNITS[unit] if exponent is None else max(-_MOST_DIGITS, min(_MOST_DIGITS, int(exponent)))
    return number.scaleb(power)
