"""Secrets of a file stay in memory, its ConfigMaps in a folder that does not outlive the next run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from evalrun_runner.cli.scratch import Scratch, sweep

HOLDER = """
import sys
from pathlib import Path
from evalrun_runner.cli.scratch import Scratch
with Scratch(Path(sys.argv[1])) as scratch:
    print(scratch.secrets("Secret", "keys", {"KEY": b"hush-hush"}), flush=True)
    scratch.files("ConfigMap", "suite", {"a.yaml": b"task: a"})
    sys.stdin.read()
"""


def holder(parent: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(parent)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def told(process: subprocess.Popen[str]) -> Path:
    assert process.stdout is not None
    return Path(process.stdout.readline().strip())


def on_disk(parent: Path) -> bytes:
    return b"".join(file.read_bytes() for file in parent.rglob("*") if file.is_file() and not file.is_symlink())


def test_another_process_reads_a_secret_while_its_owner_lives(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        folder = told(process)
        assert (folder / "KEY").read_text() == "hush-hush"
        assert b"hush" not in on_disk(tmp_path)
        process.communicate("")
    assert list(tmp_path.iterdir()) == [], "it removes what it made"


def test_no_secret_stays_after_a_kill_and_the_next_run_removes_the_rest(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        folder = told(process)
        process.kill()
        process.communicate()
    assert not (folder / "KEY").exists(), "it leads to nothing any more"
    assert b"hush" not in on_disk(tmp_path)
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_living_run_is_let_be(tmp_path: Path) -> None:
    with Scratch(tmp_path) as one:
        file = one.files("ConfigMap", "suite", {"a.yaml": b"task: a"}) / "a.yaml"
        with Scratch(tmp_path) as other:
            other.files("ConfigMap", "suite", {"b.yaml": b"task: b"})
        assert file.read_text() == "task: a"


def test_nothing_is_made_for_a_file_without_objects(tmp_path: Path) -> None:
    with Scratch(tmp_path):
        assert list(tmp_path.iterdir()) == []


def test_a_secret_named_twice_is_given_again(tmp_path: Path) -> None:
    with Scratch(tmp_path) as scratch:
        for _ in range(2):
            assert (scratch.secrets("Secret", "keys", {"KEY": b"x"}) / "KEY").read_text() == "x"
