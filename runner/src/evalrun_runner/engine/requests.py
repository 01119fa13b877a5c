"""Request plans: the engine calls of an item, and the assembly of their outputs into responses.

``reference`` numerics use lm-eval's own requests to vLLM: one prompt with ``prompt_logprobs`` for each choice. ``fast``
asks for all single-token choices of one context in a single call that generates one token and returns the
log-probabilities of the choices. On CPU in float32 the two are bit-equal; the prefix cache works only for ``fast``.

Nothing is truncated: an item that does not fit into the context fails with an error that gives the numbers, whereas
lm-eval would cut its context from the left with a warning. The score of a cut question is not a score of the benchmark.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from evalrun_runner.engine.generation import BadArgument, cut_at_stops, parse_generation
from evalrun_runner.engine.protocol import MAX_CHOICES, Call, Output
from evalrun_runner.engine.thinking import Thinking, ThoughtReader, is_opened
from evalrun_runner.engine.tokens import NotUnicode, TextCodec
from evalrun_runner.records.plan import Item, Request, RequestType
from evalrun_runner.records.results import Response

NO_THINKING: Mapping[str, Thinking] = {}


class ItemRefused(Exception):
    """Error of an item that this engine cannot run; its message becomes the item's error."""


Assemble = Callable[[Sequence[Output], Sequence[float]], Mapping[tuple[int, int], Response]]
"""Function from a step's outputs and durations in seconds to responses by (request, repeat)."""


@dataclass(frozen=True, slots=True)
class Step:
    """Calls that together produce some of an item's responses."""

    calls: tuple[Call, ...]
    assemble: Assemble


@dataclass(frozen=True, slots=True)
class RequestPlan:
    """All engine calls of an item."""

    steps: tuple[Step, ...]
    repeats: tuple[int, ...]
    """Number of responses to each request."""

    @property
    def calls(self) -> list[Call]:
        """Calls of all steps, in order."""
        return [call for step in self.steps for call in step.calls]

    def answered_by(self, adapter: str) -> RequestPlan:
        """Return the same plan for an adapter."""
        return RequestPlan(
            tuple(
                Step(tuple(replace(call, adapter=adapter) for call in step.calls), step.assemble) for step in self.steps
            ),
            self.repeats,
        )

    @property
    def prompt_tokens(self) -> int:
        """Number of prompt tokens of all calls."""
        return sum(len(call.prompt) for step in self.steps for call in step.calls)

    def responses(self, outputs: Sequence[Output], seconds: Sequence[float]) -> tuple[tuple[Response, ...], ...]:
        """Assemble the responses by request and repeat from the outputs and durations (s) of ``calls``, in order."""
        found: dict[tuple[int, int], Response] = {}
        start = 0
        for step in self.steps:
            end = start + len(step.calls)
            found.update(step.assemble(outputs[start:end], seconds[start:end]))
            start = end
        return tuple(
            tuple(found[request, repeat] for repeat in range(count)) for request, count in enumerate(self.repeats)
        )


