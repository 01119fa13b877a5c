"""Which files make a model."""

from __future__ import annotations

import pytest

from evalrun_runner.errors import InputError
from evalrun_runner.models.files import is_model_file, model_files

GOOD = ("config.json", "model.safetensors", "tokenizer.json")


@pytest.mark.parametrize(
    "name",
    [
        *GOOD,
        "generation_config.json",
        "tokenizer.model",
        "tokenizer.model.v3",
        "qwen.tiktoken",
        "merges.txt",
        "vocab.txt",
        "chat_template.jinja",
        "additional_chat_templates/tools.jinja",
    ],
)
def test_files_of_the_model_are_recognized(name: str) -> None:
    assert is_model_file(name)


@pytest.mark.parametrize(
    "name",
    [
        "modeling.py",
        "pytorch_model.bin",
        "README.md",
        "requirements.txt",
        ".hidden.json",
        "onnx/config.json",
        "original/model.safetensors",
        "../config.json",
        "additional_chat_templates/../x.jinja",
        "additional_chat_templates/code.py",
        "additional_chat_templates/.hidden.jinja",
    ],
)
def test_other_files_are_not_of_the_model(name: str) -> None:
    assert not is_model_file(name)


def test_the_models_files_are_sorted_and_exclude_others() -> None:
    assert model_files(["tokenizer.json", "x.py", *GOOD], "here") == GOOD


@pytest.mark.parametrize(
    "tokenizer", [("tokenizer.model",), ("x.tiktoken",), ("vocab.json", "merges.txt"), ("tekken.json",), ("vocab.txt",)]
)
def test_each_kind_of_tokenizer_is_accepted(tokenizer: tuple[str, ...]) -> None:
    assert set(tokenizer) <= set(model_files(["config.json", "model.safetensors", *tokenizer], "here"))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "here holds no files"),
        (("model.safetensors", "tokenizer.json"), r"here has no config\.json"),
        (("config.json", "model.safetensors", "vocab.json"), "here has no tokenizer"),
        (("config.json", "tokenizer.json"), r"here has no \*\.safetensors\. Check the address"),
        (("config.json", "final/", "step-9/x.safetensors"), r"name that: final, step-9"),
        (("config.json", "a.bin", "b.bin", "c.bin", "d.bin"), r"only as a\.bin, b\.bin, c\.bin, …"),
        (("model.gguf",), r"only as model\.gguf: .* Name the model that it was made from"),
        (("consolidated.00.pth",), r"only as consolidated\.00\.pth"),
    ],
)
def test_an_incomplete_model_is_refused_by_name(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        model_files(names, "here")
