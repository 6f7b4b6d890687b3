#![doc = include_str!("../README.md")]

mod activation;
mod attention;
mod conv;
mod dropout;
mod embedding;
mod kernels;
mod linear;
mod loss;
mod norm;
mod pool;
pub mod rng;
mod rope;
mod shape;

pub use activation::{gelu, gelu_erf, relu, sigmoid, silu, swiglu, swiglu_packed, tanh};
pub use attention::{attention, attention_packed};
pub use conv::Conv2d;
pub use dropout::dropout;
pub use embedding::Embedding;
pub use linear::{Linear, add};
pub use loss::{cross_entropy, linear_cross_entropy};
pub use norm::{LayerNorm, RmsNorm};
pub use pool::{avg_pool2d, max_pool2d};
pub use rng::{Rng, Stream};
pub use rope::Rope;
pub use shape::reshape;

pub use crate::kernels::attention::Mask;
pub use crate::kernels::cross_entropy::IGNORED;
pub use crate::kernels::tape::{Node, Operand, recompute, trace};

/// Entry points for the optimizers and checkpoints of `cog-train`, which is released together with this crate.
#[doc(hidden)]
pub mod __private {
    pub use crate::kernels::{adamw, device_memory, fused, host, lion, norm, sgd, tape};
}
