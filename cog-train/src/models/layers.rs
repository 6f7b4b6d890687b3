//! Layers as transformers initializes them, and activation functions by the names in its configurations.

use candle_core::{Error, Tensor};
use cog_train_nn::{self as nn, Embedding, Init, Initializer, LayerNorm, Linear, Node};

use super::keys::{Keys, nearest};

/// A linear layer, first of a normal distribution with the standard deviation `std` and of zeros (`initializer_range`).
///
/// # Errors
///
/// Those of [`Init::tensor`].
pub(crate) fn linear(
    init: &Init,
    inputs: usize,
    outputs: usize,
    std: f64,
) -> Result<Linear, Error> {
    linear_of(init, inputs, outputs, Initializer::Normal { std }, true)
}

/// A linear layer of another distribution, with or without a bias.
///
/// # Errors
///
/// Those of [`Init::tensor`].
pub(crate) fn linear_of(
    init: &Init,
    inputs: usize,
    outputs: usize,
    initializer: Initializer,
    bias: bool,
) -> Result<Linear, Error> {
    let init = init.clone().with("weight", initializer);
    if bias {
        return Linear::new(&init.with("bias", Initializer::ZEROS), inputs, outputs);
    }
    Linear::without_bias(&init, inputs, outputs)
}

/// A normalization of rows of `n` values, with or without a bias.
///
/// # Errors
///
/// Those of [`Init::tensor`].
pub(crate) fn layer_norm(
    init: &Init,
    n: usize,
    epsilon: f64,
    bias: bool,
) -> Result<LayerNorm, Error> {
    if bias {
        return LayerNorm::new(init, n, epsilon);
    }
    let weight = init.tensor("weight", n, Initializer::ONES)?;
    let zeros = Tensor::zeros(n, weight.dtype(), weight.device())?;
    Ok(LayerNorm::from_tensors(weight, zeros, epsilon))
}

/// A table of vectors, first of a normal distribution.
///
/// # Errors
///
/// Those of [`Init::tensor`].
pub(crate) fn embedding(
    init: &Init,
    rows: usize,
    width: usize,
    std: f64,
) -> Result<Embedding, Error> {
    Embedding::new(&init.clone().with("weight", Initializer::Normal { std }), rows, width)
}

/// Computes the values inside an MLP, which are the widest of a layer. On the CPU only `x` is kept of them: the backward pass
/// computes them again, which saves half of the activations and costs up to a fifth of a step. A GPU keeps them.
///
/// # Errors
///
/// The error of `block`.
pub(crate) fn mlp_inner(
    x: &Node,
    block: impl Fn(&Node) -> Result<Node, Error> + Send + 'static,
) -> Result<Node, Error> {
    if x.tensor().device().is_cpu() { nn::recompute_with_result(x, block) } else { block(x) }
}

/// An activation function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    Gelu,
    GeluErf,
    Relu,
    Silu,
    Tanh,
}

/// The names of transformers' `ACT2FN` that are supported.
const NAMES: &[(&str, Activation)] = &[
    ("gelu", Activation::GeluErf),
    ("gelu_python", Activation::GeluErf),
    ("gelu_new", Activation::Gelu),
    ("gelu_fast", Activation::Gelu),
    ("gelu_pytorch_tanh", Activation::Gelu),
    ("relu", Activation::Relu),
    ("silu", Activation::Silu),
    ("swish", Activation::Silu),
    ("tanh", Activation::Tanh),
];

impl Activation {
    /// Reads a name.
    pub(crate) fn read(keys: &mut Keys, key: &'static str, default: &str) -> Self {
        let name = keys.get_or(&[key], default.to_owned());
        if let Some((_, activation)) = NAMES.iter().find(|(known, _)| *known == name) {
            return *activation;
        }
        let names = NAMES.iter().map(|(name, _)| *name);
        let hint = nearest(&name, names.clone()).map_or_else(
            || format!("one of `{}`", names.collect::<Vec<_>>().join("`, `")),
            |near| format!("`{near}`"),
        );
        keys.problem(format!("`{}` is `{}`, not {hint}", keys.name(key), keys.name(&name)));
        Self::GeluErf
    }

    /// Applies it.
    ///
    /// # Errors
    ///
    /// candle's error when the device fails.
    pub(crate) fn forward(self, x: &Node) -> Result<Node, Error> {
        match self {
            Self::Gelu => nn::gelu(x),
            Self::GeluErf => nn::gelu_erf(x),
            Self::Relu => nn::relu(x),
            Self::Silu => nn::silu(x),
            Self::Tanh => nn::tanh(x),
        }
    }
}
