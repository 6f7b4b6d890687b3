//! The configuration of a decoder: one description for all families.

use serde_json::json;

use super::layers::{LayerConfig, Sizes, layer_configs, window};
use crate::models::dropout::probability;
use crate::models::keys::Keys;
use crate::models::rope::{RopeConfig, RopeDefaults};

/// The families that this module reads, by `model_type`.
pub(crate) const FAMILIES: &[&str] =
    &["gemma", "gemma2", "gemma3_text", "llama", "mistral", "phi3", "qwen2", "qwen3", "smollm3"];

/// A decoder of the Llama family: rotary positions, normalization by the root mean square, and a gated MLP.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a feature that a family has or lacks")]
pub(crate) struct DecoderConfig {
    pub(crate) vocabulary: usize,
    pub(crate) hidden: usize,
    pub(crate) inner: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    /// Elements of a head.
    pub(crate) width: usize,
    pub(crate) max_positions: usize,
    pub(crate) layers: Vec<LayerConfig>,
    pub(crate) epsilon: f64,
    /// Weights of norms are stored minus one.
    pub(crate) norm_offset: bool,
    /// Norms of each head's query and key.
    pub(crate) head_norms: bool,
    /// Norms behind the attention and the MLP too.
    pub(crate) post_norms: bool,
    /// Queries, keys and values are one product, and so are gate and up.
    pub(crate) packed: bool,
    pub(crate) biases: Biases,
    pub(crate) activation: Gate,
    pub(crate) tied: bool,
    /// A factor of the embeddings.
    pub(crate) embedding_scale: Option<f64>,
    /// The factor of the products of queries and keys.
    pub(crate) attention_scale: f64,
    /// `cap * tanh(score / cap)` of the attention's scores.
    pub(crate) attention_cap: Option<f64>,
    /// The same of the logits.
    pub(crate) logit_cap: Option<f64>,
    pub(crate) attention_dropout: f64,
    /// Of what layers add.
    pub(crate) residual_dropout: f64,
    /// The rotary positions of layers with a window, if they differ, and of the others.
    pub(crate) local_rope: Option<RopeConfig>,
    pub(crate) rope: RopeConfig,
}

/// The linear layers that have a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Biases {
    pub(crate) qkv: bool,
    pub(crate) output: bool,
    pub(crate) mlp: bool,
}

/// The activation of the MLP's gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    Silu,
    GeluTanh,
    Gelu,
}

impl DecoderConfig {
    /// Reads the configuration of one of [`FAMILIES`].
    pub(crate) fn read(keys: &mut Keys, family: &str) -> Self {
        let gemma = family.starts_with("gemma");
        let hidden = keys.size(&["hidden_size"]);
        let heads = keys.size(&["num_attention_heads"]);
        let default_width = match family {
            "qwen3" => Some(128),
            _ if gemma => Some(256),
            _ => None,
        };
        let width = keys.get(&["head_dim"]).or(default_width).unwrap_or(hidden / heads);
        let max_positions = keys.size(&["max_position_embeddings"]);
        let attention_dropout = probability(keys, "attention_dropout", 0.0);
        let (layers, window) = (keys.layers(&["num_hidden_layers"]), window(keys, family));
        let layers = layer_configs(keys, family, &Sizes { layers, window });
        let original = match family {
            "phi3" => keys.get(&["original_max_position_embeddings"]),
            _ => None,
        };
        let theta = if family == "smollm3" { 2_000_000.0 } else { 10_000.0 };
        let defaults = RopeDefaults { theta, width, max_positions, original };
        let (rope, local_rope) = match family {
            "gemma3_text" => gemma3_ropes(keys, &defaults),
            _ => (RopeConfig::read(keys, &defaults), None),
        };
        let scalar = match family {
            "gemma2" | "gemma3_text" => keys.above_zero("query_pre_attn_scalar").unwrap_or(256.0),
            _ => real(width),
        };
        let cap = |keys: &mut Keys, name, default| match family {
            "gemma2" => keys.optional(name, Some(default)),
            "gemma3_text" => keys.optional(name, None),
            _ => None,
        };
        let attention_cap = cap(keys, "attn_logit_softcapping", 50.0);
        let logit_cap = cap(keys, "final_logit_softcapping", 30.0);
        if gemma {
            keys.only("use_bidirectional_attention", &json!(false));
        }
        if family == "phi3" {
            // transformers does not apply it either.
            keys.ignore(&["embd_pdrop"]);
        }
        keys.ignore(&["pretraining_tp", "rope_interleaved", "cache_implementation"]);
        let residual = |keys: &mut Keys| probability(keys, "resid_pdrop", 0.0);
        let residual_dropout = if family == "phi3" { residual(keys) } else { 0.0 };
        let config = Self {
            attention_dropout,
            residual_dropout,
            vocabulary: keys.size(&["vocab_size"]),
            hidden,
            inner: keys.size(&["intermediate_size"]),
            heads,
            kv_heads: keys.get_or(&["num_key_value_heads"], heads),
            width,
            max_positions,
            layers,
            epsilon: keys.epsilon("rms_norm_eps", if family == "phi3" { 1e-5 } else { 1e-6 }),
            norm_offset: gemma,
            head_norms: matches!(family, "qwen3" | "gemma3_text"),
            post_norms: matches!(family, "gemma2" | "gemma3_text"),
            packed: family == "phi3",
            biases: biases(keys, family),
            activation: gate(keys, gemma),
            tied: keys.get_or(&["tie_word_embeddings"], gemma || family == "smollm3"),
            embedding_scale: gemma.then(|| real(hidden).sqrt()),
            attention_scale: 1.0 / scalar.sqrt(),
            attention_cap,
            logit_cap,
            local_rope,
            rope,
        };
        config.check(keys);
        config
    }

