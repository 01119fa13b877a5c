"""Examples in README, docs and examples are valid: EvalRuns, commands, make targets, links."""

from __future__ import annotations

import re
import shlex
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from evalrun_api.reading import documents, parse
from evalrun_runner.cli.app import app

ROOT = Path(__file__).parents[3]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
    ROOT / "findings" / "README.md",
    ROOT / "tests" / "cluster" / "README.md",
]
FINDINGS = sorted((ROOT / "findings").glob("*.sh"))
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
CLUSTER_EXAMPLES = sorted(
    file for file in (ROOT / "examples" / "kubernetes").glob("*.yaml") if "kind: EvalRun" in file.read_text()
)

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_PLACEHOLDER = re.compile(r"[A-Z]{3,}|…|\.\.\.|\|")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def fences(page: Path) -> list[tuple[str, str]]:
    """Return (language, text) of every fenced block."""
    return [(match[1], match[2]) for match in _FENCE.finditer(page.read_text(encoding="utf-8"))]


def runs(page: Path) -> list[str]:
    return [text for language, text in fences(page) if language == "yaml" and "kind: EvalRun\n" in text]


SHOWN_RUNS = [(page, text) for page in PAGES for text in runs(page)]


@pytest.mark.parametrize(("page", "text"), SHOWN_RUNS, ids=[name(page) for page, _ in SHOWN_RUNS])
def test_every_evalrun_in_the_docs_is_valid(page: Path, text: str) -> None:
    parse.parse_file(text, name(page))


@pytest.mark.parametrize("file", CLUSTER_EXAMPLES, ids=name)
def test_every_cluster_example_is_valid_in_a_cluster(file: Path) -> None:
    assert not parse.cluster_problems(parse.parse_file(file.read_bytes(), name(file)).evalrun)


@pytest.mark.parametrize("file", [*EXAMPLES, *CLUSTER_EXAMPLES], ids=name)
def test_every_example_is_valid(file: Path) -> None:
    text = file.read_bytes()
    if any(document.get("kind") == "EvalRun" for document in documents.load_documents(text, name(file))):
        parsed = parse.parse_file(text, name(file)).evalrun
        for benchmark in parsed.spec.benchmarks:
            if benchmark.source is not None and benchmark.source.path is not None:
                assert (file.parent / benchmark.source.path).is_dir(), benchmark.source.path


def test_docs_contain_examples() -> None:
    assert SHOWN_RUNS
    assert EXAMPLES
    assert COMMANDS
    assert TARGETS


def snippets(page: Path) -> list[str]:
    """Return the lines of consoles and the texts in backticks, which may contain commands."""
    text = page.read_text(encoding="utf-8")
    consoles = [body for language, body in fences(page) if language in ("console", "sh", "bash", "shell", "")]
    # A table's cell writes | as \|.
    inline = [match[1].replace("\\|", "|") for match in _INLINE.finditer(_FENCE.sub("", text))]
    joined = "\n".join(consoles).replace("\\\n", " ")
    lines = [line.strip().removeprefix("$ ").partition("  #")[0].strip() for line in joined.splitlines()]
    return [*lines, *inline]


def commands(page: Path) -> list[str]:
    return [line for line in snippets(page) if re.match(r"(\.venv/bin/)?evalrun [a-z-]", line)]


# The field reference repeats messages, which name commands without their arguments.
COMMANDS = [(page, line) for page in PAGES if page.name != "reference.md" for line in commands(page)]


def walk(words: list[str]) -> tuple[Any, list[str]]:
    """Return the command that words name, and the words after it."""
    command: Any = app
    while hasattr(command, "commands") and not (words and words[0].startswith("-")):
        assert words, f"{command.name} wants a command"
        assert words[0] in command.commands, f"there is no command {words[0]}; there are {sorted(command.commands)}"
        command, words = command.commands[words[0]], words[1:]
    return command, words


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=[f"{name(page)}: {line}" for page, line in COMMANDS])
def test_every_command_in_the_docs_is_parsed(page: Path, line: str) -> None:
    words = shlex.split(line.partition(" | ")[0].partition(" > ")[0])[1:]
    # FILE… and [PATTERN] stand for what a person would write.
    words = [word.strip("[]…") or "x" for word in words]
    command, arguments = walk(words)
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for argument in arguments:
        if argument.startswith("-") and argument != "-":
            assert argument.partition("=")[0] in known | {"-h", "--help"}, (
                f"{argument}: {command.name} has {sorted(known)}"
            )
    # Help and version are shown, and that is the end. Below the program, as a command keeps the first help that it had.
    with suppress(click.exceptions.Exit):
        program = app.make_context(app.name, [], resilient_parsing=True)
        command.make_context(command.name, arguments, parent=None if command is app else program)


