"""First documents of every leaf task, built with the model's own chat template and planned as the engine would."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

from evalrun_runner.benchmarks.build import iter_items
from evalrun_runner.benchmarks.chat import ChatTemplate
from evalrun_runner.benchmarks.checks.guard import guarded
from evalrun_runner.benchmarks.checks.objections import Objection, is_own
from evalrun_runner.benchmarks.load import LeafTask, LoadedBenchmarks
from evalrun_runner.engine.requests import ItemRefused, RequestPlanner
from evalrun_runner.engine.tokens import TextCodec
from evalrun_runner.errors import EvalRunError, InputError, first_line
from evalrun_runner.records.plan import Item, RequestType

LOOKED_AT = 3
"""Number of documents of each leaf that are tried out: enough to see what every document has."""
_BUILT = 50
"""Number of documents of each leaf among which those without a fault are sought."""


@dataclass(frozen=True, slots=True)
class FirstDocuments:
    """First items of a leaf task."""

    leaf: LeafTask
    items: tuple[Item, ...]


def build_first(loaded: LoadedBenchmarks, chat: ChatTemplate | None) -> tuple[FirstDocuments, ...]:
    """Build the first documents of every leaf task that have no fault.

    Raises:
        InputError: A document cannot be built, or the chat template cannot render it.
    """
    named = None if chat is None else _naming(chat)
    return tuple(FirstDocuments(leaf, _built(leaf, named)) for leaf in loaded.leaves)


def _built(leaf: LeafTask, chat: ChatTemplate | None) -> tuple[Item, ...]:
    try:
        return first_items(leaf, chat, LOOKED_AT)
    except EvalRunError:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {first_line(error)}"
        raise InputError(f"task {leaf.name!r}: its first documents cannot be built: {what}") from error


def first_items(leaf: LeafTask, chat: ChatTemplate | None, count: int) -> tuple[Item, ...]:
    """Build the first items of a leaf task without a fault: those with one have no requests.

    Raises:
        InputError: A document cannot be built.
    """
    built = islice(iter_items(leaf, chat), _BUILT)
    return tuple(islice((item for item in built if item.fault is None), count))


def _naming(chat: ChatTemplate) -> ChatTemplate:
    """Make the template say so when an error is its own."""

    def render(messages: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> str:
        try:
            return chat(messages, add_generation_prompt=add_generation_prompt)
        except EvalRunError:
            raise
        except Exception as error:
            turns = ", ".join(message["role"] for message in messages)
            raise InputError(
                f"the model's chat template cannot render its turns ({turns}): {first_line(error)}"
            ) from error

    return render


def check_requests(
    first: Sequence[FirstDocuments], planner: RequestPlanner, codec: TextCodec, may_fail: int
) -> Iterator[Objection]:
    """Find first documents that the engine would refuse, and choices that leave it nothing to score.

    Args:
        first: The first documents of every leaf.
        planner: The planner of the run's engine.
        codec: The model's tokenizer.
        may_fail: Number of items that may fail without ending the run.
    """
    for documents in first:
        yield from guarded(
            "requests to the engine", documents.leaf, partial(_of_leaf, documents, planner, codec, may_fail)
        )


def _of_leaf(
    documents: FirstDocuments, planner: RequestPlanner, codec: TextCodec, may_fail: int
) -> Iterator[Objection]:
    reasons = [_why_refused(item, planner) for item in documents.items]
    refused = [why for why in reasons if why is not None]
    if len(refused) > may_fail:
        yield Objection(documents.leaf.name, refused[0])
        return
    planned = tuple(item for item, why in zip(documents.items, reasons, strict=True) if why is None)
    yield from islice(_without_tokens(replace(documents, items=planned), codec), 1)


def _why_refused(item: Item, planner: RequestPlanner) -> str | None:
    try:
        planner.plan(item)
    except ItemRefused as error:
        return f"document {item.doc_id}: {error}"
    return None


def _without_tokens(documents: FirstDocuments, codec: TextCodec) -> Iterator[Objection]:
    leaf = documents.leaf
    for item in documents.items:
        for request in item.requests:
            if request.type is not RequestType.LOGLIKELIHOOD:
                continue
            prompt, target = codec.encode_pair(*request.arguments[:2])
            if prompt and not target:
                yield Objection(
                    leaf.name,
                    f"document {item.doc_id}: {request.arguments[1]!r:.60} has no token of its own after its prompt, "
                    f"which ends in {request.arguments[0][-20:]!r}: its log-likelihood is 0, the highest there is, "
                    "whatever the model",
                    "expected text that is not blank, after a target_delimiter that keeps it apart from the prompt",
                    refused=not is_own(leaf),
                )
