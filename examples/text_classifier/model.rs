//! A transformer encoder over words, and batches of texts.

use cog_train::candle_core::{Device, Error, Tensor};
use cog_train::nn::{
    self, Embedding, Init, Initializer, LayerNorm, Linear, Mask, MultiHeadAttention, Node, gelu,
};

use serde::{Deserialize, Serialize};

/// The labels of a review, in the order of the encoder's scores.
pub(crate) const LABELS: [&str; 3] = ["negative", "neutral", "positive"];
/// Words are numbered by a hash: no vocabulary has to be kept beside the weights.
const VOCABULARY: u32 = 2048;
/// The most words that are read.
const LENGTH: usize = 64;
const WIDTH: usize = 64;
const HEADS: usize = 4;
const LAYERS: usize = 2;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Review {
    pub(crate) text: String,
    pub(crate) label: String,
}

impl Review {
    /// The number of its label.
    pub(crate) fn class(&self) -> Option<u32> {
        (0..).zip(LABELS).find(|(_, label)| *label == self.label).map(|(class, _)| class)
    }
}

/// Texts side by side, padded at the right to the longest.
pub(crate) struct Batch {
    /// [batch, length]
    tokens: Tensor,
    /// 1 for each word, 0 for padding, [batch, length].
    mask: Tensor,
    /// Words of each text, [batch].
    lengths: Tensor,
    /// [batch]
    pub(crate) labels: Tensor,
}

impl Batch {
    /// A review whose label is not known counts as the first.
    pub(crate) fn new(reviews: &[Review], device: &Device) -> cog_train::anyhow::Result<Self> {
        let rows: Vec<Vec<u32>> = reviews.iter().map(|review| tokens(&review.text)).collect();
        let classes: Vec<u32> = reviews.iter().map(|review| review.class().unwrap_or(0)).collect();
        let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
        let padded = |row: &Vec<u32>| {
            row.iter().copied().chain(std::iter::repeat(0)).take(longest).collect::<Vec<_>>()
        };
        let ids = Tensor::new(rows.iter().map(padded).collect::<Vec<_>>(), device)?;
        let lengths: Vec<u32> =
            rows.iter().map(|row| u32::try_from(row.len())).collect::<Result<_, _>>()?;
        Ok(Self {
            mask: ids.ne(0u32)?,
            tokens: ids,
            lengths: Tensor::new(lengths, device)?,
            labels: Tensor::new(classes, device)?,
        })
    }
}

/// The words of a text by FNV-1a, the first of them only; a text without words has one of its own. 0 is padding.
fn tokens(text: &str) -> Vec<u32> {
    let text = text.to_lowercase();
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let number = |word: &str| {
        let hash = |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        2 + word.bytes().fold(0x811c_9dc5, hash) % (VOCABULARY - 2)
    };
    let numbers: Vec<u32> = words.map(number).take(LENGTH).collect();
    if numbers.is_empty() { vec![1] } else { numbers }
}

/// The encoder: words and positions, layers that normalize first, the mean over the words.
pub(crate) struct Encoder {
    words: Embedding,
    positions: Tensor,
    layers: Vec<Layer>,
    norm: LayerNorm,
    head: Linear,
}

struct Layer {
    norm1: LayerNorm,
    attention: MultiHeadAttention,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

impl Encoder {
    pub(crate) fn new(init: &Init) -> Result<Self, Error> {
        let layer = |at| Layer::new(&init.at("layers").at(at));
        Ok(Self {
            words: Embedding::new(&init.at("words"), VOCABULARY as usize, WIDTH)?,
            positions: init.tensor(
                "positions",
                (LENGTH, WIDTH),
                Initializer::Normal { std: 1.0 },
            )?,
            layers: (0..LAYERS).map(layer).collect::<Result<_, _>>()?,
            norm: LayerNorm::new(&init.at("norm"), WIDTH, 1e-5)?,
            head: Linear::new(&init.at("head"), WIDTH, LABELS.len())?,
        })
    }

    /// A score for each label, [batch, labels].
    pub(crate) fn scores(&self, batch: &Batch) -> Result<Tensor, Error> {
        let mask = Mask::Padding { lengths: batch.lengths.clone(), causal: false };
        nn::trace([&batch.tokens], |[tokens]| {
            let positions = nn::parameter(&tokens, &self.positions)?;
            let positions = nn::narrow(&positions, 0, 0, tokens.dims()[1])?;
            let mut x = nn::add(&self.words.forward(&tokens)?, &positions)?;
            for layer in &self.layers {
                x = layer.forward(&x, &mask)?;
            }
            self.head.forward(&nn::masked_mean(&self.norm.forward(&x)?, &batch.mask)?)
        })
    }
}

impl Layer {
    fn new(init: &Init) -> Result<Self, Error> {
        Ok(Self {
            norm1: LayerNorm::new(&init.at("norm1"), WIDTH, 1e-5)?,
            attention: MultiHeadAttention::new(&init.at("self_attn"), WIDTH, HEADS)?,
            norm2: LayerNorm::new(&init.at("norm2"), WIDTH, 1e-5)?,
            fc1: Linear::new(&init.at("linear1"), WIDTH, 2 * WIDTH)?,
            fc2: Linear::new(&init.at("linear2"), 2 * WIDTH, WIDTH)?,
        })
    }

    fn forward(&self, x: &Node, mask: &Mask) -> Result<Node, Error> {
        let x = nn::add(x, &self.attention.forward(&self.norm1.forward(x)?, mask)?)?;
        self.fc2.add_to(&x, &gelu(&self.fc1.forward(&self.norm2.forward(&x)?)?)?, 1.0)
    }
}
