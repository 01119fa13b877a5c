"""Engine arguments by vLLM's names.

Generated from vLLM 0.32.0 by crds/generate/engine_args.py: do not edit.
"""

# ruff: noqa: E501

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from evalrun_api.base import Model

VLLM_VERSION = "0.32.0"
"""Version of vLLM that has these arguments."""


class EngineArgs(Model):
    """vLLM's engine arguments, by their own names: those allowed that load no code and are set nowhere else."""

    model_config = ConfigDict(alias_generator=None)

    dtype: Literal["auto", "half", "float16", "bfloat16", "float", "float32"] | None = None
    """Data type for model weights and activations."""
    quantization: (
        Literal[
            "awq",
            "auto_awq",
            "fp8",
            "fbgemm_fp8",
            "fp_quant",
            "modelopt",
            "modelopt_fp4",
            "modelopt_mxfp8",
            "modelopt_mixed",
            "auto_gptq",
            "gptq",
            "gptq_marlin",
            "awq_marlin",
            "humming",
            "compressed-tensors",
            "experts_int8",
            "quark",
            "moe_wna16",
            "torchao",
            "inc",
            "mxfp4",
            "gpt_oss_mxfp4",
            "deepseek_v4_fp8",
            "online",
            "fp8_per_tensor",
            "fp8_per_block",
            "fp8_per_channel",
            "int8_per_channel_weight_only",
            "nvfp4_per_token",
            "mxfp8",
        ]
        | None
    ) = None
    """Method used to quantize the weights. If `None`, we first check the `quantization_config` attribute in the model config file. If that is `None`, we assume the model weights are not quantized and use `dtype` to determine the data type of the weights."""
    kv_cache_dtype: (
        Literal[
            "auto",
            "float16",
            "bfloat16",
            "fp8",
            "fp8_e4m3",
            "fp8_e5m2",
            "fp8_inc",
            "fp8_ds_mla",
            "nvfp4_ds_mla",
            "turboquant_k8v4",
            "turboquant_4bit_nc",
            "turboquant_k3v4_nc",
            "turboquant_3bit_nc",
            "ultraquant_4bit",
            "int4_per_token_head",
            "int8_per_token_head",
            "fp8_per_token_head",
            "nvfp4",
            "nvfp4_4over6",
        ]
        | None
    ) = None
    """Data type for kv cache storage. If "auto", will use model data type. CUDA 11.8+ supports fp8 (=fp8_e4m3) and fp8_e5m2. ROCm (AMD GPU) supports fp8 (=fp8_e4m3). Intel Gaudi (HPU) supports fp8 (using fp8_inc). Some models (namely DeepSeekV3.2) default to fp8, set to bfloat16 to use bfloat16 instead, this is an invalid option for models that do not default to fp8. "nvfp4_4over6" uses the NVFP4 layout and selects between max/6 and max/4 scales per 16 values by minimizing squared reconstruction error."""
    attention_backend: (
        Literal[
            "FLASH_ATTN",
            "FLASH_ATTN_DIFFKV",
            "TRITON_ATTN",
            "TRITON_ATTN_DIFFKV",
            "TRITON_FLASH_ATTN",
            "ROCM_ATTN",
            "ROCM_SEGMENTED_ATTN",
            "ROCM_AITER_MLA",
            "ROCM_AITER_TRITON_MLA",
            "ROCM_AITER_FA",
            "ROCM_AITER_MLA_SPARSE",
            "XPU_MLA_SPARSE",
            "TORCH_SDPA",
            "FLASHINFER",
            "TRITON_FLASHINFER",
            "FLASHINFER_MLA",
            "TOKENSPEED_MLA",
            "FLASHINFER_MLA_SPARSE",
            "FLASHINFER_MLA_SPARSE_SM120",
            "FLASHINFER_MLA_SPARSE_SM90",
            "TRITON_MLA",
            "CUTLASS_MLA",
            "FLASHMLA",
            "FLASHMLA_SPARSE",
            "FLASHMLA_SPARSE_DSV4",
            "FLASHINFER_MLA_SPARSE_DSV4",
            "ROCM_FLASHMLA_SPARSE_DSV4",
            "FLASHMLA_SPARSE_DSV41",
            "FLASHINFER_MLA_SPARSE_DSV41",
            "FLASHMLA_MEGA_ATTN_DSV41",
            "B12X",
            "FLASH_ATTN_MLA",
            "FLASH_ATTN_MLA_SPARSE",
            "MINIMAX_M3_SPARSE",
            "CUTLASS_MSA",
            "TRITON_MSA",
            "NO_ATTENTION",
            "FLEX_ATTENTION",
            "HPC_ATTN",
            "ROCM_AITER_UNIFIED_ATTN",
            "CPU_ATTN",
            "CPU_MLA",
            "AMX_MLA",
            "TURBOQUANT",
            "ULTRAQUANT",
        ]
        | None
    ) = None
    """Attention backend to use. Use "auto" or None for automatic selection."""
    enforce_eager: bool | None = None
    """Whether to always use eager-mode PyTorch. If True, we will disable CUDA graph and always execute the model in eager mode. If False, we will use CUDA graph and eager execution in hybrid for maximal performance and flexibility."""
    gpu_memory_utilization: Annotated[float | None, Field(gt=0, le=1)] = None
    """The fraction of GPU memory to be used for the model executor, which can range from 0 to 1. For example, a value of 0.5 would imply 50% GPU memory utilization. If unspecified, will use the default value of 0.92. This is a per-instance limit, and only applies to the current vLLM instance. It does not matter if you have another vLLM instance running on the same GPU. For example, if you have two vLLM instances running on the same GPU, you can set the GPU memory utilization to 0.5 for each instance. On non-GPU installs, this value controls the corresponding device memory utilization."""
    kv_cache_memory_bytes: Annotated[int | None, Field(ge=1)] = None
    """Size of KV Cache per GPU in bytes. By default, this is set to None and vllm can automatically infer the kv cache size based on gpu_memory_utilization. However, users may want to manually specify the kv cache memory size. kv_cache_memory_bytes allows more fine-grain control of how much memory gets used when compared with using gpu_memory_utilization. Note that kv_cache_memory_bytes (when not-None) ignores gpu_memory_utilization."""
    num_gpu_blocks_override: Annotated[int | None, Field(ge=1)] = None
    """Number of GPU blocks to use. This overrides the profiled `num_gpu_blocks` if specified. Does nothing if `None`. Used for testing preemption."""
    block_size: Annotated[int | None, Field(ge=1, le=4096)] = None
    """Size of a contiguous cache block in number of tokens. Accepts None (meaning "use default"). After construction, always int."""
    enable_prefix_caching: bool | None = None
    """Whether to enable prefix caching."""
    cpu_offload_gb: Annotated[float | None, Field(ge=0)] = None
    """The space in GiB to offload to CPU, per GPU. Default is 0, which means no offloading. Intuitively, this argument can be seen as a virtual way to increase the GPU memory size. For example, if you have one 24 GB GPU and set this to 10, virtually you can think of it as a 34 GB GPU. Then you can load a 13B model with BF16 weight, which requires at least 26GB GPU memory. Note that this requires fast CPU-GPU interconnect, as part of the model is loaded from CPU memory to GPU memory on the fly in each model forward pass. This uses UVA (Unified Virtual Addressing) for zero-copy access."""
    kv_offloading_size: Annotated[float | None, Field(gt=0)] = None
    """Size of the KV cache offloading buffer in GiB. When TP > 1, this is the total buffer size summed across all TP ranks. By default, this is set to None, which means no KV offloading is enabled. When set, vLLM will enable KV cache offloading to CPU using the kv_offloading_backend."""
    disable_sliding_window: bool | None = None
    """Whether to disable sliding window. If True, we will disable the sliding window functionality of the model, capping to sliding window size. If the model does not support sliding window, this argument is ignored."""
    disable_hybrid_kv_cache_manager: bool | None = None
    """If set to True, KV cache manager will allocate the same size of KV cache for all attention layers even if there are multiple type of attention layers like full attention and sliding window attention. If set to None, the default value will be determined based on the environment and starting configuration."""
    mamba_cache_dtype: Literal["auto", "float32", "float16", "bfloat16"] | None = None
    """The data type to use for the Mamba cache (both the conv as well as the ssm state). If set to 'auto', the data type will be inferred from the model config."""
    mamba_ssm_cache_dtype: Literal["auto", "float32", "float16", "bfloat16"] | None = None
    """The data type to use for the Mamba cache (ssm state only, conv state will still be controlled by mamba_cache_dtype). If set to 'auto', the data type for the ssm state will be determined by mamba_cache_dtype."""
    mamba_block_size: Annotated[int | None, Field(ge=1)] = None
    """Size of a contiguous cache block in number of tokens for mamba cache. Can be set only when prefix caching is enabled. Value must be a multiple of 8 to align with causal_conv1d kernel."""
    max_num_seqs: Annotated[int | None, Field(ge=1)] = None
    """Maximum number of sequences to be processed in a single iteration."""
    max_num_batched_tokens: Annotated[int | None, Field(ge=1)] = None
    """Maximum number of tokens that can be processed in a single iteration."""
    enable_chunked_prefill: bool | None = None
    """If True, prefill requests can be chunked based on the remaining `max_num_batched_tokens`."""
    long_prefill_token_threshold: Annotated[int | None, Field(ge=0)] = None
    """For chunked prefill, a request is considered long if the prompt is longer than this number of tokens. 0 disables the cap (default)."""
    async_scheduling: bool | None = None
    """If set to False, disable async scheduling. Async scheduling helps to avoid gaps in GPU utilization, leading to better latency and throughput."""
    max_logprobs: Annotated[int | None, Field(ge=-1)] = None
    """Maximum number of log probabilities to return when `logprobs` is specified in `SamplingParams`. The default value comes the default for the OpenAI Chat Completions API. -1 means no cap, i.e. all (output_length * vocab_size) logprobs are allowed to be returned and it may cause OOM."""
    pipeline_parallel_size: Annotated[int | None, Field(ge=1, le=64)] = None
    """Number of pipeline parallel groups."""
    decode_context_parallel_size: Annotated[int | None, Field(ge=1, le=64)] = None
    """Number of ranks that shard the decode KV cache. DCP does not expand the process world size. Without PCP, DCP reuses TP ranks. With PCP, DCP either spans the PCP axis or the full TP x PCP block."""
    enable_expert_parallel: bool | None = None
    """Use expert parallelism instead of tensor parallelism for MoE layers."""
    disable_custom_all_reduce: bool | None = None
    """Disable the custom all-reduce kernel and fall back to NCCL."""
    moe_backend: (
        Literal[
            "auto",
            "triton",
            "batched_triton",
            "deep_gemm",
            "deep_gemm_mega_moe",
            "cutlass",
            "flashinfer_trtllm",
            "flashinfer_cutlass",
            "flashinfer_cutedsl",
            "flashinfer_moe_ep_cutedsl",
            "flashinfer_b12x",
            "b12x",
            "flashinfer_moe_ep_mega_deep_gemm",
            "marlin",
            "humming",
            "triton_unfused",
            "aiter",
            "aiter_mega_moe",
            "aiter_triton_mxfp4_bf16",
            "flydsl",
            "hpc",
            "emulation",
            "rdna3",
        ]
        | None
    ) = None
    """Backend for MoE expert computation kernels."""
    load_format: (
        Literal[
            "safetensors",
            "fastsafetensors",
            "instanttensor",
            "mistral",
            "runai_streamer",
            "runai_streamer_sharded",
            "sharded_state",
        ]
        | None
    ) = None
    """The format of the model weights to load."""
    tokenizer_mode: Literal["auto", "hf", "mistral", "deepseek_v32"] | None = None
    """Tokenizer mode."""
    language_model_only: bool | None = None
    """If True, disables all multimodal inputs by setting all modality limits to 0. Equivalent to setting `--limit-mm-per-prompt` to 0 for every modality."""
    safetensors_load_strategy: Literal["lazy", "eager", "prefetch"] | None = None
    """Specifies the loading strategy for safetensors weights."""
    max_cudagraph_capture_size: Annotated[int | None, Field(ge=0)] = None
    """The maximum cudagraph capture size."""
    performance_mode: Literal["balanced", "interactivity", "throughput"] | None = None
    """Performance mode for runtime behavior, 'balanced' is the default. 'interactivity' favors low end-to-end per-request latency at small batch sizes (fine-grained CUDA graphs, latency-oriented kernels). 'throughput' favors aggregate tokens/sec at high concurrency (larger CUDA graphs, more aggressive batching, throughput-oriented kernels)."""


