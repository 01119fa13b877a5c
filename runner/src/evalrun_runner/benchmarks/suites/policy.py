"""Policy for users' suites: no code, and no data from outside the suite's folder.

Permission to create an EvalRun must not imply permission to run code on the cluster. The rules read the suite's YAML
as text, before anything is loaded. Each rule states what it refuses; a suite that passes all rules contains only data.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import lm_eval.api.metrics  # noqa: F401  # fills the registry of metrics
from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES
from lm_eval.api.registry import metric_registry

from evalrun_runner.benchmarks.code_eval import code_eval_by_name  # noqa: F401  # registers itself as a metric
from evalrun_runner.benchmarks.suites.catalog import yaml_files
from evalrun_runner.benchmarks.suites.data.files import matching_files
from evalrun_runner.benchmarks.suites.spelling import metric_meant
from evalrun_runner.benchmarks.suites.yaml_nodes import YamlSetting, read_settings
from evalrun_runner.errors import InputError

LOCAL_BUILDERS = frozenset({"json", "csv", "parquet", "text", "arrow"})
"""Values of ``dataset_path`` that read files from the suite's folder."""
DATASET_OPTIONS = frozenset(
    {
        *("data_files", "data_dir", "revision", "split", "name", "features", "columns", "field", "encoding"),
        *("encoding_errors", "keep_linebreaks", "sample_by", "delimiter", "sep", "header", "names", "column_names"),
        *("index_col", "usecols", "dtype", "skiprows", "nrows", "na_values", "keep_default_na", "na_filter"),
        *("quotechar", "quoting", "escapechar", "comment", "decimal", "thousands", "skipinitialspace"),
        *("verification_mode", "chunksize"),
    }
)
"""Keys of ``dataset_kwargs`` that only select data and describe its format."""
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_CODE_KEYS = {
    "class": "a Python class",
    "custom_dataset": "a function that makes the data set",
    "process_docs": "a function",
    "process_results": "a function",
    "filter_fn": "a function",
    "use_prompt": "a prompt from another library; write it as doc_to_text",
    "trust_remote_code": "a data set that runs code of its own",
}
"""Keys that mean code wherever they are set, with what each one refers to."""
_DATA_KEYS = frozenset({"samples", "metadata", "mapping_dict", "doc_to_choice", "generation_kwargs"})
"""Keys whose values are data, in which nested keys have no meaning to lm-eval."""
_MOST_SHOWN = 10


def check_suite(folder: Path, *, allow_code: bool) -> None:
    """Refuse a suite that contains code, naming file, line and key, before lm-eval reads any of it.

    Args:
        folder: The suite's resolved folder. All YAML files in it are checked, and the files that they include.
        allow_code: Whether the suite's owner is trusted; then only files that are not YAML are refused.

    Raises:
        InputError: The suite is missing, empty, not YAML, or contains something that is not allowed. Advice to allow
            code is given only where no correction of a misspelt name would do.
    """
    if not folder.is_dir():
        raise InputError(f"the suite {folder} is {'a file' if folder.exists() else 'not there'}: expected a folder")
    files = yaml_files(folder)
    if not files:
        others = sorted(path.name for path in folder.glob("**/*") if path.suffix.lower() in (".yml", ".yaml"))
        hint = f"\nhint: lm-eval reads only *.yaml: rename {', '.join(others[:_MOST_SHOWN])}" if others else ""
        raise InputError(f"the suite {folder} holds no *.yaml file: expected lm-eval task definitions{hint}")
    settings = [setting for file in files for setting in read_settings(file)]
    if allow_code:
        return
    findings = list(_findings(files, settings, folder))
    if findings:
        more = len(findings) - _MOST_SHOWN
        shown = [*(finding.text for finding in findings[:_MOST_SHOWN]), *([f"and {more} more"] if more > 0 else [])]
        raise InputError(
            f"the suite {folder} holds what is not allowed here:\n  "
            + "\n  ".join(shown)
            + ("\nAn administrator can allow code in suites; locally --allow-code does" if _is_code(findings) else "")
        )


@dataclass(frozen=True, slots=True)
class _Finding:
    """One refusal."""

    text: str
    misspelt: bool = False
    """Whether a correction mends it, so that nobody needs to allow code for it."""


def _is_code(findings: list[_Finding]) -> bool:
    return not all(finding.misspelt for finding in findings)


def _findings(files: list[Path], settings: list[YamlSetting], folder: Path) -> Iterator[_Finding]:
    """Yield every refusal in the order of files and lines; included files are read when an include is found."""
    for file in files:
        if not is_within(file, folder):
            yield _Finding(f"{file.relative_to(folder)}: is a link to a file outside the suite's folder")
    seen = set(files)
    pending = list(settings)
    while pending:
        setting = pending.pop(0)
        for rule in RULES:
            if why := rule(setting, folder):
                place = f"{setting.file.relative_to(folder)}:{setting.line}: {'.'.join(setting.path)}"
                yield _Finding(f"{place}: {why}", misspelt=_names_metric(setting) and bool(metric_meant(setting.value)))
        for included in _included(setting):
            if included not in seen and is_within(included, folder) and included.is_file():
                seen.add(included)
                pending += read_settings(included)


