//! The Llama family.

use crate::support::check_causal_lm;

#[test]
fn llama_with_biases_and_tied_embeddings_equals_transformers() {
    check_causal_lm("llama");
}

#[test]
fn llama3_untied_equals_transformers() {
    check_causal_lm("llama3");
}

/// The factors of long and of short texts are those of `phi3` and `phi3_long`.
#[test]
fn every_scaling_of_the_positions_equals_transformers() {
    for name in ["rope_linear", "rope_dynamic", "rope_yarn"] {
        check_causal_lm(name);
    }
}

#[test]
fn mistral_with_a_window_equals_transformers() {
    check_causal_lm("mistral");
}

#[test]
fn qwen2_and_qwen3_equal_transformers() {
    check_causal_lm("qwen2");
    check_causal_lm("qwen3");
}

#[test]
fn smollm3_with_layers_without_positions_equals_transformers() {
    check_causal_lm("smollm3");
}

#[test]
fn phi3_with_packed_projections_equals_transformers() {
    check_causal_lm("phi3");
    check_causal_lm("phi3_long");
}

#[test]
fn gemma_equals_transformers() {
    check_causal_lm("gemma");
    check_causal_lm("gemma2");
    check_causal_lm("gemma3");
}
