"""The first moments of the command line: what it imports, and what Ctrl-C does there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from support.seaweed import wait_until
from unit.runner.cli.test_commands import VALID

EVALRUN = Path(sys.executable).with_name("evalrun")
HEAVY = {"boto3", "botocore", "datasets", "httpx", "httpx2", "lm_eval", "numpy", "pandas", "pyarrow", "ray", "torch"}
LISTING = """
import json, sys
from evalrun_runner.cli.main import main
try:
    main()
finally:
    print(json.dumps(list(sys.modules)), file=sys.stderr)
"""


@pytest.fixture
def valid(tmp_path: Path) -> str:
    file = tmp_path / "valid.yaml"
    file.write_text(yaml.safe_dump(VALID))
    return str(file)


def imported(*arguments: str) -> set[str]:
    """Top-level modules that a command has imported at its end."""
    done = subprocess.run([sys.executable, "-c", LISTING, *arguments], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stderr.splitlines()[-1])}


def test_help_imports_nothing_but_the_parser() -> None:
    for arguments in (["--help"], ["run", "--help"], ["--version"]):
        assert not imported(*arguments) & (HEAVY | {"pydantic", "yaml", "rich", "evalrun_api"}), arguments


def test_validate_imports_the_contract_alone(valid: str) -> None:
    assert not imported("validate", valid) & (HEAVY | {"rich", "jinja2", "transformers"})


def test_a_module_of_the_users_that_stands_in_for_a_library_is_named(tmp_path: Path, valid: str) -> None:
    (tmp_path / "pydantic.py").write_text("version = 1\n")
    done = evalrun("validate", valid, environment={"PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"evalrun: the module pydantic is taken from {tmp_path}/pydantic.py, not from the ")
    assert done.stderr.count("\n") == 1


def test_output_that_nobody_reads_any_more_is_no_error(valid: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([EVALRUN, "validate", *[valid] * 3], stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


def evalrun(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [str(EVALRUN), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


@pytest.mark.parametrize(
    "arguments", [["run"], ["validate"], ["tasks", "--source"], ["results"], ["model", "fetch", "--output", "x"]],
    ids=" ".join,
)  # fmt: skip
def test_ctrl_c_while_libraries_are_imported_is_quiet(arguments: Sequence[str], tmp_path: Path, valid: str) -> None:
    """A module that never comes stands for slow imports; all that a command needs go through it."""
    (tmp_path / "sitecustomize.py").write_text(SLOW)
    environment = {"PYTHONPATH": str(tmp_path), "MARK": str(tmp_path / "importing")}
    what = valid if arguments[0] in {"run", "validate"} else str(tmp_path)
    assert interrupted([*arguments, what], environment, tmp_path / "importing") == (130, "", "evalrun: interrupted\n")


def test_ctrl_c_while_standard_input_is_awaited_is_quiet(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WAITING)
    environment = {"PYTHONPATH": str(tmp_path), "MARK": str(tmp_path / "reading")}
    ended = interrupted(["validate", "-"], environment, tmp_path / "reading")
    assert ended == (130, "", "evalrun: interrupted\n")


SLOW = """
import os, sys, time
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name in {"pydantic", "evalrun_api"}:
            open(os.environ["MARK"], "w").close()
            time.sleep(60)
if sys.argv[0].endswith("evalrun"):
    sys.meta_path.insert(0, Slow())
"""
WAITING = """
import os, sys
def audit(event, arguments):
    if event == "import" and arguments[0] == "evalrun_runner.cli.files":
        open(os.environ["MARK"], "w").close()
sys.addaudithook(audit)
"""


def interrupted(arguments: Sequence[str], environment: dict[str, str], mark: Path) -> tuple[int, str, str]:
    process = subprocess.Popen(
        [EVALRUN, *arguments],
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(mark.exists, 60.0, lambda: f"{arguments} does not come to its imports")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    return process.returncode, out, err
