//! The rows of a parameter that this process updates; other ranks update the others.

use candle_core::{Tensor, Var};

use super::master::{Master, RowRange, read, rows_of, write};
use super::param::{Param, Values};
use super::wide::master_of;
use crate::error::Error;

impl Param {
    /// Returns the range of all its rows: those of its first dimension, or one.
    pub(crate) fn all_rows(&self) -> RowRange {
        0..self.dims().first().copied().unwrap_or(1)
    }

    /// Keeps the values in 32 bits of these rows alone where the model computes in 16 bits. Rows that were not there take the
    /// values that the model computes with.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the device has no room.
    pub(crate) fn hold(&self, rows: RowRange) -> Result<(), Error> {
        let Values::Mixed { master, compute } = &self.values else { return Ok(()) };
        let mut held = write(master);
        if held.rows == rows {
            return Ok(());
        }
        let var = match &held.var {
            _ if rows.is_empty() => None,
            Some(var) if held.rows.start <= rows.start && rows.end <= held.rows.end => {
                let inner = rows.start - held.rows.start..rows.end - held.rows.start;
                Some(Var::from_tensor(&rows_of(var, &inner)?.detach())?)
            }
            had => {
                let var = master_of(&rows_of(&compute.as_detached_tensor(), &rows)?)?;
                if let Some(had) = had
                    && rows.start <= held.rows.start
                    && held.rows.end <= rows.end
                {
                    var.slice_set(had, 0, held.rows.start - rows.start)?;
                }
                Some(var)
            }
        };
        *held = Master { rows, var };
        Ok(())
    }

    /// Returns rows of the values in 32 bits, which this process has.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] for rows that it does not have.
    pub(crate) fn rows(&self, rows: &RowRange) -> Result<Tensor, Error> {
        match &self.values {
            Values::Mixed { master, .. } => match &*read(master) {
                Master { rows: held, var: Some(var) } if held.start <= rows.start => rows_of(
                    &var.as_detached_tensor(),
                    &(rows.start - held.start..rows.end - held.start),
                ),
                _ => Err(candle_core::Error::msg("another rank has these rows").into()),
            },
            _ => rows_of(&self.compute().detach(), rows),
        }
    }

    /// Lets `work` write rows of the values in 32 bits, which this process has. The model computes with the new ones.
    ///
    /// # Errors
    ///
    /// The error of `work`; [`Error::Tensor`] when the device fails.
    pub(crate) fn update_rows(
        &self,
        rows: &RowRange,
        work: impl FnOnce(&Var) -> Result<(), Error>,
    ) -> Result<(), Error> {
        match &self.values {
            Values::Wide(var) if *rows == self.all_rows() => work(var),
            Values::Mixed { master, .. } => {
                if let Master { rows: held, var: Some(var) } = &*read(master)
                    && held == rows
                {
                    work(var)?;
                    return self.set_computed(rows, var);
                }
                Err(candle_core::Error::msg("other rows are updated than are here").into())
            }
            // candle has no variable that is a part of another.
            _ => {
                let part = Var::from_tensor(&self.rows(rows)?)?;
                work(&part)?;
                self.set_computed(rows, &part)
            }
        }
    }

    /// Overwrites rows of the values in 32 bits, which this process has, and of the tensor that the model computes with.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] for another shape, or when the device fails.
    pub(crate) fn set_rows(&self, rows: &RowRange, values: &Tensor) -> Result<(), Error> {
        if let Values::Mixed { master, .. } = &self.values
            && let Master { rows: held, var: Some(var) } = &*read(master)
        {
            put(var, rows.start.saturating_sub(held.start), values)?;
        }
        self.set_computed(rows, values)
    }

    /// Overwrites rows of the tensor that the model computes with. Where it has a master of its own, that stays as it is.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] for another shape, or when the device fails.
    pub(crate) fn set_computed(&self, rows: &RowRange, values: &Tensor) -> Result<(), Error> {
        let compute = self.compute();
        put(compute, rows.start, &values.to_dtype(compute.dtype())?)
    }
}

/// Overwrites rows from `start` on.
fn put(tensor: &Tensor, start: usize, values: &Tensor) -> Result<(), Error> {
    if values.elem_count() == 0 {
        return Ok(());
    }
    let (tensor, values) = match tensor.dims() {
        [] => (tensor.reshape(1)?, values.reshape(1)?),
        _ => (tensor.clone(), values.contiguous()?),
    };
    Ok(tensor.slice_set(&values.detach(), 0, start)?)
}
