"""Conversion of text to tokens, exactly as lm-eval 0.4.13 does it for its vLLM back end.

Source: ``VLLM.tok_encode`` (lm_eval/models/vllm_causallms.py) and ``TemplateLM._encode_pair`` (lm_eval/api/model.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from evalrun_runner.errors import InputError, first_line


class Tokenizer(Protocol):
    """Part of a transformers tokenizer that is used here."""

    bos_token_id: int | None
    eos_token_id: int | None
    eos_token: Any
    chat_template: Any

    def __call__(self, text: list[str], **kwargs: Any) -> Any:
        """Return ``{"input_ids": …}`` with the ids of each text."""

    def decode(self, token_ids: Any, **kwargs: Any) -> str:
        """Return the text of one id or several."""

    def get_added_vocab(self) -> dict[str, int]:
        """Return the tokens that were added to the vocabulary, such as those with a meaning of their own."""


def load_tokenizer(path: Path) -> Tokenizer:
    """Load the model's tokenizer, without running code from the model.

    Raises:
        InputError: The tokenizer cannot be loaded.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: Tokenizer = AutoTokenizer.from_pretrained(str(path), trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"spec.model.uri: the tokenizer in {path} cannot be loaded: {first_line(error)}. "
            "Expected tokenizer.json (or tokenizer.model) and tokenizer_config.json beside the weights, without code."
        ) from error
    return tokenizer


class NotUnicode(ValueError):
    """Error of a text that no tokenizer can encode, because it cannot be written in UTF-8."""


class TextCodec:
    """Tokenizer with lm-eval's encoding rules."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
        if bos is None and eos is None:
            raise InputError(
                "spec.model.uri: the model's tokenizer has neither a bos nor an eos token; expected at least one in "
                "tokenizer_config.json: log-likelihoods need a first token to condition on"
            )
        self.prefix_token: int = bos if bos is not None else eos  # type: ignore[assignment]  # one of them is set
        self._prefix_text = tokenizer.decode(self.prefix_token)
        self.eos_text: str | None = None
        if eos is not None:
            # Some tokenizers decode the eos id to "", so that only the token's string can serve as a stop sequence.
            self.eos_text = tokenizer.decode(eos) or (str(tokenizer.eos_token) if tokenizer.eos_token else None)

    def encode(self, text: str, *, special_tokens: bool | None = None) -> list[int]:
        """Encode a text as token ids. A text that already begins with the prefix token does not get a second one."""
        if not text:
            return []
        options: dict[str, Any] = {"return_attention_mask": False}
        if special_tokens is not None:
            options["add_special_tokens"] = special_tokens
        if text.startswith(self._prefix_text):
            options["add_special_tokens"] = False
        try:
            ids: list[int] = self.tokenizer([text], **options)["input_ids"][0]
        except (UnicodeError, TypeError) as error:
            # transformers' fast tokenizers say of such a text that it is no text at all.
            if (place := _half_pair(text)) is None:
                raise
            raise NotUnicode(
                f"the text has half a surrogate pair, {text[place]!r}, after {text[:place][-20:]!r}"
            ) from error
        return ids

    def encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Encode context and continuation; trailing spaces of the context move to the continuation.

        An empty context becomes the prefix token (``TemplateLM.loglikelihood``).

        Returns:
            The token ids of the context and of the continuation.
        """
        if context == "":
            ids = self.encode(continuation, special_tokens=False)
            if ids and ids[0] == self.prefix_token:
                return ids[:1], ids[1:]
            return [self.prefix_token], ids
        spaces = len(context) - len(context.rstrip())
        if spaces:
            continuation = context[-spaces:] + continuation
            context = context[:-spaces]
        whole = self.encode(context + continuation)
        context_ids = self.encode(context)
        return context_ids, whole[len(context_ids) :]


def _half_pair(text: str) -> int | None:
    """Return the place of the first character that is half a surrogate pair, None if there is none."""
    return next((place for place, character in enumerate(text) if "\ud800" <= character <= "\udfff"), None)
