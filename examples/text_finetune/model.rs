//! A Llama decoder in plain candle operations, each of which has a backward pass.
//!
//! candle's fused `rms_norm`, `softmax_last_dim` and `rope` have none: in training they cut the graph in silence. So the
//! norm, the softmax and the rotation are spelled out. Names and layout are those of Hugging Face's `LlamaForCausalLM`.

use std::collections::BTreeMap;

use candle_core::{D, DType, Device, Tensor};
use cog_train::candle_core;
use cog_train::engine::Loss;
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

impl Config {
    fn head_size(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    /// Every parameter's name and shape.
    pub fn shapes(&self) -> BTreeMap<String, Vec<usize>> {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        let mut shapes = BTreeMap::from([
            ("model.embed_tokens.weight".to_owned(), vec![self.vocab_size, hidden]),
            ("model.norm.weight".to_owned(), vec![hidden]),
        ]);
        for layer in 0..self.num_hidden_layers {
            for (name, shape) in [
                ("input_layernorm", vec![hidden]),
                ("post_attention_layernorm", vec![hidden]),
                ("self_attn.q_proj", vec![hidden, hidden]),
                ("self_attn.k_proj", vec![hidden, hidden]),
                ("self_attn.v_proj", vec![hidden, hidden]),
                ("self_attn.o_proj", vec![hidden, hidden]),
                ("mlp.gate_proj", vec![inner, hidden]),
                ("mlp.up_proj", vec![inner, hidden]),
                ("mlp.down_proj", vec![hidden, inner]),
            ] {
                shapes.insert(format!("model.layers.{layer}.{name}.weight"), shape);
            }
        }
        shapes
    }

    /// Refuses tensors that are not exactly this model's, and says which.
    pub fn check(&self, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        let shapes = self.shapes();
        let mut problems = Vec::new();
        for (name, shape) in &shapes {
            match tensors.get(name) {
                None => problems.push(format!("`{name}` is missing")),
                Some(tensor) if tensor.dims() != shape => problems
                    .push(format!("`{name}` has shape {:?} in place of {shape:?}", tensor.dims())),
                Some(_) => {}
            }
        }
        let unknown = tensors.keys().filter(|name| !shapes.contains_key(*name));
        problems.extend(unknown.map(|name| format!("`{name}` is not of this model")));
        if problems.is_empty() {
            return Ok(());
        }
        let count = problems.len();
        problems.truncate(5);
        bail!("the weights do not fit the model: {count} problems\n  {}", problems.join("\n  "))
    }
}

/// The decoder.
#[derive(Debug)]
pub struct Llama {
    config: Config,
    embedding: Tensor,
    layers: Vec<Layer>,
    norm: Tensor,
    /// For every position and half a head, [length, head / 2].
    cos: Tensor,
    sin: Tensor,
}

#[derive(Debug)]
struct Layer {
    attention_norm: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    mlp_norm: Tensor,
    gate: Tensor,
    up: Tensor,
    down: Tensor,
}

impl Llama {
    pub fn new(config: &Config, tensors: &BTreeMap<String, Tensor>) -> Result<Self> {
        config.check(tensors)?;
        let get = |name: &str| tensors[&format!("model.{name}.weight")].clone();
        let layer = |index: usize| {
            let get = |name: &str| get(&format!("layers.{index}.{name}"));
            Layer {
                attention_norm: get("input_layernorm"),
                query: get("self_attn.q_proj"),
                key: get("self_attn.k_proj"),
                value: get("self_attn.v_proj"),
                output: get("self_attn.o_proj"),
                mlp_norm: get("post_attention_layernorm"),
                gate: get("mlp.gate_proj"),
                up: get("mlp.up_proj"),
                down: get("mlp.down_proj"),
            }
        };
        let embedding = get("embed_tokens");
        let (cos, sin) = rotations(config, embedding.device())?;
        Ok(Self {
            config: config.clone(),
            layers: (0..config.num_hidden_layers).map(layer).collect(),
            norm: get("norm"),
            embedding,
            cos,
            sin,
        })
    }

    pub fn device(&self) -> &Device {
        self.embedding.device()
    }

    /// The most tokens that the model sees at once.
    pub fn context(&self) -> usize {
        self.config.max_position_embeddings
    }

    /// Tokens [batch, length] to the last layer's output [batch * length, hidden].
    pub fn hidden(&self, tokens: &Tensor) -> Result<Tensor> {
        let (batch, length) = tokens.dims2()?;
        let mask = causal_mask(length, self.device())?;
        let mut x = self.embedding.index_select(&tokens.flatten_all()?, 0)?;
        for layer in &self.layers {
            let normed = self.rms_norm(&x, &layer.attention_norm)?;
            x = (x + self.attention(layer, &normed, (batch, length), &mask)?)?;
            let normed = self.rms_norm(&x, &layer.mlp_norm)?;
            let gated = (linear(&normed, &layer.gate)?.silu()? * linear(&normed, &layer.up)?)?;
            x = (x + linear(&gated, &layer.down)?)?;
        }
        self.rms_norm(&x, &self.norm)
    }

