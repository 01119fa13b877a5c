"""The commands from the outside: exit codes, messages, help."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from evalrun_api import Failure, Phase, Reason, RunResult, Verdict
from evalrun_runner.cli import local_run, main
from evalrun_runner.cli.app import app
from evalrun_runner.cli.commands import exit_code
from evalrun_runner.errors import Interrupted

VALID = {
    "apiVersion": "evalrun.dev/v1alpha1",
    "kind": "EvalRun",
    "metadata": {"name": "r"},
    "spec": {
        "model": {"name": "m", "uri": "hf://org/m"},
        "engine": {"mock": {}},
        "replicas": {"count": 1},
        "benchmarks": [{"task": "a"}],
        "output": {"uri": "out"},
    },
}


@pytest.fixture
def valid(tmp_path: Path) -> str:
    file = tmp_path / "valid.yaml"
    file.write_text(yaml.safe_dump(VALID))
    return str(file)


@pytest.mark.parametrize(
    ("phase", "verdict", "expected"),
    [
        (Phase.SUCCEEDED, None, 0),
        (Phase.SUCCEEDED, Verdict.PASSED, 0),
        (Phase.SUCCEEDED, Verdict.FAILED, 3),
        (Phase.SUCCEEDED, Verdict.INCONCLUSIVE, 4),
        (Phase.FAILED, None, 1),
        (Phase.FAILED, Verdict.FAILED, 1),
        (Phase.FAILED, Verdict.INCONCLUSIVE, 1),
    ],
)
def test_exit_codes(phase: Phase, verdict: Verdict | None, expected: int) -> None:
    assert exit_code(RunResult(phase=phase, verdict=verdict)) == expected


def test_a_failure_says_why_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    failure = Failure(reason=Reason.TOO_MANY_FAILED_ITEMS, message="3 failed items are more than 0")
    assert exit_code(RunResult(phase=Phase.FAILED, failure=failure)) == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "evalrun: 3 failed items are more than 0\n")


def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str, str]:
    """What ``evalrun`` with these arguments ends with and says."""
    monkeypatch.setattr(sys, "argv", ["evalrun", *arguments])
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        signal.signal(signal.SIGINT, handler)
    captured = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, captured.out, captured.err


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return partial(said, capsys, monkeypatch)


def test_every_file_is_checked_and_each_says_what_is_wrong(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, valid: str
) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(yaml.safe_dump({**VALID, "spec": {**VALID["spec"], "replicas": {"count": 0}}}))  # type: ignore[dict-item]
    missing = str(tmp_path / "missing.yaml")
    code, out, err = said(capsys, monkeypatch, "validate", str(wrong), valid, missing)
    assert (code, out) == (2, f"{valid}: valid\n")
    assert "spec.replicas.count" in err
    assert f"{missing}: No such file" in err
    assert said(capsys, monkeypatch, "validate", valid) == (0, f"{valid}: valid\n", "")


def test_the_clusters_rules_are_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, valid: str
) -> None:
    code, out, err = said(capsys, monkeypatch, "validate", "--cluster", valid)
    assert (code, out) == (2, "")
    assert "spec.output.uri" in err
    on_s3 = ("--set", "spec.output.uri=s3://bucket/x")
    assert said(capsys, monkeypatch, "validate", "--cluster", *on_s3, valid)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "FOLDER/missing.yaml"], "missing.yaml: No such file or directory; expected the path of an EvalRun"),
        (
            ["run", "FOLDER/valid.yaml", "--set", "spec.replicas.count"],
            "--set spec.replicas.count: expected PATH=VALUE",
        ),
        (["run", "FOLDER/valid.yaml", "--set", "spec.model.uri=pvc://c/p"], "pvc://c/p is a volume of a cluster"),
        (["run", "FOLDER/valid.yaml", "--output", "gs://bucket/x"], "'gs://bucket/x' is no place a run can write to"),
        (["results", "FOLDER/nothing"], "FOLDER/nothing is not there, or is empty; give the output of a run"),
        (["results", "gs://x"], "'gs://x' is no place"),
    ],
)
def test_an_error_is_one_line_and_a_code(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    valid: str,
    arguments: list[str],
    message: str,
) -> None:
    replaced = [argument.replace("FOLDER", str(tmp_path)) for argument in arguments]
    code, out, err = said(capsys, monkeypatch, *replaced)
    assert (code, out) == (2, "")
    assert err.startswith("evalrun: ")
    assert message.replace("FOLDER", str(tmp_path)) in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_an_invalid_file_says_everything_that_is_wrong(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, valid: str
) -> None:
    settings = ("--set", "spec.replicas.count=0", "--set", "spec.seed=many")
    code, out, err = said(capsys, monkeypatch, "run", valid, *settings)
    assert (code, out) == (2, "")
    assert "spec.replicas.count" in err
    assert "spec.seed" in err


def test_asking_for_results_makes_no_folder(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said(capsys, monkeypatch, "results", str(tmp_path / "nothing"))
    assert list(tmp_path.iterdir()) == []


def test_what_was_meant_is_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for words, meant in (
        (("valdate", "x.yaml"), "Did you mean 'validate'?"),
        (("run", "--frehs", "x.yaml"), "Did you mean --fresh?"),
        (("version",), "Did you mean '--version'?"),
        (("help",), "Did you mean '--help'?"),
        (("model", "fetsch"), "Did you mean 'fetch'?"),
    ):
        code, out, err = said(capsys, monkeypatch, *words)
        assert (code, out) == (2, "")
        assert meant.replace("'", "") in err.replace("'", ""), words


COMMANDS = [[], ["run"], ["validate"], ["results"], ["compare"], ["power"], ["tasks"], ["model"], ["model", "fetch"]]


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_describes_every_command(words: list[str], flag: str) -> None:
    shown = CliRunner().invoke(app, [*words, flag])
    assert shown.exit_code == 0
    assert "Usage: " in shown.output
    assert not {"[default:", "<bool>", "TEXT", "INTEGER"} & set(shown.output.split()), "types of a program's insides"


def test_the_version_is_that_of_the_package() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"evalrun {metadata.version('evalrun-runner')}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_are_given_completion(shell: str) -> None:
    word = "va" if shell == "fish" else "1"
    environment = {"_EVALRUN_COMPLETE": f"{shell}_complete", "COMP_WORDS": "evalrun va", "COMP_CWORD": word}
    shown = CliRunner().invoke(app, [], prog_name="evalrun", env=environment)
    assert "validate" in shown.output


def test_every_parameter_has_its_help() -> None:
    commands = [*app.commands.values(), *app.commands["model"].commands.values()]  # type: ignore[attr-defined]
    for command in commands:
        assert command.help, command.name
        for parameter in command.params:
            assert parameter.help, f"{command.name} {parameter.name}"


class TestRefusals:
    """What programs are given of a run that is refused."""

    @pytest.mark.parametrize(
        ("option", "value", "reason", "message"),
        [
            ("--set", "spec.replicas.count=0", "InvalidSpec", "spec.replicas.count"),
            ("--set", "spec.model.uri=pvc://c/p", "InvalidSpec", "is a volume of a cluster"),
            ("--output", "FOLDER/valid.yaml", "StorageDenied", "choose another output"),
        ],
    )
    def test_a_refused_run_is_a_result_in_json(
        self, command: Command, valid: str, option: str, value: str, reason: str, message: str
    ) -> None:
        code, out, err = command("run", "--json", valid, option, value.replace("FOLDER", str(Path(valid).parent)))
        result = RunResult.from_json(out)
        assert (code, result.phase) == (2, Phase.INVALID)
        assert result.failure is not None
        assert result.failure.reason == reason
        assert message in result.failure.message
        assert message in err

    def test_a_refused_run_leaves_nothing(self, command: Command, tmp_path: Path, valid: str) -> None:
        output = tmp_path / "parent" / "out"
        source = f"spec.benchmarks.0.source={{path: {tmp_path / 'suit'}}}"
        code, _, err = command("run", valid, "--set", source, "--output", str(output))
        assert code == 2
        assert "suit" in err
        assert [file.name for file in tmp_path.iterdir()] == ["valid.yaml"]


class TestSignals:
    """Ctrl-C and SIGTERM while a run goes on."""

    def test_a_run_that_does_not_look_is_interrupted(self) -> None:
        with local_run.signals() as cancellation:
            with pytest.raises(Interrupted, match="stopped; what is committed stays"):
                signal.raise_signal(signal.SIGINT)
            assert cancellation.requested

    def test_a_graceful_run_is_left_to_stop_by_itself(self, capsys: pytest.CaptureFixture[str]) -> None:
        with local_run.signals() as cancellation, cancellation.graceful():
            signal.raise_signal(signal.SIGTERM)
            assert cancellation.requested
        assert "stopping; what is complete is committed first" in capsys.readouterr().err

    def test_the_handlers_of_before_come_back(self) -> None:
        before = signal.getsignal(signal.SIGINT)
        with local_run.signals():
            assert signal.getsignal(signal.SIGINT) is not before
        assert signal.getsignal(signal.SIGINT) is before
