"""Adapters are brought whole, and what their files show to be wrong is refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from evalrun_runner.errors import InputError
from evalrun_runner.models.adapter import bring_adapter
from evalrun_runner.models.adapter_check import AdapterShape, check_fits
from evalrun_runner.models.types import ModelSource
from support.adapters import TARGETS, weight_shapes, write_adapter
from support.model_files import FolderOrigin

BASE = {
    **{"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "num_key_value_heads": 2},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    (folder / "config.json").write_text(json.dumps(BASE))
    return folder


def bring(folder: Path, digest: str | None = None) -> Any:
    return bring_adapter("mine", ModelSource(folder.as_uri(), digest=digest), folder.parent / "cache")


def test_an_adapter_has_a_digest_of_its_two_files_alone(base: Path, tmp_path: Path) -> None:
    one = bring(write_adapter(tmp_path / "one", base, rank=3))
    assert (one.shape.rank, one.shape.targets, one.shape.base) == (3, tuple(sorted(TARGETS)), str(base))
    assert one.shape.modules == weight_shapes(base)
    write_adapter(tmp_path / "same", base, rank=3)
    (tmp_path / "same" / "README.md").write_text("a card")
    assert bring(tmp_path / "same").digest == one.digest
    assert bring(write_adapter(tmp_path / "other", base, rank=3, seed=1)).digest != one.digest
    assert bring(tmp_path / "one", digest=one.digest) == replace(one, source=one.source)
    with pytest.raises(InputError, match=f"not the adapter that digest names\n  expected sha256:{'0' * 64}"):
        bring(tmp_path / "one", digest=f"sha256:{'0' * 64}")


@pytest.mark.parametrize("revision", ["1", None])
def test_an_adapter_from_elsewhere_is_fetched_once_without_the_files_beside_it(
    base: Path, tmp_path: Path, revision: str | None
) -> None:
    folder = write_adapter(tmp_path / "one", base)
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    origin = FolderOrigin({**content, "README.md": b"a card", "adapter_model.bin": b"a pickle"}, revision)
    source = ModelSource("hf://org/one")
    first, second = (bring_adapter("mine", source, tmp_path / "cache", origins=origin.everywhere) for _ in range(2))
    assert sorted(origin.brought) == ["adapter_config.json", "adapter_model.safetensors"]
    assert first == second
    assert (first.digest, first.source.revision) == (bring(folder).digest, revision)
    del origin.content["adapter_model.safetensors"]
    with pytest.raises(InputError, match=r"hf://org/other: adapter_model\.safetensors is not there"):
        bring_adapter("mine", ModelSource("hf://org/other"), tmp_path / "cache", origins=origin.everywhere)


def test_a_folder_that_is_not_there_is_named_with_its_adapter(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"spec\.model\.adapters: mine: .*/nothing is not there"):
        bring(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"peft_type": "IA3"}, "its peft_type is 'IA3'"),
        ({"use_dora": True}, "use_dora is set"),
        ({"modules_to_save": ["lm_head"]}, r"modules_to_save is \['lm_head'\]"),
        ({"bias": "all"}, "bias is 'all'"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa'"),
        ({"r": 2}, "a matrix of rank 4, and adapter_config.json declares r 2"),
        ({"r": None}, "a rank is None"),
        ({"rank_pattern": {"q_proj": "8"}}, "a rank is '8'"),
    ],
)
def test_what_vllm_does_not_run_as_peft_does_is_refused(
    base: Path, tmp_path: Path, config: dict[str, Any], expected: str
) -> None:
    folder = write_adapter(tmp_path / "one", base, config=config)
    with pytest.raises(InputError, match=expected) as refused:
        bring(folder)
    assert "spec.model.adapters: mine: file:///" in str(refused.value)


def test_an_untrained_adapter_has_no_effect(base: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="AdapterHasNoEffect: all its lora_B matrices are zero"):
        bring(write_adapter(tmp_path / "one", base, scale=0.0))


def test_an_adapter_of_the_output_layer_is_refused(base: Path, tmp_path: Path) -> None:
    weights = write_adapter(tmp_path / "one", base) / "adapter_model.safetensors"
    extra = {f"base_model.model.lm_head.lora_{side}.weight": np.ones((4, 4), np.float32) for side in "AB"}
    save_file(load_file(weights) | extra, weights)
    with pytest.raises(InputError, match="it changes lm_head; expected an adapter of inner layers"):
        bring(weights.parent)


def test_pickled_weights_and_missing_files_are_refused(base: Path, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "one", base)
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(InputError, match=r"adapter_model.safetensors is not there; .*\nhint: .*safe_serialization"):
        bring(folder)


def test_a_truncated_file_is_refused(base: Path, tmp_path: Path) -> None:
    weights = write_adapter(tmp_path / "one", base) / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(InputError, match="its header says"):
        bring(weights.parent)


@pytest.mark.parametrize(
    ("drop", "add", "expected"),
    [
        ("base_model.model.model.layers.1.mlp.up_proj.lora_B.weight", None, "no pair of lora_A and lora_B .*up_proj"),
        (None, "base_model.model.lm_head.weight", "has base_model.model.lm_head.weight; expected matrices named"),
        (None, "base_model.model.lm_head.lora_A.weight", "no pair of lora_A and lora_B of one rank for lm_head"),
        (None, "model.layers.0.self_attn.q_proj.lora_A.weight", "expected matrices named"),
    ],
)
def test_tensors_of_another_layout_are_refused(
    base: Path, tmp_path: Path, drop: str | None, add: str | None, expected: str
) -> None:
    weights = write_adapter(tmp_path / "one", base) / "adapter_model.safetensors"
    tensors = {name: tensor for name, tensor in load_file(weights).items() if name != drop}
    save_file(tensors | ({} if add is None else {add: np.ones((2, 2), np.float32)}), weights)
    with pytest.raises(InputError, match=expected):
        bring(weights.parent)


@given(
    changes=st.sampled_from([("hidden_size", 32), ("intermediate_size", 48), ("num_hidden_layers", 1), None]),
    targets=st.sets(st.sampled_from(TARGETS), min_size=1),
)
def test_an_adapter_fits_its_own_base_only(
    base: Path, tmp_path_factory: pytest.TempPathFactory, changes: tuple[str, int] | None, targets: set[str]
) -> None:
    modules = {name: shape for name, shape in weight_shapes(base).items() if name.rpartition(".")[2] in targets}
    shape = AdapterShape(4, modules, "org/another")
    if changes is None:
        check_fits(shape, base, "here")
        return
    field, value = changes
    other = tmp_path_factory.mktemp("other")
    (other / "config.json").write_text(json.dumps({**BASE, field: value}))
    concerned = {
        "hidden_size": {"q_proj", "k_proj", "v_proj", "o_proj", "down_proj"},
        "intermediate_size": {"down_proj"},
        "num_hidden_layers": set(TARGETS),
    }[field]
    if targets & concerned:
        with pytest.raises(InputError, match=r"here: it is an adapter of another model: .*'org/another' as its base"):
            check_fits(shape, other, "here")
    else:
        check_fits(shape, other, "here")