class RequestPlanner:
    """Planner of items' engine calls for one engine. Each sampled generation is seeded by seed, item and repeat."""

    def __init__(
        self,
        codec: TextCodec,
        *,
        max_model_len: int,
        fast: bool,
        seed: int,
        thinking: Mapping[str, Thinking] = NO_THINKING,
    ) -> None:
        """Prepare to plan.

        Args:
            codec: The model's tokenizer.
            max_model_len: Maximum number of prompt and generated tokens together.
            fast: Whether ``numerics`` is ``fast``.
            seed: The run's seed.
            thinking: Leaf tasks before whose answers the model thinks.
        """
        self._codec = codec
        self._thinking = thinking
        self._limit = max_model_len
        self._fast = fast
        self._seed = seed

    def plan(self, item: Item, adapter: str | None = None) -> RequestPlan:
        """Plan the calls of an item, which the adapter answers, or None for the model itself.

        Raises:
            ItemRefused: The item cannot run on this engine.
        """
        try:
            planned = self._plan(item)
        except NotUnicode as error:
            raise ItemRefused(f"NotUnicode: {error}") from error
        return planned if adapter is None else planned.answered_by(adapter)

    def _plan(self, item: Item) -> RequestPlan:
        steps: list[Step] = []
        likelihoods: dict[str, list[tuple[int, Request]]] = {}
        for position, request in enumerate(item.requests):
            match request.type:
                case RequestType.GENERATE_UNTIL:
                    steps.extend(self._generate(item, position, request))
                case RequestType.LOGLIKELIHOOD_ROLLING:
                    steps.append(self._rolling(position, request))
                case RequestType.LOGLIKELIHOOD:
                    likelihoods.setdefault(request.arguments[0], []).append((position, request))
        for context, asked in likelihoods.items():
            steps.extend(self._likelihoods(context, asked))
        return RequestPlan(tuple(steps), tuple(request.repeats for request in item.requests))

    def _check(self, prompt: int, generated: int, *, sets: str = "spec.engine.vllm.maxModelLen") -> None:
        if prompt + generated > self._limit:
            raise ItemRefused(
                f"ContextTooLong: {prompt} prompt tokens and {generated} to generate are {prompt + generated}, more "
                f"than the engine's {self._limit} ({sets})"
            )

    def _generate(self, item: Item, position: int, request: Request) -> list[Step]:
        context, arguments = request.arguments
        prompt = self._codec.encode(context)
        if not prompt:
            raise ItemRefused("EmptyPrompt: the prompt of this item is empty")
        try:
            wanted = parse_generation(arguments, self._codec.eos_text)
        except BadArgument as error:
            raise ItemRefused(f"{error.code}: {error}") from error
        self._check(len(prompt), wanted.max_tokens, sets="spec.engine.vllm.maxModelLen; generation.max_gen_toks")
        greedy = wanted.temperature == 0.0
        # A greedy answer is always the same: one call serves all repeats, except with lm-eval's own requests.
        copies = (
            [range(request.repeats)] if greedy and self._fast else [range(n, n + 1) for n in range(request.repeats)]
        )
        stop, options = wanted.stop, wanted.options
        reader = self._reader(item.task, context, wanted.stop)
        if reader is not None:
            stop = tuple(text for text in stop if text == self._codec.eos_text)
            options = {**options, **self._thinking[item.task].options}
        steps = []
        for repeats in copies:
            seed = None if greedy else _seed_of(self._seed, item.hash, position, repeats.start)
            call = Call(prompt, wanted.max_tokens, wanted.temperature, stop, seed, options)
            assemble = _generated(position, repeats, stop) if reader is None else _thought(position, repeats, reader)
            steps.append(Step((call,), assemble))
        return steps

    def _reader(self, task: str, prompt: str, stops: tuple[str, ...]) -> ThoughtReader | None:
        """Return what reads the outputs of a task whose answers follow thinking, None for any other task."""
        thinking = self._thinking.get(task)
        if thinking is None:
            return None
        markers = thinking.markers

        def encode(text: str) -> list[int]:
            return self._codec.encode(text, special_tokens=False)

        end_ids = tuple(encode(markers.end))
        return ThoughtReader(markers, end_ids, is_opened(prompt, markers), stops, lambda text: len(encode(text)))

    def _rolling(self, position: int, request: Request) -> Step:
        tokens = self._codec.encode(request.arguments[0])
        calls = []
        # lm-eval reserves one token for context and one for generation.
        for context, target in rolling_windows(tokens, self._codec.prefix_token, self._limit - 2):
            self._check(len(context) + len(target), 1)
            calls.append(_scored(context, target))
        return Step(tuple(calls), _summed(position, request.repeats))

    def _likelihoods(self, context: str, asked: Sequence[tuple[int, Request]]) -> list[Step]:
        singles: dict[tuple[int, ...], list[tuple[int, int, int]]] = {}
        steps = []
        for position, request in asked:
            prompt, target = self._codec.encode_pair(context, request.arguments[1])
            if not prompt:
                raise ItemRefused("EmptyContext: the context of this item is blank; expected some text or none at all")
            self._check(len(prompt) + len(target), 1)
            if not target:
                steps.append(Step((), _certain(position, request.repeats)))
            elif self._fast and len(target) == 1:
                singles.setdefault(tuple(prompt), []).append((position, request.repeats, target[0]))
            else:
                steps.append(Step((_scored(prompt, target),), _summed_likelihood(position, request.repeats)))
        for shared, wanted in singles.items():
            for start in range(0, len(wanted), MAX_CHOICES):
                part = wanted[start : start + MAX_CHOICES]
                choices = tuple(dict.fromkeys(token for _, _, token in part))
                steps.append(Step((Call(shared, 1, choices=choices),), _chosen(part)))
        return steps


