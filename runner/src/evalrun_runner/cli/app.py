"""Commands of the command line, as a table of contents; other modules implement them and are imported when called."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
EXIT_CODES = """\b
Exit codes:
  0    succeeded, and every gate passed
  1    the run failed
  2    the input is invalid: nothing was run
  3    a gate failed
  4    a gate is inconclusive
  130  interrupted: what is committed stays
"""
FLAGS_MEANT = {"help": "--help", "version": "--version"}
"""Options that people write as commands."""


class Commands(click.Group):
    """Group of commands that knows what was meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments begin with; see ``click.Group``."""
        if args and args[0] in FLAGS_MEANT and args[0] not in self.commands:
            ctx.fail(f"No such command '{args[0]}'. Did you mean '{FLAGS_MEANT[args[0]]}'?")
        return super().resolve_command(ctx, args)


def _version(_: click.Context) -> str:
    from importlib import metadata

    return f"evalrun {metadata.version('evalrun-runner')}"


@click.group("evalrun", cls=Commands, context_settings=SETTINGS, epilog=EXIT_CODES)
@click.custom_version_option(_version, "--version", help="Show the version, and exit.")
def app() -> None:
    """Evaluate language models: an EvalRun file in, scores out."""


_file = click.Path(allow_dash=True)
_set = click.option(
    "settings",
    "--set",
    multiple=True,
    metavar="PATH=VALUE",
    help="Override a field of the file, e.g. spec.replicas.count=1; may be repeated.",
)
_json = click.option(
    "json_output", "--json", is_flag=True, help="Print the result as JSON, and nothing else on stdout."
)


@app.command(no_args_is_help=True)
@click.argument("file", type=_file, help="The EvalRun file; - for stdin.")
@click.option("--output", metavar="URI", help="Write exactly here: a folder or s3://bucket/prefix/.")
@_set
@click.option("--fresh", is_flag=True, help="Write to a new folder beside the old one, instead of resuming.")
@click.option("--allow-code", is_flag=True, help="Let suites of your own hold code. Run only what you trust.")
@click.option(
    "--port",
    type=int,
    metavar="PORT",
    help="Serve /progress, /healthz and /metrics on this port of 127.0.0.1; 0 takes any.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Check all that needs no engine, show each task's first prompt, choices and right answers, and end.",
)
@_json
@click.pass_obj
def run(driver: Any, /, file: str, json_output: bool, **options: Any) -> int:
    """Run an EvalRun file on this machine. The same command again goes on where it stopped."""
    from evalrun_runner.cli import commands

    return commands.run(file, commands.RunOptions(json=json_output, **options), driver)


@app.command(no_args_is_help=True)
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=_file, help="EvalRun files; - for stdin.")
@_set
@click.option("--cluster", is_flag=True, help="Check also what only a cluster asks for, such as an output on S3.")
@click.option(
    "--tasks",
    is_flag=True,
    help="Load the tasks, too, and show each one's first prompt, choices and right answers; needs no model.",
)
@click.option("--allow-code", is_flag=True, help="With --tasks: let suites of your own hold code.")
def validate(files: tuple[str, ...], settings: tuple[str, ...], cluster: bool, tasks: bool, allow_code: bool) -> int:
    """Check EvalRun files with the rules that the cluster has."""
    # pydantic looks for plugins in the metadata of every installed package, and the contract has none.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from evalrun_runner.cli import validation

    return validation.validate(files, settings, validation.Checks(cluster, tasks, allow_code))


@app.command(no_args_is_help=True)
@click.argument("uri", type=_file, help="A run's output: a folder or s3://bucket/prefix/.")
@_json
def results(uri: str, json_output: bool) -> int:
    """Print the scores of a finished run and the last verdicts of its gates, with the exit code that these have."""
    from evalrun_runner.cli import commands

    return commands.results(uri, json_output=json_output)


COMPARE_EXIT_CODES = """\b
Exit codes:
  0    compared, whatever came of it; with --margin: the second run is not worse by more than the margin
  2    the runs cannot be compared, or were not asked the same
  3    with --margin: worse by more than the margin
  4    with --margin: neither is shown
