//! The configuration of a model as metadata.

use std::f64::consts::TAU;

use crate::gguf::{Metadata, Value};
use crate::models::config::{Config, Family};
use crate::models::decoder::{DecoderConfig, LayerConfig};
use crate::models::gpt2::Gpt2Config;
use crate::models::rope::{RopeConfig, Scaling};

use super::architecture::Architecture;

/// A configuration in a file.
#[derive(Default)]
pub(super) struct Written {
    pub(super) metadata: Metadata,
    /// Factors of the rotary frequencies, by the names of their tensors.
    pub(super) factors: Vec<(&'static str, Vec<f32>)>,
    prefix: &'static str,
}

impl Written {
    /// Writes a configuration.
    ///
    /// # Errors
    ///
    /// The key of `config.json` that a file cannot hold. What it would be read back as is compared in
    /// [`differences`].
    pub(super) fn new(config: &Config, architecture: &Architecture) -> Result<Self, String> {
        let mut written = Self { prefix: architecture.name, ..Self::default() };
        written.metadata.insert("general.architecture", architecture.name);
        written.metadata.insert("general.type", "model");
        match config.family() {
            Family::Decoder(config) => written.decoder(config)?,
            Family::Gpt2(config) => written.gpt2(config),
            _ => return Err("the model predicts no next token".to_owned()),
        }
        Ok(written)
    }

    fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.metadata.insert(format!("{}.{key}", self.prefix), value);
    }

    fn size(&mut self, key: &str, size: usize) {
        self.set(key, u32::try_from(size).unwrap_or(u32::MAX));
    }

    fn float(&mut self, key: &str, number: f64) {
        self.set(key, narrow(number));
    }

    fn gpt2(&mut self, config: &Gpt2Config) {
        self.size("context_length", config.positions);
        self.size("embedding_length", config.hidden);
        self.size("block_count", config.layers);
        self.size("feed_forward_length", config.intermediate);
        self.size("attention.head_count", config.heads);
        self.float("attention.layer_norm_epsilon", config.epsilon);
    }

    fn decoder(&mut self, config: &DecoderConfig) -> Result<(), String> {
        self.size("vocab_size", config.vocabulary);
        self.size("context_length", config.max_positions);
        self.size("embedding_length", config.hidden);
        self.size("block_count", config.layers.len());
        self.size("feed_forward_length", config.inner);
        self.size("attention.head_count", config.heads);
        self.size("attention.head_count_kv", config.kv_heads);
        self.float("attention.layer_norm_rms_epsilon", config.epsilon);
        self.size("attention.key_length", config.width);
        self.size("attention.value_length", config.width);
        self.size("rope.dimension_count", config.width);
        let windows = config.layers.iter().map(|layer| layer.window);
        let window = windows.clone().find_map(|window| window);
        if matches!(self.prefix, "gemma2" | "gemma3" | "phi3") {
            // Phi-3 without one has 0 there.
            let window = window.or((self.prefix == "phi3").then_some(0));
            if let Some(window) = window {
                self.size("attention.sliding_window", window);
            }
        }
        let pattern = windows.clone().position(|window| window.is_none()).map(|at| at + 1);
        if let Some(pattern) = pattern.filter(|it| self.prefix == "gemma3" && *it != 6) {
            self.size("attention.sliding_window_pattern", pattern);
        }
        for (key, cap) in [
            ("attn_logit_softcapping", config.attention_cap),
            ("final_logit_softcapping", config.logit_cap),
        ] {
            if let Some(cap) = cap {
                self.float(key, cap);
            }
        }
        if let Some(local) = &config.local_rope {
            if local.scaling != Scaling::Default {
                return Err("`rope_parameters.sliding_attention.rope_type`".to_owned());
            }
            self.float("rope.freq_base_swa", local.theta);
        }
        self.rope(&config.rope)
    }

