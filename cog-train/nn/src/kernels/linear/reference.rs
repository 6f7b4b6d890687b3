//! The reference: every device and every float type.

use candle_core::{Error, Tensor};

use super::Product;
use crate::kernels::tape::Node;

pub(super) fn forward(product: Product, shape: &[usize]) -> Result<Node, Error> {
    let Product { x, weight, bias, to, scale, rows, inputs, outputs } = product;
    let flat = x.tensor().reshape((rows, inputs))?;
    let mut y = flat.matmul(&weight.tensor().t()?)?;
    if scale.to_bits() != 1f32.to_bits() {
        y = (y * f64::from(scale))?;
    }
    if let Some(bias) = &bias {
        y = y.broadcast_add(bias.tensor())?;
    }
    let mut y = y.reshape(shape)?;
    if let Some(to) = &to {
        y = (y + to.tensor())?;
    }
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
        let scaled = |product: Tensor| -> Result<Tensor, Error> {
            Ok(if scale.to_bits() == 1f32.to_bits() {
                product
            } else {
                (product * f64::from(scale))?
            })
        };
        if of_weight.is_some() {
            adjoints.give(of_weight, scaled(dy.t()?.matmul(&flat)?)?)?;
        }
        if of_x.is_some() {
            adjoints.give(of_x, scaled(dy.matmul(&w)?)?)?;
        }
        Ok(())
    }))
}
