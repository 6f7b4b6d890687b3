//! The functions and their slopes at one element, without a branch. NaN and infinities are mapped as PyTorch's.
#![expect(clippy::inline_always, reason = "they must take the width of the loop around them")]

use crate::kernels::simd::exp;
pub(super) use crate::kernels::simd::tanh;

/// Twice sqrt(2 / pi): `(1 + tanh(u)) / 2` is the sigmoid of `2 u`.
const GELU: f32 = 1.595_769;
const CUBE: f32 = 0.044_715;

#[inline(always)]
pub(super) fn gelu(x: f32) -> f32 {
    x / (1.0 + exp(-gelu_inner(x)))
}

#[inline(always)]
pub(super) fn gelu_slope(x: f32) -> f32 {
    let s = sigmoid(gelu_inner(x));
    (x * s * (1.0 - s)).mul_add((x * x).mul_add(3.0 * GELU * CUBE, GELU), s)
}

#[inline(always)]
fn gelu_inner(x: f32) -> f32 {
    x * (x * x).mul_add(GELU * CUBE, GELU)
}

#[inline(always)]
pub(super) fn gelu_erf(x: f32) -> f32 {
    x * normal(x).0
}

#[inline(always)]
pub(super) fn gelu_erf_slope(x: f32) -> f32 {
    /// 1 / sqrt(2 pi).
    const DENSITY: f32 = 0.398_942_3;
    let (below, bell) = normal(x);
    (x * bell).mul_add(DENSITY, below)
}

#[inline(always)]
pub(super) fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

#[inline(always)]
pub(super) fn silu_slope(x: f32) -> f32 {
    let s = sigmoid(x);
    s * x.mul_add(1.0 - s, 1.0)
}

#[inline(always)]
pub(super) fn relu(x: f32) -> f32 {
    // A NaN is not below 0, and stays.
    if x <= 0.0 { 0.0 } else { x }
}

/// Of `x`, or of `relu(x)`.
#[inline(always)]
pub(super) fn relu_slope(x: f32) -> f32 {
    if x <= 0.0 { 0.0 } else { 1.0 }
}

#[inline(always)]
pub(super) fn tanh_slope(x: f32) -> f32 {
    let y = tanh(x);
    (-y).mul_add(y, 1.0)
}

#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline(always)]
pub(super) fn sigmoid_slope(x: f32) -> f32 {
    let s = sigmoid(x);
    s * (1.0 - s)
}

/// The share of a normal distribution that is below `x`, to some 4e-7 of its value in the tail too, and `e^(-x^2 / 2)`.
#[inline(always)]
fn normal(x: f32) -> (f32, f32) {
    // Beyond 14 both are 0 in 32 bits; a NaN stays.
    let size = if x.abs() > 14.0 { 14.0 } else { x.abs() };
    // The square in two parts: a small error of it is a large one of its power of e.
    let square = size * size;
    let rest = size.mul_add(size, -square);
    let bell = exp(-0.5 * square) * (-0.5f32).mul_add(rest, 1.0);
    // The share above `size` is `bell` times a smooth function; this is it, of least relative error on [0, 14] by
    // weighted least squares (3e-8).
    let t = 1.0 / 0.35f32.mul_add(size, 1.0);
    let series = -2.914_604_5e-2f32;
    let series = series.mul_add(t, 0.143_972_26);
    let series = series.mul_add(t, -0.255_715_37);
    let series = series.mul_add(t, 0.159_175_4);
    let series = series.mul_add(t, -2.311_064_3e-2);
    let series = series.mul_add(t, 0.105_508_32);
    let series = series.mul_add(t, 0.119_832_82);
    let series = series.mul_add(t, 0.139_861_88);
    let series = series.mul_add(t, 0.139_621_4);
    let above = bell * (series * t);
    (if x < 0.0 { above } else { 1.0 - above }, bell)
}
