"""Canaries: prove that an engine is batch-invariant, and that its adapters are on, before it works.

A batch-invariant engine is asked the same canaries alone and in other batches, and every bit is compared.

A canary is a prompt of a given length, asked in the three ways of items: a greedy answer, log-probabilities of
choices, and the scores of the prompt's own tokens. The rounds are

1. each request alone,
2. all requests together, in order,
3. all together in reverse, each several times where the engine batches them, with other requests around them.

An engine whose kernels depend on the shape of the batch differs between the rounds in the last bits of some number.
The proof holds for the requests that were compared; it cannot exclude a batch that was not tried.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from evalrun_api import Reason
from evalrun_api.wire.outputs import RecordedProof
from evalrun_runner.engine.protocol import Call, Engine, Output
from evalrun_runner.engine.tokens import TextCodec
from evalrun_runner.errors import InputError

SCORED_FROM = 1
"""Position from which on a prompt's own tokens are scored."""
LENGTHS = (5, 33, 130)
"""Prompt lengths in tokens: below and beyond the block sizes of kernels and caches."""
MOST_COPIES = 8
"""Most copies of a canary in one batch."""
GENERATED = 8
"""Tokens of a greedy answer."""
_CHOICES = 4
_TEXT = "A train leaves the station at nine and meets another one that left at ten; where do they meet, and when? "


@dataclass(frozen=True, slots=True)
class _Answer:
    """The part of an output that scores are made of."""

    text: str
    top: float | None
    choices: tuple[tuple[int, float], ...]
    scores: tuple[tuple[float, bool], ...]

    @classmethod
    def of(cls, output: Output) -> _Answer:
        choices = tuple(sorted(output.choice_logprobs.items()))
        return cls(output.text, output.top_logprob, choices, output.scores)

    @property
    def numbers(self) -> list[float]:
        """All log-probabilities."""
        top = [] if self.top is None else [self.top]
        return [*top, *(number for _, number in self.choices), *(number for number, _ in self.scores)]


def canary_calls(codec: TextCodec, max_model_len: int) -> list[Call]:
    """Make the canaries' calls, as long as the engine takes them."""
    tokens = codec.encode(_TEXT * (1 + LENGTHS[-1] // 10))
    lengths = [length for length in LENGTHS if length + GENERATED <= max_model_len and length <= len(tokens)]
    return [call for length in lengths for call in _asked(tokens[-length:])]


def _asked(prompt: Sequence[int]) -> Iterator[Call]:
    choices = tuple(dict.fromkeys(prompt[:_CHOICES]))
    yield Call(prompt, GENERATED)
    yield Call(prompt, 1, choices=choices)
    yield Call(prompt, 1, score_from=SCORED_FROM)


def prove_strict(engine: Engine, codec: TextCodec) -> dict[str, object]:
    """Prove that the engine's answers do not depend on the batch, and return the proof for the provenance.

    Raises:
        InputError: Some do, or the engine is too small to tell.
    """
    calls = canary_calls(codec, engine.max_model_len)
    if not calls:
        raise InputError(
            f"spec.engine.numerics: strict cannot be proved with maxModelLen {engine.max_model_len}; expected at least "
            f"{LENGTHS[0] + GENERATED}",
            reason=Reason.NUMERICS_NOT_STRICT,
        )
    alone = [_answers(engine, [call])[0] for call in calls]
    others = [Call(call.prompt[1:] or call.prompt, GENERATED) for call in calls[::3]]
    copies = max(1, min(MOST_COPIES, engine.max_num_seqs // len(calls)))
    order = [index for index in reversed(range(len(calls))) for _ in range(copies)]
    mixed = [*others, *(calls[index] for index in order), *others]
    repeats = list(enumerate(_answers(engine, calls)))
    repeats += zip(order, _answers(engine, mixed)[len(others) : len(others) + len(order)], strict=True)
    changed = [(index, answer) for index, answer in repeats if answer != alone[index]]
    if changed:
        raise _changes(calls, alone, changed, len(repeats))
    answers = json.dumps([[answer.text, *map(float.hex, answer.numbers)] for answer in alone])
    return RecordedProof(
        answers=len(calls),
        repeats=len(repeats),
        largest_batch=min(len(mixed), engine.max_num_seqs),
        numbers=sum(len(answer.numbers) for answer in alone),
        sha256=hashlib.sha256(answers.encode()).hexdigest(),
    ).as_written()


def check_adapters(engine: Engine, codec: TextCodec, adapters: Sequence[str]) -> dict[str, float]:
    """Prove that every adapter is on: log-probabilities of prompts differ from the model's own, beyond its noise.

    The noise is how far the model's own answers differ when it is asked twice; each request is alone in the engine.

    Returns:
        The greatest difference of a log-probability, by adapter.

    Raises:
        InputError: An adapter has no effect.
    """
    calls = [call for call in canary_calls(codec, engine.max_model_len) if call.score_from is not None]

    def numbers(adapter: str | None) -> list[float]:
        asked = (replace(call, adapter=adapter) for call in calls)
        return [number for call in asked for number in _answers(engine, [call])[0].numbers]

    base = numbers(None)
    noise = _difference(base, numbers(None))
    effects = {adapter: _difference(base, numbers(adapter)) for adapter in adapters}
    off = [adapter for adapter, effect in effects.items() if effect <= noise]
    if off:
        raise InputError(
            f"spec.model.adapters: {', '.join(off)}: the log-probabilities of {len(calls)} canary prompts are those of "
            f"the model without it (largest difference {effects[off[0]]:g}, noise {noise:g}); expected an adapter with "
            "an effect\nhint: check that it was trained, and on this model",
            reason=Reason.ADAPTER_HAS_NO_EFFECT,
        )
    return effects


def _difference(one: Sequence[float], other: Sequence[float]) -> float:
    return max((abs(a - b) for a, b in zip(one, other, strict=True)), default=0.0)


def _answers(engine: Engine, calls: Sequence[Call]) -> list[_Answer]:
    """Run calls together in an engine that has no others, and return their answers in order."""
    for number, call in enumerate(calls):
        engine.add(f"canary-{number}", call)
    found: dict[str, Output] = {}
    while len(found) < len(calls):
        found.update(engine.step())
    return [_Answer.of(found[f"canary-{number}"]) for number in range(len(calls))]


def _changes(
    calls: Sequence[Call], alone: Sequence[_Answer], changed: Sequence[tuple[int, _Answer]], repeats: int
) -> InputError:
    index, answer = changed[0]
    before = alone[index]
    pairs = zip(before.numbers, answer.numbers, strict=True)
    told = next(
        (f"a log-probability of {one!r} alone is {other!r} in a batch" for one, other in pairs if one != other),
        f"the answer {before.text[:40]!r} alone is {answer.text[:40]!r} in a batch",
    )
    return InputError(
        f"spec.engine.numerics: strict, but {len(changed)} of {repeats} repeated answers changed with the batch: "
        f"for a prompt of {len(calls[index].prompt)} tokens {told}; expected the same bits in every batch\n"
        "hint: leave out quantization, attention_backend and parallelism that vLLM has no batch-invariant kernels for, "
        "or use numerics: reference",
        reason=Reason.NUMERICS_NOT_STRICT,
    )
