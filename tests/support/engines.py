"""An engine whose every answer the test gives, and a clock that the test moves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from evalrun_runner.engine.protocol import Call, Output, RequestRefused
from evalrun_runner.records.messages import EngineStats


@dataclass
class Clock:
    """Seconds that pass when the test says so."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class ScriptedEngine:
    """Runs nothing: ``finish`` says which calls end in the next step; calls whose prompt is in ``refused`` are."""

    name: str = "mock"
    max_model_len: int = 1000
    max_num_seqs: int = 4
    refused: set[tuple[int, ...]] = field(default_factory=set)
    running: dict[str, Call] = field(default_factory=dict)
    aborted: list[str] = field(default_factory=list)
    added: list[Call] = field(default_factory=list)
    steps: int = 0
    _ending: list[str] = field(default_factory=list)

    def add(self, call_id: str, call: Call) -> None:
        """See ``Engine``."""
        if tuple(call.prompt) in self.refused:
            raise RequestRefused("too strange")
        assert call_id not in self.running
        self.running[call_id] = call
        self.added.append(call)

    def finish(self, *prompts: Sequence[int]) -> None:
        """The running calls with these prompts, or all of them, end in the next step."""
        wanted = {tuple(prompt) for prompt in prompts}
        self._ending = [i for i, call in self.running.items() if not wanted or tuple(call.prompt) in wanted]

    def step(self) -> list[tuple[str, Output]]:
        """See ``Engine``."""
        self.steps += 1
        ending, self._ending = self._ending, []
        return [(i, answer_to(self.running.pop(i))) for i in ending if i in self.running]

    def abort(self, call_ids: Iterable[str]) -> None:
        """See ``Engine``."""
        for call_id in call_ids:
            self.aborted.append(call_id)
            del self.running[call_id]

    def stats(self) -> EngineStats:
        """See ``Engine``."""
        return EngineStats(running=len(self.running))

    def close(self) -> None:
        """See ``Engine``."""


def answer_to(call: Call) -> Output:
    """An answer that tells its call: the text names the prompt, log-probabilities its tokens."""
    scores: tuple[tuple[float, bool], ...] = ()
    if call.score_from is not None:
        scores = tuple((-float(token), token % 2 == 0) for token in call.prompt[call.score_from :])
    return Output(
        text=f"answer to {list(call.prompt)}, seed {call.seed}",
        finish_reason="stop",
        prompt_tokens=len(call.prompt),
        output_tokens=2,
        top_logprob=-float(min(call.choices)) if call.choices else None,
        scores=scores,
        choice_logprobs={token: -float(token) for token in call.choices},
    )
