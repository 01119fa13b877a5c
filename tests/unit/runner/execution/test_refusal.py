"""Where no sandbox can be set up, a run with code is refused before it starts, by name and with the reasons."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

from support.hostile import TASK, rows
from support.suites import Suite

WITHOUT_WALLS = """
import ctypes, struct, sys
from evalrun_runner.execution import kernel

def instruction(code, value, if_true=0, if_false=0):
    return struct.pack("=HBBI", code, if_true, if_false, value)

# As a container does it that knows neither: unshare is refused, and there is no Landlock.
program = [instruction(0x20, 0)]
for number, error in ((272, 1), (444, 38)):
    program += [instruction(0x15, number, 0, 1), instruction(0x06, 0x50000 | error)]
ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)
kernel.set_filter(b"".join([*program, instruction(0x06, 0x7FFF0000)]))
sys.argv = ["evalrun", *sys.argv[1:]]
from evalrun_runner.cli.main import main
sys.exit(main())
"""


def evalrun(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-c", WITHOUT_WALLS, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


def test_a_run_with_code_is_refused_in_preflight_where_there_are_no_walls(tmp_path: Path) -> None:
    Suite(tmp_path / "suite").with_data("rows", rows()).with_task("hostile", data="rows", **TASK)
    benchmark = {"task": "hostile", "allowCode": True, "source": {"path": "suite"}}
    spec = {"model": {"uri": "hf://test/mock"}, "engine": {"mock": {}}, "benchmarks": [benchmark]}
    file = tmp_path / "run.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "evalrun.dev/v1alpha1",
                "kind": "EvalRun",
                "metadata": {"name": "code"},
                "spec": {**spec, "output": {"uri": str(tmp_path / "out")}},
            }
        )
    )
    done = evalrun("run", file)
    assert done.returncode == 2, done.stderr
    assert "code of models runs only in a sandbox, and this machine can set up none" in done.stderr
    assert "namespaces: PermissionError" in done.stderr
    assert "landlock: OSError: Landlock 3 is needed (Linux 6.2), there is none" in done.stderr
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").rglob("plan.json"))
