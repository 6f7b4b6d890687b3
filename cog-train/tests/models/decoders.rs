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
