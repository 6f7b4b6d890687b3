//! Products by cuBLAS, and their epilogue in one pass.
#![expect(unsafe_code, reason = "a kernel is declared")]

use candle_core::{Error, Tensor};

use super::Product;
use crate::kernels::gpu::{self, Argument, Gpu, Grid, Kernel, call, kernel};
use crate::kernels::tape::Node;

// SAFETY: `Epilogue::apply` passes a contiguous result with rows of `n` elements, a bias of `n` and a summand of its size,
// all of the type of the GPU.
const EPILOGUE: Kernel = unsafe { kernel!("linear.cu", "linear_after") };

pub(super) fn forward(gpu: Gpu, product: Product, shape: &[usize]) -> Result<Node, Error> {
    let Product { x, weight, bias, to, scale, rows, inputs, outputs } = product;
    let (w, dtype) = (weight.tensor().contiguous()?, x.tensor().dtype());
    let y = x.tensor().reshape((rows, inputs))?.matmul(&w.t()?)?;
    let added =
        |node: &Option<Node>| node.as_ref().map(|node| node.tensor().contiguous()).transpose();
    let epilogue = Epilogue { bias: added(&bias)?, to: added(&to)?, scale };
    epilogue.apply(&gpu, &y)?;
    let handle = |node: &Option<Node>| node.as_ref().and_then(Node::handle);
    let handles = [x.handle(), weight.handle(), handle(&bias), handle(&to)];
    let tape = x.tape().clone();
    // The gradient of a frozen weight, which needs the input, is not computed.
    let saved = weight.handle().map(|_| x.saved());
    drop(x);
    let scaled = Epilogue { bias: None, to: None, scale };
    Ok(tape.result(y.reshape(shape)?, handles, move |dy, adjoints| {
        let [of_x, of_weight, of_bias, of_to] = handles;
        let dy = gpu::contiguous(&dy, dtype)?;
        adjoints.share(of_to, &dy)?;
        let dy = dy.reshape((rows, outputs))?;
        if of_bias.is_some() {
            adjoints.give(of_bias, gpu::column_sums(&gpu, &dy)?)?;
        }
        if let Some(saved) = saved {
            let x = saved.tensor()?.reshape((rows, inputs))?;
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

/// The factor and the summands of a product.
struct Epilogue {
    bias: Option<Tensor>,
    to: Option<Tensor>,
    scale: f32,
}

impl Epilogue {
    /// Applies them in place.
    fn apply(&self, gpu: &Gpu, y: &Tensor) -> Result<(), Error> {
        let Self { bias, to, scale } = self;
        if bias.is_none() && to.is_none() && scale.to_bits() == 1f32.to_bits() {
            return Ok(());
        }
        let (rows, n) = y.dims2()?;
        let (bias, to): (Argument<'_>, Argument<'_>) = (bias.as_ref().into(), to.as_ref().into());
        call!(gpu, EPILOGUE, Grid::rows(rows, n), y, bias, to, n, *scale)
    }
}
