//! The reference: every device and every float type.

use candle_core::{Error, Tensor};

use super::Product;
use crate::kernels::tape::Node;

pub(super) fn forward(product: Product, shape: &[usize]) -> Result<Node, Error> {
    let Product { x, weight, bias, to, scale, rows, inputs, outputs } = product;
    let flat = x.tensor().reshape((rows, inputs))?;
    let y = scaled(flat.matmul(&weight.tensor().t()?)?, scale)?;
    let y = finished(&y, bias.as_ref(), to.as_ref(), shape)?;
    let handle = |node: &Option<Node>| node.as_ref().and_then(Node::handle);
    let handles = [x.handle(), weight.handle(), handle(&bias), handle(&to)];
    let (tape, w) = (x.tape().clone(), weight.tensor().clone());
    Ok(tape.result(y, handles, move |dy, adjoints| {
        let [of_x, of_weight, of_bias, of_to] = handles;
        adjoints.share(of_to, &dy)?;
        let dy = dy.to_dtype(w.dtype())?.reshape((rows, outputs))?;
        if of_bias.is_some() {
            adjoints.give(of_bias, dy.sum(0)?)?;
        }
        if of_weight.is_some() {
            adjoints.give(of_weight, scaled(dy.t()?.matmul(&flat)?, scale)?)?;
        }
        if of_x.is_some() {
            adjoints.give(of_x, scaled(dy.matmul(&w)?, scale)?)?;
        }
        Ok(())
    }))
}

pub(super) fn scaled(product: Tensor, scale: f32) -> Result<Tensor, Error> {
    if scale.to_bits() == 1f32.to_bits() { Ok(product) } else { product * f64::from(scale) }
}

/// Adds the bias and the summand to a product, and gives it its shape.
pub(super) fn finished(
    product: &Tensor,
    bias: Option<&Node>,
    to: Option<&Node>,
    shape: &[usize],
) -> Result<Tensor, Error> {
    let with_bias = bias.map(|bias| product.broadcast_add(bias.tensor())).transpose()?;
    let y = with_bias.as_ref().unwrap_or(product).reshape(shape)?;
    to.map(|to| &y + to.tensor()).unwrap_or(Ok(y))
}
