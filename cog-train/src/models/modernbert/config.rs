//! The configuration of `ModernBERT`.

use cog_train_nn::Initializer;
use serde_json::json;

use crate::error::counted;
use crate::models::dropout::probability;
use crate::models::heads::RowPooling;
use crate::models::keys::Keys;
use crate::models::layers::Activation;
use crate::models::rope::{RopeConfig, RopeDefaults};

/// The configuration of `ModernBERT`.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a bias that a model has or lacks")]
pub(crate) struct ModernBertConfig {
    pub(crate) vocab: usize,
    pub(crate) hidden: usize,
    pub(crate) heads: usize,
    pub(crate) intermediate: usize,
    pub(crate) activation: Activation,
    pub(crate) max_positions: usize,
    /// Whether each layer's attention is within the window.
    pub(crate) local_layers: Vec<bool>,
    /// The distance to which such a layer sees.
    pub(crate) window: usize,
    pub(crate) rope: RopeConfig,
    pub(crate) local_rope: RopeConfig,
    pub(crate) epsilon: f64,
    pub(crate) norm_bias: bool,
    pub(crate) attention_bias: bool,
    pub(crate) mlp_bias: bool,
    pub(crate) decoder_bias: bool,
    pub(crate) classifier_bias: bool,
    pub(crate) classifier_activation: Activation,
    pub(crate) classifier_pooling: RowPooling,
    pub(crate) embedding_dropout: f64,
    /// Of attention weights, and of what attention adds.
    pub(crate) attention_dropout: f64,
    /// Of the inner values of a layer.
    pub(crate) mlp_dropout: f64,
    /// Before the last layer of a classifier.
    pub(crate) classifier_dropout: f64,
    /// The standard deviation of tensors that are drawn.
    std: f64,
}

const FULL: &str = "full_attention";
const LOCAL: &str = "sliding_attention";

impl ModernBertConfig {
    /// Reads a configuration.
    pub(crate) fn read(keys: &mut Keys) -> Self {
        keys.only("tie_word_embeddings", &json!(true));
        keys.ignore(&[
            "cls_token_id",
            "deterministic_flash_attn",
            "initializer_cutoff_factor",
            "layer_norm_eps",
            "position_embedding_type",
            "reference_compile",
            "repad_logits_with_grad",
            "sparse_pred_ignore_index",
            "sparse_prediction",
        ]);
        let hidden = keys.size(&["hidden_size"]);
        let heads = keys.size(&["num_attention_heads"]);
        if !hidden.is_multiple_of(2 * heads) {
            keys.problem(format!(
                "{heads} attention heads of an even width do not make a hidden size of {hidden}"
            ));
        }
        let layers = keys.layers(&["num_hidden_layers"]);
        let max_positions = keys.size(&["max_position_embeddings"]);
        let [rope, local_rope] = ropes(keys, hidden / heads, max_positions);
        Self {
            vocab: keys.size(&["vocab_size"]),
            hidden,
            heads,
            intermediate: keys.size(&["intermediate_size"]),
            activation: Activation::read(keys, "hidden_activation", "gelu"),
            max_positions,
            local_layers: local_layers(keys, layers),
            window: keys.get_or(&["local_attention"], 128) / 2,
            rope,
            local_rope,
            epsilon: keys.epsilon("norm_eps", 1e-5),
            norm_bias: keys.get_or(&["norm_bias"], false),
            attention_bias: keys.get_or(&["attention_bias"], false),
            mlp_bias: keys.get_or(&["mlp_bias"], false),
            decoder_bias: keys.get_or(&["decoder_bias"], true),
            classifier_bias: keys.get_or(&["classifier_bias"], false),
            classifier_activation: Activation::read(keys, "classifier_activation", "gelu"),
            classifier_pooling: pooling(keys),
            embedding_dropout: probability(keys, "embedding_dropout", 0.0),
            attention_dropout: probability(keys, "attention_dropout", 0.0),
            mlp_dropout: probability(keys, "mlp_dropout", 0.0),
            classifier_dropout: probability(keys, "classifier_dropout", 0.0),
            std: keys.get_or(&["initializer_range"], 0.02),
        }
    }

    /// The distribution of most matrices.
    pub(crate) fn input_init(&self) -> Initializer {
        Initializer::TruncatedNormal { std: self.std }
    }

    /// The distribution of what is added to the residual path, and of heads.
    pub(crate) fn output_init(&self) -> Initializer {
        let layers = real(self.local_layers.len());
        Initializer::TruncatedNormal { std: self.std / (2.0 * layers).sqrt() }
    }

    /// The distribution of a classifier's last layer.
    pub(crate) fn classifier_init(&self) -> Initializer {
        Initializer::TruncatedNormal { std: real(self.hidden).sqrt().recip() }
    }
}

/// The rotary positions of layers that see everything, and of the others.
fn ropes(keys: &mut Keys, width: usize, max_positions: usize) -> [RopeConfig; 2] {
    let mut parameters = keys.object(&["rope_parameters"]);
    let mut read = |keys: &mut Keys, kind: &'static str, old: &'static str, theta: f64| {
        let theta = keys.above_zero(old).unwrap_or(theta);
        let defaults = RopeDefaults { theta, width, max_positions, original: None };
        let inner = parameters.as_mut().and_then(|parameters| parameters.object(&[kind]));
        let (Some(mut inner), Some(outer)) = (inner, parameters.as_mut()) else {
            return RopeConfig::plain(None, &defaults);
        };
        let rope = RopeConfig::of(&mut inner, Some(theta), None, &defaults);
        outer.close(inner);
        rope
    };
    let ropes = [
        read(keys, FULL, "global_rope_theta", 160_000.0),
        read(keys, LOCAL, "local_rope_theta", 10_000.0),
    ];
    if let Some(parameters) = parameters {
        keys.close(parameters);
    }
    ropes
}

fn local_layers(keys: &mut Keys, layers: usize) -> Vec<bool> {
    let every = keys.get_or::<usize>(&["global_attn_every_n_layers"], 3).max(1);
    let Some(kinds) = keys.get::<Vec<String>>(&["layer_types"]) else {
        return (0..layers).map(|layer| !layer.is_multiple_of(every)).collect();
    };
    if kinds.len() != layers {
        let found = kinds.len();
        keys.problem(format!(
            "`layer_types` has {}, and `num_hidden_layers` is {layers}",
            counted(found, "layer")
        ));
    }
    let mut local = |kind: &String| {
        if kind != FULL && kind != LOCAL {
            let kind = keys.name(kind);
            keys.problem(format!("`layer_types` has `{kind}`, not `{FULL}` or `{LOCAL}`"));
        }
        kind == LOCAL
    };
    kinds.iter().map(&mut local).collect()
}

fn pooling(keys: &mut Keys) -> RowPooling {
    match keys.get_or(&["classifier_pooling"], "cls".to_owned()).as_str() {
        "cls" => RowPooling::First,
        "mean" => RowPooling::Mean,
        other => {
            let other = keys.name(other);
            keys.problem(format!("`classifier_pooling` is `{other}`, not `cls` or `mean`"));
            RowPooling::First
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
fn real(size: usize) -> f64 {
    size as f64
}
