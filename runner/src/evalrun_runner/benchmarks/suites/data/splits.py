"""A suite's data as lm-eval wants it: a ``DatasetDict`` whose documents hold what stands in the files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
from datasets.table import InMemoryTable

from evalrun_runner.benchmarks.suites.data.arrow_rows import read_arrow, read_parquet
from evalrun_runner.benchmarks.suites.data.batches import DataBatch
from evalrun_runner.benchmarks.suites.data.csv_rows import read_csv
from evalrun_runner.benchmarks.suites.data.features import ColumnType, column_types
from evalrun_runner.benchmarks.suites.data.files import named_files, split_files
from evalrun_runner.benchmarks.suites.data.json_rows import TEXT_COLUMN, read_json
from evalrun_runner.benchmarks.suites.data.meaning import check_templates, index_column, named_columns
from evalrun_runner.benchmarks.suites.data.opening import naming_damage, open_members, open_text
from evalrun_runner.benchmarks.suites.data.options import (
    check_options,
    csv_format,
    encoding,
    number_style,
    text_sampling,
)
from evalrun_runner.benchmarks.suites.data.tables import LARGE_BYTES, DataTable, FirstSeen, make_table
from evalrun_runner.benchmarks.suites.data.text_rows import read_text
from evalrun_runner.benchmarks.suites.spelling import suggestion
from evalrun_runner.errors import InputError

READERS_VERSION = 1
"""Part of every fingerprint; raised when a reader makes other documents of the same file."""
_SPLITS = ("training_split", "validation_split", "test_split", "fewshot_split")


def is_local(options: Mapping[str, Any]) -> bool:
    """Return whether all data files are local ones, which this room reads; a trusted suite may name URLs."""
    given = options.get("data_files")
    names = [] if given is None else [name for names in named_files(given).values() for name in names]
    return not any("://" in name or "::" in name for name in names)


def read_splits(suite: Path, config: Mapping[str, Any]) -> datasets.DatasetDict:
    """Read the data files of a task.

    Args:
        suite: The suite's folder.
        config: The task's configuration; ``dataset_path`` is one of the local builders.

    Raises:
        InputError: A file is missing, damaged, or not of its format; a value has not the type that the task gives; two
            splits differ in the type of a column that the task uses; or a template calculates with text.
    """
    builder, options = str(config["dataset_path"]), config.get("dataset_kwargs") or {}
    check_options(builder, options)
    files = split_files(suite, builder, options)
    _check_names(config, files)
    types = column_types(options.get("features"), number_style(options))
    tables = {
        split: make_table(_batches(builder, options, types, paths), types, large=_size(paths) > LARGE_BYTES)
        for split, paths in files.items()
    }
    _check_filled(config, tables, files)
    _check_features(types, tables)
    if builder == "csv":
        if (index := index_column(config, tables)) is not None:
            whole = ColumnType(datasets.Value("int64"))
            tables = {split: _cast(table, index, whole) for split, table in tables.items()}
        check_templates(config, tables)
    _check_types(config, tables)
    return datasets.DatasetDict(
        {split: _dataset(table, builder, options, files[split]) for split, table in tables.items()}
    )


def _batches(
    builder: str, options: Mapping[str, Any], types: Mapping[str, ColumnType], files: list[Path]
) -> Iterator[DataBatch]:
    for file in files:
        with naming_damage(file):
            if builder == "parquet":
                yield from read_parquet(file, options.get("columns"))
            elif builder == "arrow":
                yield from read_arrow(file, options.get("columns"))
            else:
                yield from _text_batches(builder, options, types, file)


def _text_batches(
    builder: str, options: Mapping[str, Any], types: Mapping[str, ColumnType], file: Path
) -> Iterator[DataBatch]:
    for name, stream in open_members(file):
        if builder == "json":
            yield from read_json(name, stream, encoding(options), options.get("field"))
            continue
        with open_text(name, stream, encoding(options), None if builder == "text" else "") as text:
            if builder == "csv":
                yield from read_csv(name, text, csv_format(options))
            else:
                column = next(iter(types), TEXT_COLUMN)
                keep = bool(options.get("keep_linebreaks", False))
                yield from read_text(name, text, column, text_sampling(options), keep_linebreaks=keep)


def _check_names(config: Mapping[str, Any], files: Mapping[str, list[Path]]) -> None:
    for field in _SPLITS:
        name = config.get(field)
        if name is not None and name not in files:
            raise InputError(
                f"{field}: there is no field or split {name!r} in data_files; {suggestion(str(name), files)}"
            )


def _check_filled(config: Mapping[str, Any], tables: Mapping[str, DataTable], files: Mapping[str, list[Path]]) -> None:
    for field in _SPLITS:
        name = config.get(field)
        if name is not None and not tables[name].table.num_rows:
            paths = ", ".join(path.name for path in files[name])
            raise InputError(f"its data set is empty: {paths} ({field}: {name}) has no rows")


def _check_features(types: Mapping[str, ColumnType], tables: Mapping[str, DataTable]) -> None:
    columns = {name for table in tables.values() for name in table.features}
    for name in types:
        if name not in columns:
            raise InputError(f"features.{name}: no data file has this column; {suggestion(name, columns)}")


def _check_types(config: Mapping[str, Any], tables: Mapping[str, DataTable]) -> None:
    """Refuse splits that hold a column in two types, if the task uses it: one of the two files is not what it seems."""
    named = named_columns(config, {name for table in tables.values() for name in table.kinds})
    for (_, one), (_, other) in combinations(tables.items(), 2):
        for name in sorted(named & one.kinds.keys() & other.kinds.keys()):
            first, second = one.seen[name], other.seen[name]
            if first and second and not first.keys() & second.keys():
                raise InputError(
                    f"its data cannot be read: the column {name!r} has two types: {_told(first)}, {_told(second)}\n"
                    f"hint: write both alike, or dataset_kwargs: {{features: {{{name}: string}}}}"
                )


def _told(seen: Mapping[str, FirstSeen]) -> str:
    kind, first = next(iter(seen.items()))
    return f"{first.file}, row {first.row}, holds {kind} ({first.value!r:.60})"


def _cast(table: DataTable, name: str, to: ColumnType) -> DataTable:
    place = table.table.schema.get_field_index(name)
    if place < 0:
        return table
    cells = table.table.column(name)
    stored = [to.store(name, "", range(1, len(chunk) + 1), chunk) for chunk in cells.chunks]
    column = pa.chunked_array(stored, type=to.arrow)
    features = datasets.Features({**table.features, name: to.feature})
    kinds = {key: kind for key, kind in table.kinds.items() if key != name}
    return DataTable(table.table.set_column(place, name, column), features, kinds, table.seen)


def _dataset(table: DataTable, builder: str, options: Mapping[str, Any], files: list[Path]) -> datasets.Dataset:
    plain = {key: value for key, value in options.items() if key not in ("data_files", "data_dir")}
    digest = hashlib.sha256(json.dumps([READERS_VERSION, builder, plain], sort_keys=True, default=str).encode())
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return datasets.Dataset(
        InMemoryTable(table.table),
        info=datasets.DatasetInfo(features=table.features),
        # As long as those that datasets makes.
        fingerprint=digest.hexdigest()[:16],
    )


def _size(files: list[Path]) -> int:
    return sum(file.stat().st_size for file in files)
