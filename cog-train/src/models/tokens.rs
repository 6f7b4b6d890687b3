//! The input of a model: rows of token ids, and which of them belong together.

use candle_core::{DType, Device, Error as TensorError, Tensor};
use cog_train_nn::Mask;

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
    /// The token with the greatest id, where the ids came from the host.
    largest: Option<Largest>,
}

/// The token with the greatest id of a batch.
#[derive(Debug, Clone, Copy)]
struct Largest {
    id: u32,
    /// Its row and its position there; `None` for the padding.
    place: Option<(usize, usize)>,
}

impl Largest {
    fn of(rows: &[Vec<u32>], padding: Option<u32>) -> Option<Self> {
        let places = rows.iter().enumerate().flat_map(|(row, ids)| {
            let place = move |position| Some((row, position));
            ids.iter().enumerate().map(move |(at, id)| Self { id: *id, place: place(at) })
        });
        let padding = padding.map(|id| Self { id, place: None });
        places.chain(padding).reduce(|most, next| if next.id > most.id { next } else { most })
    }
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
        let (positions, token_types) = (None, None);
        Ok(Self { ids, rows: Rows::Whole, positions, token_types, reach, largest: None })
    }

    /// Rows of different lengths, padded at the right with `padding`.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when there is no token or the device fails.
    pub fn padded(rows: &[Vec<u32>], padding: u32, device: &Device) -> Result<Self, Error> {
        let length = rows.iter().map(Vec::len).max().unwrap_or(0);
        let is_whole = rows.iter().all(|row| row.len() == length);
        let tokens = Self {
            largest: Largest::of(rows, (!is_whole).then_some(padding)),
            ..Self::new(table(rows, length, padding, device)?)?
        };
        if is_whole {
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
            largest: Largest::of(&ids, ids.iter().any(|row| row.len() < length).then_some(padding)),
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

    /// Checks that a table of `rows` vectors has one for each token.
    ///
    /// # Errors
    ///
    /// candle's error with the token.
    pub(crate) fn check_ids(&self, rows: usize) -> Result<(), TensorError> {
        match self.largest {
            Some(Largest { id, place }) if id as usize >= rows => {
                let place = place.map_or_else(
                    || "that rows are padded with".to_owned(),
                    |(row, position)| format!("at position {position} of row {row}"),
                );
                Err(without_embedding(id, &place, rows))
            }
            _ => Ok(()),
        }
    }

    /// The greatest position of any token, plus one.
    pub(crate) fn reach(&self) -> usize {
        self.reach
    }
}

/// The error of a token that the model does not know.
pub(crate) fn without_embedding(id: u32, place: &str, rows: usize) -> TensorError {
    TensorError::Msg(format!(
        "the token {id} {place} has no embedding: the model has {rows}\n\
         hint: use the model's own tokenizer, or add rows to its embedding"
    ))
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

pub(super) fn count(number: usize) -> Result<u32, Error> {
    u32::try_from(number).map_err(|_| refused(&format!("{number} tokens, more than 2^32")))
}

fn refused(reason: &str) -> Error {
    candle_core::Error::Msg(reason.to_owned()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_types_and_no_tokens_are_refused() {
        let floats = Tensor::zeros((1, 2), DType::F32, &Device::Cpu).unwrap();
        assert!(Tokens::new(floats.clone()).is_err());
        assert!(Tokens::padded(&[Vec::new()], 0, &Device::Cpu).is_err());
        let tokens = Tokens::padded(&[vec![1, 2]], 0, &Device::Cpu).unwrap();
        assert!(tokens.token_types(floats).is_err());
    }

    #[test]
    fn a_token_without_an_embedding_is_named_with_its_place() {
        let device = &Device::Cpu;
        let padded = Tokens::padded(&[vec![1, 7, 2], vec![9]], 0, device).unwrap();
        let packed = Tokens::packed(&[vec![vec![1, 7], vec![2, 9]], vec![vec![3]]], 0, device);
        let padding = Tokens::padded(&[vec![1, 7, 2], vec![8]], 9, device).unwrap();
        for (tokens, place) in [
            (padded, "at position 0 of row 1"),
            (packed.unwrap(), "at position 3 of row 0"),
            (padding, "that rows are padded with"),
        ] {
            assert!(tokens.check_ids(10).is_ok());
            let error = tokens.check_ids(9).unwrap_err().to_string();
            let expected =
                format!("the token 9 {place} has no embedding: the model has 9\nhint: use");
            assert!(error.starts_with(&expected), "{error}");
        }
    }
}
