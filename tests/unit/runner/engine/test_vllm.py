"""Arguments and environment of vLLM, by numerics and by whether the machine has a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from evalrun_runner import machine
from evalrun_runner.engine.vllm import LORA_RANKS, EngineAdapter, VllmSettings, engine_args, prepare_environment

STRICT = VllmSettings(Path("/model"), seed=1, strict=True)


@pytest.fixture(params=[False, True], ids=["cpu", "gpu"])
def on_gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> bool:
    """Whether the machine's files say that it has a GPU."""
    gpu: bool = request.param
    for name in ("proc/meminfo", *(["dev/nvidiactl"] if gpu else [])):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("MemAvailable: 8000000 kB\nMemTotal: 8000000 kB\n")
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    return gpu


def test_strict_is_vllms_batch_invariant_mode_on_gpus_and_one_request_in_float32_on_cpu(on_gpu: bool) -> None:
    arguments = engine_args(STRICT)
    assert arguments["enable_prefix_caching"] is False
    assert prepare_environment(STRICT, 2).get("VLLM_BATCH_INVARIANT") == ("1" if on_gpu else None)
    assert (arguments["max_num_seqs"], arguments.get("dtype")) == ((256, None) if on_gpu else (1, "float32"))


def test_other_numerics_have_neither(on_gpu: bool) -> None:
    settings = VllmSettings(Path("/model"), seed=1)
    assert "VLLM_BATCH_INVARIANT" not in prepare_environment(settings, 2)
    assert engine_args(settings)["enable_prefix_caching"] is True


def test_load_format_is_safetensors_unless_another_is_asked_for() -> None:
    assert engine_args(STRICT)["load_format"] == "safetensors"
    asked = VllmSettings(Path("/model"), seed=1, args={"load_format": "instanttensor", "trust_remote_code": True})
    assert engine_args(asked)["load_format"] == "instanttensor"
    assert engine_args(asked)["trust_remote_code"] is False


def test_room_for_adapters_follows_from_the_adapters() -> None:
    def arguments(*ranks: int) -> dict[str, object]:
        adapters = tuple(
            EngineAdapter(f"a{n}", Path("/a"), rank, (f"m{n}_proj", "q_proj")) for n, rank in enumerate(ranks)
        )
        given = engine_args(VllmSettings(Path("/model"), seed=1, adapters=adapters))
        return {name: value for name, value in given.items() if "lora" in name and name != "lora_target_modules"}

    assert arguments() == {}
    assert arguments(9) == {"enable_lora": True, "max_loras": 1, "max_cpu_loras": 1, "max_lora_rank": 16}
    assert arguments(*[1] * 20) == {"enable_lora": True, "max_loras": 16, "max_cpu_loras": 20, "max_lora_rank": 1}


def test_only_the_modules_of_the_adapters_are_wrapped() -> None:
    adapters = tuple(EngineAdapter(f"a{n}", Path("/a"), 4, (f"m{n}_proj", "q_proj")) for n in range(2))
    given = engine_args(VllmSettings(Path("/model"), seed=1, adapters=adapters))
    assert given["lora_target_modules"] == ["m0_proj", "m1_proj", "q_proj"]


def test_vllm_allocates_the_ranks_that_are_chosen_from() -> None:
    from vllm.config.lora import MaxLoRARanks

    assert get_args(MaxLoRARanks) == LORA_RANKS
