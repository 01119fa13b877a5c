"""Limits of an administrator: what the runs of tenants may ask for, and which addresses they may name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import SplitResult, urlsplit

from evalrun_api import EvalRunSpec, Storage
from evalrun_operator.backend.resources import gpus_per_replica
from evalrun_operator.settings import LimitSettings, OperatorSettings

RESERVED_PRIORITY = "system-"
"""Beginning of the names of Kubernetes' own PriorityClasses, which preempt everything."""
_ASK = "or ask an administrator of this cluster"
_PORTS = {"http": 80, "https": 443}


def limit_problems(spec: EvalRunSpec, settings: OperatorSettings) -> Iterator[tuple[str, str]]:
    """Yield field and message of everything that the administrator does not allow, in the order of the spec."""
    yield from _endpoints(spec, settings.allowed_endpoints)
    yield from _size(spec, settings)
    yield from _placement(spec, settings.limits)
    yield from _model_code(spec, settings.limits)


def allowed_replicas(spec: EvalRunSpec, settings: OperatorSettings, count: int, present: int = 0) -> int:
    """Return how many of ``count`` replicas the limits allow, at least the ``present`` ones.

    The count of a run may be raised after its spec was checked.
    """
    gpus, limits = gpus_per_replica(spec, settings.accelerators), settings.limits
    allowed = count if limits.max_replicas is None else min(count, limits.max_replicas)
    if limits.max_gpus is not None and gpus:
        allowed = min(allowed, limits.max_gpus // gpus)
    return min(count, max(1, allowed, present))


def _size(spec: EvalRunSpec, settings: OperatorSettings) -> Iterator[tuple[str, str]]:
    count, limits = spec.replicas.count, settings.limits
    if limits.max_replicas is not None and count > limits.max_replicas:
        yield (
            "spec.replicas.count",
            f"{count:,} is above {limits.max_replicas:,}, the replicas that a run may have here "
            f"(runner.limits.maxReplicas); hint: ask for fewer, {_ASK}",
        )
    each = gpus_per_replica(spec, settings.accelerators)
    if limits.max_gpus is not None and count * each > limits.max_gpus:
        yield (
            "spec.replicas.resources.limits",
            f"{count:,} replicas with {each} GPUs each are {count * each:,} GPUs, above {limits.max_gpus:,}, which a "
            f"run may have here (runner.limits.maxGPUs); hint: ask for fewer replicas, {_ASK}",
        )


def _placement(spec: EvalRunSpec, limits: LimitSettings) -> Iterator[tuple[str, str]]:
    replicas = spec.replicas
    for number, toleration in enumerate(replicas.tolerations):
        keys = limits.toleration_keys
        if keys is not None and toleration.key not in keys:
            what = "every taint" if toleration.key is None else f"the taint {toleration.key}"
            yield (
                f"spec.replicas.tolerations[{number}].key",
                f"a run may not tolerate {what} here, expected {_listed(keys)} (runner.limits.tolerationKeys); "
                f"hint: leave it out, {_ASK}",
            )
    priority, classes = replicas.priority_class_name or "", limits.priority_classes
    forbidden = priority.startswith(RESERVED_PRIORITY) if classes is None else priority not in classes
    if priority and forbidden:
        expected = "one that is not Kubernetes' own" if classes is None else _listed(classes)
        yield (
            "spec.replicas.priorityClassName",
            f"a run may not use {priority} here, expected {expected} (runner.limits.priorityClasses); "
            f"hint: leave it out, {_ASK}",
        )
    runtime, classes = replicas.runtime_class_name, limits.runtime_classes
    if runtime is not None and classes is not None and runtime not in classes:
        yield (
            "spec.replicas.runtimeClassName",
            f"a run may not use {runtime} here, expected {_listed(classes)} (runner.limits.runtimeClasses); "
            f"hint: leave it out, {_ASK}",
        )


def _model_code(spec: EvalRunSpec, limits: LimitSettings) -> Iterator[tuple[str, str]]:
    for number, benchmark in enumerate(spec.benchmarks):
        if benchmark.allow_code and not limits.model_code:
            yield (
                f"spec.benchmarks[{number}].allowCode",
                "a run may not run code that a model writes here (runner.limits.modelCode); hint: leave this "
                f"benchmark out, {_ASK}",
            )


def _endpoints(spec: EvalRunSpec, allowed: tuple[str, ...] | None) -> Iterator[tuple[str, str]]:
    if allowed is None:
        return
    for field, storage in _storages(spec):
        url = storage.endpoint_url
        if url is not None and not any(_matches(urlsplit(url), urlsplit(pattern)) for pattern in allowed):
            yield (
                f"{field}.endpointURL",
                f"a run may not use {url} here, expected {_listed(allowed)} (runner.allowedEndpoints); hint: use one "
                f"of these, {_ASK}",
            )


def _storages(spec: EvalRunSpec) -> Iterator[tuple[str, Storage]]:
    places: list[tuple[str, Storage | None]] = [("spec.model.storage", spec.model.storage)]
    for number, adapter in enumerate(spec.model.adapters):
        places.append((f"spec.model.adapters[{number}].storage", adapter.storage))
    for number, benchmark in enumerate(spec.benchmarks):
        if benchmark.source is not None and benchmark.source.s3 is not None:
            places.append((f"spec.benchmarks[{number}].source.s3.storage", benchmark.source.s3.storage))
    places.append(("spec.output.storage", spec.output.storage))
    yield from ((field, storage) for field, storage in places if storage is not None)


def _matches(url: SplitResult, pattern: SplitResult) -> bool:
    """Tell whether a URL is a pattern's, or below it: ``*.`` stands for any beginning of the host."""
    host, expected = _host(url), _host(pattern)
    same_host = host.endswith(expected[1:]) if expected.startswith("*.") else host == expected
    below = f"{url.path.rstrip('/')}/".startswith(f"{pattern.path.rstrip('/')}/")
    plain = "/../" not in f"{url.path}/" and "%" not in url.path
    same_place = (url.scheme, _port(url)) == (pattern.scheme, _port(pattern))
    return same_host and same_place and below and (plain or pattern.path in {"", "/"})


def _host(url: SplitResult) -> str:
    return (url.hostname or "").rstrip(".").lower()


def _port(url: SplitResult) -> int | None:
    try:
        return _PORTS.get(url.scheme) if url.port is None else url.port
    except ValueError:
        return None  # above 65535


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
