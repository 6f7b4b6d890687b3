//! Batches of tokens without their padding.
//!
//! Most of an encoder's time goes to layers that treat every position by itself. Rows of different lengths are therefore laid
//! end to end as the segments of one row, which attention keeps apart, and padding costs nothing.

use candle_core::{DType, Device, Error, Tensor};
use cog_train_nn::{self as nn, Mask, Node};

use super::tokens::Tokens;

/// The positions of a batch that a model computes: `[B, T]` if no row has padding, else `[1, N]` for the `N` tokens of all rows.
#[derive(Debug, Clone)]
pub(crate) struct Unpadded {
    ids: Tensor,
    types: Option<Tensor>,
    positions: Option<Tensor>,
    mask: Mask,
    rows: usize,
    length: usize,
    /// The greatest position of any token in its text, plus one.
    reach: usize,
    /// The number of tokens of each row, where they are laid end to end.
    lengths: Option<Vec<usize>>,
    /// Whether a row holds several texts.
    packed: bool,
}

impl Unpadded {
    /// Drops the padding. Positions count from `first`.
    ///
    /// # Errors
    ///
    /// candle's error when a row is empty, or the device fails.
    pub(crate) fn new(tokens: &Tokens, causal: bool, first: u32) -> Result<Self, Error> {
        let (rows, length) = tokens.ids().dims2()?;
        let given = tokens.positions().map(|positions| shifted(positions, first)).transpose()?;
        let mask = tokens.mask(causal);
        let whole = Self {
            ids: tokens.ids().clone(),
            types: tokens.types().cloned(),
            positions: given,
            packed: matches!(mask, Mask::Segments { .. }),
            mask,
            rows,
            length,
            reach: tokens.reach(),
            lengths: None,
        };
        let Some(lengths) = tokens.lengths() else { return Ok(whole) };
        let device = tokens.ids().device();
        let lengths: Vec<usize> =
            lengths.to_vec1::<u32>()?.into_iter().map(|length| length as usize).collect();
        if let Some(row) = lengths.iter().position(|tokens| *tokens == 0) {
            return Err(Error::Msg(format!("row {row} has no token")));
        }
        let (mut kept, mut segments, mut positions) = (Vec::new(), Vec::new(), Vec::new());
        for ((row, start), tokens) in (0..).zip((0..).step_by(length)).zip(&lengths) {
            for position in (0..).take(*tokens) {
                kept.push(start + position);
                segments.push(row);
                positions.push(first + position);
            }
        }
        let kept = vector(kept, device)?;
        let select = |tensor: &Tensor| tensor.flatten_all()?.index_select(&kept, 0)?.unsqueeze(0);
        let positions = match &whole.positions {
            Some(positions) => select(positions)?,
            None => vector(positions, device)?.unsqueeze(0)?,
        };
        Ok(Self {
            ids: select(&whole.ids)?,
            types: whole.types.as_ref().map(select).transpose()?,
            positions: Some(positions),
            mask: Mask::Segments { ids: vector(segments, device)?.unsqueeze(0)?, causal },
            lengths: Some(lengths),
            ..whole
        })
    }

    /// The ids, `[b, n]`.
    pub(crate) fn ids(&self) -> &Tensor {
        &self.ids
    }

    /// The type of each token, `[b, n]`, if they were set.
    pub(crate) fn types(&self) -> Option<&Tensor> {
        self.types.as_ref()
    }

    /// The position of each token, `[b, n]`, where they do not count through each row.
    pub(crate) fn positions(&self) -> Option<&Tensor> {
        self.positions.as_ref()
    }

    /// The greatest position of any token in its text, plus one, without what positions count from.
    pub(crate) fn reach(&self) -> usize {
        self.reach
    }

    /// The keys that each token sees.
    pub(crate) fn mask(&self) -> &Mask {
        &self.mask
    }

    /// Returns the first token of each row: of `[b, n, d]`, `[B, d]`.
    ///
    /// # Errors
    ///
    /// candle's error when a row holds several texts or the device fails.
    pub(crate) fn first(&self, x: &Node) -> Result<Node, Error> {
        self.select(x, &vec![0; self.rows])
    }

