"""A pod's processes, with real ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from evalrun_runner.fleet.draining import VARIABLE, DrainFolder
from evalrun_runner.fleet.processes import Tree, members
from support.seaweed import wait_until

FAMILY = "(setsid sleep 100 & echo $! >away); sh -c 'sleep 200 & echo ready; sleep 300'; exit 7"


def alive(pid: int) -> bool:
    """Whether it is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_ending_a_tree_ends_all_of_its_descendants(tmp_path: Path) -> None:
    """In a process of its own, which adopts orphans as the first one of a container does."""
    script = f"""
import os, pathlib, sys
from evalrun_runner.fleet.processes import Tree, adopt_orphans, members
from support.seaweed import wait_until
adopt_orphans()
tree = Tree(["sh", "-c", {FAMILY!r}], os.environ, pathlib.Path("out"), alone=True)
wait_until(lambda: "ready" in tree.output(), 10, tree.output)
assert tree.exit_code is None
assert len(members(tree._process.pid, os.getpid())) == 5, members(tree._process.pid, os.getpid())
tree.end(1.0)
assert members(tree._process.pid, os.getpid()) == []
assert tree.exit_code == -15
children = pathlib.Path(f"/proc/{{os.getpid()}}/task/{{os.getpid()}}/children").read_text()
assert children == "", f"zombies: {{children}}"
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path, env=environment, timeout=60)
    assert not alive(int((tmp_path / "away").read_text())), "what left the session was an orphan of ours"


def test_ending_a_tree_spares_other_children(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "100"]) as other:
        tree = Tree(["sh", "-c", "sleep 200 & sleep 300"], os.environ, tmp_path / "out", alone=False)
        wait_until(lambda: len(members(tree._process.pid)) == 3, 10, tree.output)
        tree.end(1.0)
        assert members(tree._process.pid) == []
        assert other.poll() is None
        other.kill()


def test_a_process_that_ended_leaves_its_exit_code_and_output(tmp_path: Path) -> None:
    tree = Tree(["sh", "-c", "seq 30; exit 7"], os.environ, tmp_path / "out", alone=False)
    wait_until(lambda: tree.exit_code is not None, 10, tree.output)
    assert (tree.exit_code, tree.output(2)) == (7, "29\n30")
    tree.end(1.0)


def test_a_new_replica_ends_an_earlier_one_that_hangs(tmp_path: Path) -> None:
    with subprocess.Popen(["sh", "-c", "sleep 100 & wait"]) as hung:
        (tmp_path / "replica").write_text(str(hung.pid))
        wait_until(lambda: len(members(None, hung.pid)) == 1, 10, lambda: "no child")
        (child,) = members(None, hung.pid)
        hung.send_signal(signal.SIGSTOP)
        DrainFolder(tmp_path).move_in()
        assert hung.wait(10) == -signal.SIGKILL
        wait_until(lambda: not alive(child), 10, lambda: "its child is still there")
    assert (tmp_path / "replica").read_text() == str(os.getpid())
    DrainFolder(tmp_path).move_in()


def test_a_pod_and_its_replica_communicate_through_a_folder(tmp_path: Path) -> None:
    assert DrainFolder.of({}) is None
    pod, replica = DrainFolder(tmp_path), DrainFolder.of({VARIABLE: str(tmp_path)})
    assert replica is not None
    assert not pod.serving, "a replica that still loads is not waited for"
    with subprocess.Popen(["sleep", "100"]) as process:
        (tmp_path / "serving").write_text(str(process.pid))
        assert pod.serving
        process.kill()
    assert not pod.serving
    replica.serve()
    assert pod.serving
    assert not replica.asked
    pod.ask()
    assert replica.asked
