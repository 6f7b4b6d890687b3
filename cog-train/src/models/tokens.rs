//! The input of a model: rows of token ids, and which of them belong together.

use candle_core::{DType, Device, Tensor};
use cog_train_nn::{IGNORED, Mask};

use crate::error::Error;

/// A batch of token ids `[B, T]`, as the models of [`models`](crate::models) take it.
///
/// ```
/// use cog_train::candle_core::Device;
/// use cog_train::models::Tokens;
///
/// // Two texts of different lengths, padded at the right with 0.
/// let tokens = Tokens::padded(&[vec![5, 6, 7], vec![8]], 0, &Device::Cpu)?;
/// assert_eq!(tokens.ids().to_vec2::<u32>()?, [[5, 6, 7], [8, 0, 0]]);
/// // Two texts in one row, which do not see each other.
/// let packed = Tokens::packed(&[vec![vec![5, 6, 7], vec![8]]], 0, &Device::Cpu)?;
/// assert_eq!(packed.ids().to_vec2::<u32>()?, [[5, 6, 7, 8]]);
/// assert_eq!(packed.positions().unwrap().to_vec2::<u32>()?, [[0, 1, 2, 0]]);
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Tokens {
    ids: Tensor,
    rows: Rows,
    positions: Option<Tensor>,
    token_types: Option<Tensor>,
    /// The greatest position of any token, plus one.
    reach: usize,
}

/// The tokens of a row that belong together.
#[derive(Debug, Clone)]
enum Rows {
    /// All of them.
    Whole,
    /// The first ones, `[B]` of u32.
    Padded(Tensor),
    /// Those with the same number, `[B, T]` of u32.
    Packed(Tensor),
}

impl Tokens {
    /// Rows of one length, `[B, T]` of u32, without padding.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when `ids` has another shape or type.
    pub fn new(ids: Tensor) -> Result<Self, Error> {
        let (_, reach) = ids.dims2()?;
        if ids.dtype() != DType::U32 {
            return Err(refused(&format!("token ids of {:?}, not of U32", ids.dtype())));
        }
        Ok(Self { ids, rows: Rows::Whole, positions: None, token_types: None, reach })
    }

    /// Rows of different lengths, padded at the right with `padding`.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when there is no token or the device fails.
    pub fn padded(rows: &[Vec<u32>], padding: u32, device: &Device) -> Result<Self, Error> {
        let length = rows.iter().map(Vec::len).max().unwrap_or(0);
        let tokens = Self::new(table(rows, length, padding, device)?)?;
        if rows.iter().all(|row| row.len() == length) {
            return Ok(tokens);
        }
        let lengths = rows.iter().map(|row| count(row.len())).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { rows: Rows::Padded(Tensor::new(lengths, device)?), ..tokens })
    }

    /// Several texts in each row, padded at the right with `padding`. A text sees nothing of another one, and its positions
    /// count from 0.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when there is no token or the device fails.
    pub fn packed(rows: &[Vec<Vec<u32>>], padding: u32, device: &Device) -> Result<Self, Error> {
        let length = rows.iter().map(|row| row.iter().map(Vec::len).sum()).max().unwrap_or(0);
        let ids: Vec<Vec<u32>> = rows.iter().map(|row| row.concat()).collect();
        let (mut segments, mut positions) = (Vec::new(), Vec::new());
        for row in rows {
            let (mut of_row, mut at_row) = (Vec::new(), Vec::new());
            // Padding has the number 0.
            for (number, text) in (1..).zip(row) {
                of_row.extend(std::iter::repeat_n(number, text.len()));
                at_row.extend(0..count(text.len())?);
            }
            segments.push(of_row);
            positions.push(at_row);
        }
        let reach = rows.iter().flatten().map(Vec::len).max().unwrap_or(0);
        Ok(Self {
            rows: Rows::Packed(table(&segments, length, 0, device)?),
            positions: Some(table(&positions, length, 0, device)?),
            reach,
            ..Self::new(table(&ids, length, padding, device)?)?
        })
    }

    /// Sets the type of each token, `[B, T]` of u32: BERT's first and second sentence.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the shape or the type is another one.
    pub fn token_types(mut self, types: Tensor) -> Result<Self, Error> {
        if types.dims() != self.ids.dims() || types.dtype() != DType::U32 {
            let (found, dtype, needed) = (types.dims(), types.dtype(), self.ids.dims());
            let reason = format!("token types {found:?} of {dtype:?}, not {needed:?} of U32");
            return Err(refused(&reason));
        }
        self.token_types = Some(types);
        Ok(self)
    }

    /// The ids, `[B, T]`.
    #[must_use]
    pub fn ids(&self) -> &Tensor {
        &self.ids
    }

    /// The position of each token, `[B, T]`, where they do not count through each row.
    #[must_use]
    pub fn positions(&self) -> Option<&Tensor> {
        self.positions.as_ref()
    }

    /// The number of tokens of each row, `[B]` of u32, where some are padded.
    #[must_use]
    pub fn lengths(&self) -> Option<&Tensor> {
        match &self.rows {
            Rows::Padded(lengths) => Some(lengths),
            _ => None,
        }
    }

    /// The type of each token, `[B, T]`, if they were set.
    #[must_use]
    pub fn types(&self) -> Option<&Tensor> {
        self.token_types.as_ref()
    }

    /// The mask of an encoder, where every token sees every other one of its text, or of a decoder, where it sees those
    /// before. A decoder's padding stands where no token looks, so that its mask needs no lengths.
    pub(crate) fn mask(&self, causal: bool) -> Mask {
        match &self.rows {
            Rows::Packed(ids) => Mask::Segments { ids: ids.clone(), causal },
            Rows::Padded(lengths) if !causal => Mask::Padding { lengths: lengths.clone(), causal },
            _ if causal => Mask::Causal,
            _ => Mask::Full,
        }
    }

    /// The greatest position of any token, plus one.
    pub(crate) fn reach(&self) -> usize {
        self.reach
    }
}

