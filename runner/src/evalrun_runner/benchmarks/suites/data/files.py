"""Which files of a suite's folder make which split of a task's data.

A name is taken literally where a file of that name is there: brackets, blanks and stars are characters of names as
well. Else it is a pattern, in which ``*``, ``?`` and ``**`` are wildcards, and ``[...]`` is one if nothing matches it
literally. Hidden files match only patterns that name them.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from datasets.data_files import _get_data_files_patterns
from fsspec.utils import glob_translate  # type: ignore[import-untyped]  # it ships no types

from evalrun_runner.errors import InputError

DEFAULT_SPLIT = "train"
"""Split of files that are given without one, as in ``datasets``."""
EXTENSIONS: Mapping[str, tuple[str, ...]] = {
    "json": (".json", ".jsonl", ".ndjson"),
    "csv": (".csv", ".tsv"),
    "text": (".txt",),
    "parquet": (".parquet", ".pq"),
    "arrow": (".arrow",),
}
"""Extensions by which the files of a ``data_dir`` are chosen; a compressed file may have one more."""
_WILD = re.compile(r"[*?\[]")


def split_files(suite: Path, builder: str, options: Mapping[str, Any]) -> dict[str, list[Path]]:
    """Return the files of each split, in the order of reading.

    Args:
        suite: The suite's folder, to which names are relative.
        builder: The task's ``dataset_path``.
        options: The task's ``dataset_kwargs``.

    Raises:
        InputError: ``data_files`` or ``data_dir`` has no meaning, or no file is there.
    """
    folder = suite
    if (data_dir := options.get("data_dir")) is not None:
        folder = suite / str(data_dir)
        if not folder.is_dir():
            raise InputError(f"its data is missing: the folder {data_dir} (data_dir) is not in {suite}")
    if (given := options.get("data_files")) is not None:
        return {split: _files(folder, names) for split, names in named_files(given).items()}
    if data_dir is None:
        raise InputError("its data is missing: dataset_kwargs has no data_files; expected {split: file}")
    return _by_name(folder, EXTENSIONS[builder])


def named_files(given: Any) -> dict[str, list[str]]:
    """Return the names and patterns of each split that ``data_files`` gives in one of its forms.

    Raises:
        InputError: It has none of the forms.
    """
    if isinstance(given, str):
        return {DEFAULT_SPLIT: [given]}
    if isinstance(given, Mapping) and given:
        return {str(split): _names(f"data_files.{split}", names) for split, names in given.items()}
    if isinstance(given, list) and given and all(isinstance(one, Mapping) for one in given):
        splits: dict[str, list[str]] = {}
        for place, one in enumerate(given):
            if set(one) != {"split", "path"}:
                raise InputError(
                    f"data_files[{place}]: expected the keys split and path, got {', '.join(map(str, one))}"
                )
            if str(one["split"]) in splits:
                raise InputError(f"data_files[{place}]: the split {one['split']!r} stands twice")
            splits[str(one["split"])] = _names(f"data_files[{place}].path", one["path"])
        return splits
    return {DEFAULT_SPLIT: _names("data_files", given)}


def matching_files(folder: Path, name: str) -> list[Path]:
    """Return the files that a name or pattern stands for, sorted by their paths; none if nothing matches."""
    path = PurePosixPath(name)
    base, parts = (Path(path.anchor), list(path.parts[1:])) if path.is_absolute() else (folder, list(path.parts))
    while parts and (base / parts[0]).exists():
        base /= parts.pop(0)
    if not parts:
        return [base] if base.is_file() else []
    pattern = "/".join(parts)
    if not base.is_dir() or not _WILD.search(pattern):
        return []
    there = dict(_below(base))
    for translated in (pattern.replace("[", "[[]"), pattern):
        if found := [there[one] for one in _matches(there, translated)]:
            return found
    return []


def _files(folder: Path, names: Iterable[str]) -> list[Path]:
    files: list[Path] = []
    for name in names:
        found = matching_files(folder, name)
        if not found:
            raise InputError(f"its data is missing: {_missing(folder, name)}")
        files += (file for file in found if file not in files)
    return files


def _missing(folder: Path, name: str) -> str:
    if (folder / name).is_dir():
        return f"{name} is a folder; name its files, for example {name.rstrip('/')}/*"
    if _WILD.search(name):
        return f"no file matches {name} in {folder}"
    near = difflib.get_close_matches(name, [relative for relative, _ in _below(folder)], n=1)
    return f"{name} is not in {folder}" + (f"; did you mean {near[0]}?" if near else "")


def _names(field: str, given: Any) -> list[str]:
    names = given if isinstance(given, list) else [given]
    for name in names:
        if not isinstance(name, str) or not name:
            raise InputError(f"{field}: expected a file's name or a list of names, got {name!r:.60}")
    if not names:
        raise InputError(f"{field}: expected a file's name, got an empty list")
    return names


def _below(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files below a folder by their relative names, sorted; linked folders are not entered."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(root, name)
            if path.is_file():
                yield path.relative_to(folder).as_posix(), path


def _matches(names: Iterable[str], pattern: str) -> list[str]:
    matches: Callable[[str], re.Match[str] | None] = re.compile(glob_translate(pattern)).match
    hidden = _hidden_parts(pattern)
    return sorted(name for name in names if matches(name) and _hidden_parts(name) == hidden)


def _hidden_parts(name: str) -> int:
    return sum(part.startswith((".", "__")) for part in PurePosixPath(name).parts)


def _by_name(folder: Path, extensions: tuple[str, ...]) -> dict[str, list[Path]]:
    """Return a folder's files by the splits that their names tell (``test.csv``, ``dev/1.csv``), as ``datasets``."""
    there = {
        name: path
        for name, path in _below(folder)
        if any(suffix.lower() in extensions for suffix in PurePosixPath(name).suffixes[-2:])
    }

    def resolve(pattern: str) -> list[str]:
        return _matches(there, pattern)

    try:
        patterns: dict[Any, list[str]] = _get_data_files_patterns(resolve)
    except FileNotFoundError:
        raise InputError(f"its data is missing: no file of {folder} ends in {' or '.join(extensions)}") from None
    return {
        str(split): [there[name] for name in dict.fromkeys(name for one in found for name in resolve(one))]
        for split, found in patterns.items()
    }
