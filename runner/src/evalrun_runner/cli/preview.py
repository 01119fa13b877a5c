"""Previews of tasks, for people: the first prompt of each, its choices and its right answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from evalrun_runner.benchmarks.checks.preview import TaskPreview

_PROMPT = "  | "
"""Stands before each line of a prompt, so that blanks at its beginning are seen."""


def print_previews(previews: Iterable[TaskPreview], *, json_output: bool) -> None:
    """Print what each task would ask first. Raises what building a first document raises."""
    if json_output:
        print(json.dumps([asdict(preview) for preview in previews], ensure_ascii=False, indent=2, default=str))
        return
    for number, preview in enumerate(previews):
        print(*([""] if number else []), *lines_of(preview), sep="\n")


def lines_of(preview: TaskPreview) -> Iterator[str]:
    """Format one preview."""
    benchmark = "" if preview.benchmark == preview.task else f" of {preview.benchmark}"
    repeats = f", {preview.repeats} answers each" if preview.repeats > 1 else ""
    yield (
        f"{preview.task}{benchmark}: {preview.output_type}, {preview.documents:,} documents, "
        f"{preview.num_fewshot} examples in each prompt{repeats}"
    )
    for number, prompt in enumerate(preview.prompts, start=1):
        yield f"prompt {number} of {len(preview.prompts)}:" if len(preview.prompts) > 1 else "prompt:"
        yield from (f"{_PROMPT}{line}" for line in prompt.split("\n"))
    if preview.choices:
        # In quotes: a choice with a blank before it is another one than without.
        yield f"choices: {', '.join(repr(choice) for choice in preview.choices)}"
    if preview.generation:
        yield f"generation: {json.dumps(preview.generation, ensure_ascii=False, default=str)}"
    places = f" (choice {', '.join(str(place + 1) for place in preview.gold.places)})" if preview.gold.places else ""
    yield f"right: {', '.join(repr(text) for text in preview.gold.texts) or 'nothing'}{places}"
