//! One layer of a decoder: attention and a gated MLP, each on a residual path.

use candle_core::{Error, Tensor};
use cog_train_nn::{self as nn, Dropout, Init, Linear, Mask, Node, RmsNorm, Rope};

use super::config::{DecoderConfig, Gate};
use super::layers::LayerConfig;
use crate::models::cache::LayerCache;
use crate::models::dropout::add_dropped;
use crate::models::layers::mlp_inner;

/// The operands that every layer shares in a forward pass.
#[derive(Debug, Clone)]
pub(super) struct Pass {
    pub(super) mask: Mask,
    /// Set if they do not count through each row from 0.
    pub(super) positions: Option<Tensor>,
    pub(super) rope: Rope,
    pub(super) local_rope: Option<Rope>,
}

#[derive(Debug, Clone)]
pub(super) struct Layer {
    kind: LayerConfig,
    attention_norm: RmsNorm,
    attention: Attention,
    /// Behind the attention (Gemma 2 and 3).
    attention_post_norm: Option<RmsNorm>,
    mlp_norm: RmsNorm,
    mlp: Mlp,
    mlp_post_norm: Option<RmsNorm>,
    /// Of what the attention and the MLP add (Phi-3).
    attention_dropout: Dropout,
    mlp_dropout: Dropout,
}

#[derive(Debug, Clone)]
struct Attention {
    heads: usize,
    kv_heads: usize,
    /// The factor of the products of queries and keys.
    scale: f64,
    /// `cap * tanh(score / cap)`.
    cap: Option<f64>,
    /// The most keys that a query sees.
    window: Option<usize>,
    projection: Projection,
    query_norm: Option<RmsNorm>,
    key_norm: Option<RmsNorm>,
    output: Linear,
    /// Of the weights.
    dropout: Dropout,
}

#[derive(Debug, Clone)]
enum Projection {
    Apart { query: Linear, key: Linear, value: Linear },
    Packed(Linear),
}

#[derive(Debug, Clone)]
struct Mlp {
    input: MlpInput,
    activation: Gate,
    down: Linear,
}

#[derive(Debug, Clone)]
enum MlpInput {
    Apart { gate: Linear, up: Linear },
    Packed(Linear),
}

/// A linear layer with or without a bias.
fn linear(init: &Init, inputs: usize, outputs: usize, bias: bool) -> Result<Linear, Error> {
    if bias {
        Linear::new(init, inputs, outputs)
    } else {
        Linear::without_bias(init, inputs, outputs)
    }
}

/// A norm of rows of `n` values.
pub(super) fn norm(init: &Init, n: usize, config: &DecoderConfig) -> Result<RmsNorm, Error> {
    if config.norm_offset {
        RmsNorm::with_offset(init, n, config.epsilon)
    } else {
        RmsNorm::new(init, n, config.epsilon)
    }
}

impl Layer {
    pub(super) fn new(
        init: &Init,
        config: &DecoderConfig,
        kind: LayerConfig,
    ) -> Result<Self, Error> {
        let of = |name: &str| norm(&init.at(name), config.hidden, config);
        let post = |name: &str| config.post_norms.then(|| of(name)).transpose();
        // Gemma's layers have a norm before the MLP too, by another name.
        let before_mlp = if config.post_norms {
            "pre_feedforward_layernorm"
        } else {
            "post_attention_layernorm"
        };
        Ok(Self {
            kind,
            attention_norm: of("input_layernorm")?,
            attention: Attention::new(&init.at("self_attn"), config, kind)?,
            attention_post_norm: post("post_attention_layernorm")?,
            mlp_norm: of(before_mlp)?,
            mlp: Mlp::new(&init.at("mlp"), config)?,
            mlp_post_norm: post("post_feedforward_layernorm")?,
            attention_dropout: Dropout::new(&init.at("self_attn.o_proj"), config.residual_dropout)?,
            mlp_dropout: Dropout::new(&init.at("mlp"), config.residual_dropout)?,
        })
    }

    /// `x` and the result are `[B, T, hidden]`.
    pub(super) fn forward(
        &self,
        x: &Node,
        pass: &Pass,
        cache: Option<&mut LayerCache>,
    ) -> Result<Node, Error> {
        let normal = self.attention_norm.forward(x)?;
        let rope = pass.local_rope.as_ref().filter(|_| self.kind.window.is_some());
        let rope = self.kind.rotated.then(|| rope.unwrap_or(&pass.rope));
        let seen = self.attention.forward(&normal, rope, pass, cache)?;
        let output = &self.attention.output;
        let x = match &self.attention_post_norm {
            None => add_dropped(output, &self.attention_dropout, x, &seen)?,
            Some(norm) => nn::add(x, &norm.forward(&output.forward(&seen)?)?)?,
        };
        let (norm, mlp) = (self.mlp_norm.clone(), self.mlp.clone());
        let inner = mlp_inner(&x, move |x| mlp.inner(&norm.forward(x)?))?;
        match &self.mlp_post_norm {
            None => add_dropped(&self.mlp.down, &self.mlp_dropout, &x, &inner),
            Some(norm) => nn::add(&x, &norm.forward(&self.mlp.down.forward(&inner)?)?),
        }
    }
}

