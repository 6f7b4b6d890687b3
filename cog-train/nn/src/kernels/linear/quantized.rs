//! Products with a frozen weight in blocks of few bits: `y = scale * x W^T + bias + to`, and backward `dx = scale * dy W`.
//!
//! On the CPU each thread decodes the blocks of the panels that it multiplies, at most 512 by 512 elements at a time. Elsewhere,
//! and for 64-bit floats, some rows of the weight are decoded at a time, and multiplied before the next ones.

use candle_core::{Error, Tensor};

use super::cpu::column_sums;
use super::reference::{finished, scaled};
use super::{Operands, Product, checked};
use crate::kernels::host;
use crate::kernels::matmul::{Epilogue, Matrix, Right, Target, Threads, matmul};
use crate::kernels::quantized::Quantized;
use crate::kernels::reference::fits;
use crate::kernels::tape::Node;

/// Multiplies rows by a quantized weight.
///
/// # Errors
///
/// candle's error when the shapes or types do not fit, or the device fails.
pub(crate) fn forward(x: &Node, operands: &Operands<'_, Quantized>) -> Result<Node, Error> {
    let &Operands { weight, bias, to, scale } = operands;
    let (outputs, inputs) = weight.dims();
    let shape = checked(x, [outputs, inputs], bias, to)?;
    weight.check_dtype("linear", ("x", x.tensor()))?;
    let rows = x.tensor().elem_count() / inputs;
    let bias = bias.map(|bias| x.leaf(bias));
    let (x, weight, to) = (x.clone(), weight.clone(), to.cloned());
    let product = Product { x, weight, bias, to, scale, rows, inputs, outputs };
    let others = [&product.bias, &product.to];
    if fits(product.x.tensor()) && others.into_iter().flatten().all(|node| fits(node.tensor())) {
        let dtype = product.x.tensor().dtype();
        return product.on_cpu(&shape)?.map(|y| y.to_dtype(dtype));
    }
    product.by_tiles(&shape)
}

impl Product<Quantized> {
    fn on_cpu(self, shape: &[usize]) -> Result<Node, Error> {
        let Self { x, weight, bias, to, scale, rows, inputs, outputs } = self;
        let flat = host::contiguous(x.tensor())?;
        let wide = |node: &Option<Node>| {
            node.as_ref().map(|node| host::contiguous(node.tensor())).transpose()
        };
        let added = [wide(&bias)?, wide(&to)?];
        // Where a product has no bias or no summand, its input stands in for it.
        let [bias_or, to_or] = added.each_ref().map(|tensor| tensor.as_ref().unwrap_or(&flat));
        let y = host::read([&flat, bias_or, to_or], |[x, bias_or, to_or]| {
            let of_added = |at: usize, or| added[at].as_ref().map(|_| or);
            let epilogue = Epilogue { bias: of_added(0, bias_or), to: of_added(1, to_or) };
            weight.read(|blocks| {
                host::make(shape, |y| {
                    let target = Target::new(y, outputs).exact().with_epilogue(epilogue);
                    let (x, weight) = (Matrix::new(x, rows, inputs), Right::from(blocks));
                    matmul(target, x, weight.t(), scale, Threads::All);
                })
            })
        })???;
        let handle = |node: &Option<Node>| node.as_ref().and_then(Node::handle);
        let handles = [x.handle(), handle(&bias), handle(&to)];
        Ok(x.tape().result(y, handles, move |dy, adjoints| {
            let [of_x, of_bias, of_to] = handles;
            adjoints.share(of_to, &dy)?;
            host::read([&dy], |[dy]| {
                adjoints.write(of_bias, |target| column_sums(dy, outputs, target))?;
                if of_x.is_none() {
                    return Ok(());
                }
                let dx = weight.read(|blocks| {
                    host::make((rows, inputs), |dx| {
                        let dy = Matrix::new(dy, rows, outputs);
                        matmul(Target::new(dx, inputs), dy, blocks, scale, Threads::All);
                    })
                })??;
                adjoints.give(of_x, dx)
            })?
        }))
    }

    fn by_tiles(self, shape: &[usize]) -> Result<Node, Error> {
        let Self { x, weight, bias, to, scale, rows, inputs, outputs } = self;
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
}

#[cfg(test)]
mod tests;
