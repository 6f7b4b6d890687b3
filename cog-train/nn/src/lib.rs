#![doc = include_str!("../README.md")]

mod activation;
mod arithmetic;
mod attention;
mod batch_norm;
mod conv;
mod dropout;
mod embedding;
mod init;
mod initializer;
mod kernels;
mod linear;
mod loss;
mod low_rank;
mod norm;
mod pattern;
mod pool;
mod reduce;
pub mod rng;
mod rope;
mod shape;

pub use activation::{gelu, gelu_erf, relu, sigmoid, silu, swiglu, swiglu_packed, tanh};
pub use arithmetic::{add, add_scalar, mul, parameter, scale, sub};
pub use attention::{Attention, MultiHeadAttention, attention, attention_packed};
pub use batch_norm::{BatchNorm2d, BatchNormTensors, GroupNorm};
pub use conv::Conv2d;
pub use dropout::{Dropout, dropout};
pub use embedding::Embedding;
pub use init::{Init, Layer, LayerKind, Layout};
pub use initializer::Initializer;
pub use linear::Linear;
pub use loss::{CrossEntropy, cross_entropy, grouped_linear_cross_entropy, linear_cross_entropy};
pub use low_rank::LowRank;
pub use norm::{LayerNorm, RmsNorm};
pub use pool::{avg_pool2d, max_pool2d};
pub use reduce::{masked_mean, mean, softmax, sum};
pub use rng::{Rng, Stream};
pub use rope::Rope;
pub use shape::{cat, index_select, narrow, permute, reshape, transpose};

pub use crate::kernels::attention::Mask;
pub use crate::kernels::cross_entropy::IGNORED;
pub use crate::kernels::quantized::{BlockLayout, Quantized, Scales};
pub use crate::kernels::tape::{
    Node, Operand, evaluation, recompute, recompute_with_result, trace, training, without_low_rank,
};
pub use crate::kernels::weight::Weight;

#[doc = include_str!("../docs/pytorch.md")]
pub mod from_pytorch {}

/// Entry points for the optimizers, parameters and checkpoints of `cog-train`, which is released together with this crate.
#[doc(hidden)]
pub mod __private {
    pub use crate::kernels::{
        adamw, adamw_8bit, device_memory, fused, host, lion, norm, sgd, tape,
    };
    pub use crate::pattern::matches;
}
