"""Deterministic engine for tests: no model, and the same answers in any batch, order and process.

It obeys commands in a prompt, so that a suite's data can inject faults:

- ``[mock:die]``: the process dies when the request is first stepped, like an engine that crashes in native code;
- ``[mock:die-once:PATH]``: the same, but only if the file PATH does not exist; the engine then creates it;
- ``[mock:hang]``: the step never returns;
- ``[mock:stall]``: the request never ends, others continue;
- ``[mock:hold:PATH]``: the request waits while the file PATH exists, others continue; this stops a run midway until the
  file is deleted, whatever the speed of the machine;
- ``[mock:refuse]``: the engine refuses the request.

Every part and every result made with it is marked ``mock``.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalrun_runner.engine.protocol import Call, Output, RequestRefused
from evalrun_runner.records.messages import EngineStats

BOS, EOS = 256, 257
_IDLE_STEP_SECONDS = 0.01
"""Duration of a step in which no request advances, in seconds, so that a held engine does not occupy a core."""
_BLOCK = 16
"""Block size in tokens: prompts are compared in blocks, as in vLLM's cache."""
_WORD = re.compile(r"\[mock:(?P<word>die|die-once|hang|stall|hold|refuse)(?::(?P<path>[^\]]+))?\]")


class ByteTokenizer:
    """Tokenizer with UTF-8 bytes as tokens and a chat template of one line per message; needs no model directory."""

    bos_token_id: int | None = None
    eos_token_id: int | None = EOS
    eos_token = "<eos>"  # noqa: S105  no secret
    chat_template = "mock"

    def __call__(self, text: list[str], **kwargs: Any) -> Any:
        """Return the token ids of each text."""
        return {"input_ids": [list(part.encode()) for part in text]}

    def decode(self, token_ids: Any, **kwargs: Any) -> str:
        """Return the text of token ids."""
        ids = [token_ids] if isinstance(token_ids, int) else list(token_ids)
        return "".join(self.eos_token if token == EOS else bytes([token]).decode("utf-8", "replace") for token in ids)

    def get_added_vocab(self) -> dict[str, int]:
        """Return the end token, which no text holds."""
        return {self.eos_token: EOS}

    def apply_chat_template(
        self, messages: list[dict[str, str]], *, add_generation_prompt: bool = True, **kwargs: Any
    ) -> str:
        """Render a conversation as ``role: content`` lines."""
        lines = [f"{message['role']}: {message['content']}" for message in messages]
        return "\n".join([*lines, "assistant:"] if add_generation_prompt else lines)


@dataclass(frozen=True, slots=True)
class MockSettings:
    """Settings of the mock engine."""

    seed: int = 0
    tokens_per_second: float | None = None
    """Throughput of the whole engine; None for no limit."""
    max_model_len: int = 1 << 20
    max_num_seqs: int = 64


@dataclass(slots=True)
class _Running:
    call: Call
    text: str
    word: re.Match[str] | None
    left: int


