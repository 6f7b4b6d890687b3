//! The encoder.

use candle_core::{Error, Tensor};
use cog_train_nn::{
    self as nn, Attention, Dropout, Embedding, Init, LayerNorm, Linear, Node, Rope, Weight,
};

use super::config::ModernBertConfig;
use crate::models::dropout::add_dropped;
use crate::models::layers::{Activation, layer_norm, linear_of, mlp_inner};
use crate::models::rope::Rotary;
use crate::models::unpadded::Unpadded;

/// The encoder of `ModernBERT`.
#[derive(Debug, Clone)]
pub(crate) struct ModernBert {
    words: Embedding,
    norm: LayerNorm,
    dropout: Dropout,
    layers: Vec<Layer>,
    final_norm: LayerNorm,
    rotary: Rotary,
    local_rotary: Rotary,
}

/// The attention and the rotation of a layer in one forward pass.
#[derive(Debug, Clone)]
struct Pass {
    attention: Attention,
    rope: Rope,
    positions: Option<Tensor>,
}

impl ModernBert {
    /// Builds the encoder below its prefix.
    ///
    /// # Errors
    ///
    /// Those of [`Init::tensor`].
    pub(crate) fn new(init: &Init, config: &ModernBertConfig) -> Result<Self, Error> {
        let init = init.at("model");
        let tables = init.at("embeddings");
        let words = tables.at("tok_embeddings").with("weight", config.input_init());
        let words = Embedding::new(&words, config.vocab, config.hidden)?;
        let device = words.weight().device().clone();
        let of_layers = init.at("layers");
        let layers = config
            .local_layers
            .iter()
            .enumerate()
            .map(|(layer, local)| Layer::new(&of_layers.at(layer), config, layer, *local));
        Ok(Self {
            norm: norm(&tables.at("norm"), config)?,
            dropout: Dropout::new(&tables, config.embedding_dropout)?,
            layers: layers.collect::<Result<_, _>>()?,
            final_norm: norm(&init.at("final_norm"), config)?,
            rotary: Rotary::new(config.rope.clone(), &device),
            local_rotary: Rotary::new(config.local_rope.clone(), &device),
            words,
        })
    }

    /// The table of words, which masked language models score with.
    pub(crate) fn words(&self) -> &Weight {
        self.words.weight()
    }

    /// Computes the last hidden states `[b, n, d]`.
    ///
    /// # Errors
    ///
    /// candle's error when an id is not in the table or the device fails.
    pub(crate) fn forward(
        &self,
        ids: &Node,
        batch: &Unpadded,
        recompute: bool,
    ) -> Result<Node, Error> {
        let attention = Attention::new(batch.mask().clone());
        let pass = |rotary: &Rotary| {
            let rope = rotary.rope(batch.reach())?;
            let positions = batch.positions().cloned();
            Ok::<_, Error>(Pass { attention: attention.clone(), rope, positions })
        };
        let (full, local) = (pass(&self.rotary)?, pass(&self.local_rotary)?);
        let mut x = self.dropout.forward(&self.norm.forward(&self.words.forward(ids)?)?)?;
        for layer in &self.layers {
            let pass = if layer.window.is_some() { &local } else { &full };
            x = if recompute {
                let (layer, pass) = (layer.clone(), pass.clone());
                nn::recompute(&x, move |x| layer.forward(x, &pass))?
            } else {
                layer.forward(&x, pass)?
            };
        }
        self.final_norm.forward(&x)
    }
}

/// A layer, which normalizes before each part.
#[derive(Debug, Clone)]
struct Layer {
    /// The first layer's input is normalized already.
    attention_norm: Option<LayerNorm>,
    qkv: Linear,
    output: Linear,
    norm: LayerNorm,
    /// The input and the gate.
    up: Linear,
    down: Linear,
    activation: Activation,
    heads: usize,
    window: Option<usize>,
    attention_dropout: Dropout,
    output_dropout: Dropout,
    mlp_dropout: Dropout,
}

impl Layer {
    fn new(
        init: &Init,
        config: &ModernBertConfig,
        layer: usize,
        local: bool,
    ) -> Result<Self, Error> {
        let ModernBertConfig { hidden, intermediate, attention_bias, mlp_bias, .. } = *config;
        let (input, output) = (config.input_init(), config.output_init());
        let dense = |name: &str, inputs, outputs, initializer, bias| {
            linear_of(&init.at(name), inputs, outputs, initializer, bias)
        };
        let attention_norm = (layer > 0).then(|| norm(&init.at("attn_norm"), config));
        Ok(Self {
            attention_norm: attention_norm.transpose()?,
            qkv: dense("attn.Wqkv", hidden, 3 * hidden, input, attention_bias)?,
            output: dense("attn.Wo", hidden, hidden, output, attention_bias)?,
            norm: norm(&init.at("mlp_norm"), config)?,
            up: dense("mlp.Wi", hidden, 2 * intermediate, input, mlp_bias)?,
            down: dense("mlp.Wo", intermediate, hidden, output, mlp_bias)?,
            activation: config.activation,
            heads: config.heads,
            window: local.then_some(config.window),
            attention_dropout: Dropout::new(&init.at("attn.Wqkv"), config.attention_dropout)?,
            output_dropout: Dropout::new(&init.at("attn.Wo"), config.attention_dropout)?,
            mlp_dropout: Dropout::new(&init.at("mlp"), config.mlp_dropout)?,
        })
    }

    fn forward(&self, x: &Node, pass: &Pass) -> Result<Node, Error> {
        let normal = self.attention_norm.as_ref().map(|norm| norm.forward(x)).transpose()?;
        let qkv = self.qkv.forward(normal.as_ref().unwrap_or(x))?;
        let qkv = pass.rope.packed(&qkv, 2 * self.heads, pass.positions.as_ref())?;
        let attention = pass.attention.clone().dropout(&self.attention_dropout);
        let attention = match self.window {
            Some(distance) => attention.window(distance),
            None => attention,
        };
        let y = attention.packed(&qkv, self.heads, self.heads)?;
        let x = add_dropped(&self.output, &self.output_dropout, x, &y)?;
        let (norm, up, activation) = (self.norm.clone(), self.up.clone(), self.activation);
        let inner = mlp_inner(&x, move |x| gated(&up.forward(&norm.forward(x)?)?, activation))?;
        self.down.add_to(&x, &self.mlp_dropout.forward(&inner)?, 1.0)
    }
}

/// The activated first half of each row times the second.
fn gated(both: &Node, activation: Activation) -> Result<Node, Error> {
    let width = both.dims().last().map_or(0, |both| both / 2);
    let (input, gate) = (nn::narrow(both, 2, 0, width)?, nn::narrow(both, 2, width, width)?);
    nn::mul(&activation.forward(&input)?, &gate)
}

fn norm(init: &Init, config: &ModernBertConfig) -> Result<LayerNorm, Error> {
    layer_norm(init, config.hidden, config.epsilon, config.norm_bias)
}
