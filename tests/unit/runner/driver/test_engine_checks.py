"""Engine arguments that contradict ``numerics: strict`` or need a missing library are found before a replica starts."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from evalrun_api import EngineSpec, Reason
from evalrun_runner.driver.engine_checks import BATCH_INVARIANT_BACKENDS, LIBRARIES_OF_FORMATS, check_engine_args
from evalrun_runner.errors import InputError


def engine(numerics: str = "strict", **args: Any) -> EngineSpec:
    return EngineSpec.model_validate({"numerics": numerics, "vllm": {"args": args}})


@pytest.mark.parametrize(
    ("on_gpu", "args", "expected"),
    [
        (False, {"dtype": "bfloat16"}, "dtype: it is bfloat16, and with numerics: strict on CPU expected float32"),
        (False, {"max_num_seqs": 8}, "max_num_seqs: it is 8, .* on CPU expected 1"),
        (False, {"enable_prefix_caching": True}, "enable_prefix_caching: it is true"),
        (True, {"attention_backend": "FLASHINFER"}, "attention_backend: it is FLASHINFER, .* on GPUs .*FLASH_ATTN"),
    ],
)
def test_what_makes_answers_depend_on_their_batch_is_refused_with_strict_only(
    on_gpu: bool, args: dict[str, Any], expected: str
) -> None:
    with pytest.raises(InputError, match=expected) as refused:
        check_engine_args(engine(**args), on_gpu=on_gpu)
    assert refused.value.reason is Reason.INVALID_SPEC
    check_engine_args(engine("reference", **args), on_gpu=on_gpu)


@pytest.mark.parametrize("on_gpu", [False, True])
def test_strict_without_contradictions_is_accepted_everywhere(on_gpu: bool) -> None:
    check_engine_args(engine(), on_gpu=on_gpu)
    check_engine_args(engine(dtype="float32"), on_gpu=on_gpu)
    check_engine_args(EngineSpec.model_validate({"numerics": "strict", "mock": {}}), on_gpu=on_gpu)


def test_a_load_format_whose_library_is_missing_is_refused_by_name() -> None:
    for load_format, library in LIBRARIES_OF_FORMATS.items():
        check_engine_args(engine("fast", load_format=load_format), on_gpu=True, is_installed=lambda _: True)
        with pytest.raises(InputError, match=f"{load_format} needs the library {library}") as refused:
            check_engine_args(engine("fast", load_format=load_format), on_gpu=True, is_installed=lambda _: False)
        assert refused.value.reason is Reason.ENGINE_ARGUMENTS_INVALID


@pytest.mark.parametrize("backend", BATCH_INVARIANT_BACKENDS)
def test_vllm_says_of_each_batch_invariant_backend_that_it_is_one(backend: str) -> None:
    from vllm.v1.attention.backends.registry import AttentionBackendEnum

    module, _, name = AttentionBackendEnum[backend].get_path().rpartition(".")
    source = importlib.util.find_spec(module)
    assert source is not None and source.origin is not None
    with open(source.origin) as file:
        body = file.read().partition(f"class {name}(")[2]
    assert "def supports_batch_invariance(cls) -> bool:\n        return True" in body
