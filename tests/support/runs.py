"""Whole runs as real processes: `evalrun run` on a suite of the mock engine's, with its processes in sight.

A run is started in a session of its own (setsid), so that everything it started can be found and ended: the replicas
and their scoring processes, also after the driver's death.

As a script, ``-m support.runs SETTINGS run FILE …`` is the command line with other patience. SETTINGS is JSON:
``policy`` for fields of ``DispatchPolicy``, ``options`` for fields of the driver's ``Options``.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import yaml

from evalrun_api import RunProgress
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.store.directory import DirectoryStore
from support.builders import read_items
from support.seaweed import wait_until

EVALRUN = Path(sys.executable).with_name("evalrun")
END_SECONDS = 180.0
"""For a run to end, on a busy machine."""
_URL = re.compile(r"progress and metrics on (http://\S+)")

SUMS, CHOICES = 96, 64
"""Items of the usual suite: chunks of eight sums or so, and one of 64 choices."""
HELD_EVERY = 32
"""Every so many of the sums waits at the gate."""


STARTED = "mock replicas on CPU"
"""Line on stderr of a run that starts replicas; a status line speaks of replicas in any run that takes long enough."""


def write_suite(folder: Path, questions: Sequence[str], choices: int = 0) -> Path:
    """A suite of the task ``sums`` (generated answers) with these questions, and of ``choices`` (a letter) if any."""
    folder.mkdir(parents=True)
    _write_task(
        folder,
        "sums",
        [{"question": question, "answer": str(n % 20)} for n, question in enumerate(questions)],
        {
            "output_type": "generate_until",
            "doc_to_text": "Question: {{question}}\nAnswer:",
            "doc_to_target": "{{answer}}",
            "generation_kwargs": {"until": ["Question:"], "do_sample": False, "max_gen_toks": 256},
            "filter_list": [
                {
                    "name": "number",
                    "filter": [{"function": "regex", "regex_pattern": "is (\\d+)"}, {"function": "take_first"}],
                }
            ],
            "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        },
    )
    if choices:
        _write_task(
            folder,
            "choices",
            [{"question": f"Which letter has the number {n}?", "answer": n % 4} for n in range(choices)],
            {
                "output_type": "multiple_choice",
                "doc_to_text": "{{question}}\nAnswer:",
                "doc_to_choice": ["A", "B", "C", "D"],
                "doc_to_target": "answer",
                "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
            },
        )
    return folder


def _write_task(folder: Path, name: str, rows: Sequence[Mapping[str, Any]], config: Mapping[str, Any]) -> None:
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    whole = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": f"{name}.jsonl"}},
        "test_split": "test",
        **config,
        "metadata": {"version": 1.0},
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(whole, sort_keys=False))


def write_run(file: Path, suite: Path, *further: Mapping[str, Any], **spec: Any) -> Path:
    """An EvalRun file on every task of the suite, two mock replicas.

    ``further``: ConfigMaps and Secrets beside it; ``spec``: fields of the spec that replace the usual ones.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    tasks = sorted(task.stem for task in suite.glob("*.yaml"))
    run = {
        "apiVersion": "evalrun.dev/v1alpha1",
        "kind": "EvalRun",
        "metadata": {"name": "faults"},
        "spec": {
            "model": {"name": "mock", "uri": "hf://test/mock"},
            "engine": {"mock": {}},
            "replicas": {"count": 2},
            "benchmarks": [{"task": task, "source": {"path": str(suite)}} for task in tasks],
            "output": {"uri": str(file.with_suffix(".output"))},
            **spec,
        },
    }
    file.write_text(yaml.safe_dump_all([run, *further], sort_keys=False))
    return file


@dataclass(frozen=True, slots=True)
class Process:
    """A living process of a run."""

    pid: int
    title: str

    @property
    def is_replica(self) -> bool:
        """Whether it runs a replica."""
        return "evalrun_runner.fleet.replica_process" in self.title


