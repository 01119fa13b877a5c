"""Commands of the command line, as a table of contents; ``commands`` implements them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evalrun_api.reading.problems import InvalidInput
from evalrun_runner.cli import commands
from evalrun_runner.errors import EvalRunError, InputError

if TYPE_CHECKING:
    from evalrun_runner.driver.assembly import DriverOptions

app = typer.Typer(
    name="evalrun",
    help="Evaluate language models: an EvalRun file in, scores out.",
    epilog="Exit codes: 0 succeeded, every gate passed; 1 the run failed; 2 the input is invalid; 3 a gate failed; "
    "4 a gate is inconclusive; 130 interrupted (what is committed stays).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
model = typer.Typer(help="Models: bring one to this machine.", no_args_is_help=True)
app.add_typer(model, name="model")

Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Override a field, e.g. spec.replicas.count=1; may be repeated."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else on stdout.")]


@app.command()
def run(  # noqa: PLR0913, PLR0917 (one parameter an option)
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="The EvalRun file; - for stdin.")],
    output: Annotated[str | None, typer.Option(help="Write exactly here: a folder or s3://bucket/prefix/.")] = None,
    settings: Set = None,
    fresh: Annotated[
        bool, typer.Option("--fresh/--resume", help="Write to a new folder beside the old one instead of resuming.")
    ] = False,
    allow_code: Annotated[
        bool, typer.Option(help="Let suites of your own hold code. Run only what you trust.")
    ] = False,
    port: Annotated[
        int | None, typer.Option(help="Serve /progress, /healthz and /metrics on this port of 127.0.0.1; 0 takes any.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Run an EvalRun file on this machine. The same command again goes on where it stopped."""
    options = commands.RunOptions(output, tuple(settings or ()), fresh, allow_code, port, json_output)
    raise typer.Exit(commands.run(file, options, context.obj))


@app.command()
def validate(
    files: Annotated[list[str], typer.Argument(help="EvalRun files; - for stdin.")],
    settings: Set = None,
    cluster: Annotated[bool, typer.Option(help="Also what only a cluster asks for, such as an output on S3.")] = False,
) -> None:
    """Check EvalRun files with the rules that the cluster has."""
    raise typer.Exit(commands.validate(files, tuple(settings or ()), cluster=cluster))


@app.command()
def results(
    uri: Annotated[str, typer.Argument(help="A run's output: a folder or s3://bucket/prefix/.")],
    json_output: Json = False,
) -> None:
    """Print the scores of a finished run and the last verdicts of its gates, with the exit code that these have."""
    raise typer.Exit(commands.results(uri, json_output=json_output))


@app.command()
def tasks(
    pattern: Annotated[str, typer.Argument(help="Part of a name, or a glob such as 'mmlu_*'.")] = "",
    source: Annotated[Path | None, typer.Option(help="The folder of a suite of your own instead of lm-eval's.")] = None,
) -> None:
    """List the benchmarks that there are: tasks, groups and tags."""
    raise typer.Exit(commands.tasks(pattern, source))


@model.command()
def fetch(
    uri: Annotated[str, typer.Argument(help="hf://org/name, s3://bucket/prefix/, file:///path, or org/name.")],
    output: Annotated[Path, typer.Option(help="The folder to bring it to.")],
    revision: Annotated[str | None, typer.Option(help="For hf://: a commit, tag or branch.")] = None,
    digest: Annotated[str | None, typer.Option(help="sha256:… that the files must come to.")] = None,
) -> None:
    """Bring a model to a folder, verified."""
    commands.fetch(uri, output, revision, digest)


def main(driver: DriverOptions | None = None) -> None:
    """Enter the program: every error that is a person's or the world's is one message and an exit code.

    Args:
        driver: Settings of the driver process; the usual ones by default.
    """
    try:
        app(obj=driver)
    except (EvalRunError, InvalidInput) as error:
        print(f"evalrun: {error}", file=sys.stderr)
        sys.exit(error.exit_code if isinstance(error, EvalRunError) else InputError.exit_code)
