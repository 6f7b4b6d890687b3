//! Rearranged values: slices, joined tensors, exchanged dimensions, selected indices. Any type and device;
//! nothing is kept but the indices. Backward, each value's gradient goes where the value came from.

use candle_core::{Error, Tensor};

use super::tape::{Handle, Node};

/// `length` indices from `start` on along dimension `dim`, without a copy.
///
/// # Errors
///
/// candle's error when they are not within the dimension.
pub(crate) fn narrow(x: &Node, dim: usize, start: usize, length: usize) -> Result<Node, Error> {
    let y = x.tensor().narrow(dim, start, length)?;
    let (to, after) = (x.handle(), x.dims()[dim] - start - length);
    Ok(x.tape().result(y, [to], move |gradient, adjoints| {
        adjoints.give(to, gradient.pad_with_zeros(dim, start, after)?)
    }))
}

/// Nodes side by side along dimension `dim`.
///
/// # Errors
///
/// candle's error when the other dimensions differ or the device fails.
pub(crate) fn cat<const N: usize>(nodes: &[Node; N], dim: usize) -> Result<Node, Error> {
    let tensors = nodes.each_ref().map(Node::tensor);
    let y = Tensor::cat(&tensors, dim)?;
    let to: [Handle; N] = nodes.each_ref().map(Node::handle);
    let sizes = tensors.map(|tensor| tensor.dims()[dim]);
    Ok(nodes[0].tape().result(y, to, move |gradient, adjoints| {
        let mut start = 0;
        for (to, size) in to.into_iter().zip(sizes) {
            if to.is_some() {
                adjoints.share(to, &gradient.narrow(dim, start, size)?)?;
            }
            start += size;
        }
        Ok(())
    }))
}

/// The dimensions in another order, without a copy.
///
/// # Errors
///
/// candle's error when `order` does not name each dimension once.
pub(crate) fn permute(x: &Node, order: &[usize]) -> Result<Node, Error> {
    let y = x.tensor().permute(order)?;
    let mut back = vec![0; order.len()];
    for (at, dim) in order.iter().enumerate() {
        back[*dim] = at;
    }
    let to = x.handle();
    Ok(x.tape()
        .result(y, [to], move |gradient, adjoints| adjoints.share(to, &gradient.permute(back)?)))
}

/// The slices at `indices` along dimension `dim`.
///
/// # Errors
///
/// candle's error when an index is not within the dimension or the device fails.
pub(crate) fn index_select(x: &Node, dim: usize, indices: &Tensor) -> Result<Node, Error> {
    let indices = indices.flatten_all()?.to_device(x.tensor().device())?;
    let y = x.tensor().contiguous()?.index_select(&indices, dim)?;
    let (to, shape) = (x.handle(), x.tensor().shape().clone());
    Ok(x.tape().result(y, [to], move |gradient, adjoints| {
        let zeros = Tensor::zeros(shape, gradient.dtype(), gradient.device())?;
        adjoints.give(to, zeros.index_add(&indices, &gradient.contiguous()?, dim)?)
    }))
}

#[cfg(test)]
mod tests {
    use super::super::parity;
    use super::*;
    use crate::kernels::tape::trace;

    #[test]
    fn slices_and_orders_have_candles_gradients() {
        let x = parity::draw(&[3, 4, 5], 0);
        for dim in 0..3 {
            for (start, length) in [(0, 1), (1, 2), (0, x.dims()[dim])] {
                parity::check(
                    [&x],
                    |[x]| trace([x], |[x]| narrow(&x, dim, start, length)),
                    |[x]| x.narrow(dim, start, length),
                );
            }
        }
        for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0], [0, 2, 1]] {
            parity::check(
                [&x],
                |[x]| trace([x], |[x]| permute(&x, &order)),
                |[x]| x.permute(order),
            );
        }
    }

    #[test]
    fn joined_tensors_take_their_own_slices_of_the_gradient() {
        let shapes = [[2, 3, 4], [2, 1, 4], [2, 5, 4]];
        let tensors = [0, 1, 2].map(|at| parity::draw(&shapes[at], at as u64));
        parity::check(
            tensors.each_ref(),
            |[a, b, c]| trace([a, b, c], |nodes| cat(&nodes, 1)),
            |tensors| Tensor::cat(&tensors, 1),
        );
    }

    /// Indices that come once, twice and never.
    #[test]
    fn an_index_gathers_the_gradients_of_each_use() {
        let x = parity::draw(&[4, 3, 5], 0);
        for (dim, indices) in [(0, vec![3u32, 0, 3]), (1, vec![1]), (2, vec![4, 4, 0, 2])] {
            let on = |x: &Tensor| Tensor::new(indices.as_slice(), x.device());
            parity::check(
                [&x],
                |[x]| trace([x], |[x]| index_select(&x, dim, &on(x.tensor())?)),
                |[x]| x.contiguous()?.index_select(&on(x)?, dim),
            );
        }
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let x = parity::draw(&[2, 3], 0);
        assert!(trace([&x], |[x]| narrow(&x, 1, 2, 2)).is_err());
        assert!(trace([&x], |[x]| permute(&x, &[0, 0])).is_err());
        let three = Tensor::new(&[3u32], x.device()).unwrap();
        assert!(trace([&x], |[x]| index_select(&x, 1, &three)).is_err());
    }
}
