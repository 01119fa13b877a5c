"""What a program can see: the interpreter's own files, a few devices, and its working folder."""

from __future__ import annotations

import os
import sys
import sysconfig

DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
WORK = "/sandbox"
"""A program's working folder where it has a root of its own."""
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")
_FILES = ("/etc/ld.so.cache", "/etc/localtime", "/usr/share/zoneinfo")
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    # The same program has the same verdict again.
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    # Threads of libraries would not survive a fork.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
"""The whole environment of a sandbox: nothing of the runner's own."""


def readable_paths() -> list[str]:
    """Return the paths that a program may read, without those that lie in another one."""
    paths = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    if sys.base_prefix not in ("/usr", "/"):
        paths.add(os.path.join(sys.base_prefix, "lib"))
    found = sorted({path for path in (*paths, *_LIBRARIES, *_FILES) if os.path.exists(path)})
    return [path for path in found if not any(path.startswith(f"{other}/") for other in found)]
