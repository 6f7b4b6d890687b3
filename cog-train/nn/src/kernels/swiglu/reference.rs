//! The reference implementation, in candle operations.

use candle_core::{D, Error, Tensor};

pub(super) fn forward([gate, up]: [&Tensor; 2]) -> Result<Tensor, Error> {
    gate.silu()? * up
}

pub(super) fn packed([x]: [&Tensor; 1]) -> Result<Tensor, Error> {
    let n = x.dim(D::Minus1)? / 2;
    forward([&x.narrow(D::Minus1, 0, n)?, &x.narrow(D::Minus1, n, n)?])
}
