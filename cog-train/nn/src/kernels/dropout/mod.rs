//! Dropout (Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", 2014):
//! `y = x * m / (1 - p)`, where `m` is 0 with probability `p` and else 1, for each element of `x` of any shape.
//!
//! `m` is a function of a random stream and of the element's index, so nothing is saved: the backward pass draws it again.
//! It is the same under any number of threads and on every device.

mod cpu;
mod cuda;
mod reference;

use super::gpu::Gpu;
use super::reference::dispatch;
use super::tape::{Node, trace};
use crate::rng::Stream;
use candle_core::Error;

/// Blocks of random words that are drawn in one loop: their words are those of [`GROUP`] elements.
const BLOCKS: usize = 16;
/// Consecutive elements that [`BLOCKS`] are drawn for: the first word of each block, then the second of each, and so on.
pub(crate) const GROUP: usize = 4 * BLOCKS;

/// The elements that are not dropped.
#[derive(Debug, Clone)]
pub(crate) struct Mask {
    stream: Stream,
    /// An element whose word is below is dropped.
    least: u32,
    /// The factor of the elements that are not dropped.
    scale: f64,
}

/// Sets elements to zero at random.
///
/// # Errors
///
/// candle's error when `p` is no probability or the device fails.
pub(crate) fn forward(x: &Node, p: f64, stream: Stream) -> Result<Node, Error> {
    check(p)?;
    if p == 0.0 {
        return Ok(x.clone());
    }
    masked(x, Mask::new(p, stream))
}

/// Sets the elements of a mask to zero, and multiplies the others.
///
/// # Errors
///
/// candle's error when the device fails.
pub(crate) fn masked(x: &Node, mask: Mask) -> Result<Node, Error> {
    if let Some(gpu) = Gpu::of([x.tensor()]) {
        return cuda::forward(gpu, x, mask);
    }
    dispatch([x], |[x]| cpu::forward(&x, mask.clone()), {
        let mask = mask.clone();
        move |[x]| reference::forward(x, &mask)
    })
}

/// # Errors
///
/// candle's error when `p` is no probability.
pub(crate) fn check(p: f64) -> Result<(), Error> {
    if (0.0..=1.0).contains(&p) {
        return Ok(());
    }
    Err(candle_core::Error::msg(format!("dropout: `p` is {p}, not from 0 to 1")))
}

/// Sets elements of `x` to zero as [`forward`] does. Operations on the result save what they would save of `x`, which other
/// operations may share, and drop its elements again.
///
/// # Errors
///
/// Those of [`forward`].
pub(crate) fn recomputed(x: &Node, p: f64, stream: &Stream) -> Result<Node, Error> {
    let y = forward(x, p, stream.clone())?;
    let (source, stream, dtype) = (x.saved(), stream.clone(), y.tensor().dtype());
    Ok(y.recomputed_by(move || {
        let x = source.clone().tensor()?.to_dtype(dtype)?;
        trace([&x], |[x]| forward(&x, p, stream.clone()))
    }))
}

impl Mask {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a probability of 32 bits; 1 is bounded, and its scale is 0"
    )]
    pub(crate) fn new(p: f64, stream: Stream) -> Self {
        let scale = if p < 1.0 { 1.0 / (1.0 - p) } else { 0.0 };
        Self { stream, least: (p * 2f64.powi(32)) as u32, scale }
    }

    /// Returns the words of a group's elements, in their order.
    #[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
    #[expect(clippy::cast_possible_truncation, reason = "a stream begins again after 2^34 words")]
    #[inline(always)]
    fn words(&self, group: usize) -> [[u32; BLOCKS]; 4] {
        self.stream.blocks::<BLOCKS>((group * BLOCKS) as u32)
    }

    /// Returns the factors of a group's elements, in their order.
    #[expect(clippy::inline_always, reason = "it must take the width of the loop around it")]
    #[expect(clippy::cast_possible_truncation, reason = "the arithmetic is in 32 bits")]
    #[inline(always)]
    pub(crate) fn factors(&self, group: usize) -> [f32; GROUP] {
        let (mut factors, scale) = ([0.0; GROUP], self.scale as f32);
        for (factor, word) in factors.iter_mut().zip(self.words(group).as_flattened()) {
            *factor = if *word < self.least { 0.0 } else { scale };
        }
        factors
    }
}

#[cfg(test)]
mod tests;
