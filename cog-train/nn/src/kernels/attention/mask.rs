//! The keys that a query sees.

use std::ops::Range;

use candle_core::{DType, Error, Tensor};

use super::dropped::Dropped;
use super::geometry::Geometry;

/// The keys that each query sees in [`attention`](crate::attention).
///
/// A query that sees no key returns zeros and has no gradient, as in PyTorch. Hidden values must be finite all the same, also
/// as in PyTorch: zero times NaN is NaN.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cog_train_nn::{self as nn, Mask};
///
/// let device = &Device::Cpu;
/// let x = Tensor::new(&[1f32, 2.0, 3.0], device)?.reshape((1, 3, 1, 1))?; // one row, three positions, one head
/// let last = |mask: &Mask| -> candle_core::Result<f32> {
///     let zeros = x.zeros_like()?; // all keys are equally near, so that the result is a mean
///     Ok(nn::attention(&zeros, &zeros, &x, mask)?.flatten_all()?.to_vec1::<f32>()?[2])
/// };
/// assert_eq!(last(&Mask::Full)?, 2.0);
/// assert_eq!(last(&Mask::Padding { lengths: Tensor::new(&[2u32], device)?, causal: false })?, 1.5);
/// assert_eq!(last(&Mask::Segments { ids: Tensor::new(&[[0u32, 1, 1]], device)?, causal: true })?, 2.5);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Mask {
    /// Every query sees every key.
    Full,
    /// A query sees its own key and those before. With more keys than queries, the queries are the last ones: the
    /// keys of earlier positions are cached. (PyTorch's `is_causal` takes them as the first ones. For as many keys as queries,
    /// as in training, both are the same.)
    Causal,
    /// Rows of different lengths: only the first keys of a row are seen.
    Padding {
        /// The number of keys of each row of the batch, `[B]` of u32.
        lengths: Tensor,
        /// Whether the mask is also [`Mask::Causal`].
        causal: bool,
    },
    /// Several texts in one row: a query sees the keys of its own text (block-diagonal attention).
    Segments {
        /// The text that each position belongs to, `[B, T]` of u32, for as many keys as queries.
        ids: Tensor,
        /// Whether the mask is also [`Mask::Causal`].
        causal: bool,
    },
}

/// A mask on the host, and the weights that dropout sets to zero.
#[derive(Debug, Clone, Default)]
pub(super) struct HostMask {
    causal: bool,
    /// The greatest distance of a query and a key that it sees.
    window: Option<usize>,
    /// By row of the batch.
    lengths: Option<Vec<u32>>,
    /// By row of the batch and position.
    segments: Option<Vec<u32>>,
    dropped: Option<Dropped>,
}

impl HostMask {
    /// # Errors
    ///
    /// candle's error when the mask does not fit the geometry.
    pub(super) fn new(
        mask: &Mask,
        window: Option<usize>,
        geometry: &Geometry,
    ) -> Result<Self, Error> {
        let Geometry { batch, queries, keys, .. } = *geometry;
        let mut mask = match mask {
            Mask::Full => Self::default(),
            Mask::Causal => Self { causal: true, ..Self::default() },
            Mask::Padding { lengths, causal } => {
                let lengths = words(lengths, "lengths", &[batch])?;
                if let Some(row) = lengths.iter().position(|length| *length as usize > keys) {
                    let length = lengths[row];
                    return Err(refused(&format!(
                        "row {row} has a length of {length}, and {keys} keys"
                    )));
                }
                Self { causal: *causal, lengths: Some(lengths), ..Self::default() }
            }
            Mask::Segments { ids, causal } => {
                if queries != keys {
                    let both = format!("{keys} for {queries}");
                    return Err(refused(&format!(
                        "segments need as many keys as queries, not {both}"
                    )));
                }
                let segments = Some(words(ids, "ids", &[batch, queries])?);
                Self { causal: *causal, segments, ..Self::default() }
            }
        };
        // A window over all keys is none.
        mask.window = window.filter(|window| *window < queries.max(keys));
        if mask.causal && queries > keys {
            let both = format!("{keys} for {queries}");
            return Err(refused(&format!("a causal mask needs a key for each query, not {both}")));
        }
        Ok(mask)
    }

    /// Sets weights to zero behind the softmax.
    pub(super) fn dropping(self, dropped: Option<Dropped>) -> Self {
        Self { dropped, ..self }
    }

    /// Returns the weights that are set to zero.
    pub(super) fn dropped(&self) -> Option<&Dropped> {
        self.dropped.as_ref()
    }

    pub(super) fn is_causal(&self) -> bool {
        self.causal
    }