def no_tags(setting: YamlSetting, folder: Path) -> str | None:
    """Refuse ``!function`` and every other YAML tag that makes an object."""
    return f"{setting.tag} makes an object by code" if setting.tag else None


def no_code_keys(setting: YamlSetting, folder: Path) -> str | None:
    """Refuse keys that mean code."""
    what = _CODE_KEYS.get(setting.key)
    # A tagged value has no plain value here: no_tags alone reports it.
    return f"stands for {what}" if what and setting.value not in (None, False) and not _in_data(setting) else None


def no_unsafe_metrics(setting: YamlSetting, folder: Path) -> str | None:
    """Refuse metrics whose code comes from a hub. ``code_eval`` is ours, and runs what models write in a sandbox."""
    if _in_data(setting):
        return None
    match setting.key:
        case "hf_evaluate" if setting.value not in (None, False):
            return "loads the metric's code from a hub"
        case "metric" if _names_metric(setting) and not _is_own_metric(setting.value):
            if meant := metric_meant(setting.value):
                return f"{setting.value!r} is no metric of lm-eval's own; did you mean {meant}?"
            return f"{setting.value!r} is no metric of lm-eval's own, and would be loaded as code from a hub"
    return None


def no_custom_filters(setting: YamlSetting, folder: Path) -> str | None:
    """Refuse filters that call a function."""
    if setting.key == "function" and setting.value == "custom" and not _in_data(setting):
        return "the filter 'custom' calls a function"
    return None


def no_foreign_includes(setting: YamlSetting, folder: Path) -> str | None:
    """Refuse includes of YAML outside the folder."""
    outside = [included for included in _included(setting) if not is_within(included, folder)]
    return f"{outside[0]} is outside the suite's folder" if outside else None


def no_foreign_data(setting: YamlSetting, folder: Path) -> str | None:
    """Refuse data sets that are neither local data files nor plain data on a hub."""
    if setting.key != "dataset_path" or setting.value is None or _in_data(setting):
        return None
    name = str(setting.value)
    if name in LOCAL_BUILDERS:
        return None
    if name in _PACKAGED_DATASETS_MODULES or name.endswith(".py") or not _HUB_NAME.fullmatch(name):
        return f"{name!r} is neither one of {', '.join(sorted(LOCAL_BUILDERS))} nor a data set's name on a hub"
    if Path(name).exists():
        return f"{name!r} is a local file or folder here, not a data set's name on a hub; use json with data_files"
    return None


def no_foreign_files(setting: YamlSetting, folder: Path) -> str | None:
    """Refuse data files outside the folder or behind a URL, and options that do more than describe data."""
    if "dataset_kwargs" not in setting.path[:-1] or _in_data(setting):
        return None
    below = setting.path[setting.path.index("dataset_kwargs") + 1 :]
    if below[0] not in DATASET_OPTIONS and below[0] not in _CODE_KEYS:
        return f"the option {below[0]!r} is not known to be harmless"
    if below[0] not in ("data_files", "data_dir"):
        return None
    for file in setting.value if isinstance(setting.value, list) else [setting.value]:
        if file is not None and (why := _why_foreign(str(file), folder)):
            return why
    return None


RULES: tuple[Callable[[YamlSetting, Path], str | None], ...] = (
    no_tags,
    no_code_keys,
    no_unsafe_metrics,
    no_custom_filters,
    no_foreign_includes,
    no_foreign_data,
    no_foreign_files,
)
"""Rules that return why a setting of the suite in a folder is refused, or None."""


def _names_metric(setting: YamlSetting) -> bool:
    return setting.path[-2:] == ("metric_list", "metric")


def _is_own_metric(name: object) -> bool:
    return isinstance(name, str) and name in metric_registry


def _in_data(setting: YamlSetting) -> bool:
    return any(key in _DATA_KEYS for key in setting.path[:-1])


def _included(setting: YamlSetting) -> list[Path]:
    if setting.path != ("include",):
        return []
    names = setting.value if isinstance(setting.value, list) else [setting.value]
    return [setting.file.parent / str(name) for name in names if name is not None]


def _why_foreign(file: str, folder: Path) -> str | None:
    if "://" in file or "::" in file:
        return f"{file!r} is a URL; put the data into the suite's folder"
    if ".." in Path(file).parts:
        return f"{file!r} leaves the suite's folder"
    path = folder / file
    if not is_within(path, folder):
        return f"{file!r} is outside the suite's folder"
    reached = [*matching_files(folder, file), *_below(path)]
    outside = [one for one in reached if not is_within(one, folder)]
    return f"{outside[0].name!r} is a link to a file outside the suite's folder" if outside else None


def _below(folder: Path) -> Iterator[Path]:
    """Yield the files and folders below a folder; links to folders are yielded, not followed."""
    for root, folders, names in os.walk(folder):
        yield from (Path(root, name) for name in [*folders, *names])


def is_within(path: Path, folder: Path) -> bool:
    """Return whether a path, its links followed, lies in a resolved folder."""
    return path.resolve().is_relative_to(folder)
