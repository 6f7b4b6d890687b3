//! The configuration of GPT-2.

use crate::models::dropout::probability;
use crate::models::keys::Keys;
use crate::models::layers::Activation;
use serde_json::json;

/// The configuration of GPT-2.
#[derive(Debug, Clone)]
pub(crate) struct Gpt2Config {
    pub(crate) vocab: usize,
    pub(crate) positions: usize,
    pub(crate) hidden: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) intermediate: usize,
    pub(crate) activation: Activation,
    pub(crate) epsilon: f64,
    /// The standard deviation of tensors that are drawn.
    pub(crate) std: f64,
    pub(crate) embedding_dropout: f64,
    pub(crate) attention_dropout: f64,
    /// Of what layers add.
    pub(crate) residual_dropout: f64,
    /// Whether scores are divided by the square root of a head's width.
    pub(crate) scaled: bool,
    /// Whether scores are divided by the number of the layer, counted from 1.
    pub(crate) scaled_by_layer: bool,
}

impl Gpt2Config {
    /// Reads a configuration.
    pub(crate) fn read(keys: &mut Keys) -> Self {
        // Of a head with several choices, and of one with a class for each token.
        keys.ignore(&[
            "classifier_dropout",
            "summary_activation",
            "summary_first_dropout",
            "summary_proj_to_labels",
            "summary_type",
            "summary_use_proj",
        ]);
        // The order of two products, in the type that they are summed in here.
        keys.ignore(&["reorder_and_upcast_attn", "n_ctx"]);
        keys.only("add_cross_attention", &json!(false));
        keys.only("tie_word_embeddings", &json!(true));
        let hidden = keys.size(&["n_embd", "hidden_size"]);
        let config = Self {
            vocab: keys.size(&["vocab_size"]),
            positions: keys.size(&["n_positions", "max_position_embeddings"]),
            hidden,
            layers: keys.layers(&["n_layer", "num_hidden_layers"]),
            heads: keys.size(&["n_head", "num_attention_heads"]),
            intermediate: keys.get_or(&["n_inner"], 4 * hidden),
            activation: Activation::read(keys, "activation_function", "gelu_new"),
            epsilon: keys.epsilon("layer_norm_epsilon", 1e-5),
            std: keys.get_or(&["initializer_range"], 0.02),
            embedding_dropout: probability(keys, "embd_pdrop", 0.1),
            attention_dropout: probability(keys, "attn_pdrop", 0.1),
            residual_dropout: probability(keys, "resid_pdrop", 0.1),
            scaled: keys.get_or(&["scale_attn_weights"], true),
            scaled_by_layer: keys.get_or(&["scale_attn_by_inverse_layer_idx"], false),
        };
        if !config.hidden.is_multiple_of(config.heads) {
            let (heads, hidden) = (config.heads, config.hidden);
            keys.problem(format!(
                "{heads} attention heads do not divide a hidden size of {hidden}"
            ));
        }
        config
    }

    /// The factor of a layer's products of queries and keys.
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
    pub(crate) fn score_scale(&self, layer: usize) -> f64 {
        let width = (self.hidden / self.heads) as f64;
        let scale = if self.scaled { width.sqrt().recip() } else { 1.0 };
        if self.scaled_by_layer { scale / (layer + 1) as f64 } else { scale }
    }
}
