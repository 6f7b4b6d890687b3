//! One pass over memory each way, without a branch, so that the loops vectorize.

use candle_core::{Error, Tensor};
use rayon::prelude::*;

use super::Activation;
use super::curves;
use crate::kernels::host;
use crate::kernels::output::Output;
use crate::kernels::simd::simd;
use crate::kernels::tape::{Node, Saved};

/// Elements of one task.
const CHUNK: usize = 16 * 1024;

type Value = fn(&[f32], Output<'_>);
type Slope = fn(&[f32], &[f32], Output<'_>);

pub(super) fn forward(x: &Node, activation: Activation) -> Result<Node, Error> {
    let (value, slope) = loops(activation);
    let y = mapped(x.tensor(), value)?;
    let input = x.saved();
    let saves_result = activation == Activation::Relu;
    let saved = if saves_result { Saved::Tensor(y.clone()) } else { input.clone() };
    let to = x.handle();
    let y = x.tape().result(y, [to], move |gradient, adjoints| {
        let saved = saved.tensor()?;
        let dx = host::read([&saved, &gradient], |[x, dy]| {
            host::make(saved.shape(), |dx| {
                let chunks = dx.par_chunks(CHUNK).zip(x.par_chunks(CHUNK));
                let chunks = chunks.zip(dy.par_chunks(CHUNK));
                chunks.for_each(|((dx, x), dy)| slope(x, dy, dx));
            })
        })??;
        adjoints.give(to, dx)
    });
    // A saved result serves the operations behind it as well; others recompute it from the input.
    Ok(if saves_result {
        y
    } else {
        y.recomputed_by(move || mapped(&input.clone().tensor()?, value))
    })
}

fn mapped(x: &Tensor, value: Value) -> Result<Tensor, Error> {
    host::read([x], |[elements]| {
        host::make(x.shape(), |y| {
            let chunks = y.par_chunks(CHUNK).zip(elements.par_chunks(CHUNK));
            chunks.for_each(|(y, x)| value(x, y));
        })
    })?
}

fn loops(activation: Activation) -> (Value, Slope) {
    match activation {
        Activation::Gelu => (gelu, gelu_backward),
        Activation::GeluErf => (gelu_erf, gelu_erf_backward),
        Activation::Silu => (silu, silu_backward),
        Activation::Relu => (relu, relu_backward),
        Activation::Tanh => (tanh, tanh_backward),
        Activation::Sigmoid => (sigmoid, sigmoid_backward),
    }
}

/// Writes the loops over a curve and its slope.
macro_rules! loops {
    ($($value:ident $backward:ident $slope:ident;)*) => {
        simd! {$(
            fn $value(x: &[f32], y: Output<'_>) {
                let mut y = y;
                y.append_map(x, curves::$value);
            }

            fn $backward(x: &[f32], dy: &[f32], dx: Output<'_>) {
                #[inline(always)]
                fn product(x: f32, dy: f32) -> f32 {
                    dy * curves::$slope(x)
                }
                let mut dx = dx;
                dx.append_map2(x, dy, product);
            }
        )*}
    };
}

loops! {
    gelu gelu_backward gelu_slope;
    gelu_erf gelu_erf_backward gelu_erf_slope;
    silu silu_backward silu_slope;
    relu relu_backward relu_slope;
    tanh tanh_backward tanh_slope;
    sigmoid sigmoid_backward sigmoid_slope;
}
