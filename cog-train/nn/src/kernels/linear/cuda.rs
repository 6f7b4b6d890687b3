//! Products by cuBLAS, and what is added to them in one pass.

use candle_core::{Error, Tensor};

use super::Product;
use crate::kernels::gpu::{self, Argument, Gpu, Grid, Kernel, call, kernel};
use crate::kernels::tape::Node;

const AFTER: Kernel = kernel!("linear.cu", "linear_after");

pub(super) fn forward(gpu: Gpu, product: Product, shape: &[usize]) -> Result<Node, Error> {
    let Product { x, weight, bias, to, scale, rows, inputs, outputs } = product;
    let (w, dtype) = (weight.tensor().contiguous()?, x.tensor().dtype());
    let y = x.tensor().reshape((rows, inputs))?.matmul(&w.t()?)?;
    let added =
        |node: &Option<Node>| node.as_ref().map(|node| node.tensor().contiguous()).transpose();
    let after = After { bias: added(&bias)?, to: added(&to)?, scale };
    after.apply(&gpu, &y)?;
    let handle = |node: &Option<Node>| node.as_ref().and_then(Node::handle);
    let handles = [x.handle(), weight.handle(), handle(&bias), handle(&to)];
    let tape = x.tape().clone();
    // A frozen weight needs no input on the way back.
    let kept = weight.handle().map(|_| x.kept());
    drop(x);
    let scaled = After { bias: None, to: None, scale };
    Ok(tape.result(y.reshape(shape)?, handles, move |dy, adjoints| {
        let [of_x, of_weight, of_bias, of_to] = handles;
        let dy = gpu::plain(&dy, dtype)?;
        adjoints.share(of_to, &dy)?;
        let dy = dy.reshape((rows, outputs))?;
        if of_bias.is_some() {
            adjoints.give(of_bias, gpu::column_sums(&gpu, &dy)?)?;
        }
        if let Some(kept) = kept {
            let x = kept.numbers()?.reshape((rows, inputs))?;
            gpu::weight_gradient(&gpu, adjoints, of_weight, [&dy, &x], scale)?;
        }
        if of_x.is_some() {
            let dx = dy.matmul(&w)?;
            scaled.apply(&gpu, &dx)?;
            adjoints.give(of_x, dx)?;
        }
        Ok(())
    }))
}

/// What is done to a product.
struct After {
    bias: Option<Tensor>,
    to: Option<Tensor>,
    scale: f32,
}

impl After {
    /// In its place.
    fn apply(&self, gpu: &Gpu, y: &Tensor) -> Result<(), Error> {
        let Self { bias, to, scale } = self;
        if bias.is_none() && to.is_none() && scale.to_bits() == 1f32.to_bits() {
            return Ok(());
        }
        let (rows, n) = y.dims2()?;
        let (bias, to): (Argument<'_>, Argument<'_>) = (bias.as_ref().into(), to.as_ref().into());
        call!(gpu, AFTER, Grid::rows(rows, n), y, bias, to, n, *scale)
    }
}
