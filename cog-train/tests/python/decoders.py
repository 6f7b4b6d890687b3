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


MODELS = {"llama": llama, "llama3": llama3}