/// The tokens that a language model is to predict, for [`CausalLm::loss`](super::CausalLm::loss): scores are computed only
/// where there is one.
///
/// ```
/// use cog_train::candle_core::Device;
/// use cog_train::models::Targets;
///
/// // The labels of transformers: those of the second row are masked but for its last token.
/// let ignored = Targets::IGNORED;
/// let targets = Targets::of_labels(&[vec![5, 6, 7], vec![ignored, ignored, 4]], &Device::Cpu)?;
/// assert_eq!(targets.count(), 3); // 6 after 5, 7 after 6, and 4 in the second row
/// # Ok::<(), cog_train::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Targets {
    /// Of the positions `[B * T]`, those that have a target.
    rows: Tensor,
    ids: Tensor,
    count: usize,
}

impl Targets {
    /// The label of a token that is not to be predicted.
    pub const IGNORED: u32 = IGNORED;

    /// The labels of transformers, one for each token of a row: each position predicts the label of the next one. Shorter
    /// rows are padded at the right, as those of [`Tokens::padded`].
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the device fails.
    pub fn of_labels(labels: &[Vec<u32>], device: &Device) -> Result<Self, Error> {
        let next = |row: &Vec<u32>| row.iter().skip(1).copied().chain([IGNORED]).collect();
        let next: Vec<Vec<u32>> = labels.iter().map(next).collect();
        Self::of_next(&next, device)
    }

    /// The token that each position predicts, or [`IGNORED`](Self::IGNORED).
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the device fails.
    pub fn of_next(next: &[Vec<u32>], device: &Device) -> Result<Self, Error> {
        let length = next.iter().map(Vec::len).max().unwrap_or(0);
        let (mut rows, mut ids) = (Vec::new(), Vec::new());
        for (row, next) in next.iter().enumerate() {
            for (at, id) in next.iter().enumerate().filter(|(_, id)| **id != IGNORED) {
                rows.push(count(row * length + at)?);
                ids.push(*id);
            }
        }
        let count = ids.len();
        let tensor = |values: Vec<u32>| Tensor::from_vec(values, count, device);
        Ok(Self { rows: tensor(rows)?, ids: tensor(ids)?, count })
    }

    /// Returns the number of targets.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The flat indices of the positions, `[n]`.
    pub(crate) fn rows(&self) -> &Tensor {
        &self.rows
    }

    /// The target of each of them, `[n]`.
    pub(crate) fn ids(&self) -> &Tensor {
        &self.ids
    }
}

fn table(rows: &[Vec<u32>], length: usize, fill: u32, device: &Device) -> Result<Tensor, Error> {
    if length == 0 {
        return Err(refused("there is no token"));
    }
    let mut flat = Vec::with_capacity(rows.len() * length);
    for row in rows {
        flat.extend_from_slice(row);
        flat.extend(std::iter::repeat_n(fill, length - row.len()));
    }
    Ok(Tensor::from_vec(flat, (rows.len(), length), device)?)
}

fn count(number: usize) -> Result<u32, Error> {
    u32::try_from(number).map_err(|_| refused(&format!("{number} tokens, more than 2^32")))
}

fn refused(reason: &str) -> Error {
    candle_core::Error::Msg(reason.to_owned()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `[1, 2, 3]` and `[4, 5, 6, 7, 8]` have six targets, packed or padded.
    #[test]
    fn no_target_crosses_the_border_of_a_text() {
        let ignored = Targets::IGNORED;
        let packed = [vec![1, 2, 3, ignored, 5, 6, 7, 8]];
        let padded = [vec![1, 2, 3], vec![4, 5, 6, 7, 8]];
        for (labels, rows) in
            [(&packed[..], vec![0, 1, 3, 4, 5, 6]), (&padded[..], vec![0, 1, 5, 6, 7, 8])]
        {
            let targets = Targets::of_labels(labels, &Device::Cpu).unwrap();
            assert_eq!(targets.rows().to_vec1::<u32>().unwrap(), rows);
            assert_eq!(targets.ids().to_vec1::<u32>().unwrap(), [2, 3, 5, 6, 7, 8]);
        }
    }

    #[test]
    fn other_types_and_no_tokens_are_refused() {
        let floats = Tensor::zeros((1, 2), DType::F32, &Device::Cpu).unwrap();
        assert!(Tokens::new(floats.clone()).is_err());
        assert!(Tokens::padded(&[Vec::new()], 0, &Device::Cpu).is_err());
        let tokens = Tokens::padded(&[vec![1, 2]], 0, &Device::Cpu).unwrap();
        assert!(tokens.token_types(floats).is_err());
    }
}
