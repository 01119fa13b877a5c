"""Which GPUs of a machine each replica gets."""

from __future__ import annotations

from collections.abc import Mapping

from evalrun_runner.errors import InputError

VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible_devices(environment: Mapping[str, str], present: int) -> tuple[str, ...]:
    """Return the names of the GPUs that this process may use, in the order of CUDA.

    Args:
        environment: The process's environment. ``CUDA_VISIBLE_DEVICES`` may name fewer GPUs than there are, by number
            or by UUID; CUDA ignores what follows an empty name or -1.
        present: Number of GPUs in the machine.
    """
    listed = environment.get(VISIBLE)
    if listed is None:
        return tuple(str(number) for number in range(present))
    names: list[str] = []
    for name in listed.split(","):
        if name.strip() in {"", "-1"}:
            break
        names.append(name.strip())
    return tuple(names)


def shares(devices: tuple[str, ...], count: int, each: int) -> list[tuple[str, ...]]:
    """Divide GPUs among replicas: for each of ``count`` replicas, the names of ``each`` GPUs.

    Raises:
        InputError: There are too few GPUs.
    """
    if count * each > len(devices):
        raise InputError(
            f"spec.replicas.count {count} with {each} GPUs each (spec.engine.vllm: tensorParallelSize * "
            f"args.pipeline_parallel_size) needs {count * each} GPUs, this machine has {len(devices)}; set fewer "
            "replicas, or smaller sizes"
        )
    return [devices[number * each : (number + 1) * each] for number in range(count)]
