"""Which of a model's chat templates is used."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalrun_runner.engine.chat_templates import default_template, named_template
from evalrun_runner.errors import InputError

SEVERAL = {"tool_use": "tools", "rag": "documents"}


def test_a_template_is_found_by_its_name() -> None:
    assert named_template(SEVERAL, "rag") == "documents"
    assert named_template({**SEVERAL, "default": "plain"}, "default") == "plain"
    assert named_template("plain", "default") == "plain"


@pytest.mark.parametrize(
    ("templates", "message"),
    [
        (SEVERAL, "no chat template named 'tool-use'; it has rag, tool_use\nhint: did you mean tool_use?"),
        ("plain", "no chat template named 'tool-use'; it has default\nhint: a file is written with '/' or .jinja"),
        (None, "no chat template named 'tool-use'; it has none at all"),
    ],
)
def test_a_name_that_is_not_there_is_refused_with_those_that_are(
    templates: dict[str, str] | str | None, message: str
) -> None:
    with pytest.raises(InputError) as refused:
        named_template(templates, "tool-use")
    assert str(refused.value).startswith(f"spec.model.chatTemplate: the model has {message}")


def test_the_default_of_several_is_the_one_of_that_name_or_has_to_be_chosen() -> None:
    assert default_template("plain") == default_template({**SEVERAL, "default": "plain"}) == "plain"
    with pytest.raises(InputError, match=r"has 2 chat templates \(rag, tool_use\) and none is named default"):
        default_template(SEVERAL)


def test_a_file_is_read_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "my template.jinja").write_text("{{ 'é' }}\n", encoding="utf-8")
    assert named_template(None, (tmp_path / "my template.jinja").as_uri()) == "{{ 'é' }}\n"


@pytest.mark.parametrize(
    ("content", "why"), [(b"\xff", "is not UTF-8"), (b" \n", "is empty"), (None, "cannot be read")]
)
def test_a_file_that_is_no_template_is_refused(tmp_path: Path, content: bytes | None, why: str) -> None:
    if content is not None:
        (tmp_path / "t.jinja").write_bytes(content)
    with pytest.raises(InputError, match=rf"spec\.model\.chatTemplate: .*t\.jinja {why}"):
        named_template(None, (tmp_path / "t.jinja").as_uri())