    /// Returns the token of each row at a position of its own.
    ///
    /// # Errors
    ///
    /// As [`first`](Self::first).
    pub(crate) fn select(&self, x: &Node, positions: &[usize]) -> Result<Node, Error> {
        self.refuse_packed()?;
        let starts = self.starts();
        let rows = starts.iter().zip(positions).map(|(start, position)| word(start + position));
        rows_at(x, &vector(rows.collect(), x.tensor().device())?)
    }

    /// Returns the mean over the tokens of each row: of `[b, n, d]`, `[B, d]`.
    ///
    /// # Errors
    ///
    /// As [`first`](Self::first).
    pub(crate) fn mean(&self, x: &Node) -> Result<Node, Error> {
        self.refuse_packed()?;
        let Some(lengths) = &self.lengths else { return nn::mean(x, 1) };
        let kept = lengths
            .iter()
            .flat_map(|tokens| (0..self.length).map(move |position| u8::from(position < *tokens)));
        let kept = Tensor::from_vec(
            kept.collect::<Vec<u8>>(),
            (self.rows, self.length),
            x.tensor().device(),
        )?;
        nn::masked_mean(&self.padded(x)?, &kept)
    }

    /// Lays the rows out with their padding, which is zero: of `[b, n, d]`, `[B, T, d]`.
    ///
    /// # Errors
    ///
    /// candle's error when the device fails.
    pub(crate) fn padded(&self, x: &Node) -> Result<Node, Error> {
        let Some(lengths) = &self.lengths else { return Ok(x.clone()) };
        let &[_, tokens, width] = x.dims() else { return Err(unfit(x)) };
        let zeros = Tensor::zeros((1, 1, width), x.tensor().dtype(), x.tensor().device())?;
        let x = nn::cat([x, &nn::parameter(x, &zeros)?], 1)?;
        let rows = self.starts().into_iter().zip(lengths).flat_map(|(start, kept)| {
            (0..self.length).map(move |at| word(if at < *kept { start + at } else { tokens }))
        });
        let rows = vector(rows.collect(), x.tensor().device())?;
        nn::reshape(&nn::index_select(&x, 1, &rows)?, (self.rows, self.length, width))
    }

    /// Returns the vectors at flat indices of `[B, T]`: of `[b, n, d]`, `[indices, d]`.
    ///
    /// # Errors
    ///
    /// candle's error when an index is of padding or of no position, or the device fails.
    pub(crate) fn at(&self, x: &Node, indices: &Tensor) -> Result<Node, Error> {
        let Some(lengths) = &self.lengths else { return rows_at(x, indices) };
        let starts = self.starts();
        let place = |index: u32| {
            let (row, at) = (index as usize / self.length, index as usize % self.length);
            match lengths.get(row).zip(starts.get(row)) {
                Some((tokens, start)) if at < *tokens => Ok(word(start + at)),
                _ => Err(Error::Msg(format!(
                    "position {at} of row {row} has a target, and is padding"
                ))),
            }
        };
        let places = indices.to_vec1::<u32>()?.into_iter().map(place);
        rows_at(x, &vector(places.collect::<Result<_, _>>()?, x.tensor().device())?)
    }

    /// The index of the first token of each row among all.
    fn starts(&self) -> Vec<usize> {
        let lengths = (0..self.rows)
            .map(|row| self.lengths.as_ref().map_or(self.length, |lengths| lengths[row]));
        let mut next = 0;
        lengths
            .map(|tokens| {
                next += tokens;
                next - tokens
            })
            .collect()
    }

    fn refuse_packed(&self) -> Result<(), Error> {
        if self.packed {
            let reason = "a row holds several texts, and the head has one result for each row\n\
                          hint: use `Tokens::padded`";
            return Err(Error::Msg(reason.to_owned()));
        }
        Ok(())
    }
}

fn shifted(positions: &Tensor, first: u32) -> Result<Tensor, Error> {
    if first == 0 {
        return Ok(positions.clone());
    }
    let flat: Vec<u32> = positions.flatten_all()?.to_vec1()?;
    let flat = flat.into_iter().map(|position| position + first).collect();
    vector(flat, positions.device())?.reshape(positions.shape())
}

