"""What this process may use of its machine: a container's share, not the host's whole."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path("/")


def usable_cpus(root: Path = ROOT) -> int:
    """CPUs by affinity and by the quota of every control group above (cgroups v1 and v2), at least 1."""
    quotas = [quota for group in _groups("cpu", root) if (quota := _cpu_quota(group)) is not None]
    return max(1, int(min([float(len(os.sched_getaffinity(0))), *quotas])))


def memory_limit(root: Path = ROOT) -> int:
    """Bytes of memory by the machine and by the limit of every control group above."""
    limits = [limit for group in _groups("memory", root) if (limit := _memory_limit(group)) is not None]
    return min([os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *limits])


def available_memory(root: Path = ROOT) -> int:
    """Bytes that can still be taken: what is free or only caches files, on the machine and below every limit."""
    rooms = [_meminfo(root, "MemAvailable")]
    for group in _groups("memory", root):
        limit, used = _memory_limit(group), _number(group, "memory.current", "memory.usage_in_bytes")
        if limit is not None and used is not None:
            rooms.append(limit - used + _file_cache(group))
    return max(0, min(rooms))


def has_gpu() -> bool:
    """Whether an NVIDIA device is there, without importing torch."""
    return (ROOT / "dev/nvidiactl").exists() or (ROOT / "dev/dxg").exists()


def hardware() -> dict[str, Any]:
    """The machine as far as this process may use it, for the provenance."""
    return {
        "host": platform.node(),
        "cpu": _cpu_model(),
        "cpus": usable_cpus(),
        "memoryBytes": memory_limit(),
        "gpus": _gpus(),
    }


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """The folders of this process's control groups that may limit it, up to the root of what is mounted.

    A container may see its host's path in /proc and only its own group mounted: what is not there is passed over.
    """
    mounts = root / "sys/fs/cgroup"
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        for mount in (mounts / controllers, mounts / controller) if controllers else (mounts, mounts / "unified"):
            group = mount / path.strip("/")
            while group != mount.parent:
                if group.is_dir():
                    yield group
                group = group.parent


def _cpu_quota(group: Path) -> float | None:
    """CPUs that a group may use, None for any number."""
    for line in _lines(group / "cpu.max"):
        share, of = line.split()
        return None if share == "max" else int(share) / int(of)
    quota, period = _number(group, "cpu.cfs_quota_us"), _number(group, "cpu.cfs_period_us")
    return quota / period if quota is not None and period is not None and quota > 0 else None


def _memory_limit(group: Path) -> int | None:
    """Bytes, None for any number; v1 says that with one that is larger than every machine."""
    return _number(group, "memory.max", "memory.limit_in_bytes")


def _file_cache(group: Path) -> int:
    """Bytes of files that the kernel gives up when memory runs short."""
    found = dict(line.split() for line in _lines(group / "memory.stat"))
    return int(found.get("total_inactive_file", found.get("inactive_file", 0)))


def _number(group: Path, *names: str) -> int | None:
    """The number in the first of these files that is there, None for the word max."""
    for name in names:
        for line in _lines(group / name):
            return None if line == "max" else int(line)
    return None


def _meminfo(root: Path, field: str) -> int:
    found = dict(line.split(":", 1) for line in _lines(root / "proc/meminfo"))
    return int(found[field].split()[0]) * 1024


def _cpu_model() -> str:
    names = [line.split(":", 1)[1].strip() for line in _lines(ROOT / "proc/cpuinfo") if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _gpus() -> list[str]:
    folders = sorted((ROOT / "proc/driver/nvidia/gpus").glob("*/information"))
    return [line.split(":", 1)[1].strip() for file in folders for line in _lines(file) if line.startswith("Model:")]


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.is_file() else []