"""


@app.command(no_args_is_help=True, epilog=COMPARE_EXIT_CODES)
@click.argument(
    "runs",
    nargs=-1,
    required=True,
    metavar="RUN...",
    type=_file,
    help="Outputs of EvalRun (folder or s3://…), results of lm-eval with samples, or a CSV of items and models.",
)
@click.option("--task", "tasks", multiple=True, metavar="NAME", help="Only this task or group; may be repeated.")
@click.option(
    "--metric", metavar="NAME", help="Only this metric, or METRIC,FILTER; default: each task's first decides."
)
@click.option("--only", multiple=True, metavar="MODEL", help="Only this model of the CSV files; may be repeated.")
@click.option("--margin", type=float, metavar="LOSS", help="Loss that is accepted, such as 0.01 for one point.")
@click.option("--confidence", type=float, default=0.95, metavar="SHARE", help="Of intervals and tests; default: 0.95.")
@click.option("--range", metavar="LOW:HIGH", help="Least and greatest possible score; default: 0:1, if all are in it.")
@click.option(
    "--allow-differences", is_flag=True, help="Compare runs that were not asked the same, by their documents."
)
@click.option("--items", type=int, default=5, metavar="N", help="Show so many lost and gained items; default: 5.")
@click.option(
    "--figure",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw the ranks of three runs or more into an SVG file.",
)
@_json
def compare(runs: tuple[str, ...], json_output: bool, **options: Any) -> int:
    """Compare runs item by item: the first is the baseline. Says which is better, by how much, and how sure that is."""
    from evalrun_runner.cli import comparison

    return comparison.compare(runs, comparison.ComparisonOptions(json=json_output, **options))


@app.command(no_args_is_help=True)
@click.option("--items", type=int, metavar="N", help="Number of items: what can they find?")
@click.option("--difference", type=float, metavar="D", help="Difference to find, such as 0.02: how many items?")
@click.option("--margin", type=float, metavar="LOSS", help="Loss that a gate allows (maxRegression): can it pass?")
@click.option("--min", "minimum", type=float, metavar="SCORE", help="Bound of a gate (min): can it pass?")
@click.option("--score", type=float, metavar="SCORE", help="About what the models score; default: 0.8.")
@click.option("--discordant", type=float, metavar="SHARE", help="Items that change between the models; default: usual.")
@click.option("--noise", type=float, default=0.0, metavar="SHARE", help="Items that flip between runs of one model.")
@click.option("--repeats", type=int, default=1, metavar="K", help="Answers of each item in each run; default: 1.")
@click.option("--confidence", type=float, default=0.95, metavar="SHARE", help="Of tests and gates; default: 0.95.")
@click.option("--chance", type=float, default=0.8, metavar="SHARE", help="Of finding or passing; default: 0.8.")
@_json
def power(json_output: bool, **options: Any) -> int:
    """Say how many items find a difference, what so many items can find, and whether a gate can pass at all."""
    from evalrun_runner.cli import power as command

    return command.power(command.PowerOptions(json=json_output, **options))


@app.command(no_args_is_help=True)
@click.argument("uri", type=_file, help="A run's output: a folder or s3://bucket/prefix/.")
@click.option("--baseline", metavar="RUN", help="Output of a finished run to compare with, item by item.")
@click.option("--also", multiple=True, metavar="RUN", help="Show the order of these runs, too; may be repeated.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Write report.html and report.md there; default: beside the results.",
)
def report(uri: str, baseline: str | None, also: tuple[str, ...], output: Path | None) -> None:
    """Make the report of a finished run anew: one HTML page, and Markdown for a pull request."""
    from evalrun_runner.cli.report import report

    report(uri, baseline, output, also)


@app.command(no_args_is_help=True)
@click.argument("uri", type=_file, help="A run's output, also of one that goes on: a folder or s3://bucket/prefix/.")
@click.option("--task", "tasks", multiple=True, metavar="NAME", help="Only items of this task; may be repeated.")
@click.option("--wrong", is_flag=True, help="Only items whose first score is not the best.")
@click.option("--failed", is_flag=True, help="Only items without a score; with --wrong: these, too.")
@click.option("--diff", metavar="RUN", help="Only items with another score in this run's output; shows both answers.")
@click.option("--items", type=int, default=100, metavar="N", help="Show at most so many; default: 100.")
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write one HTML page, instead of to the terminal.",
)
@click.option("--open", is_flag=True, help="Open the page in a browser; without --html it is a temporary file.")
def samples(uri: str, **options: Any) -> None:
    """Show items of a run: prompt, answer, what the filters made of it, the right answer, and why it failed."""
    from evalrun_runner.cli.samples import SamplesOptions
    from evalrun_runner.cli.samples import samples as show

    show(uri, SamplesOptions(**options))


@app.command(no_args_is_help=True)
@click.argument("uri", type=_file, required=False, help="Output of the finished run whose answers are scored.")
@click.option(
    "--answers",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Score answers made elsewhere: a .jsonl file, one object with id and text a line.",
)
@click.option(
    "--suite",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="The suite with the filters, metrics and right answers to score by; default: the run's own.",
)
@click.option("--task", "tasks", multiple=True, metavar="NAME", help="Only this benchmark; may be repeated.")
@click.option("--name", default="answers", metavar="NAME", help="With --answers: what made them; default: answers.")
@click.option("--output", required=True, metavar="URI", help="Write here: a folder or s3://bucket/prefix/.")
@_set
@click.option("--allow-code", is_flag=True, help="Let suites of your own hold code. Run only what you trust.")
@_json
@click.pass_obj
def rescore(driver: Any, /, uri: str | None, json_output: bool, **options: Any) -> int:
    """Score answers that are there already, without a model: a run with its own ledger, results, report and gates."""
    from evalrun_runner.cli.rescoring import RescoreOptions
    from evalrun_runner.cli.rescoring import rescore as score

    return score(uri, RescoreOptions(json=json_output, **options), driver)


@app.command()
@click.argument("pattern", default="", help="Part of a name, or a glob such as 'mmlu_*'; default: all.")
@click.option(
    "--source",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="List a suite of your own instead of lm-eval's tasks.",
)
@click.option("--kind", type=click.Choice(["task", "group", "tag"]), help="List only these.")
def tasks(pattern: str, source: Path | None, kind: str | None) -> None:
    """List the benchmarks that there are: tasks, groups and tags."""
    from evalrun_runner.cli import commands

    commands.tasks(pattern, source, kind)


ORACLE_EXIT_CODES = """\b
Exit codes:
  0    every solution passes
  2    the task is wrong, or this machine can set up no sandbox
  3    a solution does not pass