/// The rows of `x` `[.., d]` at these indices, `[n, d]`.
fn rows_at(x: &Node, indices: &Tensor) -> Result<Node, Error> {
    let width = x.dims().last().copied().unwrap_or(0);
    nn::index_select(&nn::reshape(x, ((), width))?, 0, indices)
}

fn vector(values: Vec<u32>, device: &Device) -> Result<Tensor, Error> {
    let count = values.len();
    Tensor::from_vec(values, count, device)?.to_dtype(DType::U32)
}

fn word(index: usize) -> u32 {
    index.try_into().unwrap_or(u32::MAX)
}

fn unfit(x: &Node) -> Error {
    Error::Msg(format!("hidden states are {:?}, not [b, n, d]", x.dims()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> (Unpadded, Tensor) {
        let rows = [vec![5, 6, 7], vec![8], vec![9, 4]];
        let tokens = Tokens::padded(&rows, 0, &Device::Cpu).unwrap();
        let batch = Unpadded::new(&tokens, false, 2).unwrap();
        let x: Vec<f32> = (1..=12u8).map(f32::from).collect();
        (batch, Tensor::from_vec(x, (1, 6, 2), &Device::Cpu).unwrap())
    }

    fn on(
        work: impl FnOnce(&Unpadded, &Node) -> Result<Node, Error>,
    ) -> Result<Vec<Vec<f32>>, Error> {
        let (batch, x) = batch();
        let y = nn::trace([&x], |[x]| work(&batch, &x))?;
        y.reshape(((), y.dims()[y.rank() - 1]))?.to_vec2()
    }

    #[test]
    fn tokens_are_laid_end_to_end_and_padding_is_zero() {
        let (batch, _) = batch();
        assert_eq!(batch.ids().to_vec2::<u32>().unwrap(), [[5, 6, 7, 8, 9, 4]]);
        let positions = batch.positions().unwrap().to_vec2::<u32>().unwrap();
        assert_eq!(positions, [[2, 3, 4, 2, 2, 3]]);
        let Mask::Segments { ids, causal: false } = batch.mask() else { panic!("segments") };
        assert_eq!(ids.to_vec2::<u32>().unwrap(), [[0, 0, 0, 1, 2, 2]]);
        let (padding, padded) = ([0.0, 0.0], on(Unpadded::padded).unwrap());
        let rows = [
            [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
            [[7.0, 8.0], padding, padding],
            [[9.0, 10.0], [11.0, 12.0], padding],
        ];
        assert_eq!(padded, rows.concat());
    }

    #[test]
    fn each_row_is_pooled_by_itself() {
        let first = on(Unpadded::first).unwrap();
        assert_eq!(first, [[1.0, 2.0], [7.0, 8.0], [9.0, 10.0]]);
        let last = on(|batch, x| batch.select(x, &[2, 0, 1])).unwrap();
        assert_eq!(last, [[5.0, 6.0], [7.0, 8.0], [11.0, 12.0]]);
        let mean = on(Unpadded::mean).unwrap();
        assert_eq!(mean, [[3.0, 4.0], [7.0, 8.0], [10.0, 11.0]]);
    }

    #[test]
    fn a_target_at_padding_is_refused() {
        let at = |index: u32| on(|batch, x| batch.at(x, &Tensor::new(&[index], &Device::Cpu)?));
        assert_eq!(at(7).unwrap(), [[11.0, 12.0]]);
        let error = at(8).unwrap_err().to_string();
        assert!(error.contains("position 2 of row 2 has a target, and is padding"), "{error}");
    }

    #[test]
    fn rows_with_several_texts_are_not_pooled() {
        let rows = [vec![vec![5, 6], vec![7]]];
        let tokens = Tokens::packed(&rows, 0, &Device::Cpu).unwrap();
        let batch = Unpadded::new(&tokens, false, 0).unwrap();
        let x = Tensor::zeros((1, 3, 2), DType::F32, &Device::Cpu).unwrap();
        let error = nn::trace([&x], |[x]| batch.mean(&x)).unwrap_err().to_string();
        assert!(error.contains("a row holds several texts"), "{error}");
    }
}
