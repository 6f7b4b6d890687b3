//! The same in candle's operations: every device, 64-bit floats too.

use candle_core::{D, DType, Error, Tensor};

use super::rows_at_once;
use crate::kernels::cross_entropy::IGNORED;
use crate::kernels::tape::Node;

pub(super) fn forward(
    h: &Node,
    weight: &Node,
    targets: &[u32],
    smoothing: f64,
) -> Result<Node, Error> {
    let to = [h.handle(), weight.handle()];
    let (classes, d) = weight.tensor().dims2()?;
    let (flat, w) = (h.tensor().reshape((targets.len(), d))?, weight.tensor().contiguous()?);
    let mut loss = Tensor::zeros((), wide(&flat), flat.device())?;
    let (mut of_h, mut of_weight) = (Vec::new(), None::<Tensor>);
    let most = rows_at_once(classes);
    for (at, targets) in targets.chunks(most).enumerate() {
        let h = flat.narrow(0, at * most, targets.len())?;
        let part = Part::new(&h, &w, targets, smoothing)?;
        loss = (loss + part.losses()?.sum_all()?)?;
        if to == [None; 2] {
            continue;
        }
        let gradient = part.gradient()?;
        if to[0].is_some() {
            of_h.push(gradient.matmul(&w)?);
        }
        if to[1].is_some() {
            let part = gradient.t()?.matmul(&h)?;
            of_weight = Some(match of_weight {
                Some(sum) => (sum + part)?,
                None => part,
            });
        }
    }
    let of_h = if of_h.is_empty() { None } else { Some(Tensor::cat(&of_h, 0)?) };
    let gradients = [of_h, of_weight];
    Ok(h.tape().result(loss, to, move |dloss, adjoints| {
        for (to, gradient) in to.into_iter().zip(gradients) {
            if let Some(gradient) = gradient {
                let dloss = dloss.to_dtype(gradient.dtype())?;
                adjoints.give(to, gradient.broadcast_mul(&dloss)?)?;
            }
        }
        Ok(())
    }))
}

/// Returns the type that losses are computed in.
pub(super) fn wide(h: &Tensor) -> DType {
    if h.dtype() == DType::F64 { DType::F64 } else { DType::F32 }
}

/// The scores of some rows.
pub(super) struct Part {
    /// Less the maximum of the row, `[m, classes]`.
    shifted: Tensor,
    /// Their exponentials, and the sums of these, `[m, 1]`.
    powers: Tensor,
    sums: Tensor,
    /// The targets, 0 where there is none, `[m, 1]`.
    classes: Tensor,
    /// One where there is a target, and zero, `[m, 1]`.
    counts: Tensor,
    dtype: DType,
    /// The shares of a row's own class, and of each class.
    own: f64,
    spread: f64,
}

impl Part {
    /// `h` is `[m, d]`, `weight` `[classes, d]`.
    pub(super) fn new(
        h: &Tensor,
        weight: &Tensor,
        targets: &[u32],
        smoothing: f64,
    ) -> Result<Self, Error> {
        let (device, wide) = (h.device(), wide(h));
        let scores = h.matmul(&weight.t()?)?.to_dtype(wide)?;
        let count = |target: &u32| if *target == IGNORED { 0f32 } else { 1.0 };
        let class = |target: &u32| if *target == IGNORED { 0 } else { *target };
        let counts = Tensor::new(targets.iter().map(count).collect::<Vec<_>>(), device)?;
        let classes = Tensor::new(targets.iter().map(class).collect::<Vec<_>>(), device)?;
        let shifted = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?;
        let powers = shifted.exp()?;
        let sums = powers.sum_keepdim(D::Minus1)?;
        let (classes, counts) = (classes.unsqueeze(1)?, counts.to_dtype(wide)?.unsqueeze(1)?);
        #[expect(clippy::cast_precision_loss, reason = "classes are far fewer than 2^53")]
        let (own, spread) = (1.0 - smoothing, smoothing / weight.dim(0)?.max(1) as f64);
        Ok(Self { shifted, powers, sums, classes, counts, dtype: h.dtype(), own, spread })
    }

    /// Returns the losses of the rows, `[m]`.
    pub(super) fn losses(&self) -> Result<Tensor, Error> {
        let own = (self.shifted.gather(&self.classes, 1)? * self.own)?;
        let mut losses = (self.sums.log()? - own)?;
        if self.spread > 0.0 {
            losses = (losses - (self.shifted.sum_keepdim(D::Minus1)? * self.spread)?)?;
        }
        (losses * &self.counts)?.squeeze(1)
    }

    /// Returns the gradients of the scores, `[m, classes]`.
    pub(super) fn gradient(&self) -> Result<Tensor, Error> {
        let less = (self.counts.ones_like()? * -self.own)?;
        let shares = (self.powers.broadcast_div(&self.sums)? - self.spread)?;
        let shares = shares.scatter_add(&self.classes, &less, 1)?;
        shares.broadcast_mul(&self.counts)?.to_dtype(self.dtype)
    }
}
