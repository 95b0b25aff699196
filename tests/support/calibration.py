"""A tiny model, and the sizes of it that are measured in a moment."""

from flowsim.calibration.costs.models import ModelSpec

SPEC = ModelSpec("tiny", 2, 64, 4, 2, 16, 128, 97, 512, 10000.0, 1e-5)
"""Two layers, which a CPU runs in well under a millisecond."""


LLAMA = {
    "model_type": "llama", "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
    "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256, "max_position_embeddings": 131072,
    "rope_theta": 500000.0, "rms_norm_eps": 1e-05, "attention_bias": False, "tie_word_embeddings": False,
}  # fmt: skip
"""The config of a Llama, as Hugging Face has it."""
