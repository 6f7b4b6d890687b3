//! A Llama decoder on the layers of `nn`. Names and layout are those of Hugging Face's `LlamaForCausalLM`.

use candle_core::{Device, Error, Tensor};
use cog_train::candle_core;
use cog_train::engine::Loss;
use cog_train::nn::{self, Embedding, Init, Linear, Mask, Node, RmsNorm, Rope};
use cog_train::prelude::*;
use serde::Deserialize;

use crate::text::Batch;

/// The part of a Hugging Face `config.json` that this decoder reads: one key and value head for each query head, the
/// output layer tied to the embedding.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    /// The most tokens that the model sees at once.
    pub max_position_embeddings: usize,
    pub rms_norm_eps: f64,
    pub rope_theta: f64,
}

/// The decoder.
#[derive(Debug)]
pub struct Llama {
    config: Config,
    tokens: Embedding,
    layers: Vec<Layer>,
    norm: RmsNorm,
    rope: Rope,
}

#[derive(Debug)]
struct Layer {
    heads: usize,
    attention_norm: RmsNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    mlp_norm: RmsNorm,
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Llama {
    pub fn new(init: &Init, config: &Config) -> Result<Self, Error> {
        let init = init.at("model");
        let tokens =
            Embedding::new(&init.at("embed_tokens"), config.vocab_size, config.hidden_size)?;
        let layer = |index| Layer::new(&init.at("layers").at(index), config);
        let head_size = config.hidden_size / config.num_attention_heads;
        let (length, device) = (config.max_position_embeddings, tokens.weight().device());
        Ok(Self {
            config: config.clone(),
            layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_, _>>()?,
            norm: RmsNorm::new(&init.at("norm"), config.hidden_size, config.rms_norm_eps)?,
            rope: Rope::new(head_size, length, config.rope_theta, device)?,
            tokens,
        })
    }

    pub fn device(&self) -> &Device {
        self.tokens.weight().device()
    }

    /// The most tokens that the model sees at once.
    pub fn context(&self) -> usize {
        self.config.max_position_embeddings
    }

    /// Tokens [batch, length] to the last layer's output [batch * length, hidden]. Padding stands at the right, where no position
    /// of the text looks, so the mask is causal and nothing else.
    fn hidden(&self, tokens: &Node) -> Result<Node, Error> {
        let mut x = self.tokens.forward(tokens)?;
        for layer in &self.layers {
            x = layer.forward(&x, &self.rope)?;
        }
        nn::reshape(&self.norm.forward(&x)?, ((), self.config.hidden_size))
    }

    /// Tokens [batch, length] to a score for each token of the vocabulary [batch * length, vocabulary].
    pub fn logits(&self, tokens: &Tensor) -> Result<Tensor, Error> {
        let head = Linear::from_tensors(self.tokens.weight().clone(), None);
        nn::trace([tokens], |[tokens]| head.forward(&self.hidden(&tokens)?))
    }

    /// The cross-entropy of a batch, summed over its targets. Scores are only computed where there is a target.
    pub fn loss(&self, batch: &Batch) -> Result<Loss> {
        let sum = nn::trace([&batch.tokens], |[tokens]| {
            let hidden = nn::index_select(&self.hidden(&tokens)?, 0, &batch.positions)?;
            nn::linear_cross_entropy(&hidden, self.tokens.weight(), &batch.targets)
        })?;
        Ok(Loss::sum(sum, batch.weight)?)
    }
}

impl Layer {
    fn new(init: &Init, config: &Config) -> Result<Self, Error> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let norm = |name| RmsNorm::new(&init.at(name), hidden, config.rms_norm_eps);
        let linear = |name, inputs, outputs| Linear::without_bias(&init.at(name), inputs, outputs);
        Ok(Self {
            heads: config.num_attention_heads,
            attention_norm: norm("input_layernorm")?,
            query: linear("self_attn.q_proj", hidden, hidden)?,
            key: linear("self_attn.k_proj", hidden, hidden)?,
            value: linear("self_attn.v_proj", hidden, hidden)?,
            output: linear("self_attn.o_proj", hidden, hidden)?,
            mlp_norm: norm("post_attention_layernorm")?,
            gate: linear("mlp.gate_proj", hidden, inner)?,
            up: linear("mlp.up_proj", hidden, inner)?,
            down: linear("mlp.down_proj", inner, hidden)?,
        })
    }

    fn forward(&self, x: &Node, rope: &Rope) -> Result<Node, Error> {
        let (batch, length) = (x.dims()[0], x.dims()[1]);
        let split = |x: Node| nn::reshape(&x, (batch, length, self.heads, ()));
        let normal = self.attention_norm.forward(x)?;
        let query = rope.forward(&split(self.query.forward(&normal)?)?)?;
        let key = rope.forward(&split(self.key.forward(&normal)?)?)?;
        let value = split(self.value.forward(&normal)?)?;
        let seen = nn::attention(&query, &key, &value, &Mask::Causal)?;
        let x = self.output.add_to(x, &nn::reshape(&seen, (batch, length, ()))?, 1.0)?;
        let normal = self.mlp_norm.forward(&x)?;
        let inner = nn::swiglu(&self.gate.forward(&normal)?, &self.up.forward(&normal)?)?;
        self.down.add_to(&x, &inner, 1.0)
    }
}

#[cfg(test)]
mod tests;
