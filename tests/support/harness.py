"""lm-eval's vLLM back end without vLLM: its rules for arguments and tokens are plain Python around a tokenizer."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from lm_eval.api.registry import model_registry

_STUBS = {
    "vllm": ("LLM", "SamplingParams", "TokensPrompt"),
    "vllm.lora": (),
    "vllm.lora.request": ("LoRARequest",),
    "vllm.renderers": (),
    "vllm.renderers.hf": ("resolve_chat_template",),
    "vllm.tokenizers": ("get_tokenizer",),
}
"""What the module imports of vLLM, and what these tests never call: importing the real one takes half a minute."""


@functools.cache
def vllm_back_end() -> Any:
    """The class ``VLLM`` of lm_eval/models/vllm_causallms.py."""
    real_version = importlib.metadata.version
    with pytest.MonkeyPatch.context() as patch:
        for name, members in _STUBS.items():
            module = ModuleType(name)
            for member in members:
                setattr(module, member, object)
            patch.setitem(sys.modules, name, module)
        patch.setattr(importlib.metadata, "version", lambda name: "0.32.0" if name == "vllm" else real_version(name))
        # Made with stubs, so nobody else may find it: neither the module nor lm-eval's register keeps it.
        patch.setattr(model_registry, "_objs", dict(model_registry._objs))
        patch.delitem(sys.modules, "lm_eval.models.vllm_causallms", raising=False)
        back_end = importlib.import_module("lm_eval.models.vllm_causallms").VLLM
        del sys.modules["lm_eval.models.vllm_causallms"]
    return back_end


def with_tokenizer(back_end: Any, tokenizer: Any) -> Any:
    """The back end with a tokenizer and no engine: good for ``tok_encode``, ``_encode_pair``, ``loglikelihood``."""

    class Encoder(back_end):  # type: ignore[misc]  # a class known at run time only
        def __init__(self) -> None:
            self.tokenizer = tokenizer
            self.add_bos_token = None
            self.custom_prefix_token_id = None
            self.enable_thinking = False

        def _loglikelihood_tokens(self, requests: Any, disable_tqdm: bool = False, **_: Any) -> Any:
            return [(context, continuation) for _, context, continuation in requests]

    return Encoder()


class WithAttributes:
    """A tokenizer whose encodings have attributes, as transformers' do, beside being mappings."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def __call__(self, text: list[str], **options: Any) -> Any:
        return SimpleNamespace(**self._tokenizer(text, **options))
