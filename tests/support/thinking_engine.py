"""An engine with planted thoughts and answers that obeys vLLM's protocol: stop strings, lengths, thinking budgets.

As vLLM does (``vllm/v1/sample/thinking_budget_state.py``), it counts a budget from the start marker, tokens of the
prompt behind it included, writes the end marker itself when the budget is spent, and refuses a budget if it was started
without markers. As there, a stop string ends the whole text wherever it stands, in a thought too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from evalrun_runner.engine.mock import EOS
from evalrun_runner.engine.protocol import Call, Output, RequestRefused
from evalrun_runner.engine.vllm import VllmSettings, engine_args
from evalrun_runner.records.messages import EngineStats


class ThinkingEngine:
    """Engine whose tokens are bytes."""

    name = "vllm"
    max_model_len = 10_000
    max_num_seqs = 8

    def __init__(self, settings: VllmSettings, plant: Callable[[str], str], forced: Callable[[str], str]) -> None:
        """Start.

        Args:
            settings: Settings of vLLM.
            plant: What the model generates after a prompt.
            forced: What it generates after a prompt and a thought that the engine has ended.
        """
        self.arguments: dict[str, Any] = engine_args(settings)
        self._markers = self.arguments.get("reasoning_config")
        self._plant, self._forced = plant, forced
        self._calls: dict[str, Call] = {}
        self.asked: list[Call] = []

    def add(self, call_id: str, call: Call) -> None:
        """See ``Engine``."""
        if "thinking_token_budget" in call.options and self._markers is None:
            raise RequestRefused("thinking_token_budget is set but reasoning_config is not configured.")
        self._calls[call_id] = call
        self.asked.append(call)

    def step(self) -> list[tuple[str, Output]]:
        """See ``Engine``: every request ends."""
        done = [(call_id, self._answer(call)) for call_id, call in self._calls.items()]
        self._calls.clear()
        return done

    def abort(self, call_ids: Iterable[str]) -> None:
        """See ``Engine``."""
        for call_id in call_ids:
            self._calls.pop(call_id, None)

    def stats(self) -> EngineStats:
        """See ``Engine``."""
        return EngineStats()

    def close(self) -> None:
        """See ``Engine``."""

    def _answer(self, call: Call) -> Output:
        prompt = bytes(token for token in call.prompt if token < EOS).decode()
        text = self._limited(prompt, self._plant(prompt), call.options.get("thinking_token_budget"))
        stops = [place for stop in call.stop if (place := text.find(stop)) >= 0]
        reason = "stop"
        if stops:
            text = text[: min(stops)]
        if len(text.encode()) > call.max_tokens:
            text, reason = text.encode()[: call.max_tokens].decode(errors="ignore"), "length"
        ids = list(text.encode())
        return Output(text, reason, len(call.prompt), len(ids), token_ids=ids)

    def _limited(self, prompt: str, text: str, budget: int | None) -> str:
        if budget is None or self._markers is None:
            return text
        start, end = self._markers["reasoning_start_str"], self._markers["reasoning_end_str"]
        whole = prompt + text
        begin = whole.rfind(start)
        if begin < 0 or end in whole[begin : begin + len(start) + budget + len(end)]:
            return text
        keep = max(0, begin + len(start) + budget - len(prompt))
        return text[:keep] + end + self._forced(prompt)
