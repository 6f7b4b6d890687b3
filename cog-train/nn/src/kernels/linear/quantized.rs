//! Products with a frozen weight in blocks of few bits where the CPU's kernels do not serve, and for 64-bit floats: some rows of the weight
//! are decoded at a time, and multiplied before the next ones.

use candle_core::{Error, Tensor};

use super::Product;
use super::reference::{finished, scaled};
use crate::kernels::quantized::Quantized;
use crate::kernels::tape::Node;

pub(super) fn forward(product: Product<Quantized>, shape: &[usize]) -> Result<Node, Error> {
    let Product { x, weight, bias, to, scale, rows, inputs, outputs } = product;
    let dtype = x.tensor().dtype();
    let flat = x.tensor().reshape((rows, inputs))?;
    let parts: Vec<Tensor> = weight
        .tiles()
        .map(|(start, count)| flat.matmul(&weight.tile(start, count, dtype)?.t()?))
        .collect::<Result<_, Error>>()?;
    let y = scaled(Tensor::cat(&parts, 1)?, scale)?;
    let y = finished(&y, bias.as_ref(), to.as_ref(), shape)?;
    let handle = |node: &Option<Node>| node.as_ref().and_then(Node::handle);
    let handles = [x.handle(), handle(&bias), handle(&to)];
    Ok(x.tape().result(y, handles, move |dy, adjoints| {
        let [of_x, of_bias, of_to] = handles;
        adjoints.share(of_to, &dy)?;
        let dy = dy.to_dtype(dtype)?.reshape((rows, outputs))?;
        if of_bias.is_some() {
            adjoints.give(of_bias, dy.sum(0)?)?;
        }
        if of_x.is_none() {
            return Ok(());
        }
        let mut dx: Option<Tensor> = None;
        for (start, count) in weight.tiles() {
            let part = dy.narrow(1, start, count)?.contiguous()?;
            let part = part.matmul(&weight.tile(start, count, dtype)?)?;
            dx = Some(match dx {
                Some(sum) => (sum + part)?,
                None => part,
            });
        }
        let dx = dx.map_or_else(|| Tensor::zeros((rows, inputs), dtype, dy.device()), Ok)?;
        adjoints.give(of_x, scaled(dx, scale)?)
    }))
}

#[cfg(test)]
mod tests;
