"""Sandboxes hold for an ordinary user, too: these tests may run as root, and pods never do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from evalrun_runner.execution.walls import Walls
from support.hostile import HOSTILE

CODE = """
import sys
sys.path.insert(0, {tests!r})
from evalrun_runner.errors import EvalRunError
from evalrun_runner.execution.pool import SandboxPool
from evalrun_runner.execution.verdicts import Limits
from evalrun_runner.execution.walls import Walls
from support.hostile import HOSTILE
pool = SandboxPool(Limits(seconds=1.0), size=1, walls=[Walls({walls!r})])
try:
    pool.choose()
except EvalRunError as error:
    print("NOT HERE", error)
    sys.exit()
for name, (program, ends) in HOSTILE.items():
    found = pool.run(program)
    print("RIGHT" if found.cause in ends else "WRONG", name, found)
pool.close()
"""
AS_USER = """
set -e
if [ -n "$1" ]; then
    # The interpreter lies in root's own folder: show a copy of that folder that others may enter, here alone.
    mkdir -p "$2" && mount --bind "$3" "$2" && mount -t tmpfs none "$1" && chmod 755 "$1"
    mkdir -p "$3" && mount --bind "$2" "$3"
fi
shift 3
exec setpriv --reuid 1000 --regid 1000 --clear-groups --no-new-privs --bounding-set -all "$@"
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as an ordinary user already")
@pytest.mark.parametrize("walls", list(Walls))
def test_hostile_programs_end_as_they_should_for_an_ordinary_user(walls: Walls, tmp_path: Path) -> None:
    base = Path(sys.base_prefix)
    closed = [str(one) for one in base.parents if not one.stat().st_mode & 0o001][:1]
    code = CODE.format(tests=str(Path(__file__).parents[3]), walls=walls.value)
    place = [*(closed or [""]), str(tmp_path / "b"), str(base)]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", AS_USER, "sh", *place, sys.executable, "-P", "-c", code],
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
        cwd="/",
        env={"PATH": os.environ["PATH"], "TMPDIR": "/dev/shm"},
    )
    assert done.returncode == 0, done.stderr
    if done.stdout.startswith("NOT HERE"):
        pytest.skip(done.stdout)
    lines = done.stdout.splitlines()
    assert len(lines) == len(HOSTILE)
    assert not [line for line in lines if not line.startswith("RIGHT")]
