"""What Prometheus itself says of the rules: they are well formed, and fire when they should and not otherwise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from support.prometheus import promtool

ROOT = Path(__file__).parents[2]
RULES = ROOT / "helm" / "evalrun" / "files" / "rules.yaml"
CASES = sorted((ROOT / "tests" / "promtool").glob("*.yaml"))
RUNBOOKS = sorted((ROOT / "docs" / "runbooks").glob("*.md"))


def test_prometheus_accepts_the_rules_without_warnings() -> None:
    said = promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)
    rules = sum(len(group["rules"]) for group in yaml.safe_load(RULES.read_text())["groups"])
    assert f"SUCCESS: {rules} rules found" in said


@pytest.mark.parametrize("file", CASES, ids=[file.stem for file in CASES])
def test_the_rules_pass_their_tests(file: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", file)


@pytest.mark.parametrize("page", RUNBOOKS, ids=[page.stem for page in RUNBOOKS])
def test_the_queries_of_a_runbook_are_promql(page: Path) -> None:
    blocks = re.findall(r"^```promql\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for query in (line for block in blocks for line in block.splitlines()):
        promtool("--experimental", "promql", "format", query)
