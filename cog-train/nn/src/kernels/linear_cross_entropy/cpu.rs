//! Scores, their softmax and three products, some rows at a time.

use candle_core::Error;
use half::bf16;
use rayon::prelude::*;

use super::rows_at_once;
use crate::kernels::cross_entropy::{Expected, scale, scaled, softmax_row, total};
use crate::kernels::matmul::{Right, Rows, Target, Threads, matmul};
use crate::kernels::output::{Buffer, Destination, Output};
use crate::kernels::tape::{Node, reusable_gradient};
use crate::kernels::weight::Weight;
use crate::kernels::{host, rows};

/// `parameter` is the weight outside of the trace.
pub(super) fn forward(
    h: &Node,
    parameter: &Weight,
    targets: &[u32],
    smoothing: f64,
) -> Result<Node, Error> {
    let (weight, of_weight) = parameter.on(h)?;
    let to = [h.handle(), of_weight];
    let (classes, d) = weight.dims2()?;
    let n = targets.len();
    let mut of_h = to[0].map(|_| Buffer::new(n * d));
    let mut losses = vec![0.0; n];
    let smoothed = Expected::smoothed(classes, smoothing);
    let mut compute = |h: Rows<'_>, weight: Right<'_>| {
        let smoothed = smoothed.as_ref();
        let rows = Scores { h, weight, targets, smoothed, factors: None, classes, d };
        let of_h = of_h.as_mut().map(Buffer::output);
        if to[1].is_none() {
            rows.all(&mut losses, of_h, None);
            return Ok(None);
        }
        let of_weight = match reusable_gradient(parameter.tensor()?, (classes, d)) {
            Some(reused) => {
                host::write(&reused, |elements| {
                    rows.all(&mut losses, of_h, Some(Output::over(elements)));
                })?;
                reused
            }
            None => host::make((classes, d), |output| rows.all(&mut losses, of_h, Some(output)))?,
        };
        Ok::<_, Error>(Some(of_weight))
    };
    let read = |h: Rows<'_>| weight.read(|weight| compute(h, weight));
    let of_weight = rows::read(h.tensor(), d, read)???;
    let of_h = of_h.map(|of_h| of_h.into_tensor(h.tensor().shape())).transpose()?;
    let loss = total(&losses)?;
    Ok(h.tape().result(loss, to, move |dloss, adjoints| {
        let factor = dloss.to_scalar()?;
        for (to, gradient) in to.into_iter().zip([of_h, of_weight]) {
            if let Some(gradient) = gradient {
                scaled(&gradient, factor)?;
                adjoints.give(to, gradient)?;
            }
        }
        Ok(())
    }))
}

/// The operands of the scores.
pub(super) struct Scores<'a> {
    pub(super) h: Rows<'a>,
    /// `[classes, d]`.
    pub(super) weight: Right<'a>,
    pub(super) targets: &'a [u32],
    /// The distribution that rows are compared with; their own class alone if there is none.
    pub(super) smoothed: Option<&'a Expected>,
    /// Of the gradient of each row's loss; ones if there are none.
    pub(super) factors: Option<&'a [f32]>,
    pub(super) classes: usize,
    pub(super) d: usize,
}

impl Scores<'_> {
    /// Writes the losses of all rows, and the gradients that are needed.
    pub(super) fn all(
        &self,
        losses: &mut [f64],
        of_h: Option<Output<'_>>,
        of_weight: Option<Output<'_>>,
    ) {
        let &Self { weight, classes, d, .. } = self;
        let n = self.targets.len();
        let most = rows_at_once(classes).min(n).max(1);
        let mut buffer = Buffer::new(most * classes);
        let narrow = self.h.are_bf16() && weight.is_bf16();
        let mut rounded = vec![bf16::ZERO; if narrow { most * classes } else { 0 }];
        let mut of_h = of_h.map(|of_h| of_h.chunks(most * d));
        let mut of_weight = of_weight.map(Destination::Overwrite);
        for start in (0..n).step_by(most) {
            let rows = most.min(n - start);
            let h = self.h.narrow(start, rows);
            let target = Target::new(buffer.first(rows * classes), classes);
            let scores = matmul(target, h.left(), weight.t(), 1.0, Threads::All);
            let losses = losses[start..].par_iter_mut().zip(&self.targets[start..]);
            scores.par_chunks_mut(classes.max(1)).zip(losses).enumerate().for_each(
                |(at, (row, (loss, target)))| {
                    *loss = match self.smoothed {
                        Some(expected) => expected.loss(row, *target),
                        None => softmax_row(row, *target),
                    };
                    if let Some(factors) = self.factors {
                        scale(row, factors[start + at]);
                    }
                },
            );
            let scores = if narrow {
                let rounded = &mut rounded[..rows * classes];
                host::round(scores, rounded);
                Rows::of_bf16(rounded, classes).left()
            } else {
                Rows::new(scores, classes).left()
            };
            if let Some(of_h) = of_h.as_mut().and_then(Iterator::next) {
                matmul(Target::new(of_h, d), scores, weight, 1.0, Threads::All);
            }
            of_weight = of_weight.map(|of_weight| {
                let target = Target::to(of_weight, d);
                let sum = matmul(target, scores.t(), h.right(), 1.0, Threads::All);
                Destination::Accumulate(sum)
            });
        }
        // Without a row the gradient is zero.
        if let Some(of_weight) = of_weight {
            of_weight.into_sum();
        }
    }
}