def test_every_documented_option_exists() -> None:
    rows = [line for page in PAGES for line in page.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        match = re.match(r"\| `evalrun ([a-z ]+?)(?: [A-Z\[].*?)?` \|(.*)\|$", row)
        if match is None:
            continue
        command, _ = walk(match[1].split())
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        for option in re.findall(r"`(--[a-z-]+)", match[2]):
            assert option in known, f"evalrun {match[1]} has no {option}"


TARGETS = [
    (page, match[1])
    for page in PAGES
    for line in snippets(page)
    if (match := re.match(r"make ([a-z][a-z0-9-]*)", line)) is not None
]


@pytest.mark.parametrize(("page", "target"), TARGETS, ids=[f"{name(page)}: {target}" for page, target in TARGETS])
def test_every_documented_make_target_exists(page: Path, target: str) -> None:
    makefiles = (ROOT / "Makefile", ROOT / "tests" / "cluster" / "cluster.mk")
    assert any(re.search(rf"^{target}:", file.read_text(), re.MULTILINE) for file in makefiles)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_relative_links_resolve(page: Path) -> None:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    links = [match[1] or match[2] for match in _LINK.finditer(text)]
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name(page)}: {link} is not there"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{name(page)}: {link}: no such heading"


def anchors(page: Path) -> set[str]:
    """Return the headings of a page as a browser's anchors."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_yaml_in_the_docs_is_valid() -> None:
    for page in PAGES:
        for language, text in fences(page):
            if language == "yaml":
                list(yaml.safe_load_all(text))


MODULE = re.compile(r"^[a-z0-9_./…-]+\.(py|sh|md|yaml|json|toml)$")


@pytest.mark.parametrize("page", [ROOT / "CONTRIBUTING.md", ROOT / "docs" / "STYLE.md"], ids=name)
def test_every_file_that_a_contributor_is_sent_to_exists(page: Path) -> None:
    for match in _INLINE.finditer(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        path = match[1]
        if "/" not in path or not (MODULE.match(path) or path.endswith("/")):
            continue
        pattern = path.strip("/").replace("…", "**")
        roots = ("", "tests/", "*/src/", "*/src/*/")
        assert any(any(ROOT.glob(f"{root}{pattern}")) for root in roots), f"{name(page)}: {path} is not there"


def test_the_table_of_findings_lists_every_script() -> None:
    text = (ROOT / "findings" / "README.md").read_text(encoding="utf-8")
    assert FINDINGS
    assert re.findall(r"\]\(([a-z0-9-]+\.sh)\)", text) == sorted(
        (file.name for file in FINDINGS), key=lambda file: text.index(f"]({file})")
    )


@pytest.mark.parametrize("file", FINDINGS, ids=name)
def test_a_finding_states_its_package_its_behaviour_the_guess_and_why_it_matters(file: Path) -> None:
    head = "".join(line for line in file.read_text(encoding="utf-8").split("\nset -eu\n")[0].splitlines(keepends=True))
    for part in (
        r"^# Packages?: .*\d+\.\d+",
        "^# Behaviour: ",
        "^# What one would have guessed: ",
        "^# Why it matters: ",
    ):
        assert re.search(part, head, re.MULTILINE), part
    assert file.stat().st_mode & 0o111, "it can be run"


@pytest.mark.parametrize("file", FINDINGS, ids=name)
def test_a_finding_runs_none_of_our_code_in_a_folder_that_it_removes(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert "mktemp -d" in text
    assert "trap 'rm -rf \"$work\"' EXIT" in text
    assert "evalrun" not in text.lower()


def test_every_decision_is_listed_and_names_the_ways_not_taken() -> None:
    folder = ROOT / "docs" / "adr"
    listed = (folder / "README.md").read_text(encoding="utf-8")
    for file in sorted(folder.glob("0*.md")):
        assert f"]({file.name})" in listed
        headings = re.findall(r"^## (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
        assert headings == ["Context", "Decision", "Ways not taken", "Consequences"], file.name


def test_the_architecture_lists_the_floors_that_import_linter_holds() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    held = [
        [{room.strip() for room in layer.split("|")} for layer in contract["layers"]]
        for contract in contracts
        if contract["type"] == "layers"
    ]
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    text = text.partition("### Rooms and floors")[2].partition("## The children")[0]
    shown: list[list[set[str]]] = []
    for line in text.splitlines():
        if line.startswith("| floor |"):
            shown.append([])
        elif match := re.match(r"\| (\d*) ?\| ((?:`\w+/?`(?:, )?)+) \|", line):
            rooms = {room.strip("`/") for room in match[2].split(", ")}
            if match[1]:
                shown[-1].append(rooms)
            else:
                shown[-1][-1] |= rooms
    assert shown == held
