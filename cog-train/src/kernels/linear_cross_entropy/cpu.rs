//! Scores, their softmax and three products, some rows at a time.

use rayon::prelude::*;

use super::rows_at_once;
use crate::error::Error;
use crate::kernels::cross_entropy::{scaled, softmax_row, total};
use crate::kernels::host;
use crate::kernels::matmul::{Matrix, Target, Threads, matmul};
use crate::kernels::tape::Node;

pub(super) fn forward(h: &Node, weight: &Node, targets: &[u32]) -> Result<Node, Error> {
    let to = [h.handle(), weight.handle()];
    let (classes, d) = weight.tensor().dims2()?;
    let n = targets.len();
    let room = |wanted: bool, count: usize| wanted.then(|| host::uninit(count));
    let mut of_h = room(to[0].is_some(), n * d);
    let mut of_weight = room(to[1].is_some(), classes * d);
    if let (Some(of_weight), 0) = (&mut of_weight, n) {
        of_weight.fill(0.0);
    }
    let mut losses = vec![0.0; n];
    host::read([h.tensor(), weight.tensor()], |[h, weight]| {
        let weight = Matrix::new(weight, classes, d);
        let most = rows_at_once(classes).min(n);
        let mut scores = host::uninit(most * classes);
        for start in (0..n).step_by(most.max(1)) {
            let rows = most.min(n - start);
            let h = Matrix::new(&h[start * d..], rows, d);
            let scores = &mut scores[..rows * classes];
            matmul(Target::set(scores, classes), h, weight.t(), 1.0, Threads::All);
            let losses = losses[start..].par_iter_mut().zip(&targets[start..]);
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
    })?;
    let loss = total(&losses)?;
    let shapes = [h, weight].map(|node| node.tensor().shape().clone());
    Ok(h.tape().result(loss, to, move |dloss, adjoints| {
        let factor = dloss.to_scalar()?;
        for ((to, gradient), shape) in to.into_iter().zip([of_h, of_weight]).zip(shapes) {
            if let Some(gradient) = gradient {
                let gradient = host::tensor(gradient, shape)?;
                scaled(&gradient, factor)?;
                adjoints.give(to, gradient)?;
            }
        }
        Ok(())
    }))
}