def _seed_of(seed: int, item_hash: str, request: int, repeat: int) -> int:
    digest = hashlib.sha256(f"{seed}/{item_hash}/{request}/{repeat}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _scored(context: Sequence[int], target: Sequence[int]) -> Call:
    return Call([*context, *target], 1, score_from=len(context))


def _response(value: str | tuple[float, bool] | float, outputs: Sequence[Output], seconds: Sequence[float]) -> Response:
    return Response(
        value,
        outputs[-1].finish_reason if outputs else "none",
        sum(output.prompt_tokens for output in outputs),
        sum(output.output_tokens for output in outputs),
        sum(output.cached_tokens for output in outputs),
        max(seconds, default=0.0),
    )


def _generated(position: int, repeats: range, stops: tuple[str, ...]) -> Assemble:
    def assemble(outputs: Sequence[Output], seconds: Sequence[float]) -> dict[tuple[int, int], Response]:
        response = _response(cut_at_stops(outputs[0].text, stops), outputs, seconds)
        return {(position, repeat): response for repeat in repeats}

    return assemble


def _thought(position: int, repeats: range, reader: ThoughtReader) -> Assemble:
    def assemble(outputs: Sequence[Output], seconds: Sequence[float]) -> dict[tuple[int, int], Response]:
        response = reader.read(_response("", outputs, seconds), outputs[0])
        return {(position, repeat): response for repeat in repeats}

    return assemble


def _summed(position: int, repeats: int) -> Assemble:
    def assemble(outputs: Sequence[Output], seconds: Sequence[float]) -> dict[tuple[int, int], Response]:
        total = sum(sum(logprob for logprob, _ in output.scores) for output in outputs)
        return {(position, repeat): _response(total, outputs, seconds) for repeat in range(repeats)}

    return assemble


def _summed_likelihood(position: int, repeats: int) -> Assemble:
    def assemble(outputs: Sequence[Output], seconds: Sequence[float]) -> dict[tuple[int, int], Response]:
        scores = outputs[0].scores
        value = (sum(logprob for logprob, _ in scores), all(top for _, top in scores))
        return {(position, repeat): _response(value, outputs, seconds) for repeat in range(repeats)}

    return assemble


def _chosen(wanted: Sequence[tuple[int, int, int]]) -> Assemble:
    def assemble(outputs: Sequence[Output], seconds: Sequence[float]) -> dict[tuple[int, int], Response]:
        (output,) = outputs
        top = output.top_logprob
        # Compare values, as lm-eval does: among equally likely tokens, which bfloat16 makes common, each is greedy.
        greedy = {token: top is not None and logprob >= top for token, logprob in output.choice_logprobs.items()}
        return {
            (position, repeat): _response((output.choice_logprobs[token], greedy[token]), outputs, seconds)
            for position, repeats, token in wanted
            for repeat in range(repeats)
        }

    return assemble


def _certain(position: int, repeats: int) -> Assemble:
    """Assemble the response to a continuation without tokens, whose sum lm-eval takes as 0 and greedy."""

    def assemble(outputs: Sequence[Output], seconds: Sequence[float]) -> dict[tuple[int, int], Response]:
        return {(position, repeat): _response((0, True), outputs, seconds) for repeat in range(repeats)}

    return assemble


def rolling_windows(tokens: Sequence[int], prefix: int, size: int) -> list[tuple[list[int], list[int]]]:
    """Split tokens into disjoint (context, target) windows that score every token once.

    Source: ``get_rolling_token_windows`` with ``context_len=1`` and ``make_disjoint_window`` (lm_eval/utils.py).
    """
    windows: list[tuple[list[int], list[int]]] = []
    for start in range(0, len(tokens), size):
        end = min(start + size, len(tokens))
        if start == 0:
            windows.append(([prefix], list(tokens[:end])))
            continue
        # lm-eval conditions each later target on as many tokens as fit before it.
        first_input = max(0, end - size - 1)
        windows.append((list(tokens[first_input:start]), list(tokens[start:end])))
    return windows
