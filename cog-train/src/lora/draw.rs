//! The first values of an adapter's tensors.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use cog_train_nn::{Init, Initializer, Layer, LayerKind, Quantized, Rng};

use super::adapter::{Adapter, found, magnitude, names};
use super::config::{InitialValues, invalid};
use crate::error::Error;

impl Adapter {
    /// Draws new values for the tensors that are trained, in 32 bits; those of the base are as they are there. A drawn tensor is
    /// a function of the seed and of its name.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] for [`InitialValues::Other`], or when `base` lacks a tensor; [`Error::Tensor`].
    pub fn draw(
        &self,
        base: &BTreeMap<String, Tensor>,
        rng: Rng,
    ) -> Result<BTreeMap<String, Tensor>, Error> {
        let device = base.values().next().map_or(Device::Cpu, |tensor| tensor.device().clone());
        let init = Init::random(rng, &device);
        let mut drawn = BTreeMap::new();
        for (path, (layer, branch)) in &self.branches {
            let [a, b] = names(path, layer.kind);
            let rank = branch.rank();
            let [of_a, of_b] = self.initializers(*layer, rank)?;
            let of_a = init.tensor(&a, (rank, layer.inputs), of_a)?.detach();
            let of_b = init.tensor(&b, (layer.outputs, rank), of_b)?.detach();
            drawn.extend([(a, of_a), (b, of_b)]);
            if branch.is_dora() {
                // The branch adds nothing yet.
                let name = format!("{path}.weight");
                let norms = match self.quantized.get(&name) {
                    Some(weight) => norms_of_blocks(weight)?,
                    None => norms(found(base, &name)?)?,
                };
                drawn.insert(magnitude(path), norms);
            }
        }
        for name in self.trained.keys().filter(|name| self.layout.tensors.contains_key(*name)) {
            drawn.insert(name.clone(), found(base, name)?.to_dtype(DType::F32)?);
        }
        Ok(drawn)
    }

    fn initializers(&self, layer: Layer, rank: usize) -> Result<[Initializer; 2], Error> {
        #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
        let float = |count: usize| count.max(1) as f64;
        let of_a = match &self.config.initial {
            _ if layer.kind == LayerKind::Embedding => {
                return Ok([Initializer::ZEROS, Initializer::Normal { std: 1.0 }]);
            }
            InitialValues::Uniform => {
                Initializer::Uniform { bound: 1.0 / float(layer.inputs).sqrt() }
            }
            InitialValues::Gaussian => Initializer::Normal { std: 1.0 / float(rank) },
            InitialValues::Other(name) => {
                return Err(invalid(format!(
                    "`init_lora_weights` is `{name}`, which cannot be drawn\nhint: load the adapter's tensors, or take the default"
                )));
            }
        };
        Ok([of_a, Initializer::ZEROS])
    }
}

/// The norms of a matrix's rows, in 32 bits.
pub(super) fn norms(weight: &Tensor) -> Result<Tensor, Error> {
    Ok(weight.detach().to_dtype(DType::F32)?.sqr()?.sum(1)?.sqrt()?)
}

/// Rows of a quantized matrix that are decoded at a time.
const ROWS: usize = 256;

/// The norms of a quantized matrix's rows, in 32 bits.
fn norms_of_blocks(weight: &Quantized) -> Result<Tensor, Error> {
    let (weight, (rows, _)) = (weight.clone().to_dtype(DType::F32), weight.dims());
    let part = |start: usize| norms(&weight.rows(start, ROWS.min(rows - start))?);
    let parts = (0..rows).step_by(ROWS).map(part).collect::<Result<Vec<_>, Error>>()?;
    Ok(Tensor::cat(&parts, 0)?)
}
