"""Options of the readers of data files: a task's ``dataset_kwargs``, parsed; those without an effect are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from evalrun_runner.benchmarks.suites.data.csv_rows import PANDAS_NULLS, CsvFormat
from evalrun_runner.benchmarks.suites.data.features import NumberStyle
from evalrun_runner.benchmarks.suites.data.opening import TextEncoding
from evalrun_runner.benchmarks.suites.data.text_rows import SampleBy
from evalrun_runner.benchmarks.suites.spelling import near
from evalrun_runner.errors import InputError

_EVERYWHERE = frozenset(
    {
        *("data_files", "data_dir", "features"),
        # These concern downloads, caches and the size of steps. They change nothing of what is read from a file here.
        *("revision", "name", "verification_mode", "chunksize", "cache_dir", "download_mode", "keep_in_memory"),
        *("num_proc", "save_infos", "token", "trust_remote_code"),
    }
)
_OF_TEXT = frozenset({"encoding", "encoding_errors"})
OPTIONS: Mapping[str, frozenset[str]] = {
    "json": _EVERYWHERE | _OF_TEXT | {"field"},
    "csv": _EVERYWHERE
    | _OF_TEXT
    | {
        *("sep", "delimiter", "header", "names", "column_names", "index_col", "usecols", "skiprows", "nrows"),
        *("na_values", "keep_default_na", "na_filter", "quotechar", "quoting", "escapechar", "comment"),
        *("decimal", "thousands", "skipinitialspace"),
    },
    "text": _EVERYWHERE | _OF_TEXT | {"keep_linebreaks", "sample_by"},
    "parquet": _EVERYWHERE | {"columns"},
    "arrow": _EVERYWHERE | {"columns"},
}
"""Keys of ``dataset_kwargs`` that each reader knows."""
_OF_TYPES = frozenset({"dtype", "dtypes", "converters", "parse_dates", "schema"})
_NO_CONVERSION = 0
"""csv.QUOTE_MINIMAL. pandas' value 2 would make csv.reader return floats for what is not quoted."""


def check_options(builder: str, options: Mapping[str, Any]) -> None:
    """Refuse options that the reader does not know.

    Raises:
        InputError: The message names the option, and what to write instead where that is known.
    """
    known = OPTIONS[builder]
    for option in options:
        if option in known:
            continue
        hint = f"expected one of {', '.join(sorted(known - _EVERYWHERE | {'data_files', 'data_dir', 'features'}))}"
        if option in _OF_TYPES:
            hint = "hint: give a column its type by features: {column: {dtype: string}}"
        elif option == "split":
            hint = "hint: name the splits by data_files: {test: file}"
        elif meant := near(option, known):
            hint = f"hint: did you mean {meant}?"
        raise InputError(f"dataset_kwargs.{option}: the reader of {builder} has no such option\n{hint}")


def encoding(options: Mapping[str, Any]) -> TextEncoding:
    """Return how the files are encoded."""
    given = TextEncoding()
    return TextEncoding(str(options.get("encoding") or given.name), str(options.get("encoding_errors") or given.errors))


def number_style(options: Mapping[str, Any]) -> NumberStyle:
    """Return how a CSV writes numbers."""
    thousands = options.get("thousands")
    return NumberStyle(str(options.get("decimal") or "."), None if thousands is None else str(thousands))


def csv_format(options: Mapping[str, Any]) -> CsvFormat:
    """Return how a CSV is laid out.

    Raises:
        InputError: An option has a value that the reader cannot follow.
    """
    names = _names(options, "column_names") or _names(options, "names")
    header = options.get("header", "infer")
    if header == "infer":
        header = None if names else 0
    if not (header is None or (isinstance(header, int) and header >= 0)):
        raise _unfit("header", header, "the number of the row with the names, from 0, or null")
    quoting = options.get("quoting", _NO_CONVERSION)
    if quoting not in (0, 1, 2, 3):
        raise _unfit("quoting", quoting, "0 to 3")
    reader: dict[str, Any] = {
        "quoting": 3 if quoting == 3 else _NO_CONVERSION,
        "skipinitialspace": bool(options.get("skipinitialspace", False)),
        "quotechar": _character(options, "quotechar") or '"',
        "escapechar": _character(options, "escapechar"),
    }
    return CsvFormat(
        delimiter=_character(options, "delimiter") or _character(options, "sep") or ",",
        header=header,
        names=names,
        columns=_columns(options.get("usecols")),
        skipped=_skipped(options.get("skiprows")),
        limit=_count(options, "nrows"),
        comment=_character(options, "comment"),
        nulls=_nulls(options),
        reader=reader,
    )


def text_sampling(options: Mapping[str, Any]) -> SampleBy:
    """Return what makes a row of a text file."""
    by = options.get("sample_by", "line")
    if by not in get_args(SampleBy):
        raise _unfit("sample_by", by, " or ".join(get_args(SampleBy)))
    found: SampleBy = by
    return found


def _nulls(options: Mapping[str, Any]) -> frozenset[str]:
    given = options.get("na_values")
    if isinstance(given, Mapping):
        raise _unfit("na_values", given, "a text or a list of texts")
    nulls = {str(one) for one in (given if isinstance(given, list) else [given]) if one is not None}
    return frozenset(nulls | PANDAS_NULLS if options.get("keep_default_na") is True else nulls)


def _skipped(given: Any) -> int | frozenset[int]:
    if isinstance(given, list) and all(isinstance(one, int) for one in given):
        return frozenset(given)
    if given is None or (isinstance(given, int) and given >= 0):
        return given or 0
    raise _unfit("skiprows", given, "a number of lines, or a list of their numbers from 0")


def _columns(given: Any) -> list[str | int] | None:
    if given is None or (isinstance(given, list) and all(isinstance(one, str | int) for one in given)):
        return given
    raise _unfit("usecols", given, "a list of columns")


def _names(options: Mapping[str, Any], option: str) -> list[str] | None:
    given = options.get(option)
    if given is None or (isinstance(given, list) and given):
        return None if given is None else [str(one) for one in given]
    raise _unfit(option, given, "a list of names")


def _count(options: Mapping[str, Any], option: str) -> int | None:
    given = options.get(option)
    if given is None or (isinstance(given, int) and given >= 0):
        return given
    raise _unfit(option, given, "a number")


def _character(options: Mapping[str, Any], option: str) -> str | None:
    given = options.get(option)
    if given is None or (isinstance(given, str) and len(given) == 1):
        return given
    hint = '; YAML writes a tab as "\\t" in double quotes' if given == "\\t" else ""
    raise _unfit(option, given, f"one character{hint}")


def _unfit(option: str, given: Any, expected: str) -> InputError:
    return InputError(f"dataset_kwargs.{option}: expected {expected}, got {given!r:.60}")
