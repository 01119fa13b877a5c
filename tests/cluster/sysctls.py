"""Machine settings that a kubelet changes: saved before the first cluster, restored after the last."""

from __future__ import annotations

import json
from pathlib import Path

from cluster.binaries import cache

_NAMES = (
    "vm/overcommit_memory",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)


def _notes() -> Path:
    return cache() / "sysctls.json"


def note() -> None:
    """Save the machine's settings, unless a cluster is up and they are saved already."""
    if not _notes().exists():
        values = {name: _file(name).read_text().strip() for name in _NAMES if _file(name).exists()}
        cache().mkdir(parents=True, exist_ok=True)
        _notes().write_text(json.dumps(values))


def restore() -> None:
    """Restore what was saved."""
    if _notes().exists():
        for name, value in json.loads(_notes().read_text()).items():
            if _file(name).read_text().strip() != value:
                _file(name).write_text(value)
        _notes().unlink()


def _file(name: str) -> Path:
    return Path("/proc/sys") / name
