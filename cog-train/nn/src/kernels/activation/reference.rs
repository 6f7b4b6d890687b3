//! The reference implementation, in candle operations.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI};

use candle_core::{Error, Tensor};

use super::Activation;

pub(crate) fn forward(x: &Tensor, activation: Activation) -> Result<Tensor, Error> {
    Ok(match activation {
        Activation::Gelu => {
            let inner = ((x + (x.sqr()? * x)?.affine(0.044_715, 0.0)?)? * FRAC_2_PI.sqrt())?;
            (x * inner.tanh()?.affine(0.5, 0.5)?)?
        }
        Activation::GeluErf => (x * (x * FRAC_1_SQRT_2)?.erf()?.affine(0.5, 0.5)?)?,
        Activation::Silu => x.silu()?,
        // candle's own has slope 1 at 0; PyTorch's has 0.
        Activation::Relu => x.le(0.0)?.where_cond(&x.zeros_like()?, x)?,
        Activation::Tanh => x.tanh()?,
        // Of e^-x, which overflows, the gradient would be undefined.
        Activation::Sigmoid => x.affine(0.5, 0.0)?.tanh()?.affine(0.5, 0.5)?,
    })
}
