//! Buckets: pieces of tensors that travel as one tensor.

use candle_core::{DType, Tensor};

use crate::error::Error;
use crate::params::{Params, RowRange};

/// Rows of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) name: String,
    pub(super) rows: RowRange,
}

impl Piece {
    /// Returns the dimensions of the rows.
    pub(super) fn dims(&self, params: &Params) -> Vec<usize> {
        let mut dims = params.get(&self.name).map_or_else(Vec::new, |it| it.dims().to_vec());
        if let Some(first) = dims.first_mut() {
            *first = self.rows.len();
        }
        dims
    }
}

/// Joins tensors to one of one dimension. A single one is not copied.
pub(super) fn packed(
    tensors: impl Iterator<Item = Result<Tensor, Error>>,
    params: &Params,
) -> Result<Tensor, Error> {
    let flat: Vec<Tensor> =
        tensors.map(|tensor| Ok(tensor?.flatten_all()?)).collect::<Result<_, Error>>()?;
    Ok(match &flat[..] {
        [] => Tensor::zeros(0, DType::F32, params.device())?,
        [one] => one.clone(),
        many => Tensor::cat(many, 0)?,
    })
}

/// Returns views of the pieces of a bucket, in their shapes.
pub(super) fn unpacked(
    bucket: &Tensor,
    pieces: &[Piece],
    params: &Params,
) -> Result<Vec<Tensor>, Error> {
    let mut start = 0;
    let mut tensors = Vec::new();
    for piece in pieces {
        let dims = piece.dims(params);
        let count = dims.iter().product();
        tensors.push(bucket.narrow(0, start, count)?.reshape(dims)?);
        start += count;
    }
    Ok(tensors)
}

/// Returns a view of rows without a graph.
pub(super) fn rows_of(tensor: &Tensor, rows: &RowRange) -> Result<Tensor, Error> {
    let tensor = tensor.detach();
    let all = tensor.dims().first().is_none_or(|all| *rows == (0..*all));
    Ok(if all { tensor } else { tensor.narrow(0, rows.start, rows.len())? })
}
