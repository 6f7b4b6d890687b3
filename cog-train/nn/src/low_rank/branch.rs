//! The forward pass of a layer with its branch.

use candle_core::{DType, Error, Tensor};

use super::LowRank;
use crate::arithmetic::{add, mul, scale, sub};
use crate::init::Init;
use crate::initializer::Initializer;
use crate::kernels::linear::{self, Operands};
use crate::kernels::tape::{Node, Pass};
use crate::kernels::weight::Weight;
use crate::kernels::{dropout, embedding, tape};
use crate::shape::{index_select, permute, reshape};

/// The branch of a linear layer.
#[derive(Debug, Clone)]
pub(crate) struct LinearBranch {
    a: Tensor,
    b: Tensor,
    magnitude: Option<Tensor>,
    scale: f32,
    dropout: f64,
    /// The purpose of its random numbers.
    purpose: String,
}

/// The operands of the layer beside the branch: `to + scale * x weight^T + bias`.
pub(crate) struct Beside<'a> {
    pub(crate) weight: &'a Weight,
    pub(crate) bias: Option<&'a Tensor>,
    pub(crate) to: Option<&'a Node>,
    pub(crate) scale: f32,
}

impl LinearBranch {
    pub(crate) fn new(
        init: &Init,
        low_rank: LowRank,
        inputs: usize,
        outputs: usize,
    ) -> Result<Self, Error> {
        let LowRank { rank, scale, dropout, dora } = low_rank;
        let fan_in = Initializer::of_fan_in(inputs);
        let a = init.tensor("lora_A.weight", (rank, inputs), fan_in)?;
        let b = init.tensor("lora_B.weight", (outputs, rank), Initializer::ZEROS)?;
        let magnitude =
            || init.tensor("lora_magnitude_vector", outputs, Initializer::ONES).map(Some);
        let magnitude = if dora { magnitude()? } else { None };
        let purpose = format!("lora_dropout.{}", init.path());
        #[expect(clippy::cast_possible_truncation, reason = "the arithmetic is in 32 bits")]
        Ok(Self { a, b, magnitude, scale: scale as f32, dropout, purpose })
    }

    pub(crate) fn forward(&self, x: &Node, beside: &Beside<'_>) -> Result<Node, Error> {
        let pass = Pass::current();
        let stream = pass.stream(&self.purpose).filter(|_| self.dropout > 0.0);
        let dropped =
            stream.map(|stream| dropout::recomputed(x, self.dropout, &stream)).transpose()?;
        let Beside { weight, bias, to, scale } = *beside;
        let Some(magnitude) = self.magnitude.as_ref().filter(|_| pass.has_low_rank()) else {
            let y = linear::forward(x, &Operands { weight, bias, to, scale })?;
            let active = pass.has_low_rank();
            let branch = || self.add_to(&y, dropped.as_ref().unwrap_or(x), scale * self.scale);
            return if active { branch() } else { Ok(y) };
        };
        let factor = self.factor(x, weight, magnitude)?;
        let alone = Operands { weight, bias: None, to: None, scale: 1.0 };
        // Without dropout the layer's own product is the branch's too.
        let Some(dropped) = dropped else {
            let y = self.add_to(&linear::forward(x, &alone)?, x, self.scale)?;
            let y = scaled(mul(&y, &factor)?, scale)?;
            let y = bias.map_or(Ok(y.clone()), |bias| add(&y, &x.leaf(bias)))?;
            return to.map_or(Ok(y.clone()), |to| add(&y, to));
        };
        let plain = linear::forward(&dropped, &alone)?;
        let whole = mul(&self.add_to(&plain, &dropped, self.scale)?, &factor)?;
        let y = linear::forward(x, &Operands { weight, bias, to, scale })?;
        add(&y, &scaled(sub(&whole, &plain)?, scale)?)
    }

    /// `to + scale * x A^T B^T`.
    fn add_to(&self, to: &Node, x: &Node, scale: f32) -> Result<Node, Error> {
        let down = Operands { weight: &self.a, bias: None, to: None, scale: 1.0 };
        let up = Operands { weight: &self.b, bias: None, to: Some(to), scale };
        linear::forward(&linear::forward(x, &down)?, &up)
    }

