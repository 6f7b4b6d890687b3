//! Fused operations: a folder each, with its definition, its reference in candle's operations and its fast paths.

pub(crate) mod activation;
pub mod adamw;
pub(crate) mod attention;
pub(crate) mod conv2d;
pub(crate) mod cross_entropy;
pub mod device_memory;
pub(crate) mod dropout;
pub(crate) mod dtypes;
pub(crate) mod embedding;
pub mod fused;
pub(crate) mod gpu;
pub mod host;
pub(crate) mod layer_norm;
pub(crate) mod linear;
pub(crate) mod linear_cross_entropy;
pub mod lion;
pub(crate) mod loan;
pub(crate) mod matmul;
pub mod norm;
pub(crate) mod output;
#[cfg(test)]
pub(crate) mod parity;
pub(crate) mod pool2d;
pub(crate) mod reference;
pub(crate) mod rms_norm;
pub(crate) mod rope;
pub(crate) mod scratch;
pub mod sgd;
pub(crate) mod simd;
pub mod spare;
pub(crate) mod sum;
pub(crate) mod swiglu;
pub mod tape;
pub(crate) mod window;
