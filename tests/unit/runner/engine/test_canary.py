"""An engine proves that its answers do not depend on their batch, or is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evalrun_api import Reason
from evalrun_api.wire.outputs import RecordedProof
from evalrun_runner.engine.canary import GENERATED, LENGTHS, canary_calls, check_adapters, prove_strict
from evalrun_runner.engine.mock import ByteTokenizer, MockEngine, MockSettings
from evalrun_runner.engine.protocol import Call, Output
from evalrun_runner.engine.tokens import TextCodec
from evalrun_runner.errors import InputError

CODEC = TextCodec(ByteTokenizer())


class RoundingEngine(MockEngine):
    """Numbers of it change in their last bit where more requests than ``limit`` share a batch, as on a GPU."""

    def __init__(self, limit: int, *, word: bool = False) -> None:
        super().__init__(MockSettings())
        self._limit = limit
        self._word = word

    def step(self) -> list[tuple[str, Output]]:
        crowded = self.stats().running > self._limit
        return [(name, self._rounded(output) if crowded else output) for name, output in super().step()]

    def _rounded(self, output: Output) -> Output:
        if self._word:
            return replace(output, text=output.text.upper())
        return replace(output, scores=tuple((value * (1 + 2**-52), top) for value, top in output.scores))


def test_a_batch_invariant_engine_has_a_proof_that_does_not_depend_on_its_size() -> None:
    proof = RecordedProof.model_validate(prove_strict(MockEngine(MockSettings()), CODEC))
    assert proof.answers == 3 * len(LENGTHS) and proof.repeats == 8 * proof.answers
    assert proof.largest_batch == 64
    assert proof.numbers > sum(LENGTHS)
    alone = RecordedProof.model_validate(prove_strict(MockEngine(MockSettings(max_num_seqs=1)), CODEC))
    assert (alone.sha256, alone.largest_batch, alone.repeats) == (proof.sha256, 1, 18)
    other = RecordedProof.model_validate(prove_strict(MockEngine(MockSettings(seed=7)), CODEC))
    assert other.sha256 != proof.sha256


@pytest.mark.parametrize(("limit", "changed"), [(1, 24), (3 * len(LENGTHS), 21)])
def test_one_bit_that_changes_with_the_batch_is_refused_by_name(limit: int, changed: int) -> None:
    with pytest.raises(InputError, match=rf"strict, but {changed} of 72 .*a log-probability of -.* alone is -") as no:
        prove_strict(RoundingEngine(limit), CODEC)
    assert no.value.reason is Reason.NUMERICS_NOT_STRICT


def test_a_word_that_changes_with_the_batch_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"the answer ' so then.* alone is ' SO THEN.*' in a batch"):
        prove_strict(RoundingEngine(1, word=True), CODEC)


@pytest.mark.parametrize("limit", [*range(LENGTHS[0] + GENERATED, 40, 7), 2048])
def test_canaries_fit_the_engine(limit: int) -> None:
    calls = canary_calls(CODEC, limit)
    assert calls and all(len(call.prompt) + call.max_tokens <= limit for call in calls)


def test_an_engine_too_small_for_any_canary_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be proved with maxModelLen 10; expected at least 13"):
        prove_strict(MockEngine(MockSettings(max_model_len=10)), CODEC)


class Forgetful(MockEngine):
    """Serves the model itself where some adapters are asked for, as an engine does that ignores them."""

    def add(self, call_id: str, call: Call) -> None:
        super().add(call_id, replace(call, adapter=None) if call.adapter == "off" else call)


def test_adapters_that_change_log_probabilities_are_on() -> None:
    effects = check_adapters(MockEngine(MockSettings()), CODEC, ("one", "two"))
    assert set(effects) == {"one", "two"} and min(effects.values()) > 0


def test_an_adapter_whose_log_probabilities_are_the_models_own_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"adapters: off: the log-probabilities of 3 canary prompts are those") as no:
        check_adapters(Forgetful(MockSettings()), CODEC, ("one", "off"))
    assert no.value.reason is Reason.ADAPTER_HAS_NO_EFFECT
