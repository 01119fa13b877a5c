"""The two ways to wall a program in; both filter system calls and limit resources besides."""

from __future__ import annotations

from enum import StrEnum


class Walls(StrEnum):
    """What keeps a program from files, processes and networks. The first that can be set up is taken."""

    NAMESPACES = "namespaces"
    """A root, a process tree and a network of its own, and Landlock where the kernel knows it."""
    LANDLOCK = "landlock"
    """Landlock alone, as in a restricted pod, where new namespaces are refused."""
