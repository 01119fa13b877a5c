"""Context length of a model by its configuration: never less than vLLM would give it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evalrun_runner.models.context import context_length


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"max_position_embeddings": 2048}, 2048),
        ({"n_positions": 1024}, 1024),
        ({"max_position_embeddings": 8192, "seq_length": 4096}, 4096),
        ({"max_position_embeddings": 8192, "model_max_length": 131072}, 131072),
        ({"text_config": {"max_position_embeddings": 32768}}, 32768),
        ({"max_position_embeddings": 4096, "rope_scaling": {"rope_type": "linear", "factor": 2.0}}, 8192),
        ({"max_position_embeddings": 4096, "rope_scaling": {"type": "dynamic", "factor": 4}}, 16384),
        ({"max_position_embeddings": 131072, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, 131072),
        ({"max_position_embeddings": 4096, "rope_parameters": {"full": {"rope_type": "linear", "factor": 2}}}, 8192),
        ({"max_position_embeddings": 4096, "rope_scaling": None}, 4096),
        ({"max_position_embeddings": "many"}, None),
        ({"hidden_size": 64}, None),
        ([], None),
    ],
)
def test_context_length_is_read_from_the_configuration(tmp_path: Path, config: Any, expected: int | None) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))

    assert context_length(tmp_path) == expected


def test_a_missing_or_damaged_configuration_says_nothing(tmp_path: Path) -> None:
    assert context_length(tmp_path) is None
    (tmp_path / "config.json").write_text("{")
    assert context_length(tmp_path) is None
