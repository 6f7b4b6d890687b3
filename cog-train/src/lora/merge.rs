//! An adapter merged into its base, and the proof that it computes the same.

use std::collections::BTreeMap;
use std::fmt;

use candle_core::{DType, Tensor};
use cog_train_nn::{Init, Layer, LayerKind, LowRank};

use super::adapter::{Adapter, found, magnitude, names};
use super::config::invalid;
use super::draw::norms;
use super::select::is_shared;
use crate::error::Error;

/// The tensors of a base with an adapter merged into them, which were compared with the two apart.
#[derive(Debug, Clone)]
pub struct Merged {
    tensors: BTreeMap<String, Tensor>,
    difference: Difference,
    /// DoRA's norms of the rows, by path: they do not follow from the merged weight.
    norms: BTreeMap<String, Tensor>,
}

/// The difference between the scores of a base with an adapter and of the two merged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// The largest difference of two scores.
    pub largest: f64,
    /// The mean one.
    pub mean: f64,
    /// The largest magnitude of a score.
    pub magnitude: f64,
    /// The rows whose highest score is at the same place.
    pub same_choices: usize,
    /// The rows.
    pub rows: usize,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { largest, mean, magnitude, same_choices, rows } = self;
        write!(
            f,
            "merged and unmerged scores differ by {largest:.1e} at most and {mean:.1e} on average, of {magnitude:.1}; \
             {same_choices} of {rows} rows choose the same"
        )
    }
}

impl Merged {
    /// The base's tensors, in the type that it computes in.
    #[must_use]
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tensors
    }

    /// The difference that was found.
    #[must_use]
    pub fn difference(&self) -> Difference {
        self.difference
    }
}

impl Adapter {
    /// Merges the adapter into the base, in 32 bits, and compares the scores: `scores` builds the model from an [`Init`] and
    /// computes them on rows of its choice, first with the two apart and then merged. There are no merged tensors that were not
    /// compared. [Quantized](Self::quantized) matrices of the base are dequantized to the type of its other tensors: the merged model has
    /// none, and is as large as one that was never quantized.
    ///
    /// `tensors` are those of base and adapter: [`Params::masters`](crate::engine::Params::masters). A difference above
    /// `tolerance` times the largest score is refused: `1e-4` suits a base in 32 bits, and `0.05` one in bfloat16, whose merged
    /// weights are rounded.
    ///
    /// ```
    /// use cog_train::candle_core::{DType, Device, Tensor};
    /// use cog_train::lora::{LoraConfig, Modules};
    /// use cog_train::nn::{Init, Initializer, Linear, Rng};
    ///
    /// let net = |init: &Init| Linear::new(&init.at("fc"), 8, 4);
    /// let base = Init::random(Rng::new(1, "init"), &Device::Cpu).tensors_of(net)?;
    /// let adapter = LoraConfig::new(2).targets(Modules::named(["fc"])).on(net)?;
    /// let mut trained = adapter.draw(&base, Rng::new(42, "lora"))?;
    /// trained.insert("fc.lora_B.weight".to_owned(), Tensor::ones((4, 2), DType::F32, &Device::Cpu)?);
    ///
    /// let rows = Tensor::ones((3, 8), DType::F32, &Device::Cpu)?;
    /// let merged = adapter.merge(&adapter.tensors(base, trained)?, 1e-4, |init| init.build(net)?.forward(&rows))?;
    /// assert!(merged.difference().largest < 1e-5);
    /// assert_eq!(merged.tensors().keys().collect::<Vec<_>>(), ["fc.bias", "fc.weight"]);
    /// # Ok::<(), cog_train::anyhow::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] when the scores differ, a tensor is missing, or an adapted layer shares its weight; the error of
    /// `scores`.
    pub fn merge<E: Into<Error>>(
        &self,
        tensors: &BTreeMap<String, Tensor>,
        tolerance: f64,
        mut scores: impl FnMut(&Init) -> Result<Tensor, E>,
    ) -> Result<Merged, Error> {
        let (merged, norms) = self.merged(tensors)?;
        let (base, trained): (Vec<_>, Vec<_>) = tensors
            .iter()
            .map(|(name, tensor)| (name.clone(), tensor.detach()))
            .partition(|(name, _)| self.layout.tensors.contains_key(name));
        let apart = self.tensors(base.into_iter().collect(), trained.into_iter().collect())?;
        let apart = scores(&self.init(apart)).map_err(Into::into)?;
        let together = scores(&Init::from_tensors(merged.clone())).map_err(Into::into)?;
        let difference = Difference::of(&apart, &together)?;
        // False for scores that are no numbers.
        let close = difference.largest <= tolerance * difference.magnitude;
        if !close {
            let reason = format!(
                "the merged weights do not compute what base and adapter do: {difference}\nhint: save the adapter, or raise \
                 the tolerance of {tolerance} if the base has few bits"
            );
            return Err(invalid(reason));
        }
        Ok(Merged { tensors: merged, difference, norms })
    }

