//! The configuration of BERT, RoBERTa and DistilBERT.

use serde_json::json;

use crate::models::dropout::{optional_probability, probability};
use crate::models::keys::Keys;
use crate::models::layers::Activation;

/// The configuration of a model of BERT's structure.
#[derive(Debug, Clone)]
pub(crate) struct BertConfig {
    pub(crate) family: Family,
    pub(crate) vocab: usize,
    pub(crate) hidden: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) intermediate: usize,
    pub(crate) activation: Activation,
    /// Rows of the table of positions.
    pub(crate) positions: usize,
    /// The row of the first position.
    pub(crate) first_position: u32,
    /// Rows of the table of token types; DistilBERT has none.
    pub(crate) types: usize,
    pub(crate) epsilon: f64,
    /// The standard deviation of tensors that are drawn.
    pub(crate) std: f64,
    /// Behind the embeddings, and of what layers add.
    pub(crate) dropout: f64,
    pub(crate) attention_dropout: f64,
    /// Before the last layer of a sequence classifier.
    pub(crate) sequence_dropout: f64,
    /// Before the last layer of a token classifier.
    pub(crate) token_dropout: f64,
}

/// A family of models that share their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Bert,
    Roberta,
    DistilBert,
}

impl BertConfig {
    /// Reads a configuration.
    pub(crate) fn read(keys: &mut Keys, family: Family, padding: Option<u32>) -> Self {
        let config = match family {
            Family::DistilBert => Self::distilbert(keys),
            Family::Bert | Family::Roberta => Self::bert(keys, family, padding),
        };
        if !config.hidden.is_multiple_of(config.heads) {
            let (heads, hidden) = (config.heads, config.hidden);
            keys.problem(format!(
                "{heads} attention heads do not divide a hidden size of {hidden}"
            ));
        }
        config
    }

    fn bert(keys: &mut Keys, family: Family, padding: Option<u32>) -> Self {
        let dropout = probability(keys, "hidden_dropout_prob", 0.1);
        let of_head = optional_probability(keys, "classifier_dropout").unwrap_or(dropout);
        keys.only("position_embedding_type", &json!("absolute"));
        keys.only("is_decoder", &json!(false));
        keys.only("add_cross_attention", &json!(false));
        keys.only("tie_word_embeddings", &json!(true));
        // Sizes of models that others were distilled into.
        keys.ignore(&["embedding_size", "emb_size"]);
        let first_position = match family {
            Family::Roberta => padding.unwrap_or(1) + 1,
            _ => 0,
        };
        Self {
            family,
            vocab: keys.size(&["vocab_size"]),
            hidden: keys.size(&["hidden_size"]),
            layers: keys.layers(&["num_hidden_layers"]),
            heads: keys.size(&["num_attention_heads"]),
            intermediate: keys.size(&["intermediate_size"]),
            activation: Activation::read(keys, "hidden_act", "gelu"),
            positions: keys.size(&["max_position_embeddings"]),
            first_position,
            types: keys.get_or(&["type_vocab_size"], 2),
            epsilon: keys.epsilon("layer_norm_eps", 1e-12),
            std: keys.get_or(&["initializer_range"], 0.02),
            dropout,
            attention_dropout: probability(keys, "attention_probs_dropout_prob", 0.1),
            sequence_dropout: of_head,
            token_dropout: of_head,
        }
    }

    fn distilbert(keys: &mut Keys) -> Self {
        // Of a head for questions.
        keys.ignore(&["qa_dropout"]);
        let dropout = probability(keys, "dropout", 0.1);
        // The table of positions is in the file in either case.
        keys.ignore(&["sinusoidal_pos_embds"]);
        keys.only("tie_weights_", &json!(true));
        keys.only("tie_word_embeddings", &json!(true));
        Self {
            family: Family::DistilBert,
            vocab: keys.size(&["vocab_size"]),
            hidden: keys.size(&["dim", "hidden_size"]),
            layers: keys.layers(&["n_layers", "num_hidden_layers"]),
            heads: keys.size(&["n_heads", "num_attention_heads"]),
            intermediate: keys.size(&["hidden_dim"]),
            activation: Activation::read(keys, "activation", "gelu"),
            positions: keys.size(&["max_position_embeddings"]),
            first_position: 0,
            types: 0,
            epsilon: 1e-12,
            std: keys.get_or(&["initializer_range"], 0.02),
            dropout,
            attention_dropout: probability(keys, "attention_dropout", 0.1),
            sequence_dropout: probability(keys, "seq_classif_dropout", 0.2),
            token_dropout: dropout,
        }
    }
}

impl BertConfig {
    /// The most tokens of a text.
    pub(crate) fn max_length(&self) -> usize {
        self.positions.saturating_sub(self.first_position as usize)
    }
}

/// The values of `model_type`.
pub(crate) const FAMILIES: &[(&str, Family)] = &[
    ("bert", Family::Bert),
    ("distilbert", Family::DistilBert),
    ("roberta", Family::Roberta),
    ("xlm-roberta", Family::Roberta),
];

impl Family {
    /// The part of a head model that is the encoder: `base_model_prefix` in transformers.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Bert => "bert",
            Self::Roberta => "roberta",
            Self::DistilBert => "distilbert",
        }
    }
}
