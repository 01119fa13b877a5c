"""Which GPUs of a machine each replica gets."""

from __future__ import annotations

import pytest

from evalrun_runner.errors import InputError
from evalrun_runner.fleet.devices import shares, visible_devices


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        (None, ("0", "1", "2", "3")),
        ("2,0", ("2", "0")),
        ("GPU-8932f937, MIG-c6d4f1ef", ("GPU-8932f937", "MIG-c6d4f1ef")),
        ("1,-1,0", ("1",)),
        ("", ()),
        ("-1", ()),
    ],
)
def test_the_environment_may_name_fewer_gpus_than_there_are(listed: str | None, expected: tuple[str, ...]) -> None:
    environment = {} if listed is None else {"CUDA_VISIBLE_DEVICES": listed}
    assert visible_devices(environment, 4) == expected


def test_each_replica_has_gpus_of_its_own() -> None:
    assert shares(("4", "5", "6", "7", "8"), 2, 2) == [("4", "5"), ("6", "7")]


def test_replicas_without_gpus_share_the_machine() -> None:
    assert shares((), 3, 0) == [(), (), ()]


def test_too_few_gpus_are_the_inputs_fault() -> None:
    with pytest.raises(InputError, match=r"replicas.count 2 with 4 GPUs each .* needs 8 GPUs, this machine has 4"):
        shares(("0", "1", "2", "3"), 2, 4)
