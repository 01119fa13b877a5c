"""Replicas as processes of this machine, with the mock engine: real processes, from their start to their end."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from evalrun_runner.dispatch.policy import Departure
from evalrun_runner.engine.mock import MockSettings
from evalrun_runner.engine.vllm import VllmSettings
from evalrun_runner.errors import InputError
from evalrun_runner.fleet.local_fleet import LocalFleet, LocalMachine, LocalStart, why_ended
from evalrun_runner.fleet.protocol import Answered, Departed, FleetEvent, Joined, Refused
from evalrun_runner.records.messages import Order
from evalrun_runner.replica.settings import ReplicaSettings
from evalrun_runner.store.open import StoreSpec
from support.seaweed import wait_until

MACHINE = LocalMachine(cpus=3)


def settings(folder: Path, engine: VllmSettings | MockSettings | None = None) -> ReplicaSettings:
    return ReplicaSettings(StoreSpec((folder / "output").as_uri()), engine or MockSettings(), {}, 0)


def events(fleet: LocalFleet, count: int) -> list[FleetEvent]:
    """Wait for so many events."""
    found: list[FleetEvent] = []

    def enough() -> bool:
        found.extend(fleet.poll(0.1))
        return len(found) >= count

    wait_until(enough, 120, lambda: f"only {found}")
    return found


def joined(fleet: LocalFleet) -> Joined:
    """Wait until a replica has joined."""
    (event,) = events(fleet, 1)
    assert isinstance(event, Joined)
    return event


def departed(fleet: LocalFleet) -> Departed:
    """Wait until a replica has departed."""
    (event,) = events(fleet, 1)
    assert isinstance(event, Departed)
    return event


def pid_of(event: Joined) -> int:
    """The process of a replica that has joined."""
    return int(str(event.facts["pid"]))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_replica_joins_and_answers_and_ends_with_its_fleet(tmp_path: Path) -> None:
    with LocalStart(1, MockSettings(), tmp_path, MACHINE) as start:
        fleet = start.fleet(settings(tmp_path), writer="e1")
        assert fleet.size == 1
        event = joined(fleet)
        assert event.replica == "e1-r0"
        fleet.send("e1-r0", Order(), 0.0)
        (answered,) = events(fleet, 1)
        assert isinstance(answered, Answered)
        assert answered.report.wants > 0
        assert alive(pid_of(event))
        fleet.shutdown()
        assert not alive(pid_of(event))
        assert fleet.size == 0


def test_a_run_that_is_refused_leaves_no_process(tmp_path: Path) -> None:
    with LocalStart(2, MockSettings(), tmp_path, MACHINE) as start:
        pids = [member.process.pid for member in start.launched]
        assert len(pids) == 2
        assert all(map(alive, pids))
    assert not any(map(alive, pids))


def test_the_checks_of_a_run_keep_a_cpu_and_the_other_replicas_start_with_the_fleet(tmp_path: Path) -> None:
    with LocalStart(3, MockSettings(), tmp_path, LocalMachine(cpus=2)) as start:
        assert len(start.launched) == 1
        fleet = start.fleet(settings(tmp_path), writer="e1")
        assert fleet.size == 3


def test_a_killed_replica_departs_and_its_slot_is_free_for_another(tmp_path: Path) -> None:
    with LocalStart(1, MockSettings(), tmp_path, MACHINE) as start:
        fleet = start.fleet(settings(tmp_path), writer="e1")
        event = joined(fleet)
        fleet.add()
        assert fleet.size == 1, "every slot is taken"
        os.kill(pid_of(event), signal.SIGKILL)
        gone = departed(fleet)
        assert (gone.departure, gone.before_joining, gone.unstarted) == (Departure.CRASHED, False, False)
        assert gone.detail == "its process was killed by SIGKILL, as by a machine that is out of memory"
        fleet.add()
        assert joined(fleet).replica == "e1-r1"


def test_a_stopped_replica_that_the_driver_kills_was_hung(tmp_path: Path) -> None:
    with LocalStart(1, MockSettings(), tmp_path, MACHINE) as start:
        fleet = start.fleet(settings(tmp_path), writer="e1")
        os.kill(pid_of(joined(fleet)), signal.SIGSTOP)
        fleet.kill("e1-r0")
        assert departed(fleet).departure is Departure.KILLED_HUNG


def exits(folder: Path) -> None:
    """Write a start-up file that ends each Python process of a replica."""
    lines = [
        "import sys",
        "if 'evalrun_runner.fleet.replica_process' in sys.orig_argv:",
        "    print('this machine takes no second process', file=sys.stderr, flush=True)",
        "    import os",
        "    os._exit(9)",
    ]
    (folder / "sitecustomize.py").write_text("\n".join(lines))


def hides_the_package(folder: Path) -> None:
    """Write a package before the real one, which cannot be imported."""
    (folder / "evalrun_api").mkdir()
    (folder / "evalrun_api" / "__init__.py").write_text("raise ImportError('the wrong evalrun_api')")


@pytest.mark.parametrize(
    ("breaks", "expected"),
    [
        (exits, "exit code 9: this machine takes no second process"),
        (hides_the_package, "exit code 1: ImportError: the wrong evalrun_api"),
    ],
)
def test_a_process_that_cannot_start_departs_unstarted_with_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaks: Callable[[Path], None], expected: str
) -> None:
    place = tmp_path / "path"
    place.mkdir()
    breaks(place)
    monkeypatch.setenv("PYTHONPATH", str(place))
    with LocalStart(1, MockSettings(), tmp_path, MACHINE) as start:
        gone = departed(start.fleet(settings(tmp_path), writer="e1"))
    assert gone.unstarted
    assert gone.before_joining
    assert expected in gone.detail
    assert expected.partition(": ")[2] in gone.output


def test_an_engine_whose_library_cannot_be_imported_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "path" / "vllm").mkdir(parents=True)
    (tmp_path / "path" / "vllm" / "__init__.py").write_text("raise ImportError('libcudart.so.13 is missing')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    engine = VllmSettings(tmp_path / "model", 0)
    with LocalStart(1, engine, tmp_path, MACHINE) as start:
        (refused,) = events(start.fleet(settings(tmp_path, engine), writer="e1"), 1)
    assert isinstance(refused, Refused)
    assert "vLLM cannot be imported here: ImportError: libcudart.so.13 is missing" in str(refused.error)
    assert refused.error.exit_code == 1


def test_too_few_gpus_are_found_before_a_process_starts(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs 4 GPUs, this machine has 1"):
        LocalStart(2, MockSettings(), tmp_path, LocalMachine(8, ("0",)), gpus_per_replica=2)
    assert not list(tmp_path.iterdir())


def test_a_replica_sees_the_gpus_of_its_slot_alone(tmp_path: Path) -> None:
    with LocalStart(2, MockSettings(), tmp_path, LocalMachine(8, ("5", "6", "7")), gpus_per_replica=1) as start:
        fleet = start.fleet(settings(tmp_path), writer="e1")
        seen = [variables(pid_of(event)) for event in sorted(events(fleet, 2), key=str) if isinstance(event, Joined)]
    assert [{variable for variable in one if b"VISIBLE" in variable} for one in seen] == [
        {b"CUDA_VISIBLE_DEVICES=5"},
        {b"CUDA_VISIBLE_DEVICES=6"},
    ]


def variables(pid: int) -> list[bytes]:
    """The environment with which a process was started."""
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


def test_a_replica_runs_in_the_interpreter_of_its_driver(tmp_path: Path) -> None:
    with LocalStart(1, MockSettings(), tmp_path, MACHINE) as start:
        event = joined(start.fleet(settings(tmp_path), writer="e1"))
        command = Path(f"/proc/{pid_of(event)}/cmdline").read_bytes().split(b"\0")
    assert command[:3] == [sys.executable.encode(), b"-P", b"-m"]


@pytest.mark.parametrize(
    ("code", "output", "expected"),
    [
        (0, "", "its process ended with exit code 0"),
        (3, "Traceback\n  x\nValueError: no device", "its process ended with exit code 3: ValueError: no device"),
        (-signal.SIGSEGV, "", "its process was killed by SIGSEGV"),
    ],
)
def test_the_end_of_a_process_is_said_in_words(code: int, output: str, expected: str) -> None:
    assert why_ended(code, output) == expected