"""


@app.command(no_args_is_help=True, epilog=ORACLE_EXIT_CODES)
@click.argument("suite", help="A task or group that runs code, such as humaneval or mbpp.")
@click.option("--source", type=click.Path(path_type=Path), metavar="FOLDER", help="Take it from a suite of your own.")
@click.option(
    "--answer", metavar="TEMPLATE", help="The answer as a Jinja template over a document; default: its solution."
)
@click.option("--allow-code", is_flag=True, help="Let the suite hold code. Run only what you trust.")
@_json
def oracle(suite: str, source: Path | None, answer: str | None, allow_code: bool, json_output: bool) -> int:
    """Score the own solutions of a code benchmark as a model's answers: what no model can exceed here."""
    from evalrun_runner.cli import oracle as command

    return command.oracle(suite, source, answer, allow_code=allow_code, json_output=json_output)


@app.group(cls=Commands)
def model() -> None:
    """Bring models to this machine."""


@model.command(no_args_is_help=True)
@click.argument("uri", type=_file, help="hf://org/name, s3://bucket/prefix/, file:///path, or org/name.")
@click.option(
    "--output", type=click.Path(path_type=Path), required=True, metavar="FOLDER", help="The folder to bring it to."
)
@click.option("--revision", metavar="REVISION", help="For hf://: a commit, tag or branch.")
@click.option("--digest", metavar="DIGEST", help="The sha256:… that the files must come to.")
def fetch(uri: str, output: Path, revision: str | None, digest: str | None) -> None:
    """Bring a model to a folder, and verify it."""
    from evalrun_runner.cli import commands

    commands.fetch(uri, output, revision, digest)
