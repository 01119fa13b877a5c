"""Conversion of documents to items, one at a time, with the requests that ``Task.build_all_requests`` would make.

lm-eval builds all requests of a task and keeps them in memory; here each document is built, passed on and dropped. The
few-shot sampler is stateful, so a task is always built from its first document, never from the middle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from lm_eval.api.instance import Instance

from evalrun_runner.benchmarks.chat import ChatTemplate, ModelChat, in_first_user_turn
from evalrun_runner.benchmarks.checks.remarks import Remarks
from evalrun_runner.benchmarks.errors import explain, making_task
from evalrun_runner.benchmarks.load import LeafTask
from evalrun_runner.benchmarks.recipe import BenchmarkSpec
from evalrun_runner.errors import EvalRunError, InputError, first_line
from evalrun_runner.ledger.manifest import hash_item
from evalrun_runner.records.plan import Item, Request, RequestType

CHARACTERS_PER_TOKEN = 4
DEFAULT_GENERATED_TOKENS = 256
"""Maximum number of generated tokens in lm-eval's back ends where a task sets none."""
DECODE_WEIGHT = 4
"""Number of prompt tokens that cost about as much engine time as one generated token in a large batch."""
GENERATED_SHARE = 0.5
"""Typical share of its token budget that a generation uses; stop strings end most of them early."""
FAULTY_COST = 1.0
"""Cost of an item without requests."""
_BUDGET_KEYS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens", "max_length")


def iter_items(leaf: LeafTask, chat: ChatTemplate | None, remarks: Remarks | None = None) -> Iterator[Item]:
    """Yield the leaf task's items in canonical order, the same items on every call.

    Never run two iterations of one leaf at the same time: they would share the task's few-shot sampler.

    Args:
        leaf: The leaf task.
        chat: The model's chat template; required, and used, only if the benchmark applies one.
        remarks: Takes note of the documents, if anybody wants to know.

    Raises:
        InputError: The benchmark applies a chat template and the tokenizer has none, or a document cannot be built.
            The message names task, document and problem.
    """
    spec, task = leaf.benchmark, leaf.task
    chat = chat_for(spec, chat)
    task.set_fewshot_seed(seed=leaf.recipe.seed)
    leaf.random_state.restore()
    with making_task(leaf.name):
        documents = task.doc_iterator(rank=0, limit=leaf.limit, world_size=1)
    doc_id = -1
    remarks = remarks or Remarks(task, survey=False)
    with remarks.watching():
        for doc_id, doc in documents:
            # As with lm-eval's ``samples``, a document that is left out draws no few-shot examples either.
            if not leaf.evaluates(doc_id):
                continue
            remarks.look(doc_id, doc)
            yield _build_item(leaf, doc_id, doc, chat)
            remarks.built(doc_id, doc)
    if doc_id < 0:
        raise InputError(f"task {leaf.name!r} has no documents: its data set is empty")


def chat_for(spec: BenchmarkSpec, chat: ChatTemplate | None) -> ChatTemplate | None:
    """Return the model's chat template as a benchmark applies it, None if it applies none.

    Raises:
        InputError: The benchmark applies a chat template and the tokenizer has none.
    """
    if not spec.apply_chat_template:
        return None
    if chat is None:
        raise InputError(f"benchmark {spec.name!r} applies a chat template, and the model's tokenizer has none")
    if spec.template_arguments and isinstance(chat, ModelChat):
        chat = chat.with_arguments(spec.template_arguments)
    return in_first_user_turn(chat) if spec.system_in_first_user_turn else chat


def _build_item(leaf: LeafTask, doc_id: int, doc: Any, chat: ChatTemplate | None) -> Item:
    where = f"task {leaf.name!r}, document {doc_id}"
    if not isinstance(doc, Mapping):
        raise InputError(f"{where} is a {type(doc).__name__}; supported are documents that are JSON objects")
    if (fault := leaf.survey.fault(doc_id) if leaf.survey else None) is not None:
        with suppress(Exception):
            # It draws few-shot examples, so that the next documents have the examples that they always have.
            _build_instances(leaf, doc_id, doc, chat)
        return Item(leaf.name, doc_id, doc, (), hash_item(leaf.name, doc_id, doc, ()), FAULTY_COST, fault)
    try:
        instances = _build_instances(leaf, doc_id, doc, chat)
    except Exception as error:
        raise InputError(f"{where} cannot be built: {_field_hint(leaf, doc)}{explain(error)}") from error
    try:
        return _item(leaf, doc_id, doc, instances)
    except EvalRunError:
        raise
    except Exception as error:
        raise InputError(
            f"{where}: its requests cannot be made: {type(error).__name__}: {first_line(error)}"
        ) from error


