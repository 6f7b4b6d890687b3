//! Examples as tensors.

use candle_core::{Device, Tensor};
use cog_train_nn::{IGNORED, Mask};

use super::example::Example;
use crate::error::Error;

/// A batch for a causal language model: `B` rows of `T` positions.
///
/// ```
/// use cog_train::candle_core::Device;
/// use cog_train::nn::IGNORED;
/// use cog_train::text::{Example, TextBatch};
///
/// let short = Example::completion(vec![1, 2, 3], 1);
/// let long = Example::completion(vec![4, 5, 6, 7, 8], 1);
/// // Side by side ...
/// let batch = TextBatch::padded(&[short.clone(), long.clone()], 0, &Device::Cpu)?;
/// assert_eq!(batch.ids.to_vec2::<u32>()?, [[1, 2, 0, 0], [4, 5, 6, 7]]);
/// assert_eq!(batch.targets.to_vec2::<u32>()?[0], [2, 3, IGNORED, IGNORED]);
/// // ... and in one row of a pack: neither sees the other, and no target crosses their border.
/// let batch = TextBatch::packed(&[vec![short, long]], 0, &Device::Cpu)?;
/// assert_eq!(batch.ids.to_vec2::<u32>()?, [[1, 2, 4, 5, 6, 7]]);
/// assert_eq!(batch.positions.to_vec2::<u32>()?, [[0, 1, 0, 1, 2, 3]]);
/// assert_eq!((batch.targets.to_vec2::<u32>()?, batch.trained), (vec![vec![2, 3, 5, 6, 7, 8]], 6));
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TextBatch {
    /// The tokens that the model reads, `[B, T]` of u32.
    pub ids: Tensor,
    /// The token after each of them, or [`IGNORED`], `[B, T]` of u32.
    pub targets: Tensor,
    /// The position of each token in its own text, `[B, T]` of u32.
    pub positions: Tensor,
    /// The tokens that each token sees: earlier ones of its own text.
    pub mask: Mask,
    /// The number of targets that are not ignored: the weight of the loss.
    pub trained: usize,
}

impl TextBatch {
    /// One example a row, padded at the right with the token `pad` to the longest.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the device fails.
    pub fn padded(examples: &[Example], pad: u32, device: &Device) -> Result<Self, Error> {
        let rows: Vec<[&Example; 1]> = examples.iter().map(|example| [example]).collect();
        let rows: Vec<&[&Example]> = rows.iter().map(<[_; 1]>::as_slice).collect();
        let columns = Columns::new(&rows, pad);
        let lengths: Vec<u32> =
            examples.iter().map(|example| number(example.inputs().len())).collect();
        let lengths = Tensor::new(lengths, device)?;
        columns.batch(Mask::Padding { lengths, causal: true }, device)
    }

    /// Several examples a row, padded at the right with the token `pad` to the longest row.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the device fails.
    pub fn packed(packs: &[Vec<Example>], pad: u32, device: &Device) -> Result<Self, Error> {
        let rows: Vec<Vec<&Example>> = packs.iter().map(|pack| pack.iter().collect()).collect();
        let rows: Vec<&[&Example]> = rows.iter().map(Vec::as_slice).collect();
        let columns = Columns::new(&rows, pad);
        let shape = (packs.len(), columns.width);
        let ids = Tensor::from_vec(columns.segments.clone(), shape, device)?;
        columns.batch(Mask::Segments { ids, causal: true }, device)
    }
}

/// The tensors of a batch, row after row.
struct Columns {
    rows: usize,
    width: usize,
    ids: Vec<u32>,
    targets: Vec<u32>,
    positions: Vec<u32>,
    /// The example within the row; padding has one more number.
    segments: Vec<u32>,
    trained: usize,
}

impl Columns {
    fn new(rows: &[&[&Example]], pad: u32) -> Self {
        let length = |row: &&[&Example]| row.iter().map(|example| example.inputs().len()).sum();
        let width = rows.iter().map(length).max().unwrap_or_default();
        let mut columns = Self {
            rows: rows.len(),
            width,
            ids: Vec::new(),
            targets: Vec::new(),
            positions: Vec::new(),
            segments: Vec::new(),
            trained: 0,
        };
        for (at, row) in rows.iter().enumerate() {
            for (segment, example) in row.iter().enumerate() {
                let length = example.inputs().len();
                columns.ids.extend(example.inputs());
                columns.targets.extend(example.targets());
                columns.positions.extend((0..length).map(number));
                columns.segments.extend(std::iter::repeat_n(number(segment), length));
                columns.trained += example.trained_tokens();
            }
            let end = (at + 1) * width;
            let padding = end - columns.ids.len();
            columns.ids.resize(end, pad);
            columns.targets.resize(end, IGNORED);
            columns.positions.extend((0..padding).map(number));
            columns.segments.resize(end, number(row.len()));
        }
        columns
    }

    fn batch(self, mask: Mask, device: &Device) -> Result<TextBatch, Error> {
        let shape = (self.rows, self.width);
        Ok(TextBatch {
            ids: Tensor::from_vec(self.ids, shape, device)?,
            targets: Tensor::from_vec(self.targets, shape, device)?,
            positions: Tensor::from_vec(self.positions, shape, device)?,
            mask,
            trained: self.trained,
        })
    }
}

/// A number of tokens, of which there are fewer than 2^32 in a batch.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Texts of different lengths for an encoder: `B` rows of `T` tokens.
///
/// ```
/// use cog_train::candle_core::Device;
/// use cog_train::text::EncoderBatch;
///
/// let batch = EncoderBatch::new(&[vec![7, 8, 9], vec![7, 9]], 0, &Device::Cpu)?;
/// assert_eq!(batch.ids.to_vec2::<u32>()?, [[7, 8, 9], [7, 9, 0]]);
/// assert_eq!(batch.lengths.to_vec1::<u32>()?, [3, 2]);
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EncoderBatch {
    /// The tokens, `[B, T]` of u32.
    pub ids: Tensor,
    /// The number of tokens of each row, `[B]` of u32.
    pub lengths: Tensor,
}

impl EncoderBatch {
    /// Rows padded at the right with the token `pad` to the longest.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the device fails.
    pub fn new(texts: &[Vec<u32>], pad: u32, device: &Device) -> Result<Self, Error> {
        let width = texts.iter().map(Vec::len).max().unwrap_or_default();
        let padded = |text: &Vec<u32>| {
            let mut row = text.clone();
            row.resize(width, pad);
            row
        };
        let ids: Vec<u32> = texts.iter().flat_map(padded).collect();
        let lengths: Vec<u32> = texts.iter().map(|text| number(text.len())).collect();
        Ok(Self {
            ids: Tensor::from_vec(ids, (texts.len(), width), device)?,
            lengths: Tensor::new(lengths, device)?,
        })
    }

    /// Returns the mask with which no token sees padding.
    #[must_use]
    pub fn mask(&self) -> Mask {
        Mask::Padding { lengths: self.lengths.clone(), causal: false }
    }
}
