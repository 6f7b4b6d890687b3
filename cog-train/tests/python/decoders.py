"""Tiny random decoders of the Llama family. See `models.py`."""

import transformers as tf

from models import causal_lm

SIZES = dict(vocab_size=61, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
             max_position_embeddings=64, pad_token_id=0, bos_token_id=1, eos_token_id=2)


def llama(name: str) -> None:
    """Grouped queries, heads wider than `hidden / heads`, biases everywhere, tied."""
    config = tf.LlamaConfig(**SIZES, num_key_value_heads=2, head_dim=6, attention_bias=True, mlp_bias=True,
                            tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 500.0})
    causal_lm(name, tf.LlamaForCausalLM(config))


def llama3(name: str) -> None:
    """Llama 3's positions, untied, a list of end tokens."""
    rope = {"rope_type": "llama3", "rope_theta": 100.0, "factor": 4.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 16}
    config = tf.LlamaConfig(**{**SIZES, "eos_token_id": [2, 7]}, tie_word_embeddings=False, rope_parameters=rope)
    causal_lm(name, tf.LlamaForCausalLM(config))


def scaled(rope: dict, length: int = 9):
    """A Llama whose positions are scaled."""

    def make(name: str) -> None:
        sizes = {**SIZES, "num_hidden_layers": 1, "max_position_embeddings": rope.pop("max", 64)}
        config = tf.LlamaConfig(**sizes, num_key_value_heads=2, rope_parameters={"rope_theta": 50.0, **rope})
        causal_lm(name, tf.LlamaForCausalLM(config), length)

    return make


def mistral(name: str) -> None:
    """A window shorter than the text."""
    config = tf.MistralConfig(**SIZES, num_key_value_heads=2, sliding_window=4)
    causal_lm(name, tf.MistralForCausalLM(config))


def qwen2(name: str) -> None:
    """Biases of queries, keys and values; a window in the second layer."""
    config = tf.Qwen2Config(**SIZES, num_key_value_heads=2, tie_word_embeddings=True, use_sliding_window=True,
                            sliding_window=3, max_window_layers=1)
    causal_lm(name, tf.Qwen2ForCausalLM(config))


def qwen3(name: str) -> None:
    """Norms of queries and keys, heads wider than `hidden / heads`."""
    config = tf.Qwen3Config(**SIZES, num_key_value_heads=2, head_dim=6)
    causal_lm(name, tf.Qwen3ForCausalLM(config))


def smollm3(name: str) -> None:
    """Every second layer without positions."""
    sizes = {**SIZES, "num_hidden_layers": 3}
    config = tf.SmolLM3Config(**sizes, num_key_value_heads=2, no_rope_layer_interval=2)
    causal_lm(name, tf.SmolLM3ForCausalLM(config))


def phi3(name: str) -> None:
    """Packed projections, the factors of short texts."""
    rope = {"rope_type": "longrope", "rope_theta": 100.0, "short_factor": [1.0, 1.5], "long_factor": [2.0, 3.0]}
    config = tf.Phi3Config(**SIZES, num_key_value_heads=2, rope_parameters=rope, original_max_position_embeddings=16)
    causal_lm(name, tf.Phi3ForCausalLM(config))


def phi3_long(name: str) -> None:
    """The factors of long texts."""
    rope = {"rope_type": "longrope", "rope_theta": 100.0, "short_factor": [1.0, 1.5], "long_factor": [2.0, 3.0]}
    sizes = {**SIZES, "num_hidden_layers": 1}
    config = tf.Phi3Config(**sizes, num_key_value_heads=2, rope_parameters=rope, original_max_position_embeddings=6)
    causal_lm(name, tf.Phi3ForCausalLM(config))


def gemma(name: str) -> None:
    config = tf.GemmaConfig(**SIZES, num_key_value_heads=1, head_dim=6)
    causal_lm(name, tf.GemmaForCausalLM(config))


def gemma2(name: str) -> None:
    """Bounded scores and logits, a window in the first layer, another scale of the attention."""
    config = tf.Gemma2Config(**SIZES, num_key_value_heads=2, head_dim=6, query_pre_attn_scalar=9, sliding_window=4,
                             attn_logit_softcapping=4.0, final_logit_softcapping=6.0, attn_implementation="eager")
    causal_lm(name, tf.Gemma2ForCausalLM(config))


def gemma3(name: str) -> None:
    """Local and global positions, another scale of the attention."""
    config = tf.Gemma3TextConfig(**SIZES, num_key_value_heads=2, head_dim=6, query_pre_attn_scalar=9, sliding_window=4,
                                 layer_types=["sliding_attention", "full_attention"],
                                 rope_parameters={"full_attention": {"rope_type": "linear", "factor": 2.0,
                                                                     "rope_theta": 900.0},
                                                  "sliding_attention": {"rope_type": "default", "rope_theta": 60.0}})
    causal_lm(name, tf.Gemma3ForCausalLM(config))


MODELS = {
    "llama": llama,
    "llama3": llama3,
    "rope_linear": scaled({"rope_type": "linear", "factor": 3.0}),
    "rope_dynamic": scaled({"rope_type": "dynamic", "factor": 3.0, "max": 6}),
    "rope_yarn": scaled({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "beta_fast": 8.0}),
    "mistral": mistral,
    "qwen2": qwen2,
    "qwen3": qwen3,
    "smollm3": smollm3,
    "phi3": phi3,
    "phi3_long": phi3_long,
    "gemma": gemma,
    "gemma2": gemma2,
    "gemma3": gemma3,
}