    /// Takes an adapter out of merged weights again. They are the base's up to rounding.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] when a tensor is missing; [`Error::Tensor`].
    pub fn unmerge(
        &self,
        merged: &Merged,
        tensors: &BTreeMap<String, Tensor>,
    ) -> Result<BTreeMap<String, Tensor>, Error> {
        let mut base = merged.tensors.clone();
        for (path, (layer, branch)) in &self.branches {
            let name = format!("{path}.weight");
            let weight = found(&base, &name)?;
            let mut own = weight.to_dtype(DType::F32)?;
            if let Some(norms) = merged.norms.get(path) {
                let factor = (norms / found(tensors, &magnitude(path))?.to_dtype(DType::F32)?)?;
                own = own.broadcast_mul(&factor.unsqueeze(1)?)?;
            }
            own = (own - delta(path, *layer, *branch, tensors)?)?;
            let own = own.to_dtype(weight.dtype())?;
            base.insert(name, own);
        }
        Ok(base)
    }

    /// The merged tensors, and the norms of DoRA's rows.
    fn merged(&self, tensors: &BTreeMap<String, Tensor>) -> Result<Both, Error> {
        let mut all: BTreeMap<String, Tensor> = BTreeMap::new();
        let dtype = self.dtype(tensors);
        for name in self.layout.tensors.keys() {
            let tensor = if let Some(matrix) = self.quantized.get(name) {
                matrix.clone().to_dtype(dtype).dequantize()?
            } else {
                let tensor = found(tensors, name)?.detach();
                let narrow = matches!(tensor.dtype(), DType::F16 | DType::BF16);
                if narrow { tensor.to_dtype(dtype)? } else { tensor }
            };
            all.insert(name.clone(), tensor);
        }
        let mut all_norms = BTreeMap::new();
        for (path, (layer, branch)) in &self.branches {
            if is_shared(path, &self.layout) {
                return Err(invalid(format!(
                    "`{path}` shares its weight with another layer, which merging would change too\nhint: save the adapter"
                )));
            }
            let name = format!("{path}.weight");
            let weight = found(&all, &name)?;
            let mut sum = (weight.to_dtype(DType::F32)? + delta(path, *layer, *branch, tensors)?)?;
            if branch.is_dora() {
                let norms = norms(&sum)?;
                let magnitude = found(tensors, &magnitude(path))?.to_dtype(DType::F32)?;
                sum = sum.broadcast_mul(&(magnitude / &norms)?.unsqueeze(1)?)?;
                all_norms.insert(path.clone(), norms);
            }
            let sum = sum.to_dtype(weight.dtype())?;
            all.insert(name, sum);
        }
        Ok((all, all_norms))
    }
}

/// Tensors by name, and norms by path.
type Both = (BTreeMap<String, Tensor>, BTreeMap<String, Tensor>);

/// The product of a branch's matrices in 32 bits, of the shape of its layer's weight.
fn delta(
    path: &str,
    layer: Layer,
    branch: LowRank,
    tensors: &BTreeMap<String, Tensor>,
) -> Result<Tensor, Error> {
    let [a, b] = names(path, layer.kind);
    let a = found(tensors, &a)?.detach().to_dtype(DType::F32)?;
    let b = found(tensors, &b)?.detach().to_dtype(DType::F32)?;
    let product = (b.matmul(&a)? * branch.scale())?;
    Ok(if layer.kind == LayerKind::Embedding { product.t()?.contiguous()? } else { product })
}

impl Difference {
    fn of(apart: &Tensor, together: &Tensor) -> Result<Self, Error> {
        let rows = |scores: &Tensor| -> Result<Vec<Vec<f32>>, Error> {
            let width = scores.dims().last().copied().unwrap_or(1).max(1);
            let scores = scores.detach().to_dtype(DType::F32)?.flatten_all()?;
            Ok(scores.to_vec1::<f32>()?.chunks(width).map(<[f32]>::to_vec).collect())
        };
        if apart.shape() != together.shape() || apart.elem_count() == 0 {
            let reason = format!(
                "there are no scores to compare: {:?} and {:?}",
                apart.dims(),
                together.dims()
            );
            return Err(invalid(reason));
        }
        let (apart, together) = (rows(apart)?, rows(together)?);
        let pairs = || apart.iter().flatten().zip(together.iter().flatten());
        let differences = || pairs().map(|(one, other)| f64::from((one - other).abs()));
        // A NaN stays.
        let largest = |values: &mut dyn Iterator<Item = f64>| {
            values.fold(
                0.0,
                |most: f64, value| if value > most || value.is_nan() { value } else { most },
            )
        };
        let choice = |row: &Vec<f32>| {
            row.iter()
                .enumerate()
                .max_by(|one, other| one.1.total_cmp(other.1))
                .map(|found| found.0)
        };
        #[expect(clippy::cast_precision_loss, reason = "a count is far below 2^53")]
        let count = pairs().count() as f64;
        Ok(Self {
            largest: largest(&mut differences()),
            mean: differences().sum::<f64>() / count,
            magnitude: largest(&mut pairs().map(|(one, _)| f64::from(one.abs()))),
            same_choices: apart
                .iter()
                .zip(&together)
                .filter(|(one, other)| choice(one) == choice(other))
                .count(),
            rows: apart.len(),
        })
    }
}
