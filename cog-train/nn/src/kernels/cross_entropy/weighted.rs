//! The cross-entropy with a weight for each class and with label smoothing (PyTorch's `CrossEntropyLoss(weight, label_smoothing,
//! reduction="sum")`; smoothing: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016):
//!
//! ```text
//! q[i, c] = (1 - smoothing) * weight[c] * onehot(targets[i])[c] + smoothing / classes * weight[c]
//! loss    = sum over i and c of q[i, c] * (log(sum over j of exp(logits[i, j])) - logits[i, c])
//! dlogits[i] = dloss * (sum(q[i]) * softmax(logits[i]) - q[i])
//! ```
//!
//! The CPU has a fast path, and a GPU one for smoothing without weights; else it is computed in candle's operations.

use candle_core::{D, DType, Error, Tensor};

use super::cpu::{exponentials, sum_of_rows};
use super::{IGNORED, checked, cuda, forward};
use crate::kernels::gpu::Gpu;
use crate::kernels::reference::dispatch_wide;
use crate::kernels::tape::Node;

/// The weights of the classes, one for each, and the share of the targets that goes to all classes alike.
#[derive(Debug, Clone, Default)]
pub(crate) struct Smoothed {
    /// `None`: each has a weight of one.
    pub(crate) weights: Option<Vec<f32>>,
    pub(crate) smoothing: f64,
}

/// The sum of the losses of the rows: as [`forward`], where nothing is weighted.
///
/// # Errors
///
/// candle's error when the shapes do not fit, a target is no class, a weight is missing, or the device fails.
pub(crate) fn forward_weighted(
    logits: &Node,
    targets: &Tensor,
    options: &Smoothed,
) -> Result<Node, Error> {
    let classes = logits.dims().last().copied().unwrap_or(0);
    if options.weights.is_none() && options.smoothing == 0.0 {
        return forward(logits, targets);
    }
    let rows = super::rows_of(logits)?;
    let targets = checked(targets, rows, classes)?;
    if let (None, Some(gpu)) = (&options.weights, Gpu::of([logits.tensor()])) {
        return cuda::forward(&gpu, logits, &targets, options.smoothing);
    }
    let weights = options.weights.clone().unwrap_or_else(|| vec![1.0; classes]);
    if weights.len() != classes {
        let given = weights.len();
        return Err(Error::msg(format!("cross_entropy: {given} weights for {classes} classes")));
    }
    let (again, of_rows) = (targets.clone(), Expected::new(weights, options.smoothing));
    let of_rows_again = of_rows.clone();
    dispatch_wide(
        [logits],
        move |[logits]| fast(&logits, &targets, &of_rows),
        move |[logits]| reference(logits, &again, &of_rows_again),
    )
}

/// The distribution that a row is compared with.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    weights: Vec<f32>,
    /// The share of a row's own class.
    own: f64,
    /// The share of each class.
    spread: f64,
    /// The sum of the weights.
    sum: f64,
}

impl Expected {
    /// Classes that weigh alike; `None` without smoothing, where the row's own class is all.
    pub(crate) fn smoothed(classes: usize, smoothing: f64) -> Option<Self> {
        (smoothing != 0.0).then(|| Self::new(vec![1.0; classes], smoothing))
    }

    pub(super) fn new(weights: Vec<f32>, smoothing: f64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "classes are far fewer than 2^53")]
        let spread = smoothing / weights.len().max(1) as f64;
        let sum = weights.iter().copied().map(f64::from).sum();
        Self { weights, own: 1.0 - smoothing, spread, sum }
    }

    /// Returns the loss of a row of scores, and overwrites them by their gradient.
    #[expect(clippy::cast_possible_truncation, reason = "gradients have 32 bits")]
    pub(crate) fn loss(&self, row: &mut [f32], target: u32) -> f64 {
        if target == IGNORED {
            row.fill(0.0);
            return 0.0;
        }
        let target = target as usize;
        let own = self.own * f64::from(self.weights[target]);
        let mut expected = own * f64::from(row[target]);
        if self.spread > 0.0 {
            let products = row.iter().zip(&self.weights);
            let sum: f64 = products.map(|(x, weight)| f64::from(*x) * f64::from(*weight)).sum();
            expected += self.spread * sum;
        }
        let all = own + self.spread * self.sum;
        let loss = all * f64::from(exponentials(row)) - expected;
        let (all, spread) = (all as f32, self.spread as f32);
        for (share, weight) in row.iter_mut().zip(&self.weights) {
            *share = all * *share - spread * weight;
        }
        row[target] -= own as f32;
        loss
    }
}

fn fast(logits: &Node, targets: &[u32], rows: &Expected) -> Result<Node, Error> {
    let alone = |row: &[f32], target| rows.loss(&mut row.to_vec(), target);
    sum_of_rows(logits, targets, |row, target| rows.loss(row, target), alone)
}

/// The reference implementation, in candle operations.
pub(super) fn reference(
    logits: &Tensor,
    targets: &[u32],
    rows: &Expected,
) -> Result<Tensor, Error> {
    let device = logits.device();
    let wide = match logits.dtype() {
        DType::F64 => logits.clone(),
        _ => logits.to_dtype(DType::F32)?,
    };
    let of_rows = |value: &dyn Fn(usize) -> f64| {
        let value = |target: &u32| if *target == IGNORED { 0.0 } else { value(*target as usize) };
        Tensor::new(targets.iter().map(value).collect::<Vec<f64>>(), device)?.to_dtype(wide.dtype())
    };
    let own = of_rows(&|target| rows.own * f64::from(rows.weights[target]))?;
    let class = |target: &u32| if *target == IGNORED { 0 } else { *target };
    let classes: Vec<u32> = targets.iter().map(class).collect();
    let classes = Tensor::new(classes, device)?.unsqueeze(1)?;
    // The maximum is subtracted, detached: it changes only the rounding.
    let shifted = wide.broadcast_sub(&wide.detach().max_keepdim(D::Minus1)?)?;
    let losses = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?.broadcast_sub(&shifted)?;
    let of_targets = (losses.gather(&classes, 1)?.squeeze(1)? * own)?.sum_all()?;
    if rows.spread == 0.0 {
        return Ok(of_targets);
    }
    let weights = Tensor::new(rows.weights.as_slice(), device)?.to_dtype(wide.dtype())?;
    let of_classes = losses.broadcast_mul(&weights)?.sum(D::Minus1)?;
    of_targets + (of_classes * of_rows(&|_| rows.spread)?)?.sum_all()?
}
