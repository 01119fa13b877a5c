"""A real engine that ends thinking at its budget, and vLLM's parsers: ``python -m support.thinking_live MODEL``.

No small model thinks. The model's tokenizer gets ``<think>`` and ``</think>`` in place of two special tokens that no
text of the tests holds, and the prompt opens the thinking as the template of a reasoning model does. Prints one JSON
object.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evalrun_api import ThinkingMarkers
from evalrun_runner.engine.requests import RequestPlanner
from evalrun_runner.engine.thinking import Thinking
from evalrun_runner.engine.tokens import TextCodec, load_tokenizer
from evalrun_runner.engine.vllm import VllmEngine, VllmSettings, prepare_environment
from support.builders import generate, make_item

THINK = ThinkingMarkers("</think>", "<think>")
BUDGETS = (None, 0, 7)
LENGTH = 24
PROMPT = "What is 2 plus 3?<think>"
REPLACED = {"<issue_start>": "<think>", "<issue_closed>": "</think>"}


def main(model: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        return {"parsers": parsers(), "responses": responses(_thinking(model, Path(folder) / "model"))}


def responses(model: Path) -> list[dict[str, Any]]:
    """What one engine answers with each budget."""
    settings = VllmSettings(model, 1, max_model_len=256, args={"max_num_seqs": 4}, budget_markers=THINK)
    os.environ.update(prepare_environment(settings, 1) | os.environ)
    engine, codec = VllmEngine(settings), TextCodec(load_tokenizer(model))
    found = []
    for budget in BUDGETS:
        planner = RequestPlanner(codec, max_model_len=256, fast=True, seed=1, thinking={"t": Thinking(THINK, budget)})
        plan = planner.plan(make_item(generate(PROMPT, max_gen_toks=LENGTH, ignore_eos=True)))
        (call,) = plan.calls
        engine.add(str(budget), call)
        while not (done := engine.step()):
            pass
        ((response,),) = plan.responses([done[0][1]], [0.0])
        found.append({"budget": budget, **asdict(response)})
    engine.close()
    return found


def parsers() -> dict[str, tuple[str | None, str | None]]:
    """The markers of each of vLLM's reasoning parsers that has an end marker."""
    from vllm.reasoning import ReasoningParserManager

    found = {}
    for name in ReasoningParserManager.list_registered():
        try:
            parser = ReasoningParserManager.get_reasoning_parser(name)(
                _KnowsAll(), chat_template_kwargs={"thinking": True, "enable_thinking": True}
            )
        except ValueError:
            continue  # it asks the model's configuration
        if parser.reasoning_end_str is not None:
            found[name] = (parser.reasoning_start_str, parser.reasoning_end_str)
    return found


class _Vocabulary(dict[str, int]):
    def get(self, key: str, default: Any = None) -> Any:
        return 7

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: str) -> int:
        return 7


class _KnowsAll:
    """A tokenizer that has every token."""

    vocab = _Vocabulary()
    chat_template = ""
    eos_token_id = bos_token_id = 0
    all_special_tokens: tuple[str, ...] = ()
    all_special_ids: tuple[int, ...] = ()

    def get_vocab(self) -> _Vocabulary:
        return self.vocab

    def encode(self, *args: Any, **kwargs: Any) -> list[int]:
        return [7]

    def decode(self, *args: Any, **kwargs: Any) -> str:
        return "x"

    def convert_tokens_to_ids(self, *args: Any) -> int:
        return 7


def _thinking(model: Path, copy: Path) -> Path:
    shutil.copytree(model, copy)
    file = copy / "tokenizer.json"
    text = file.read_text(encoding="utf-8")
    for old, new in REPLACED.items():
        assert old in text
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")
    return copy


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
