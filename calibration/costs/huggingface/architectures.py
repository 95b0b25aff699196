"""Architectures of Hugging Face's config.json: what each key means, and what an absent one does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Architecture(NamedTuple):
    """What a config.json means for one `model_type`. Source: the configurations of transformers 5.24.

    Attributes:
        defaults: what absent keys mean, by field of `ModelSpec`. Sizes that every config states (`NEEDED`) have none,
            unless published ones leave them out.
        fixed: fields that config.json does not decide.
        keys: keys that this architecture has for a field, in place of those in `KEYS`.
        window: the sliding window that an absent key means.
        every: every n-th layer attends to all, and the others to a window; 1 = windows are in all layers, or, of Qwen's
            architectures, in later ones; 0 = there are none.
        window_keys: the keys of the window and of `every`.
        chunked: whether windows are chunks of the sequence.
        dense_width: the key, and the default, of the width of the MLP in layers without experts.
        shared: of an architecture with DeepSeek's keys, how many shared experts, each as wide as the others, an absent
            `n_shared_experts` means; the first layers (`first_k_dense_replace`, 1) are without experts. 0 of any other.
    """

    defaults: Mapping[str, Any] = {}
    fixed: Mapping[str, Any] = {}
    keys: Mapping[str, tuple[str, ...]] = {}
    window: int | None = None
    every: int = 0
    window_keys: tuple[str, str] = ("sliding_window", "sliding_window_pattern")
    chunked: bool = False
    dense_width: tuple[str, int] | None = None
    shared: int = 0


GEMMA: Mapping[str, Any] = {"kv_heads": 4, "head_dim": 256, "tied": True}
MIXTURE: Mapping[str, tuple[str, ...]] = {"intermediate": ("moe_intermediate_size",)}
ARCHITECTURES: Mapping[str, Architecture] = {
    "llama": Architecture(),
    "granite": Architecture(),
    "mistral": Architecture({"kv_heads": 8}, {"qkv_bias": False}, window=4096, every=1),
    "mixtral": Architecture(
        {"rope_theta": 1e6, "norm_eps": 1e-5, "kv_heads": 8, "experts": 8, "experts_per_token": 2},
        {"qkv_bias": False},
        every=1,
    ),
    "qwen2": Architecture({"kv_heads": 32}, {"qkv_bias": True}, window=4096, every=1),
    "qwen2_moe": Architecture(
        {
            "kv_heads": 16, "qkv_bias": True, "intermediate": 1408, "experts": 60, "experts_per_token": 4,
            "shared_intermediate": 5632,
        },
        keys={
            **MIXTURE, "qkv_bias": ("qkv_bias",), "shared_intermediate": ("shared_expert_intermediate_size",),
        },
        window=4096,
        every=1,
        dense_width=("intermediate_size", 5632),
    ),
    "qwen3": Architecture({"kv_heads": 32, "head_dim": 128}, {"qk_norm": True}, window=4096, every=1),
    "qwen3_moe": Architecture(
        {"kv_heads": 4, "intermediate": 768, "experts": 128, "experts_per_token": 8},
        {"qk_norm": True},
        MIXTURE,
        window=4096,
        every=1,
        dense_width=("intermediate_size", 6144),
    ),
    "glm4_moe": Architecture(
        {"norm_eps": 1e-5, "kv_heads": 8, "intermediate": 1408, "experts": 128, "experts_per_token": 8},
        keys={**MIXTURE, "experts": ("n_routed_experts", "num_local_experts"), "qk_norm": ("use_qk_norm",)},
        dense_width=("intermediate_size", 10944),
        shared=1,
    ),
    "llama4_text": Architecture(
        {
            "rope_theta": 500000.0, "norm_eps": 1e-5, "kv_heads": 8, "head_dim": 128, "experts": 16,
            "experts_per_token": 1, "qk_norm": True,
        },
        keys={"qk_norm": ("use_qk_norm",), "shared_intermediate": ("intermediate_size",)},
        window=8192,
        every=4,
        window_keys=("attention_chunk_size", "no_rope_layer_interval"),
        chunked=True,
        dense_width=("intermediate_size_mlp", 16384),
    ),
    "phi3": Architecture({"norm_eps": 1e-5}, {"qkv_bias": False}, every=1),
    "gemma": Architecture({**GEMMA, "kv_heads": 16}),
    "gemma2": Architecture(GEMMA, {"post_norms": True}, window=4096, every=2),
    "gemma3_text": Architecture(
        {**GEMMA, "rope_theta": 1e6, "heads": 8, "vocab": 262208, "max_context": 131072},
        {"post_norms": True, "qk_norm": True},
        window=4096,
        every=6,
    ),
    "gpt_oss": Architecture(
        {
            "rope_theta": 150000.0, "norm_eps": 1e-5, "kv_heads": 8, "head_dim": 64, "qkv_bias": True,
            "experts": 128, "experts_per_token": 4,
        },
        window=128,
        every=2,
    ),
}  # fmt: skip
"""The architectures that `ModelSpec` describes. Softcapping of logits and scores is computed in attention and in the
head, and partial rotary embeddings and fused projections cost what whole and separate ones do."""
TEXT = {"gemma3": "gemma3_text", "mistral3": "mistral", "llava": "llama", "llama4": "llama4_text"}
"""Architectures whose decoder is in `text_config`, and what it is if it does not say; encoders are left out."""
LATENT, STATE = "multi-head latent attention", "state-space layers"
LINEAR = ("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text", "minimax", "bailing_hybrid", "kimi_linear")
REFUSED: Mapping[str, str] = {
    **dict.fromkeys(("deepseek_v2", "deepseek_v3", "deepseek_v32", "kimi_k2", "minicpm3", "longcat_flash"), LATENT),
    **dict.fromkeys(("glm4_moe_lite", "glm_moe_dsa"), LATENT),
    **dict.fromkeys(("mamba", "mamba2", "falcon_mamba", "jamba", "bamba", "zamba2", "falcon_h1", "nemotron_h"), STATE),
    "granitemoehybrid": STATE,
    **dict.fromkeys(LINEAR, "linear attention"),
    **dict.fromkeys(("lfm2", "lfm2_moe"), "convolutions"),
    "recurrent_gemma": "recurrent layers",
}
"""Architectures of another kind, and what makes them so; others whose config.json has `kv_lora_rank` are LATENT."""

EVERY_DEFAULT = {"rope_theta": 10000.0, "norm_eps": 1e-6}
FULL_LAYERS = 28
"""Of Qwen's architectures with windows, the layers that attend to all, unless `max_window_layers` says how many."""
KEYS = {
    "layers": ("num_hidden_layers",),
    "hidden": ("hidden_size",),
    "heads": ("num_attention_heads",),
    "kv_heads": ("num_key_value_heads",),
    "head_dim": ("head_dim",),
    "intermediate": ("intermediate_size",),
    "vocab": ("vocab_size",),
    "max_context": ("max_position_embeddings",),
    "rope_theta": ("rope_theta",),
    "norm_eps": ("rms_norm_eps",),
    "qkv_bias": ("attention_bias",),
    "experts": ("num_experts", "num_local_experts"),
    "experts_per_token": ("num_experts_per_tok",),
    "tied": ("tie_word_embeddings",),
}
"""Fields of `ModelSpec`, and the keys that may hold each; the first one present counts."""
NEEDED = ("layers", "hidden", "heads", "intermediate", "vocab", "max_context")
