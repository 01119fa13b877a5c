"""What a process may use of its machine, read from made-up /proc and /sys."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from evalrun_runner.machine import available_memory, memory_limit, usable_cpus
from support.model_files import write_files

GB = 1 << 30
UNLIMITED_V1 = b"9223372036854771712"


@pytest.fixture(autouse=True)
def _sixteen_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(16)))


def machine(folder: Path, groups: str, files: Mapping[str, str | bytes]) -> Path:
    content = {
        "proc/self/cgroup": groups,
        "proc/meminfo": f"MemTotal: {64 * GB >> 10} kB\nMemAvailable: {48 * GB >> 10} kB\n",
        **{f"sys/fs/cgroup/{name}": data for name, data in files.items()},
    }
    return write_files(
        folder, {name: data.encode() if isinstance(data, str) else data for name, data in content.items()}
    )


def test_a_machine_without_limits_is_fully_usable(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/\n", {"memory.max": "max", "cpu.max": "max 100000", "memory.current": "5"})
    assert usable_cpus(root) == 16
    assert available_memory(root) == 48 * GB
    assert memory_limit(root) == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_a_machine_without_control_groups_is_fully_usable(tmp_path: Path) -> None:
    root = machine(tmp_path, "", {})
    assert (usable_cpus(root), available_memory(root)) == (16, 48 * GB)


def test_affinity_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {3, 5})
    assert usable_cpus(machine(tmp_path, "0::/\n", {"cpu.max": "400000 100000"})) == 2


@pytest.mark.parametrize(("quota", "cpus"), [("400000 100000", 4), ("250000 100000", 2), ("50000 100000", 1)])
def test_a_quota_of_version_two_is_whole_cpus_and_at_least_one(tmp_path: Path, quota: str, cpus: int) -> None:
    assert usable_cpus(machine(tmp_path, "0::/\n", {"cpu.max": quota})) == cpus


def test_memory_of_version_two_excludes_file_caches(tmp_path: Path) -> None:
    files = {
        "memory.max": str(8 * GB),
        "memory.current": str(5 * GB),
        "memory.stat": f"anon {GB}\ninactive_file {3 * GB}\n",
    }
    root = machine(tmp_path, "0::/\n", files)
    assert memory_limit(root) == min(8 * GB, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    assert available_memory(root) == 6 * GB


def test_the_strictest_parent_group_counts(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        "0::/pods/mine\n",
        {"pods/cpu.max": "300000 100000", "pods/mine/cpu.max": "max 100000", "pods/other/cpu.max": "100000 100000"},
    )
    assert usable_cpus(root) == 3


def test_a_container_of_version_one_finds_its_own_group_without_the_hosts_path(tmp_path: Path) -> None:
    groups = "4:memory:/kubepods/burstable/pod1/c\n3:cpu,cpuacct:/kubepods/burstable/pod1/c\n"
    files = {
        "cpu,cpuacct/cpu.cfs_quota_us": "200000",
        "cpu,cpuacct/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": str(4 * GB),
        "memory/memory.usage_in_bytes": str(2 * GB),
        "memory/memory.stat": f"inactive_file 7\ntotal_inactive_file {GB}\n",
    }
    root = machine(tmp_path, groups, files)
    assert usable_cpus(root) == 2
    assert available_memory(root) == 3 * GB


def test_version_one_without_limits(tmp_path: Path) -> None:
    files: Mapping[str, str | bytes] = {
        "cpu/cpu.cfs_quota_us": "-1",
        "cpu/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": UNLIMITED_V1,
        "memory/memory.usage_in_bytes": str(2 * GB),
    }
    root = machine(tmp_path, "4:memory:/\n3:cpu:/\n", files)
    assert (usable_cpus(root), available_memory(root)) == (16, 48 * GB)
