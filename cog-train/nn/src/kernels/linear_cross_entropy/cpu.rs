//! Scores, their softmax and three products, some rows at a time.

use candle_core::{Error, Tensor};
use rayon::prelude::*;

use super::rows_at_once;
use crate::kernels::cross_entropy::{scaled, softmax_row, total};
use crate::kernels::host;
use crate::kernels::matmul::{Matrix, Target, Threads, matmul};
use crate::kernels::tape::{Node, memory_for};

/// `parameter` is what the weight is outside of the trace.
pub(super) fn forward(
    h: &Node,
    (parameter, weight): (&Tensor, &Node),
    targets: &[u32],
) -> Result<Node, Error> {
    let to = [h.handle(), weight.handle()];
    let (classes, d) = weight.tensor().dims2()?;
    let n = targets.len();
    let mut of_h = to[0].map(|_| host::uninit(n * d));
    let of_weight = to[1]
        .map(|_| memory_for(parameter, (classes, d), || host::make((classes, d), |_| ())))
        .transpose()?;
    let mut losses = vec![0.0; n];
    host::read([h.tensor(), weight.tensor()], |[h, weight]| {
        let rows = Rows { h, weight, targets, classes, d };
        if let Some(of_weight) = &of_weight {
            host::write(of_weight, |of_weight| {
                rows.all(&mut losses, of_h.as_deref_mut(), Some(of_weight));
            })
        } else {
            rows.all(&mut losses, of_h.as_deref_mut(), None);
            Ok(())
        }
    })??;
    let of_h = of_h.map(|of_h| host::tensor(of_h, h.tensor().shape())).transpose()?;
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

/// What the scores are computed from.
struct Rows<'a> {
    h: &'a [f32],
    weight: &'a [f32],
    targets: &'a [u32],
    classes: usize,
    d: usize,
}

impl Rows<'_> {
    /// The losses of all rows, and the gradients that are wanted.
    fn all(
        &self,
        losses: &mut [f64],
        mut of_h: Option<&mut [f32]>,
        mut of_weight: Option<&mut [f32]>,
    ) {
        let &Self { classes, d, .. } = self;
        let n = self.targets.len();
        if let (Some(of_weight), 0) = (&mut of_weight, n) {
            of_weight.fill(0.0);
        }
        let weight = Matrix::new(self.weight, classes, d);
        let most = rows_at_once(classes).min(n);
        let mut scores = host::uninit(most * classes);
        for start in (0..n).step_by(most.max(1)) {
            let rows = most.min(n - start);
            let h = Matrix::new(&self.h[start * d..], rows, d);
            let scores = &mut scores[..rows * classes];
            matmul(Target::set(scores, classes), h, weight.t(), 1.0, Threads::All);
            let losses = losses[start..].par_iter_mut().zip(&self.targets[start..]);
            scores
                .par_chunks_mut(classes)
                .zip(losses)
                .for_each(|(row, (loss, target))| *loss = softmax_row(row, *target));
            let scores = Matrix::new(scores, rows, classes);
            if let Some(of_h) = &mut of_h {
                matmul(Target::set(&mut of_h[start * d..], d), scores, weight, 1.0, Threads::All);
            }
            if let Some(of_weight) = &mut of_weight {
                let target = Target::to(of_weight, d, start > 0);
                matmul(target, scores.t(), h, 1.0, Threads::All);
            }
        }
    }
}
