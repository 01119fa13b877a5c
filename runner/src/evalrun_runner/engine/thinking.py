r"""The thinking of a model, cut from its answer as lm-eval does with ``think_end_token``.

The answer is what follows the last end marker, without white space in front of it; where there is no end marker, all of
the text (``postprocess_generated_text`` in lm_eval/models/utils.py). Stop sequences hold for the answer alone: the
engine gets only the end-of-sequence text, and the others cut the answer afterwards, since thoughts are full of them.

Beyond lm-eval, the thought is kept and counted, and a response is known to have ended in it: thinking was opened, by
the prompt or by the model, and not closed. What lm-eval scores then, the text of the thinking, is scored here, too.

>>> cut_thought("add them</think>\n\n4", ThinkingMarkers("</think>", "<think>"), opened=True)
ThoughtCut(answer='4', thought='add them', in_thought=False)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from evalrun_api import ThinkingMarkers
from evalrun_runner.engine.generation import cut_at_stops
from evalrun_runner.engine.protocol import Output
from evalrun_runner.records.results import Response


@dataclass(frozen=True, slots=True)
class Thinking:
    """How the answers to one task's requests are told from the thinking before them."""

    markers: ThinkingMarkers
    budget: int | None = None
    """Maximum number of tokens of thinking, which the engine enforces; None: no limit of its own."""

    @property
    def options(self) -> dict[str, int]:
        """Sampling parameters by vLLM's names."""
        return {} if self.budget is None else {"thinking_token_budget": self.budget}


@dataclass(frozen=True, slots=True)
class ThoughtCut:
    """A generated text in its two parts."""

    answer: str
    """The text that lm-eval hands to stop sequences and filters."""
    thought: str | None
    """The text before the end marker, or all of it where thinking never ended; None: there was no thinking."""
    in_thought: bool
    """Whether the text ended in its thinking."""


def cut_thought(text: str, markers: ThinkingMarkers, *, opened: bool) -> ThoughtCut:
    """Cut the thinking from a generated text.

    Args:
        text: All that the engine generated.
        markers: What surrounds the thinking. Without a start marker every text begins in its thinking.
        opened: Whether the prompt ended in thinking.
    """
    thought, end, answer = text.rpartition(markers.end)
    begins = markers.start is None or opened if not end else False
    in_thought = begins or (markers.start is not None and markers.start in answer)
    return ThoughtCut(answer.lstrip(), text if in_thought else thought if end else None, in_thought)


def is_opened(prompt: str, markers: ThinkingMarkers) -> bool:
    """Return whether a prompt ends in thinking: its last start marker is not closed."""
    return markers.start is not None and prompt.rfind(markers.start) > prompt.rfind(markers.end)


@dataclass(frozen=True, slots=True)
class ThoughtReader:
    """Reader of the outputs of one request."""

    markers: ThinkingMarkers
    end_ids: tuple[int, ...]
    """Token ids of the end marker."""
    opened: bool
    stops: tuple[str, ...]
    """Stop sequences of the answer."""
    count: Callable[[str], int]
    """Number of tokens of a text, for outputs whose token ids do not hold the end marker as it is spelt."""

    def read(self, response: Response, output: Output) -> Response:
        """Return the response with the answer for its value, and with the thought."""
        cut = cut_thought(output.text, self.markers, opened=self.opened)
        answer = cut_at_stops(cut.answer, self.stops)
        stopped = not cut.in_thought and len(answer) < len(cut.answer)
        return replace(
            response,
            value=answer,
            # What lies beyond a stop sequence was not asked for: that it was cut by its length cuts no answer.
            finish_reason="stop" if stopped else response.finish_reason,
            thought=cut.thought,
            thought_tokens=self._tokens(cut, output),
            in_thought=cut.in_thought,
        )

    def _tokens(self, cut: ThoughtCut, output: Output) -> int:
        if cut.thought is None:
            return 0
        if cut.in_thought:
            return output.output_tokens
        place = _last_place(output.token_ids, self.end_ids)
        return min(self.count(cut.thought), output.output_tokens) if place is None else place


def _last_place(ids: Sequence[int], wanted: tuple[int, ...]) -> int | None:
    """Return where a sequence of ids begins for the last time, None if it is not there."""
    for place in range(len(ids) - len(wanted), -1, -1):
        if ids[place] == wanted[0] and tuple(ids[place : place + len(wanted)]) == wanted:
            return place
    return None