def _item(leaf: LeafTask, doc_id: int, doc: Mapping[str, Any], instances: Sequence[Instance]) -> Item:
    where = f"task {leaf.name!r}, document {doc_id}"
    # Before scoring, lm-eval sorts a document's instances by index with a stable sort.
    ordered = sorted(instances, key=lambda instance: instance.idx)
    requests = tuple(_request(instance, index, where) for index, instance in enumerate(ordered))
    return Item(
        task=leaf.name,
        doc_id=doc_id,
        doc=doc,
        requests=requests,
        hash=hash_item(leaf.name, doc_id, doc, requests),
        cost=estimate_cost(requests),
    )


def _build_instances(leaf: LeafTask, doc_id: int, doc: Any, chat: ChatTemplate | None) -> list[Instance]:
    """Build a document's instances as the loop of ``Task.build_all_requests`` does."""
    spec, task = leaf.benchmark, leaf.task
    context = task.fewshot_context(
        doc,
        num_fewshot=task.config.num_fewshot or 0,
        system_instruction=spec.system_instruction,
        apply_chat_template=spec.apply_chat_template,
        fewshot_as_multiturn=spec.fewshot_as_multiturn,
        chat_template=chat,
        gen_prefix=task.doc_to_prefix(doc),
    )
    built = task.construct_requests(
        doc=doc,
        ctx=context,
        metadata=(task.config["task"], doc_id, task.config.repeats),
        apply_chat_template=spec.apply_chat_template,
        chat_template=chat,
    )
    return built if isinstance(built, list) else [built]


def _field_hint(leaf: LeafTask, doc: Any) -> str:
    """Return which of the task's fields fails on its own for this document, as a message prefix, or an empty text."""
    for field in ("doc_to_text", "doc_to_target", "doc_to_choice"):
        if field == "doc_to_choice" and leaf.task.get_config(field) is None:
            continue
        try:
            getattr(leaf.task, field)(doc)
        except Exception:  # noqa: BLE001  a template may raise anything
            # The caller reports the error itself; only the field is of interest here.
            return f"{field}: "
    return ""


def _request(instance: Instance, index: int, where: str) -> Request:
    arguments = instance.args
    texts = arguments[:1] if instance.request_type == "generate_until" else arguments
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            field = "doc_to_text" if place == 0 and len(arguments) > 1 else "doc_to_target"
            raise InputError(
                f"{where}: {field} gave a {type(text).__name__} ({text!r:.60}) for a {instance.request_type} request; "
                "expected text"
            )
    return Request(RequestType(instance.request_type), index, tuple(arguments), int(instance.repeats or 1))


def estimate_cost(requests: Sequence[Request]) -> float:
    """Estimate an item's engine time in prompt tokens: the tokens to read once plus the weighted tokens to generate.

    A context shared by several requests is read once (prefix cache, or one request for all choices). Repeats share
    their prompt, but each generates its own tokens.
    """
    contexts: set[str] = set()
    characters = 0.0
    generated = 0.0
    for request in requests:
        contexts.add(request.arguments[0])
        if request.type is RequestType.GENERATE_UNTIL:
            generated += request.repeats * GENERATED_SHARE * _budget(request.arguments[1])
        elif request.type is RequestType.LOGLIKELIHOOD:
            characters += len(request.arguments[1])
    characters += sum(len(context) for context in contexts)
    return characters / CHARACTERS_PER_TOKEN + DECODE_WEIGHT * generated + len(requests)


def _budget(generation: Mapping[str, Any]) -> float:
    for key in _BUDGET_KEYS:
        value = generation.get(key)
        if isinstance(value, int | float) and value > 0:
            return float(value)
    return DEFAULT_GENERATED_TOKENS
