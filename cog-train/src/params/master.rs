//! The values of a parameter in 32 bits, where the model computes in 16.

use std::ops::Range;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use candle_core::{Tensor, Var};

use crate::error::Error;

/// Rows of a parameter, by its first dimension.
pub(crate) type RowRange = Range<usize>;

/// The values in 32 bits that this process has of a parameter; other ranks have the others.
#[derive(Debug)]
pub(super) struct Master {
    pub(super) rows: RowRange,
    /// `None` for no rows.
    pub(super) var: Option<Var>,
}

/// Returns a view of rows.
pub(super) fn rows_of(tensor: &Tensor, rows: &RowRange) -> Result<Tensor, Error> {
    if tensor.dims().first().is_none_or(|all| *rows == (0..*all)) {
        return Ok(tensor.clone());
    }
    Ok(tensor.narrow(0, rows.start, rows.len())?)
}

pub(super) fn read(master: &RwLock<Master>) -> RwLockReadGuard<'_, Master> {
    master.read().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn write(master: &RwLock<Master>) -> RwLockWriteGuard<'_, Master> {
    master.write().unwrap_or_else(PoisonError::into_inner)
}
