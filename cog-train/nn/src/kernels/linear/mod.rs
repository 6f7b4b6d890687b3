//! A product with a weight, as PyTorch's `linear`, with an optional bias and an optional summand:
//!
//! ```text
//! y = scale * x W^T + bias + to
//! ```
//!
//! `x` `[.., in]`, `weight` `[out, in]`, `bias` `[out]`, `to` and `y` `[.., out]`, all of one float type. Backward:
//! `dx = scale * dy W`, `dW = scale * dy^T x`, `dbias` the sum of the rows of `dy`, `dto = dy`. A frozen weight costs no product of
//! its own, and an input that needs no gradient none either. On the CPU, products of 16-bit floats are summed in 32 bits
//! and rounded once; a weight of them, or in blocks of few bits, is widened as it is packed, at most 512 by 512 elements at a time. The
//! gradient of fewer than 12 rows alone widens one of 16-bit floats as a whole.
//!
//! An input and a weight of bfloat16 stay as they are: the processor multiplies them if it can (AVX512-BF16), and else they are widened.
//! `dy`, which comes in 32 bits, is rounded to bfloat16 for their products, as PyTorch's is.

mod cpu;
mod cuda;
mod quantized;
mod reference;

use candle_core::{Error, Tensor};

use super::dtypes;
use super::gpu::Gpu;
use super::reference::fits;
use super::tape::Node;
use super::weight::Weight;

/// The operands of a product besides its input.
pub(crate) struct Operands<'a, W = Tensor> {
    pub(crate) weight: &'a W,
    pub(crate) bias: Option<&'a Tensor>,
    /// The summand: the product is added to it.
    pub(crate) to: Option<&'a Node>,
    pub(crate) scale: f32,
}

/// The operands and the sizes of a product.
#[derive(Clone)]
struct Product<W = Node> {
    x: Node,
    weight: W,
    bias: Option<Node>,
    to: Option<Node>,
    scale: f32,
    /// Without the last dimension.
    rows: usize,
    inputs: usize,
    outputs: usize,
}

/// Multiplies rows by a weight.
///
/// # Errors
///
/// candle's error when the shapes do not fit or the device fails.
pub(crate) fn forward<'a, W>(x: &Node, operands: &Operands<'a, W>) -> Result<Node, Error>
where
    &'a W: Into<Weight>,
{
    let &Operands { weight, bias, to, scale } = operands;
    let weight: Weight = weight.into();
    let Ok((outputs, inputs)) = weight.dims2() else {
        return Err(mismatch(x, weight.tensor()?.dims(), bias, to));
    };
    let shape = checked(x, [outputs, inputs], bias, to)?;
    weight.check_dtype("linear", ("x", x.tensor()))?;
    let rows = x.tensor().elem_count() / inputs.max(1);
    let (bias, to) = (bias.map(|bias| x.leaf(bias)), to.cloned());
    let product = Product { x: x.clone(), weight, bias, to, scale, rows, inputs, outputs };
    if product.weight.fits() && product.others().all(|node| fits(node.tensor())) {
        return cpu::forward(product, &shape)?.rounded(x.tensor().dtype());
    }
    match product.weight.clone() {
        Weight::Quantized(matrix) => quantized::forward(product.with(*matrix), &shape),
        Weight::Tensor(tensor) => {
            let product = product.with(x.leaf(&tensor));
            match product.gpu() {
                Some(gpu) => cuda::forward(gpu, product, &shape),
                None => reference::forward(product, &shape),
            }
        }
    }
}

/// Returns the shape of the result for a weight of these sizes.
fn checked(
    x: &Node,
    weight: [usize; 2],
    bias: Option<&Tensor>,
    to: Option<&Node>,
) -> Result<Vec<usize>, Error> {
    let [outputs, inputs] = weight;
    let mut shape = x.dims().to_vec();
    let last = shape.last_mut().map(|last| std::mem::replace(last, outputs));
    let fit = last.unwrap_or(0) == inputs
        && bias.is_none_or(|bias| bias.dims() == [outputs])
        && to.is_none_or(|to| to.dims() == shape);
    if !fit {
        return Err(mismatch(x, &weight, bias, to));
    }
    let others = [("bias", bias), ("to", to.map(Node::tensor))];
    dtypes::check("linear", ("x", x.tensor()), others)?;
    Ok(shape)
}

impl<W> Product<W> {
    /// The operands beside the weight.
    fn others(&self) -> impl Iterator<Item = &Node> {
        [&self.x].into_iter().chain(&self.bias).chain(&self.to)
    }

    fn with<V>(self, weight: V) -> Product<V> {
        let Self { x, weight: _, bias, to, scale, rows, inputs, outputs } = self;
        Product { x, weight, bias, to, scale, rows, inputs, outputs }
    }
}

impl Product {
    /// The GPU of all operands.
    fn gpu(&self) -> Option<Gpu> {
        let gpu = Gpu::of([self.x.tensor(), self.weight.tensor()])?;
        let alike = |node: &Node| Gpu::of([self.x.tensor(), node.tensor()]).is_some();
        self.others().all(alike).then_some(gpu)
    }
}

fn mismatch(x: &Node, weight: &[usize], bias: Option<&Tensor>, to: Option<&Node>) -> Error {
    let dims = |tensor: Option<&Tensor>| {
        tensor.map_or_else(|| "none".to_owned(), |tensor| format!("{:?}", tensor.dims()))
    };
    let reason = format!(
        "linear: an input {:?}, a weight {weight:?}, a bias {} and a sum {}",
        x.dims(),
        dims(bias),
        dims(to.map(Node::tensor)),
    );
    candle_core::Error::msg(reason)
}

#[cfg(test)]
mod tests;