    /// Returns the greatest distance of a query and a key that it sees.
    pub(super) fn window(&self) -> Option<usize> {
        self.window
    }

    /// Returns the number of keys of each row of the batch.
    pub(super) fn lengths(&self) -> Option<&[u32]> {
        self.lengths.as_deref()
    }

    /// Returns the text of each position of each row of the batch.
    pub(super) fn segments(&self) -> Option<&[u32]> {
        self.segments.as_deref()
    }

    /// Whether a query sees a key: the definition, which the reference uses.
    pub(super) fn sees(&self, geometry: &Geometry, row: usize, query: usize, key: usize) -> bool {
        let of = |segments: &[u32], at| segments[row * geometry.queries + at];
        let position = query + geometry.earlier();
        (!self.causal || key <= position)
            && self.window.is_none_or(|window| key.abs_diff(position) <= window)
            && self.lengths.as_ref().is_none_or(|lengths| key < lengths[row] as usize)
            && self.segments.as_ref().is_none_or(|ids| of(ids, query) == of(ids, key))
    }

    /// Whether all rows of the batch have the same mask.
    pub(super) fn is_of_all_rows(&self) -> bool {
        self.lengths.is_none() && self.segments.is_none()
    }

    /// Returns the keys that the queries of a block may see.
    pub(super) fn reach(
        &self,
        geometry: &Geometry,
        row: usize,
        queries: &Range<usize>,
    ) -> Range<usize> {
        let keys = self.lengths.as_ref().map_or(geometry.keys, |lengths| lengths[row] as usize);
        let [first, end] = [queries.start, queries.end].map(|query| query + geometry.earlier());
        let start = self.window.map_or(0, |window| first.saturating_sub(window));
        start..self.ahead().map_or(keys, |ahead| keys.min(end + ahead))
    }

    /// Returns the most positions by which a key that is seen follows its query, if there is such a bound.
    fn ahead(&self) -> Option<usize> {
        if self.causal { Some(0) } else { self.window }
    }

    /// Whether a block of queries may see something of a block of keys.
    pub(super) fn meets(
        &self,
        geometry: &Geometry,
        row: usize,
        queries: &Range<usize>,
        keys: &Range<usize>,
    ) -> bool {
        self.ids(geometry, row, queries, keys).is_none_or(|(queries, keys)| {
            let (queries, keys) = (ends(queries), ends(keys));
            queries[0] <= keys[1] && keys[0] <= queries[1]
        })
    }

    /// Returns the greatest difference of the index of a key and that of a query, each in its block.
    pub(super) fn diagonal(
        &self,
        geometry: &Geometry,
        queries: &Range<usize>,
        keys: &Range<usize>,
    ) -> Option<isize> {
        Some(offset(geometry, queries, keys) + self.ahead()?.cast_signed())
    }

    /// Returns the least difference of the index of a key and that of a query, each in its block.
    pub(super) fn lower_diagonal(
        &self,
        geometry: &Geometry,
        queries: &Range<usize>,
        keys: &Range<usize>,
    ) -> Option<isize> {
        Some(offset(geometry, queries, keys) - self.window?.cast_signed())
    }

    /// Returns the segments of a block of queries and of a block of keys.
    pub(super) fn ids(
        &self,
        geometry: &Geometry,
        row: usize,
        queries: &Range<usize>,
        keys: &Range<usize>,
    ) -> Option<(&[u32], &[u32])> {
        let ids = &self.segments.as_ref()?[row * geometry.queries..][..geometry.queries];
        Some((&ids[queries.clone()], &ids[keys.clone()]))
    }
}

/// Returns the position of the first query of a block, less that of the first key of another.
fn offset(geometry: &Geometry, queries: &Range<usize>, keys: &Range<usize>) -> isize {
    (queries.start + geometry.earlier()).cast_signed() - keys.start.cast_signed()
}

/// Returns the minimum and the maximum.
pub(super) fn ends(ids: &[u32]) -> [u32; 2] {
    ids.iter().fold([u32::MAX, 0], |[least, most], id| [least.min(*id), most.max(*id)])
}

fn words(tensor: &Tensor, name: &str, dims: &[usize]) -> Result<Vec<u32>, Error> {
    if tensor.dims() != dims || tensor.dtype() != DType::U32 {
        let (found, dtype) = (tensor.dims(), tensor.dtype());
        return Err(refused(&format!("`{name}` is {found:?} of {dtype:?}, not {dims:?} of U32")));
    }
    tensor.flatten_all()?.to_vec1()
}

pub(super) fn refused(reason: &str) -> Error {
    candle_core::Error::msg(format!("attention: {reason}"))
}