class MockEngine:
    """``Engine`` whose answers are hashes of the requests."""

    name = "mock"

    def __init__(self, settings: MockSettings) -> None:
        self._settings = settings
        self.max_model_len = settings.max_model_len
        self.max_num_seqs = settings.max_num_seqs
        self._running: dict[str, _Running] = {}
        self._last_prompt: Sequence[int] = ()
        self._prefix_queried = self._prefix_hit = 0

    def add(self, call_id: str, call: Call) -> None:
        """Queue a request.

        Raises:
            RequestRefused: The prompt contains ``[mock:refuse]``.
        """
        text = bytes(token for token in call.prompt if token < BOS).decode("utf-8", "replace")
        word = _last_word(text)
        if word and word["word"] == "refuse":
            raise RequestRefused("the mock engine was told to refuse this request")
        if call.score_from is None:
            # As in vLLM, a scored prompt is computed as a whole. The cache consists of the previous prompt only.
            self._prefix_queried += len(call.prompt)
            self._prefix_hit += _common(self._last_prompt, call.prompt)
            self._last_prompt = call.prompt
        answer = self._answer(call) if call.score_from is None and not call.choices else ""
        self._running[call_id] = _Running(call, answer, word, max(1, len(answer) // 4))

    def step(self) -> list[tuple[str, Output]]:
        """Advance the first ``max_num_seqs`` requests by one token of four characters."""
        done = []
        moved = False
        batch = list(self._running.items())[: self.max_num_seqs]
        if self._settings.tokens_per_second:
            time.sleep(len(batch) / self._settings.tokens_per_second)
        for call_id, running in batch:
            if running.word:
                _obey(running.word)
                if _waits(running.word):
                    continue
            moved = True
            running.left -= 1
            if running.left <= 0:
                del self._running[call_id]
                done.append((call_id, self._output(running)))
        if not moved:
            time.sleep(_IDLE_STEP_SECONDS)
        return done

    def abort(self, call_ids: Iterable[str]) -> None:
        """Drop requests."""
        for call_id in call_ids:
            self._running.pop(call_id, None)

    def stats(self) -> EngineStats:
        """Return the engine's state and counters. The cache fits every request of a batch, so none is preempted."""
        held = len(self._running)
        running = min(held, self.max_num_seqs)
        return EngineStats(
            running=running,
            waiting=held - running,
            cache_usage=running / self.max_num_seqs,
            prefix_queried=self._prefix_queried,
            prefix_hit=self._prefix_hit,
        )

    def close(self) -> None:
        """Do nothing: there is nothing to free."""

    def _hash(self, *parts: object) -> int:
        text = "/".join(map(str, (self._settings.seed, *parts)))
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")

    def _answer(self, call: Call) -> str:
        """Make up an answer of varying length that ends with an integer, as for a question about numbers."""
        value = self._hash(_asked(call), call.seed)
        words = ["so", "then", "we", "add", "them", "and", "get"] * (1 + value % 5)
        text = f" {' '.join(words)} the answer is {value % 20}."
        return text[: call.max_tokens * 4]

    def _logprob(self, context: object, token: int) -> float:
        return -(1 + self._hash(context, token) % 10_000) / 1_000

    def _output(self, running: _Running) -> Output:
        call = running.call
        scores: tuple[tuple[float, bool], ...] = ()
        if call.score_from is not None:
            scores = tuple(
                (self._logprob(_asked(call, position), call.prompt[position]), False)
                for position in range(call.score_from, len(call.prompt))
            )
        return Output(
            text=running.text,
            finish_reason="stop",
            prompt_tokens=len(call.prompt),
            output_tokens=max(1, len(running.text) // 4),
            scores=scores,
            choice_logprobs={token: self._logprob(_asked(call), token) for token in call.choices},
        )


def _asked(call: Call, end: int | None = None) -> object:
    """Return what an answer is made up from: the prompt up to ``end``, and the adapter where there is one."""
    prompt = tuple(call.prompt[:end])
    return prompt if call.adapter is None else (prompt, call.adapter)


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Return the number of tokens in the common leading blocks of two prompts."""
    whole = min(len(one), len(other)) // _BLOCK * _BLOCK
    blocks = (
        start for start in range(0, whole, _BLOCK) if one[start : start + _BLOCK] != other[start : start + _BLOCK]
    )
    return next(blocks, whole)


def _last_word(text: str) -> re.Match[str] | None:
    """Return the command of the question itself, not of a few-shot example before it."""
    words = list(_WORD.finditer(text))
    return words[-1] if words else None


def _waits(word: re.Match[str]) -> bool:
    return word["word"] == "stall" or (word["word"] == "hold" and Path(word["path"]).exists())


def _obey(word: re.Match[str]) -> None:
    match word["word"]:
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "die-once" if not Path(word["path"]).exists():
            Path(word["path"]).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            threading.Event().wait()