    /// Returns the magnitudes divided by the norms of the rows, which are constants.
    fn factor(&self, x: &Node, weight: &Weight, magnitude: &Tensor) -> Result<Node, Error> {
        let norms = row_norms(weight, &self.a, &self.b, f64::from(self.scale))?;
        // A row of zeros stays one.
        let inverse = norms.maximum(f64::from(f32::MIN_POSITIVE))?.recip()?;
        let magnitude = x.leaf(magnitude);
        mul(&magnitude, &x.constant(inverse.to_dtype(magnitude.tensor().dtype())?))
    }
}

fn scaled(y: Node, factor: f32) -> Result<Node, Error> {
    if factor.to_bits() == 1f32.to_bits() { Ok(y) } else { scale(&y, f64::from(factor)) }
}

/// The rows of a weight that are widened, or decoded, at a time.
const ROWS: usize = 256;

/// Returns the norm of each row of `weight + scale * b a` in 32 bits, without that sum:
/// `|w + scale * b a|^2 = |w|^2 + 2 scale * b (a w^T) + scale^2 * b (a a^T) b^T`.
pub(super) fn row_norms(
    weight: &Weight,
    a: &Tensor,
    b: &Tensor,
    scale: f64,
) -> Result<Tensor, Error> {
    let wide = if weight.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
    let [a, b] = [a, b].map(|tensor| tensor.detach().to_dtype(wide));
    let (a, b) = (a?, b?);
    let product = |x: &Tensor, weight: &Tensor| {
        let operands = Operands { weight, bias: None, to: None, scale: 1.0 };
        tape::trace([x], |[x]| linear::forward(&x, &operands))
    };
    let squares = |from: &Tensor, by: &Tensor| from.mul(by)?.sum(1);
    let (rows, _) = weight.dims2()?;
    let part = |start: usize| {
        let count = ROWS.min(rows - start);
        let weight = weight.rows(start, count, wide)?;
        let cross = squares(&product(&weight, &a)?, &b.narrow(0, start, count)?)?;
        squares(&weight, &weight)? + (cross * (2.0 * scale))?
    };
    let parts: Vec<Tensor> = (0..rows).step_by(ROWS).map(part).collect::<Result<_, Error>>()?;
    let own = squares(&product(&b, &product(&a, &a)?)?, &b)?;
    (Tensor::cat(&parts, 0)? + (own * (scale * scale))?)?.maximum(0.0)?.sqrt()
}

/// The branch of an embedding.
#[derive(Debug, Clone)]
pub(crate) struct EmbeddingBranch {
    a: Tensor,
    b: Tensor,
    scale: f32,
}

impl EmbeddingBranch {
    pub(crate) fn new(
        init: &Init,
        low_rank: LowRank,
        rows: usize,
        width: usize,
    ) -> Result<Self, Error> {
        let LowRank { rank, scale, dora, .. } = low_rank;
        if dora {
            return Err(Error::Msg(format!("the embedding `{}` takes no DoRA", init.path())));
        }
        let normal = Initializer::Normal { std: 1.0 };
        let a = init.tensor("lora_embedding_A", (rank, rows), Initializer::ZEROS)?;
        let b = init.tensor("lora_embedding_B", (width, rank), normal)?;
        #[expect(clippy::cast_possible_truncation, reason = "the arithmetic is in 32 bits")]
        Ok(Self { a, b, scale: scale as f32 })
    }

    pub(crate) fn forward(&self, ids: &Node, table: &Weight) -> Result<Node, Error> {
        let y = embedding::forward(ids, table)?;
        if !Pass::current().has_low_rank() {
            return Ok(y);
        }
        let flat = ids.tensor().flatten_all()?.to_dtype(DType::U32)?.to_device(self.a.device())?;
        let columns = index_select(&ids.leaf(&self.a), 1, &flat)?;
        let shape: Vec<usize> = ids.dims().iter().copied().chain([self.a.dim(0)?]).collect();
        let rows = reshape(&permute(&columns, &[1, 0])?, shape)?;
        let up = Operands { weight: &self.b, bias: None, to: Some(&y), scale: self.scale };
        linear::forward(&rows, &up)
    }
}
