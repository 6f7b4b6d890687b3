//! Rows of a table: `y[i] = table[ids[i]]`.
//!
//! `ids` `[..]` of any integer type, `table` `[n, d]` of a float type, `y` `[.., d]`. Backward, each row of the table's gradient is the sum of
//! the gradients of where it was used, in their order.

mod cpu;
mod cuda;

use candle_core::{DType, Error, Tensor};

use super::gpu::Gpu;
use super::quantized::Quantized;
use super::reference::{apply, fits};
use super::tape::Node;
use super::weight::Weight;

/// Looks rows up.
///
/// # Errors
///
/// candle's error when an id is not in the table or the device fails.
pub(crate) fn forward(ids: &Node, table: impl Into<Weight>) -> Result<Node, Error> {
    let table = match table.into() {
        Weight::Tensor(table) => table,
        Weight::Quantized(table) => return decoded(ids, &table),
    };
    let &[n, d] = table.dims() else {
        let reason = format!("embedding: a table {:?}", table.dims());
        return Err(candle_core::Error::msg(reason));
    };
    let shape: Vec<usize> = ids.dims().iter().copied().chain([d]).collect();
    let flat = ids.tensor().flatten_all()?;
    let table = ids.leaf(&table);
    let gpu = Gpu::of([table.tensor()]);
    if gpu.is_some() || fits(table.tensor()) {
        let flat = checked(&flat, n)?;
        if let Some(gpu) = gpu {
            return cuda::forward(gpu, flat, &table, &shape);
        }
        return cpu::forward(flat, &table, &shape);
    }
    let flat = flat.to_device(table.tensor().device())?;
    apply([&table], move |[table]| {
        table.contiguous()?.index_select(&flat, 0)?.reshape(shape.as_slice())
    })
}

/// Looks rows of a frozen table up, which are decoded one by one. They are of the type that the table stands for.
fn decoded(ids: &Node, table: &Quantized) -> Result<Node, Error> {
    let (n, d) = table.dims();
    let shape: Vec<usize> = ids.dims().iter().copied().chain([d]).collect();
    let flat = checked(&ids.tensor().flatten_all()?, n)?;
    Ok(ids.constant(table.select(&flat)?.reshape(shape)?))
}

/// Returns ids that are all below `n`.
fn checked(ids: &Tensor, n: usize) -> Result<Vec<u32>, Error> {
    let ids: Vec<u32> = ids.to_dtype(DType::U32)?.to_vec1()?;
    if let Some(id) = ids.iter().find(|id| **id as usize >= n) {
        let reason = format!("embedding: id {id} is not below {n}, the length of the table");
        return Err(candle_core::Error::msg(reason));
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::super::parity;
    use super::*;
    use crate::kernels::tape::trace;

    fn look_up(ids: &Tensor, table: &Tensor) -> Result<Tensor, Error> {
        trace([ids], |[ids]| forward(&ids, table))
    }

    /// Ids that come once, often and never, and tables over several chunks.
    #[test]
    fn fast_path_equals_reference() {
        for (n, d, count) in [(1, 1, 4), (7, 3, 20), (1000, 33, 257)] {
            let ids: Vec<u32> = (0..count).map(|at| at * at * 31 % n).collect();
            let ids =
                Tensor::new(ids, &candle_core::Device::Cpu).unwrap().reshape((1, ())).unwrap();
            let table = parity::draw(&[n as usize, d], 0);
            parity::check(
                [&table],
                |[table]| look_up(&ids, table),
                |[table]| {
                    let flat = table.contiguous()?.index_select(&ids.flatten_all()?, 0)?;
                    flat.reshape((1, ids.elem_count(), d))
                },
            );
            parity::threads([&table], |[table]| look_up(&ids, table));
        }
    }

    #[test]
    fn an_id_out_of_range_is_an_error() {
        let ids = Tensor::new(&[0u32, 3], &candle_core::Device::Cpu).unwrap();
        let error = look_up(&ids, &parity::draw(&[3, 2], 0).to_dtype(DType::F32).unwrap());
        let error = error.unwrap_err().to_string();
        assert!(
            error.starts_with("embedding: id 3 is not below 3, the length of the table"),
            "{error}"
        );
    }
}
