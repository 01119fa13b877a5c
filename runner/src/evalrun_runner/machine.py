"""Resources of the machine that this process may use: a container's share, not the whole host."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path("/")


def usable_cpus(root: Path = ROOT) -> int:
    """Return the number of usable CPUs, at least 1, by affinity and the quotas of all control groups (v1 and v2)."""
    quotas = [quota for group in _groups("cpu", root) if (quota := _cpu_quota(group)) is not None]
    return max(1, int(min([float(len(os.sched_getaffinity(0))), *quotas])))


def memory_limit(root: Path = ROOT) -> int:
    """Return the usable memory in bytes, limited by the machine and all control groups."""
    limits = [limit for group in _groups("memory", root) if (limit := _memory_limit(group)) is not None]
    return min([os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *limits])


def available_memory(root: Path = ROOT) -> int:
    """Return the memory that can still be allocated, in bytes: free or used as file cache, within all limits."""
    rooms = [_meminfo(root, "MemAvailable")]
    for group in _groups("memory", root):
        limit, used = _memory_limit(group), _number(group, "memory.current", "memory.usage_in_bytes")
        if limit is not None and used is not None:
            rooms.append(limit - used + _file_cache(group))
    return max(0, min(rooms))


def has_gpu() -> bool:
    """Return whether there is an NVIDIA device, without importing torch."""
    return (ROOT / "dev/nvidiactl").exists() or (ROOT / "dev/dxg").exists()


def gpu_count() -> int:
    """Return the number of NVIDIA GPUs that the driver shows to this process, without importing torch."""
    if not has_gpu():
        return 0
    try:
        import pynvml  # comes with vLLM for CUDA
    except ImportError:
        return len(_gpus())
    try:
        pynvml.nvmlInit()
        return int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError:
        return len(_gpus())


def hardware() -> dict[str, Any]:
    """Describe the machine as far as this process may use it, for the provenance."""
    return {
        "host": platform.node(),
        "cpu": _cpu_model(),
        "cpus": usable_cpus(),
        "memoryBytes": memory_limit(),
        "gpus": _gpus(),
    }


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """Yield the folders of this process's control groups, up to the root of the mount.

    A container may see its host's path in /proc but mount only its own group, so missing folders are skipped.
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
    """Return the number of CPUs that a group may use, None for no limit."""
    for line in _lines(group / "cpu.max"):
        share, of = line.split()
        return None if share == "max" else int(share) / int(of)
    quota, period = _number(group, "cpu.cfs_quota_us"), _number(group, "cpu.cfs_period_us")
    return quota / period if quota is not None and period is not None and quota > 0 else None


def _memory_limit(group: Path) -> int | None:
    """Return a group's limit in bytes, None for no limit; in v1, no limit is a number larger than any machine."""
    return _number(group, "memory.max", "memory.limit_in_bytes")


def _file_cache(group: Path) -> int:
    """Return the bytes of cached files that the kernel frees when memory runs low."""
    found = dict(line.split() for line in _lines(group / "memory.stat"))
    return int(found.get("total_inactive_file", found.get("inactive_file", 0)))


def _number(group: Path, *names: str) -> int | None:
    """Return the number in the first of these files that exists, None for the word max."""
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