    fn check(&self, keys: &mut Keys) {
        let &Self { heads, kv_heads, width, .. } = self;
        if kv_heads == 0 || heads % kv_heads != 0 {
            keys.problem(format!(
                "`num_key_value_heads` is {kv_heads}, which does not divide `num_attention_heads`, {heads}"
            ));
        }
        if width == 0 || width % 2 != 0 {
            keys.problem(format!("`head_dim` is {width}, not an even number above 0"));
        }
    }
}

/// Gemma 3's rotary positions, of all layers and of those with a window.
fn gemma3_ropes(keys: &mut Keys, defaults: &RopeDefaults) -> (RopeConfig, Option<RopeConfig>) {
    let theta = keys.above_zero("rope_theta").unwrap_or(1_000_000.0);
    let local = keys.above_zero("rope_local_base_freq").unwrap_or(10_000.0);
    let mut nested = keys.object(&["rope_parameters"]);
    let mut read = |keys: &mut Keys, name: &'static str, theta| {
        let mut of_kind = nested.as_mut().and_then(|nested| nested.object(&[name]));
        if name == "full_attention"
            && let Some(old) = keys.object(&["rope_scaling"])
        {
            of_kind.replace(old).into_iter().for_each(|new| keys.close(new.without_values()));
        }
        let empty = || Keys::new(serde_json::Map::new());
        let mut of_kind = of_kind.unwrap_or_else(empty);
        let rope = RopeConfig::of(&mut of_kind, Some(theta), None, defaults);
        keys.close(of_kind);
        rope
    };
    let ropes = (read(keys, "full_attention", theta), read(keys, "sliding_attention", local));
    if let Some(nested) = nested {
        keys.close(nested);
    }
    (ropes.0, Some(ropes.1))
}

fn biases(keys: &mut Keys, family: &str) -> Biases {
    let mut flag = |name| keys.get_or(&[name], false);
    match family {
        "llama" | "smollm3" => {
            let attention = flag("attention_bias");
            Biases { qkv: attention, output: attention, mlp: flag("mlp_bias") }
        }
        "qwen2" => Biases { qkv: true, ..Biases::default() },
        "qwen3" | "gemma" | "gemma2" | "gemma3_text" => {
            let attention = flag("attention_bias");
            Biases { qkv: attention, output: attention, mlp: false }
        }
        _ => {
            keys.only("attention_bias", &json!(false));
            keys.only("mlp_bias", &json!(false));
            Biases::default()
        }
    }
}

fn gate(keys: &mut Keys, gemma: bool) -> Gate {
    let name = if gemma {
        // Gemma's first files say `gelu` in `hidden_act` and mean the tanh form.
        let old = keys.get::<String>(&["hidden_act"]);
        let new = keys.get::<String>(&["hidden_activation"]);
        let old =
            old.map(|name| if name == "gelu" { "gelu_pytorch_tanh".to_owned() } else { name });
        new.or(old).unwrap_or_else(|| "gelu_pytorch_tanh".to_owned())
    } else {
        keys.get_or(&["hidden_act"], "silu".to_owned())
    };
    match name.as_str() {
        "silu" | "swish" => Gate::Silu,
        "gelu_pytorch_tanh" | "gelu_new" | "gelu_fast" => Gate::GeluTanh,
        "gelu" => Gate::Gelu,
        other => {
            let supported = "`silu`, `gelu` or `gelu_pytorch_tanh`";
            keys.problem(format!("the activation is `{other}`, not {supported}"));
            Gate::Silu
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
fn real(count: usize) -> f64 {
    count as f64
}
