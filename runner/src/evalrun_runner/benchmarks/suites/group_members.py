"""Members of a suite's groups: what stands twice in one, and groups that hold each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import yaml


def members(listed: yaml.Node) -> Iterator[yaml.MappingNode]:
    """Yield a group's members that are mappings, and those of the groups among them."""
    for member in listed.value if isinstance(listed, yaml.SequenceNode) else ():
        if isinstance(member, yaml.MappingNode):
            yield member
            for key, value in member.value:
                if key.value == "task":
                    yield from members(value)


def repeated_members(listed: yaml.Node) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of a group's direct members that stand twice."""
    first: dict[str, int] = {}
    for member in listed.value if isinstance(listed, yaml.SequenceNode) else ():
        name = _name(member)
        if name is None:
            continue
        line = member.start_mark.line + 1
        if name in first:
            yield line, f"{name!r} stands twice, first in line {first[name]}; a group has a member once"
        first.setdefault(name, line)


def names_below(listed: yaml.Node) -> Iterator[str]:
    """Yield the names of a group's members, and of the members of groups that it defines itself."""
    if isinstance(listed, yaml.ScalarNode):
        yield str(listed.value)
        return
    for member in listed.value if isinstance(listed, yaml.SequenceNode) else ():
        if (name := _name(member)) is not None:
            yield name
    for mapping in members(listed):
        for key, value in mapping.value:
            if key.value == "task" and isinstance(value, yaml.SequenceNode):
                yield from (name for member in value.value if (name := _name(member)) is not None)


def find_cycle(groups: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return groups of which each holds the next and the last holds the first, the first again at the end.

    Args:
        groups: The names of each group's members.

    Returns:
        The names; empty if no group holds itself.
    """
    done: set[str] = set()
    for start in groups:
        path: list[str] = []
        stack = [(start, iter(groups[start]))] if start not in done else []
        while stack:
            name, rest = stack[-1]
            if len(path) < len(stack):
                path.append(name)
            inner = next(rest, None)
            if inner is None:
                done.add(name)
                stack.pop()
                path.pop()
            elif inner in path:
                return (*path[path.index(inner) :], inner)
            elif inner in groups and inner not in done:
                stack.append((inner, iter(groups[inner])))
    return ()


def _name(member: yaml.Node) -> str | None:
    if isinstance(member, yaml.ScalarNode):
        return str(member.value)
    if not isinstance(member, yaml.MappingNode):
        return None
    keys = {str(key.value): value for key, value in member.value}
    naming = keys.get("group", keys.get("task"))
    return str(naming.value) if isinstance(naming, yaml.ScalarNode) else None
