"""Benchmarks: ratios taken side by side in one run, with their spread; ``python -m bench --model DIR``.

``__main__`` is the command, ``measurements`` says what is compared with what, ``pairs`` and ``report`` are the
statistics and the document. The sides live in processes of their own (``child``): ``runner_side`` is a replica with a
driver, ``reference_side`` vLLM's ``LLM`` under lm-eval's back end, and vLLM's ``AsyncLLM``.
"""
