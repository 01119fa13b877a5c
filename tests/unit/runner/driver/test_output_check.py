"""An output that holds other files is refused before anything is written there."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalrun_runner.driver.output_check import check_output
from evalrun_runner.errors import InputError
from evalrun_runner.store.directory import DirectoryStore


@pytest.mark.parametrize(
    "files",
    [
        [],
        [".probe/0a", ".git/config", "lost+found/x"],
        ["plan.json", "notes.txt"],
        ["run.json", "parts/t/00000000.parquet"],
    ],
    ids=["nothing", "hidden files", "a run and notes", "a run without its plan"],
)
def test_empty_outputs_and_those_of_runs_are_taken(tmp_path: Path, files: list[str]) -> None:
    write(tmp_path, files)
    check_output(DirectoryStore(tmp_path))


@pytest.mark.parametrize(
    ("files", "named"),
    [
        (["suite/t.yaml", "suite/d.jsonl"], "(suite/)"),
        (["results.json"], "(results.json)"),
        (["a", "b", "c", "d"], ", …)"),
    ],
)
def test_outputs_with_other_files_are_refused_and_left_alone(tmp_path: Path, files: list[str], named: str) -> None:
    write(tmp_path, files)
    with pytest.raises(InputError, match="holds files that are no run's") as refused:
        check_output(DirectoryStore(tmp_path))
    assert named in str(refused.value)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == sorted(files)


def test_a_folder_that_does_not_exist_is_taken_and_not_made(tmp_path: Path) -> None:
    check_output(DirectoryStore(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def write(folder: Path, files: list[str]) -> None:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
