"""Benchmarks: ratios measured side by side in one run, with their spread; ``python -m bench --model DIR``.

``__main__`` is the command, ``measurements`` defines the comparisons, ``pairs`` and ``report`` are the statistics and
the document. Each side runs in its own process (``child``): ``runner_side`` is a replica with a driver,
``reference_side`` vLLM's ``LLM`` under lm-eval's back end, and vLLM's ``AsyncLLM``.
"""