impl Attention {
    fn new(init: &Init, config: &DecoderConfig, kind: LayerConfig) -> Result<Self, Error> {
        let &DecoderConfig { hidden, heads, kv_heads, width, biases, .. } = config;
        let (queries, keys) = (heads * width, kv_heads * width);
        let qkv = |name: &str, outputs| linear(&init.at(name), hidden, outputs, biases.qkv);
        let projection = if config.packed {
            Projection::Packed(qkv("qkv_proj", queries + 2 * keys)?)
        } else {
            Projection::Apart {
                query: qkv("q_proj", queries)?,
                key: qkv("k_proj", keys)?,
                value: qkv("v_proj", keys)?,
            }
        };
        let head_norm =
            |name: &str| config.head_norms.then(|| norm(&init.at(name), width, config)).transpose();
        Ok(Self {
            heads,
            kv_heads,
            scale: config.attention_scale,
            cap: config.attention_cap,
            window: kind.window,
            projection,
            query_norm: head_norm("q_norm")?,
            key_norm: head_norm("k_norm")?,
            output: linear(&init.at("o_proj"), queries, hidden, biases.output)?,
            dropout: Dropout::new(init, config.attention_dropout)?,
        })
    }

    fn attend(&self, pass: &Pass) -> nn::Attention {
        let attention = nn::Attention::new(pass.mask.clone()).scale(self.scale);
        let mut attention = attention.dropout(&self.dropout);
        if let Some(window) = self.window {
            attention = attention.window(window.saturating_sub(1));
        }
        if let Some(cap) = self.cap {
            attention = attention.softcap(cap);
        }
        attention
    }

    /// The values that each position sees, `[B, T, heads width]`.
    fn forward(
        &self,
        x: &Node,
        rope: Option<&Rope>,
        pass: &Pass,
        cache: Option<&mut LayerCache>,
    ) -> Result<Node, Error> {
        let &[batch, length, _] = x.dims() else { return Err(Error::msg("not `[B, T, hidden]`")) };
        let &Self { heads, kv_heads, .. } = self;
        let positions = pass.positions.as_ref();
        let split = |x: &Node, heads: usize| nn::reshape(x, (batch, length, heads, ()));
        let [query, key, value] = match &self.projection {
            Projection::Packed(qkv) => {
                let qkv = qkv.forward(x)?;
                if cache.is_none() {
                    let rotated = match rope {
                        Some(rope) => rope.packed(&qkv, heads + kv_heads, positions)?,
                        None => qkv,
                    };
                    return self.attend(pass).packed(&rotated, heads, kv_heads);
                }
                let all = split(&qkv, heads + 2 * kv_heads)?;
                let part = |from, count| nn::narrow(&all, 2, from, count);
                [part(0, heads)?, part(heads, kv_heads)?, part(heads + kv_heads, kv_heads)?]
            }
            Projection::Apart { query, key, value } => [
                split(&query.forward(x)?, heads)?,
                split(&key.forward(x)?, kv_heads)?,
                split(&value.forward(x)?, kv_heads)?,
            ],
        };
        let prepare = |x: Node, norm: &Option<RmsNorm>| {
            let x = norm.as_ref().map_or_else(|| Ok(x.clone()), |norm| norm.forward(&x))?;
            match (rope, positions) {
                (None, _) => Ok(x),
                (Some(rope), None) => rope.forward(&x),
                (Some(rope), Some(positions)) => rope.forward_at(&x, positions),
            }
        };
        let query = prepare(query, &self.query_norm)?;
        let (mut key, mut value) = (prepare(key, &self.key_norm)?, value);
        if let Some(cache) = cache {
            let [keys, values] = cache.append(key.tensor(), value.tensor())?;
            (key, value) = (nn::parameter(&key, &keys)?, nn::parameter(&value, &values)?);
        }
        let seen = self.attend(pass).forward(&query, &key, &value)?;
        nn::reshape(&seen, (batch, length, ()))
    }
}

impl Mlp {
    fn new(init: &Init, config: &DecoderConfig) -> Result<Self, Error> {
        let &DecoderConfig { hidden, inner, biases, .. } = config;
        let up = |name: &str, outputs| linear(&init.at(name), hidden, outputs, biases.mlp);
        let input = if config.packed {
            MlpInput::Packed(up("gate_up_proj", 2 * inner)?)
        } else {
            MlpInput::Apart { gate: up("gate_proj", inner)?, up: up("up_proj", inner)? }
        };
        let down = linear(&init.at("down_proj"), inner, hidden, biases.mlp)?;
        Ok(Self { input, activation: config.activation, down })
    }

    /// The activated inner values, `[B, T, inner]`.
    fn inner(&self, x: &Node) -> Result<Node, Error> {
        let (gate, up) = match &self.input {
            MlpInput::Packed(both) => {
                let both = both.forward(x)?;
                if self.activation == Gate::Silu {
                    return nn::swiglu_packed(&both);
                }
                let inner = both.dims()[2] / 2;
                (nn::narrow(&both, 2, 0, inner)?, nn::narrow(&both, 2, inner, inner)?)
            }
            MlpInput::Apart { gate, up } => (gate.forward(x)?, up.forward(x)?),
        };
        match self.activation {
            Gate::Silu => nn::swiglu(&gate, &up),
            Gate::GeluTanh => nn::mul(&nn::gelu(&gate)?, &up),
            Gate::Gelu => nn::mul(&nn::gelu_erf(&gate)?, &up),
        }
    }
}
