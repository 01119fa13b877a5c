"""lm-eval's command line on vLLM's CPU build, whose distribution has a name that lm-eval does not know."""

from __future__ import annotations

from unittest import mock

from bench.reference_side import _version


def main() -> None:
    """Enter lm-eval's command line."""
    from vllm.platforms import current_platform

    # vLLM itself finds its platform by the distribution's name, so it must do that first.
    assert current_platform.device_type
    with mock.patch("importlib.metadata.version", _version):
        import lm_eval.models.vllm_causallms
    from lm_eval.__main__ import cli_evaluate

    assert lm_eval.models.vllm_causallms
    cli_evaluate()


if __name__ == "__main__":
    main()
