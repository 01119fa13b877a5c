"""Landlock: hold a process to a few folders, without any privilege.

The version of Landlock decides what can be held: from 3 on (Linux 6.2) truncation, without which a program could empty
files that it may only read; from 4 on TCP, from 6 on signals. Sockets and signals are also refused by seccomp.
"""

from __future__ import annotations

import os

from evalrun_runner.execution import kernel

LEAST_VERSION = 3
"""Oldest version that can hold a program by itself."""
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 1 << 1, 1 << 2, 1 << 3
_MAKE_REG, _REFER, _TRUNCATE, _IOCTL_DEV = 1 << 8, 1 << 13, 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
"""Rights that a rule for a file, not a folder, may have."""
_FIRST_VERSION = (1 << 13) - 1
_NETWORK = 3
_SCOPES = 3
READ = _EXECUTE | _READ_FILE | _READ_DIR
"""Reading files and loading libraries."""
DEVICE = _READ_FILE | _WRITE_FILE
WORK = _READ_FILE | _READ_DIR | _WRITE_FILE | _MAKE_REG | _TRUNCATE
"""Making files, not folders, links or devices, and removing nothing: what is written can be counted."""


def restrict(allowed: dict[str, int]) -> None:
    """Refuse every file that is not below one of the paths, and every other process, if the kernel knows Landlock.

    Args:
        allowed: Rights by path; paths that are not there are left out.
    """
    version = kernel.landlock_version()
    if not version:
        return
    rights = _FIRST_VERSION
    rights |= _REFER if version >= 2 else 0
    rights |= _TRUNCATE if version >= 3 else 0
    rights |= _IOCTL_DEV if version >= 5 else 0
    ruleset = kernel.landlock_ruleset(rights, _NETWORK if version >= 4 else 0, _SCOPES if version >= 6 else 0, version)
    for path, wanted in allowed.items():
        try:
            of_files = rights if os.path.isdir(path) else rights & _OF_FILES
            kernel.landlock_allow(ruleset, path, wanted & of_files)
        except FileNotFoundError:
            continue
    kernel.landlock_restrict(ruleset)
