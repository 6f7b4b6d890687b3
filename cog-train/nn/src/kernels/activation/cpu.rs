//! One pass over memory each way, without a branch, so that the loops become vectors.

use candle_core::{Error, Tensor};
use rayon::prelude::*;

use super::Activation;
use super::curves;
use crate::kernels::host;
use crate::kernels::simd::simd;
use crate::kernels::tape::Node;

/// Numbers that one thread takes at once.
const CHUNK: usize = 16 * 1024;

type Value = fn(&[f32], &mut [f32]);
type Slope = fn(&[f32], &[f32], &mut [f32]);

pub(super) fn forward(x: &Node, activation: Activation) -> Result<Node, Error> {
    let (value, slope) = loops(activation);
    let y = mapped(x.tensor(), value)?;
    let input = x.tensor().clone();
    let keeps_result = activation == Activation::Relu;
    let kept = if keeps_result { y.clone() } else { input.clone() };
    let to = x.handle();
    let y = x.tape().result(y, [to], move |gradient, adjoints| {
        let dx = host::read([&kept, &gradient], |[x, dy]| {
            host::make(kept.shape(), |dx| {
                let chunks = dx.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK));
                let chunks = chunks.zip(dy.par_chunks(CHUNK));
                chunks.for_each(|((dx, x), dy)| slope(x, dy, dx));
            })
        })??;
        adjoints.give(to, dx)
    });
    // Whoever needs the result on the way back need not keep it beside the input.
    Ok(if keeps_result { y } else { y.computed_again(move || mapped(&input, value)) })
}

fn mapped(x: &Tensor, value: Value) -> Result<Tensor, Error> {
    host::read([x], |[numbers]| {
        host::make(x.shape(), |y| {
            let chunks = y.par_chunks_mut(CHUNK).zip(numbers.par_chunks(CHUNK));
            chunks.for_each(|(y, x)| value(x, y));
        })
    })?
}

fn loops(activation: Activation) -> (Value, Slope) {
    match activation {
        Activation::Gelu => (gelu, gelu_back),
        Activation::GeluErf => (gelu_erf, gelu_erf_back),
        Activation::Silu => (silu, silu_back),
        Activation::Relu => (relu, relu_back),
        Activation::Tanh => (tanh, tanh_back),
        Activation::Sigmoid => (sigmoid, sigmoid_back),
    }
}

/// The loops over a curve and its slope.
macro_rules! loops {
    ($($value:ident $back:ident $slope:ident;)*) => {
        simd! {$(
            fn $value(x: &[f32], y: &mut [f32]) {
                for (y, x) in y.iter_mut().zip(x) {
                    *y = curves::$value(*x);
                }
            }

            fn $back(x: &[f32], dy: &[f32], dx: &mut [f32]) {
                for ((dx, x), dy) in dx.iter_mut().zip(x).zip(dy) {
                    *dx = *dy * curves::$slope(*x);
                }
            }
        )*}
    };
}

loops! {
    gelu gelu_back gelu_slope;
    gelu_erf gelu_erf_back gelu_erf_slope;
    silu silu_back silu_slope;
    relu relu_back relu_slope;
    tanh tanh_back tanh_slope;
    sigmoid sigmoid_back sigmoid_slope;
}