    /// The last layer's output [n, hidden] to a score for each token of the vocabulary [n, vocabulary].
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        linear(hidden, &self.embedding)
    }

    /// The cross-entropy of a batch, summed over its targets. EvalScores are only computed where there is a target.
    pub fn loss(&self, batch: &Batch) -> Result<Loss> {
        let hidden = self.hidden(&batch.tokens)?.index_select(&batch.positions, 0)?;
        let logits = self.logits(&hidden)?;
        let max = logits.detach().max_keepdim(D::Minus1)?;
        let sum = logits.broadcast_sub(&max)?.exp()?.sum_keepdim(D::Minus1)?;
        let chosen = logits.gather(&batch.targets.unsqueeze(1)?, 1)?;
        Ok(Loss::sum(((sum.log()? + max)? - chosen)?.sum_all()?, batch.weight)?)
    }

    fn rms_norm(&self, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let scale = (x.sqr()?.mean_keepdim(D::Minus1)? + self.config.rms_norm_eps)?.sqrt()?;
        Ok(x.broadcast_div(&scale)?.broadcast_mul(weight)?)
    }

    fn attention(
        &self,
        layer: &Layer,
        x: &Tensor,
        (batch, length): (usize, usize),
        mask: &Tensor,
    ) -> Result<Tensor> {
        let (heads, size) = (self.config.num_attention_heads, self.config.head_size());
        let split = |x: Tensor| -> Result<Tensor> {
            Ok(x.reshape((batch, length, heads, size))?.transpose(1, 2)?.contiguous()?)
        };
        let query = self.rotate(&split(linear(x, &layer.query)?)?)?;
        let key = self.rotate(&split(linear(x, &layer.key)?)?)?;
        let value = split(linear(x, &layer.value)?)?;
        #[expect(clippy::cast_precision_loss, reason = "a head has some dozens of numbers")]
        let scale = 1.0 / (size as f64).sqrt();
        let scores = (query.matmul(&key.t()?)? * scale)?.broadcast_add(mask)?;
        let mixed = softmax(&scores)?.matmul(&value)?;
        linear(&mixed.transpose(1, 2)?.reshape((batch * length, heads * size))?, &layer.output)
    }

    /// Rotary positions, in the pairing of Hugging Face: the first half of a head with the second.
    fn rotate(&self, x: &Tensor) -> Result<Tensor> {
        let (length, half) = (x.dim(2)?, x.dim(3)? / 2);
        let (cos, sin) = (self.cos.narrow(0, 0, length)?, self.sin.narrow(0, 0, length)?);
        let (a, b) = (x.narrow(3, 0, half)?, x.narrow(3, half, half)?);
        let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
        let second = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
        Ok(Tensor::cat(&[first, second], 3)?)
    }
}

fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    Ok(x.matmul(&weight.t()?)?)
}

/// Over the last dimension. The maximum only keeps `exp` in range and cancels out, so it needs no gradient.
fn softmax(x: &Tensor) -> Result<Tensor> {
    let exp = x.broadcast_sub(&x.detach().max_keepdim(D::Minus1)?)?.exp()?;
    Ok(exp.broadcast_div(&exp.sum_keepdim(D::Minus1)?)?)
}

/// 0 where a position may look, minus infinity at what comes after it. Padding stands at the right, where no position
/// of the text looks, so this is the only mask.
fn causal_mask(length: usize, device: &Device) -> Result<Tensor> {
    let mask: Vec<f32> = (0..length * length)
        .map(|at| if at % length > at / length { f32::NEG_INFINITY } else { 0.0 })
        .collect();
    Ok(Tensor::from_vec(mask, (length, length), device)?)
}

fn rotations(config: &Config, device: &Device) -> Result<(Tensor, Tensor)> {
    let half = config.head_size() / 2;
    #[expect(clippy::cast_precision_loss, reason = "positions and sizes are small")]
    let angles: Vec<f64> = (0..config.max_position_embeddings * half)
        .map(|at| {
            let exponent = (at % half) as f64 / half as f64;
            (at / half) as f64 / config.rope_theta.powf(exponent)
        })
        .collect();
    let angles = Tensor::from_vec(angles, (config.max_position_embeddings, half), device)?;
    Ok((angles.cos()?.to_dtype(DType::F32)?, angles.sin()?.to_dtype(DType::F32)?))
}

#[cfg(test)]
mod tests;