    fn rope(&mut self, rope: &RopeConfig) -> Result<(), String> {
        self.float("rope.freq_base", rope.theta);
        let mut scaled = |kind: &str, factor: Option<f64>, original: Option<f64>| {
            self.set("rope.scaling.type", kind);
            if let Some(factor) = factor {
                self.float("rope.scaling.factor", factor);
            }
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a length")]
            let original = original.map(|original| original as u32);
            let key = "rope.scaling.original_context_length";
            if let Some(original) = original {
                self.set(key, original);
            }
        };
        match &rope.scaling {
            Scaling::Default => {}
            Scaling::Linear { factor } => scaled("linear", Some(*factor), None),
            Scaling::Dynamic { .. } => return Err("the `rope_type` `dynamic`".to_owned()),
            Scaling::Yarn { truncate: false, .. } => return Err("`truncate`".to_owned()),
            Scaling::Yarn { factor, beta_fast, beta_slow, attention_factor, original, .. } => {
                scaled("yarn", Some(*factor), Some(*original));
                self.float("rope.scaling.yarn_beta_fast", *beta_fast);
                self.float("rope.scaling.yarn_beta_slow", *beta_slow);
                let attention = attention_factor / (0.1 * factor.ln() + 1.0);
                if (attention - 1.0).abs() > 1e-6 {
                    self.float("rope.scaling.attn_factor", attention);
                }
            }
            Scaling::LongRope { short, long, attention_factor, original } => {
                #[expect(clippy::cast_precision_loss, reason = "a length")]
                scaled("longrope", None, Some(*original as f64));
                self.float("rope.scaling.attn_factor", *attention_factor);
                let narrow = |factors: &[f64]| factors.iter().map(|it| narrow(*it)).collect();
                self.factors.push(("rope_factors_long.weight", narrow(long)));
                self.factors.push(("rope_factors_short.weight", narrow(short)));
            }
            Scaling::Llama3 { factor, low, high, original } => {
                #[expect(clippy::cast_precision_loss, reason = "a size")]
                let of = |pair: usize| {
                    let turns =
                        original / (TAU * rope.theta.powf(2.0 * pair as f64 / rope.width as f64));
                    let smooth = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                    narrow(1.0 / ((1.0 - smooth) / factor + smooth))
                };
                self.factors.push(("rope_freqs.weight", (0..rope.width / 2).map(of).collect()));
            }
        }
        Ok(())
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the format has 32 bits")]
fn narrow(number: f64) -> f32 {
    number as f32
}

/// The keys of `config.json` whose values differ in what is read back from a file, where they change what the model computes.
pub(super) fn differences(own: &Config, read: &Config) -> Vec<&'static str> {
    let pairs = match (own.family(), read.family()) {
        (Family::Decoder(own), Family::Decoder(read)) => vec![
            ("sliding_window", alike(own, read, |layer| layer.window)),
            ("no_rope_layers", alike(own, read, |layer| layer.rotated)),
            ("hidden_act", own.activation == read.activation),
            ("attention_bias", own.biases == read.biases),
            ("query_pre_attn_scalar", close(Some(own.attention_scale), Some(read.attention_scale))),
            ("attn_logit_softcapping", close(own.attention_cap, read.attention_cap)),
            ("final_logit_softcapping", close(own.logit_cap, read.logit_cap)),
            ("tie_word_embeddings", own.tied == read.tied),
        ],
        (Family::Gpt2(own), Family::Gpt2(read)) => vec![
            ("activation_function", own.activation == read.activation),
            ("scale_attn_weights", own.scaled == read.scaled),
            ("scale_attn_by_inverse_layer_idx", own.scaled_by_layer == read.scaled_by_layer),
        ],
        _ => vec![("model_type", false)],
    };
    pairs.into_iter().filter(|(_, alike)| !alike).map(|(name, _)| name).collect()
}

/// Whether all layers are alike in something.
fn alike<T: PartialEq>(
    own: &DecoderConfig,
    read: &DecoderConfig,
    of: impl Fn(&LayerConfig) -> T,
) -> bool {
    own.layers.iter().map(&of).eq(read.layers.iter().map(&of))
}

/// Whether two numbers are equal in 32 bits.
fn close(own: Option<f64>, read: Option<f64>) -> bool {
    match (own, read) {
        (Some(own), Some(read)) => (own - read).abs() <= 1e-6 * own.abs(),
        (own, read) => own.is_none() && read.is_none(),
    }
}