OTHERS = frozenset(
    {
        "_api_process_count",
        "_api_process_rank",
        "additional_config",
        "aggregate_engine_logging",
        "all2all_backend",
        "allow_deprecated_quantization",
        "allowed_local_media_path",
        "allowed_media_domains",
        "attention_config",
        "aux_output_config",
        "code_revision",
        "collect_detailed_traces",
        "compilation_config",
        "config_format",
        "convert",
        "cp_kv_cache_interleave_size",
        "cpu_distributed_timeout_seconds",
        "cpu_offload_params",
        "cudagraph_capture_sizes",
        "cudagraph_metrics",
        "custom_histogram_buckets",
        "data_parallel_address",
        "data_parallel_backend",
        "data_parallel_external_lb",
        "data_parallel_hybrid_lb",
        "data_parallel_multi_port_external_lb",
        "data_parallel_rank",
        "data_parallel_rpc_port",
        "data_parallel_size",
        "data_parallel_size_local",
        "data_parallel_start_rank",
        "dbo_decode_token_threshold",
        "dbo_prefill_token_threshold",
        "dcp_comm_backend",
        "dcp_kv_cache_interleave_size",
        "dcp_q_replicate",
        "default_mm_loras",
        "device_ids",
        "diffusion_config",
        "disable_cascade_attn",
        "disable_chunked_mm_input",
        "disable_log_stats",
        "disable_nccl_for_dp_synchronization",
        "distributed_executor_backend",
        "distributed_timeout_seconds",
        "download_dir",
        "dp_sync_interval",
        "ec_manager_config",
        "ec_transfer_config",
        "elastic_ep_max_dp_size",
        "enable_batch_sharded_sampling",
        "enable_cumem_allocator",
        "enable_dbo",
        "enable_elastic_ep",
        "enable_ep_weight_filter",
        "enable_eplb",
        "enable_fault_tolerance",
        "enable_flashinfer_autotune",
        "enable_hc_sp",
        "enable_layerwise_nvtx_tracing",
        "enable_logging_iteration_details",
        "enable_lora",
        "enable_mamba_cache_stochastic_rounding",
        "enable_mamba_shared_prefix_checkpoint",
        "enable_mfu_metrics",
        "enable_mixed_moe_lora_format",
        "enable_mm_embeds",
        "enable_mm_processor_stats",
        "enable_moe_shared_loras",
        "enable_nccl_comm_suspend",
        "enable_prompt_embeds",
        "enable_return_routed_experts",
        "enable_shm_tensor_arena",
        "enable_sleep_mode",
        "enable_tower_connector_lora",
        "enable_trace_replay",
        "engram_config",
        "eplb_config",
        "expert_placement_strategy",
        "fail_on_environ_validation",
        "fault_tolerance_config",
        "fully_sharded_loras",
        "gdn_prefill_backend",
        "generation_config",
        "hf_config_path",
        "hf_overrides",
        "hf_token",
        "ignore_patterns",
        "interleave_mm_strings",
        "io_processor_plugin",
        "ir_op_priority",
        "jit_monitor_mode",
        "jit_monitor_verbose",
        "kda_decode_backend",
        "kda_prefill_backend",
        "kernel_config",
        "kv_cache_dtype_skip_layers",
        "kv_cache_metrics",
        "kv_cache_metrics_sample",
        "kv_events_config",
        "kv_offloading_backend",
        "kv_sharing_fast_prefill",
        "kv_transfer_config",
        "limit_mm_per_prompt",
        "linear_backend",
        "log_config_file",
        "log_level",
        "logging_config",
        "logits_processors",
        "logprobs_mode",
        "long_prefill_token_threshold_adaptive",
        "lora_dtype",
        "lora_target_modules",
        "mamba_backend",
        "mamba_cache_mode",
        "mamba_cache_philox_rounds",
        "mamba_config",
        "mamba_ssu_algorithm",
        "master_addr",
        "master_port",
        "max_cpu_loras",
        "max_lora_cls_labels",
        "max_lora_rank",
        "max_loras",
        "max_model_len",
        "max_num_active_seqs",
        "max_num_queued_reqs",
        "max_num_queued_tokens",
        "max_num_scheduled_tokens",
        "max_parallel_loading_workers",
        "media_io_kwargs",
        "mm_device_do_normalize",
        "mm_encoder_attn_backend",
        "mm_encoder_attn_dtype",
        "mm_encoder_fp8_scale_path",
        "mm_encoder_fp8_scale_save_margin",
        "mm_encoder_fp8_scale_save_path",
        "mm_encoder_only",
        "mm_encoder_tp_mode",
        "mm_hasher_algorithm",
        "mm_ipc_gpu_memory_gb",
        "mm_processor_cache_gb",
        "mm_processor_cache_type",
        "mm_processor_device",
        "mm_processor_kwargs",
        "mm_shm_cache_max_object_size_mb",
        "mm_tensor_ipc",
        "model",
        "model_class_overrides",
        "model_impl",
        "model_loader_extra_config",
        "model_weights",
        "nnodes",
        "node_rank",
        "numa_bind",
        "numa_bind_cpus",
        "numa_bind_nodes",
        "offload_backend",
        "offload_group_size",
        "offload_num_in_group",
        "offload_params",
        "offload_prefetch_step",
        "optimization_level",
        "otlp_traces_endpoint",
        "override_generation_config",
        "per_request_spec_decode_metrics",
        "pooler_config",
        "prefill_context_parallel_size",
        "prefill_schedule_interval",
        "prefix_cache_retention_interval",
        "prefix_caching_hash_algo",
        "prefix_match_unit",
        "profiler_config",
        "pt_load_map_location",
        "quantization_config",
        "ray_workers_use_nsight",
        "reasoning_config",
        "reasoning_parser",
        "reasoning_parser_plugin",
        "renderer_num_workers",
        "replayssm_buffer_len",
        "return_sampling_mask",
        "revision",
        "runner",
        "safetensors_prefetch_block_size",
        "safetensors_prefetch_num_threads",
        "scheduler_cls",
        "scheduler_reserve_full_isl",
        "scheduling_policy",
        "seed",
        "served_model_name",
        "show_hidden_metrics_for_version",
        "shutdown_timeout",
        "skip_mm_profiling",
        "skip_tokenizer_init",
        "sleep_mode_offload_cudagraph",
        "sleep_preserve_parameter_names",
        "sparse_indexer_topk_backend",
        "spec_method",
        "spec_model",
        "spec_tokens",
        "specialize_active_lora",
        "speculative_config",
        "stream_interval",
        "structured_outputs_config",
        "swa_bounded_replay",
        "tensor_parallel_size",
        "tokenizer",
        "tokenizer_revision",
        "tokens_only",
        "trust_remote_code",
        "ubatch_size",
        "use_fp64_gumbel",
        "use_replayssm",
        "use_tqdm_on_load",
        "video_pruning_method",
        "video_pruning_rate",
        "watermark",
        "watermark_config",
        "weight_transfer_config",
        "worker_cls",
        "worker_extension_cls",
    }
)
"""Arguments that vLLM knows and an EvalRun may not set."""
