//! Losses over more than one batch.

use cog_train::prelude::*;

use crate::model::Llama;
use crate::text::{Batch, Example};

/// How many examples are measured at once.
const AT_ONCE: usize = 16;

/// The loss over all targets of the examples.
pub fn loss(model: &Llama, examples: &[Example], job: &Job) -> Result<f64> {
    let mut mean = Mean::default();
    for examples in examples.chunks(AT_ONCE) {
        job.check_cancelled()?;
        let batch = Batch::new(examples, model.device())?;
        mean.add(f64::from(model.mean_loss(&batch)?.to_scalar::<f32>()?), batch.weight);
    }
    Ok(mean.value())
}

/// A mean over targets, from the means of batches with different numbers of them.
#[derive(Default)]
pub struct Mean {
    sum: f64,
    weight: f64,
}

#[expect(clippy::cast_precision_loss, reason = "numbers of tokens are far below 2^53")]
impl Mean {
    pub fn add(&mut self, mean: f64, weight: usize) {
        self.sum += mean * weight as f64;
        self.weight += weight as f64;
    }

    pub fn value(&self) -> f64 {
        self.sum / self.weight
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_weighs_its_parts() {
        let mut mean = Mean::default();
        mean.add(1.0, 3);
        mean.add(5.0, 1);
        assert!((mean.value() - 2.0).abs() < 1e-12);
    }
}
