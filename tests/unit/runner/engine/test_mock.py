"""The mock engine: the same answers in any batch and order; words in a prompt make it misbehave."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalrun_runner.engine.mock import ByteTokenizer, MockEngine, MockSettings
from evalrun_runner.engine.protocol import Call, Output, RequestRefused
from evalrun_runner.records.messages import EngineStats

CALLS = [
    *(Call(list(f"question {n}".encode()), 20 + n) for n in range(6)),
    *(Call(list(f"question {n}".encode()), 40, 0.7, seed=seed) for n in range(2) for seed in (1, 2)),
    *(Call(list(f"text {n}".encode()), 1, score_from=3) for n in range(4)),
    *(Call(list(f"choose {n}".encode()), 1, choices=(65, 66, 67)) for n in range(4)),
]


def run_to_the_end(engine: MockEngine, calls: dict[str, Call]) -> dict[str, Output]:
    for call_id, call in calls.items():
        engine.add(call_id, call)
    found: dict[str, Output] = {}
    for _ in range(1_000):
        found.update(engine.step())
        if calls.keys() <= found.keys():
            return found
    raise AssertionError(f"no answer to {sorted(calls.keys() - found.keys())}")


def alone(call: Call, seed: int = 0) -> Output:
    return run_to_the_end(MockEngine(MockSettings(seed=seed)), {"x": call})["x"]


EXPECTED = [alone(call) for call in CALLS]


@given(st.permutations(range(len(CALLS))), st.integers(1, 20), st.integers(0, len(CALLS)))
def test_answers_depend_on_neither_batch_nor_order(order: list[int], batch: int, early: int) -> None:
    engine = MockEngine(MockSettings(max_num_seqs=batch))
    for n in order[:early]:
        engine.add(str(n), CALLS[n])
    found = dict(engine.step()) if early else {}
    found |= run_to_the_end(engine, {str(n): CALLS[n] for n in order[early:]})
    # The early calls have mostly ended by now, but with small batches many may still run.
    for _ in range(1_000):
        if len(found) == len(CALLS):
            break
        found.update(engine.step())
    assert [found[str(n)] for n in range(len(CALLS))] == EXPECTED


def test_another_seed_or_draw_gives_other_answers() -> None:
    greedy = Call(list(b"question"), 40)
    drawn = [alone(Call(list(b"question"), 40, 0.7, seed=seed)).text for seed in range(8)]
    assert len(set(drawn)) > 1
    assert len({alone(greedy, seed=seed).text for seed in range(8)}) > 1
    assert alone(greedy) == alone(greedy)


def test_a_batch_never_exceeds_its_limit() -> None:
    engine = MockEngine(MockSettings(max_num_seqs=2))
    for n in range(5):
        engine.add(str(n), Call([n], 1, choices=(1,)))
    assert [[call_id for call_id, _ in engine.step()] for _ in range(3)] == [["0", "1"], ["2", "3"], ["4"]]


def test_statistics_match_the_requests() -> None:
    engine = MockEngine(MockSettings(max_num_seqs=4))
    assert engine.stats() == EngineStats()
    for n in range(3):
        engine.add(str(n), Call([n], 1, choices=(1,)))
    assert engine.stats() == EngineStats(running=3, cache_usage=0.75, prefix_queried=3)
    for n in range(3, 9):
        engine.add(str(n), Call([n], 1, choices=(1,)))
    assert engine.stats() == EngineStats(running=4, waiting=5, cache_usage=1.0, prefix_queried=9)
    engine.step()
    engine.abort(["4", "5"])
    assert engine.stats() == EngineStats(running=3, cache_usage=0.75, prefix_queried=9)


def test_the_cache_is_the_previous_prompt_in_whole_blocks() -> None:
    engine = MockEngine(MockSettings())
    question = list(range(40))
    for n, (prompt, hit) in enumerate(
        ((question, 0), ([*question, 50], 32), ([*question[:20], 51], 16), (question, 16), (question[:10], 0))
    ):
        before = engine.stats()
        engine.add(str(n), Call(prompt, 1))
        after = engine.stats()
        assert after.prefix_queried - before.prefix_queried == len(prompt)
        assert after.prefix_hit - before.prefix_hit == hit
    # Prompts that are scored are computed whole.
    engine.add("scored", Call(question, 1, score_from=30))
    assert engine.stats().prefix_queried == after.prefix_queried


def test_scores_and_choices_are_the_requested_ones() -> None:
    scored = alone(Call(list(b"abcdef"), 1, score_from=2))
    assert len(scored.scores) == 4
    assert all(logprob < 0 for logprob, _ in scored.scores)
    chosen = alone(Call(list(b"ab"), 1, choices=(65, 66)))
    assert set(chosen.choice_logprobs) == {65, 66}
    # The fast form and lm-eval's own agree, as a real engine's do.
    assert chosen.choice_logprobs[66] == alone(Call([*b"ab", 66], 1, score_from=2)).scores[0][0]


def test_commands_refuse_stall_and_hold(tmp_path: Path) -> None:
    engine = MockEngine(MockSettings())
    with pytest.raises(RequestRefused, match="was told to refuse"):
        engine.add("0", Call(list(b"[mock:refuse]"), 1))
    gate = tmp_path / "gate"
    gate.touch()
    engine.add("stalled", Call(list(b"[mock:stall]"), 1, choices=(1,)))
    engine.add("held", Call(list(f"[mock:hold:{gate}]".encode()), 1, choices=(1,)))
    engine.add("free", Call(list(b"hello"), 1, choices=(1,)))
    assert [call_id for call_id, _ in engine.step()] == ["free"]
    assert engine.step() == []
    gate.unlink()
    assert [call_id for call_id, _ in engine.step()] == ["held"]
    engine.abort(["stalled", "gone long ago"])
    assert engine.step() == []


def test_the_last_command_counts_because_examples_come_first() -> None:
    engine = MockEngine(MockSettings())
    engine.add("0", Call(list(b"[mock:refuse] an example. [mock:stall] the question"), 1))
    assert engine.step() == []


@pytest.mark.parametrize("again", [False, True])
def test_the_engine_dies_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: bool) -> None:
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append((pid, number)))
    mark = tmp_path / "mark"
    if again:
        mark.touch()
    alone(Call(list(f"[mock:die-once:{mark}]".encode()), 1, choices=(1,)))
    assert killed == ([] if again else [(os.getpid(), signal.SIGKILL)])
    assert mark.exists()


def test_the_tokenizer_decodes_what_it_encoded() -> None:
    tokenizer = ByteTokenizer()
    (ids,) = tokenizer(["Grüße"])["input_ids"]
    assert bytes(ids).decode() == "Grüße"
    assert tokenizer.decode([72, 105, 257]) == "Hi<eos>"
    messages = [{"role": "user", "content": "Hi"}]
    assert tokenizer.apply_chat_template(messages) == "user: Hi\nassistant:"
    assert tokenizer.apply_chat_template(messages, add_generation_prompt=False) == "user: Hi"
