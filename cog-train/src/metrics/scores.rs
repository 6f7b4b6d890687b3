//! Rows of scores, each with a column that counts.

use candle_core::{DType, Error as TensorError, Tensor};

use crate::error::{Error, counted};

/// Rows of scores in 64 bits, and the column of each, which a message calls `what`.
pub(super) fn scored(
    scores: &Tensor,
    columns: &Tensor,
    what: &str,
) -> Result<(Vec<Vec<f64>>, Vec<usize>), Error> {
    let (rows, count) = scores.dims2()?;
    let columns: Vec<i64> = columns.to_dtype(DType::I64)?.to_vec1()?;
    if columns.len() != rows {
        let given = columns.len();
        return Err(TensorError::Msg(format!(
            "{} of scores and {}",
            counted(rows, "row"),
            counted(given, what)
        ))
        .into());
    }
    let column = |at: i64| {
        let column = usize::try_from(at).ok().filter(|column| *column < count);
        column.ok_or_else(|| TensorError::Msg(format!("the {what} {at} is not below {count}")))
    };
    let columns = columns.into_iter().map(column).collect::<Result<_, _>>()?;
    Ok((scores.to_dtype(DType::F64)?.to_vec2()?, columns))
}

/// Five rows of scores and the column of each, of which a test takes some.
#[cfg(test)]
pub(super) fn example(range: std::ops::Range<usize>) -> (Tensor, Tensor) {
    let rows = [
        [0.1f32, 0.5, 0.3, 0.1],
        [0.4, 0.3, 0.2, 0.1],
        [0.1, 0.2, 0.3, 0.4],
        [0.25, 0.3, 0.35, 0.1],
        [0.1, 0.7, 0.15, 0.05],
    ];
    let columns = [2u32, 0, 1, 3, 1];
    let device = candle_core::Device::Cpu;
    let scores = Tensor::new(rows[range.clone()].concat(), &device).unwrap();
    (scores.reshape(((), 4)).unwrap(), Tensor::new(&columns[range], &device).unwrap())
}
