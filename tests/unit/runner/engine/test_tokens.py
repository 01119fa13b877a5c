"""Text to tokens and back: lm-eval's own rules, around a real tokenizer and the mock engine's."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.api.instance import Instance
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from evalrun_runner.engine.mock import EOS, ByteTokenizer
from evalrun_runner.engine.requests import rolling_windows
from evalrun_runner.engine.tokens import TextCodec, Tokenizer, load_tokenizer
from evalrun_runner.errors import InputError
from support.harness import WithAttributes, vllm_back_end, with_tokenizer

SCRIPT = Path(__file__).parents[4] / "scripts" / "small_model.py"

CONTEXTS = (
    "The capital of France is",
    "The capital of France is ",
    "Question: 2 + 2?\nAnswer:",
    "Question: 2 + 2?\nAnswer:\n",
    "ends in tabs\t\t",
    "ein Übermaß an Zeichen: 日本語",
    "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n",
    "<|endoftext|>begins with the prefix",
    "  leading spaces",
)
CONTINUATIONS = (" Paris", "Paris", " A", "A", "\n", " many words, several tokens", "é")


@pytest.fixture(scope="module")
def real() -> Tokenizer:
    """The small model's tokenizer; the model with random weights is made where there is none."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evalrun" / "models"
    for name in ("tiny-random-llama", "smollm2-135m-instruct"):
        if (cache / name / "tokenizer.json").is_file():
            return load_tokenizer(cache / name)
    made = subprocess.run([sys.executable, SCRIPT, "--tiny"], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no small model: scripts/small_model.py --tiny says: {made.stderr.strip().splitlines()[-1:]}")
    return load_tokenizer(cache / "tiny-random-llama")


@pytest.fixture(scope="module")
def back_end() -> Any:
    return vllm_back_end()


@pytest.fixture(scope="module", params=["real", "bytes"])
def pair(request: pytest.FixtureRequest, back_end: Any) -> tuple[TextCodec, Any]:
    """Our codec and lm-eval's back end around the same tokenizer."""
    if request.param == "real":
        tokenizer: Any = request.getfixturevalue("real")
        return TextCodec(tokenizer), with_tokenizer(back_end, tokenizer)
    return TextCodec(ByteTokenizer()), with_tokenizer(back_end, WithAttributes(ByteTokenizer()))


def likelihood_tokens(back_end: Any, context: str, continuation: str) -> tuple[list[int], list[int]]:
    (found,) = back_end.loglikelihood(
        [Instance("loglikelihood", {}, (context, continuation), 0, ("t", 0, 1))], disable_tqdm=True
    )
    context_ids, continuation_ids = found
    return list(context_ids), list(continuation_ids)


def test_texts_are_encoded_as_lm_eval_does(pair: tuple[TextCodec, Any]) -> None:
    codec, lm = pair
    for text in (*CONTEXTS, ""):
        assert codec.encode(text) == list(lm.tok_encode(text)), text
        assert codec.encode(text, special_tokens=False) == list(lm.tok_encode(text, add_special_tokens=False)), text


def test_pairs_are_encoded_as_lm_eval_does(pair: tuple[TextCodec, Any]) -> None:
    codec, lm = pair
    for context in CONTEXTS:
        for continuation in CONTINUATIONS:
            ours = codec.encode_pair(context, continuation)
            assert ours == tuple(map(list, lm._encode_pair(context, continuation))), (context, continuation)
            assert ours == likelihood_tokens(lm, context, continuation)


def test_an_empty_context_becomes_the_prefix_token(pair: tuple[TextCodec, Any]) -> None:
    codec, lm = pair
    prefix_text = codec.tokenizer.decode(codec.prefix_token)
    for continuation in (*CONTINUATIONS, prefix_text, f"{prefix_text} Paris"):
        ours = codec.encode_pair("", continuation)
        assert ours == likelihood_tokens(lm, "", continuation), continuation
        assert ours[0] == [codec.prefix_token]


@given(st.text(max_size=40).filter(bool), st.text(min_size=1, max_size=10))
def test_any_bytes_are_split_as_lm_eval_does(context: str, continuation: str) -> None:
    codec, lm = TextCodec(ByteTokenizer()), _bytes_back_end()
    assert codec.encode_pair(context, continuation) == tuple(map(list, lm._encode_pair(context, continuation)))


@functools.cache
def _bytes_back_end() -> Any:
    return with_tokenizer(vllm_back_end(), WithAttributes(ByteTokenizer()))


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 20))
def test_rolling_windows_are_lm_evals(tokens: list[int], size: int) -> None:
    expected = map(make_disjoint_window, get_rolling_token_windows(tokens, 99, size, 1))
    windows = rolling_windows(tokens, 99, size)
    assert windows == [(list(context), list(target)) for context, target in expected]
    assert [token for _, target in windows for token in target] == tokens


def test_a_tokenizer_without_bos_and_eos_is_refused() -> None:
    class Bare(ByteTokenizer):
        eos_token_id: int | None = None

    with pytest.raises(InputError, match="neither a bos nor an eos token"):
        TextCodec(Bare())


def test_the_stop_text_is_eos_even_if_it_decodes_to_nothing() -> None:
    class Silent(ByteTokenizer):
        def decode(self, token_ids: Any, **kwargs: Any) -> str:
            return "" if token_ids == EOS else super().decode(token_ids)

    assert TextCodec(ByteTokenizer()).eos_text == "<eos>"
    assert TextCodec(Silent()).eos_text == "<eos>"


@pytest.mark.parametrize("content", [None, "{", "{}"])
def test_a_folder_without_a_tokenizer_is_reported(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(InputError, match=r"spec\.model\.uri: the tokenizer in .* cannot be loaded"):
        load_tokenizer(tmp_path)
