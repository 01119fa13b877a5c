"""The file system of a run's pods: a read-only root, and what is mounted into it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from evalrun_api import EvalRun, EvalRunSpec, ModelScheme, Storage
from evalrun_api.wire.pods import CA_DIR, CACHE_DIR, CONFIG_DIR, CREDENTIALS_DIR, MODELS_DIR, SUITES_DIR
from evalrun_operator.observe.references import claim_of
from evalrun_operator.settings import PodSettings

GROUP_READABLE, READABLE = 0o440, 0o444
"""Modes of credentials, which root owns: read by the pods' own group, or by the pod's user where it has no such group.
"""


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder of a pod."""

    path: str
    source: Mapping[str, Any]
    """Source of the volume, as in a pod's spec."""
    read_only: bool = True


def mounts(run: EvalRun, config_map: str, settings: PodSettings) -> tuple[Mount, ...]:
    """List the folders of a pod, driver's or replica's, with the Secrets of the stores that it reaches."""
    return tuple(_mounts(run, config_map, settings))


def volumes(mounts: Iterable[Mount]) -> dict[str, Any]:
    """Build ``volumes`` of a pod and ``volumeMounts`` of its container; mounts of one source share a volume."""
    sources: list[Mapping[str, Any]] = []
    writable: set[int] = set()
    placed = []
    for mount in mounts:
        if mount.source not in sources:
            sources.append(mount.source)
        number = sources.index(mount.source)
        placed.append({"name": f"v{number}", "mountPath": mount.path, "readOnly": mount.read_only})
        if not mount.read_only:
            writable.add(number)
    return {
        "volumes": [
            {"name": f"v{number}", **_volume(source, read_only=number not in writable)}
            for number, source in enumerate(sources)
        ],
        "volumeMounts": placed,
    }


def _volume(source: Mapping[str, Any], *, read_only: bool) -> Mapping[str, Any]:
    """Mark a claim that nothing writes to as read-only: some volumes can be shared between nodes only then."""
    claim = source.get("persistentVolumeClaim")
    return {"persistentVolumeClaim": {**claim, "readOnly": True}} if claim and read_only else source


def _mounts(run: EvalRun, config_map: str, settings: PodSettings) -> Iterator[Mount]:
    spec = run.spec
    yield Mount(CONFIG_DIR, {"configMap": {"name": config_map}})
    mode = GROUP_READABLE if "fsGroup" in settings.security_context else READABLE
    yield from _stores(_storages(spec), mode)
    for number, benchmark in enumerate(spec.benchmarks):
        source = benchmark.source
        if source is not None and source.config_map is not None:
            yield Mount(f"{SUITES_DIR}/{number}", {"configMap": {"name": source.config_map.name}})
        if source is not None and source.pvc is not None:
            yield Mount(f"{SUITES_DIR}/{number}", _claim(source.pvc.claim_name))
    if spec.model.scheme is ModelScheme.PVC:
        claim, _ = claim_of(spec.model.uri)
        yield Mount(f"{MODELS_DIR}/{claim}", _claim(claim))
    yield Mount(CACHE_DIR, _cache(spec, settings), read_only=False)
    yield Mount("/tmp", {"emptyDir": {"sizeLimit": settings.tmp_size_limit}}, read_only=False)  # noqa: S108 (its own)
    shared_memory = {"emptyDir": {"medium": "Memory", "sizeLimit": settings.shared_memory}}
    yield Mount("/dev/shm", shared_memory, read_only=False)  # noqa: S108 (the pod's own)


def _storages(spec: EvalRunSpec) -> Iterator[Storage]:
    """List how the stores of output, model, adapters and suites are reached. Other runs are read like the output."""
    sources = [benchmark.source.s3 for benchmark in spec.benchmarks if benchmark.source is not None]
    adapters = (adapter.storage for adapter in spec.model.adapters)
    storages = [spec.output.storage, spec.model.storage, *adapters, *(s3.storage for s3 in sources if s3 is not None)]
    yield from (storage for storage in storages if storage is not None)


def _stores(storages: Iterable[Storage], mode: int) -> Iterator[Mount]:
    """Mount Secrets and ConfigMaps, each once, where ``ClusterResolver`` says that they lie."""
    secrets: dict[str, None] = {}
    bundles: dict[str, None] = {}
    for storage in storages:
        if storage.credentials_secret_ref is not None:
            secrets.setdefault(storage.credentials_secret_ref.name)
        if storage.ca_bundle_ref is not None:
            bundles.setdefault(storage.ca_bundle_ref.name)
    for name in secrets:
        yield Mount(f"{CREDENTIALS_DIR}/{name}", {"secret": {"secretName": name, "defaultMode": mode}})
    for name in bundles:
        yield Mount(f"{CA_DIR}/{name}", {"configMap": {"name": name}})


def _cache(spec: EvalRunSpec, settings: PodSettings) -> Mapping[str, Any]:
    if spec.model.cache is not None:
        return _claim(spec.model.cache.persistent_volume_claim.claim_name)
    limit = settings.cache_size_limit
    return {"emptyDir": {} if limit is None else {"sizeLimit": limit}}


def _claim(name: str) -> Mapping[str, Any]:
    return {"persistentVolumeClaim": {"claimName": name}}