class Run:
    """``evalrun`` with these arguments as a process. On exit from the context everything it started is ended."""

    def __init__(
        self,
        folder: Path,
        arguments: Sequence[object],
        *,
        settings: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """``folder`` takes stdout and stderr; ``settings`` are those of this module as a script."""
        folder.mkdir(parents=True, exist_ok=True)
        number = len(list(folder.glob("*.out")))
        self._out, self._err = folder / f"{number}.out", folder / f"{number}.err"
        command = [str(EVALRUN)] if settings is None else [sys.executable, "-m", "support.runs", json.dumps(settings)]
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [*command, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **(environment or {})},
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pid in [self.process.pid, *(process.pid for process in self.processes())]:
            _kill(pid)
        self.process.wait()

    @property
    def stdout(self) -> str:
        """What it has printed so far."""
        return self._out.read_text()

    @property
    def stderr(self) -> str:
        """What it has said so far."""
        return self._err.read_text()

    def ended(self, timeout: float = END_SECONDS) -> int:
        """Wait for its end; the exit code."""
        self.until(lambda: self.process.poll() is not None, "the run to end", timeout, or_ended=True)
        return self.process.wait()

    def until(
        self, condition: Callable[[], object], what: str, timeout: float = END_SECONDS, *, or_ended: bool = False
    ) -> None:
        """Wait for a condition while the run goes on; says what it waited for if it does not come."""

        def met() -> bool:
            over = self.process.poll() is not None
            if condition():
                return True
            if over and not or_ended:
                raise AssertionError(f"the run ended ({self.process.returncode}) before {what}:\n{self.stderr}")
            return False

        wait_until(met, timeout, lambda: f"waited {timeout:g} s for {what}:\n{self.stderr}")

    def signal(self, number: int) -> None:
        """Send a signal to the driver."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL to the driver alone, as the OOM killer would."""
        self.process.kill()
        self.process.wait()

    @property
    def url(self) -> str:
        """Where it serves its progress (needs ``--port``)."""
        self.until(lambda: _URL.search(self.stderr), "the address of /progress")
        found = _URL.search(self.stderr)
        assert found
        return found[1]

    def get(self, path: str) -> str:
        """The body of a page of its endpoint."""
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            body: str = answer.read().decode()
            return body

    def progress(self) -> RunProgress:
        """``/progress``."""
        return RunProgress.from_json(self.get("/progress"))

    def processes(self) -> list[Process]:
        """What is alive of all it started, itself included."""
        return [process for process in map(_process, _pids(self.process.pid)) if process is not None]

    def replicas(self) -> list[Process]:
        """Its replicas that are alive."""
        return [process for process in self.processes() if process.is_replica]


def parts(output: Path) -> dict[str, bytes]:
    """The committed parts in a folder, by key."""
    return {str(file.relative_to(output)): file.read_bytes() for file in sorted(output.glob("parts/*/*.parquet"))}


def results_in(data: bytes) -> dict[str, Any]:
    """What two runs of one plan have in common in ``results.json``: all but the time."""
    results: dict[str, Any] = json.loads(data)
    assert results.pop("date") > 0
    return results


def damage(file: Path) -> bytes:
    """Flip a byte in the middle of a file; returns what it held."""
    data = file.read_bytes()
    place = len(data) // 2
    file.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
    return data


@dataclass(frozen=True, slots=True)
class Ground:
    """What runs are compared with: a suite with a gate in it, and what it comes to when nothing disturbs.

    While the gate is closed a few items wait inside the engine, so that a run stops in its middle: all chunks without
    such an item are committed, all others are in flight.
    """

    suite: Path
    gate: Path
    output: Path
    """Of the undisturbed run."""
    planned: int
    held_chunks: int
    held_items: int
    """All items of the chunks that cannot be committed while the gate is closed."""

    @property
    def free_items(self) -> int:
        """Items that are committed while the gate is closed."""
        return self.planned - self.held_items

    @property
    def results(self) -> dict[str, Any]:
        """``results.json`` of the undisturbed run, as ``results_in`` has it."""
        return results_in((self.output / "results.json").read_bytes())

    @property
    def parts(self) -> set[str]:
        """The keys of all parts."""
        return set(parts(self.output))

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Close the gate; it is open again at the end at the latest."""
        self.gate.touch()
        try:
            yield
        finally:
            self.open()

    def open(self) -> None:
        """Let everything through."""
        self.gate.unlink(missing_ok=True)

    def reached(self, run: Run) -> None:
        """Wait until a run (with ``--port``) stands at the closed gate."""
        run.until(lambda: self.stands(run.progress()), f"two replicas, and {self.free_items} items committed")

    def stands(self, shown: RunProgress) -> bool:
        """Whether ``/progress`` shows a run at the gate."""
        return (shown.counts.ok, shown.replicas_ready) == (self.free_items, 2)


def make_ground(factory: pytest.TempPathFactory) -> Ground:
    """The ground of this session's tests; its undisturbed run is made once."""
    base = factory.getbasetemp() / "ground"
    suite, gate, output = base / "suite", base / "gate", base / "output"
    if not (output / "COMPLETE").exists():
        word = f" [mock:hold:{gate}]"
        sums = [f"What is {n} and {n}?{word if n % HELD_EVERY == 0 else ''}" for n in range(SUMS)]
        write_suite(suite, sums, CHOICES)
        with Run(base / "undisturbed", ["run", write_run(base / "run.yaml", suite), "--output", output]) as run:
            assert run.ended() == 0, run.stderr
    ledger = Ledger(DirectoryStore(output))
    chunks = ledger.read_segment("sums", 0).chunks
    waiting = [chunk for chunk in chunks if any("[mock:hold:" in str(i.doc) for i in read_items(ledger, chunk))]
    held = sum(chunk.items for chunk in waiting)
    assert 0 < held < SUMS, "the gate holds some chunks of the sums, not all"
    return Ground(suite, gate, output, SUMS + CHOICES, len(waiting), held)


def _pids(session: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(entry.name))
    return found


def _process(pid: int) -> Process | None:
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Process(pid, title)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it has ended by itself


def _main() -> None:
    from evalrun_runner.cli import main
    from evalrun_runner.dispatch.policy import DispatchPolicy
    from evalrun_runner.driver.assembly import DriverOptions

    settings = json.loads(sys.argv.pop(1))
    policy = DispatchPolicy(**settings.get("policy", {}))
    main(DriverOptions(policy=policy, **settings.get("options", {})))


if __name__ == "__main__":
    _main()
