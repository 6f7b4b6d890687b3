//! Blocks of neural networks over fused, differentiable [kernels](crate::kernels).
//!
//! Each block takes candle tensors, or [`Node`]s within a [`trace`], and gives the same. A model that computes its loss
//! in one trace trains at the speed of the kernels; a block among plain candle operations works as any other of them.

mod activation;
mod attention;
mod conv;
mod dropout;
mod embedding;
mod linear;
mod loss;
mod norm;
mod pool;
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
pub use rope::Rope;
pub use shape::reshape;

pub use crate::kernels::attention::Mask;
pub use crate::kernels::cross_entropy::IGNORED;
pub use crate::kernels::tape::{Node, Operand, recompute, trace};
