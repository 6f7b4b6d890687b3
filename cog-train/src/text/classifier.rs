//! A classifier of texts that is not trained any more.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device};
use cog_train_nn::{Init, softmax};

use super::tokenizer::Tokenizer;
use crate::error::Error;
use crate::models::{Pretrained, SequenceClassifier, Tokens};

/// A classifier of texts with its tokenizer, from a Hugging Face folder.
///
/// ```no_run
/// use cog_train::candle_core::Device;
/// use cog_train::text::TextClassifier;
///
/// let classifier = TextClassifier::open("weights/model", &Device::Cpu)?;
/// let found = classifier.classify("the room was not bad at all")?;
/// assert_eq!(found.label, "positive");
/// # Ok::<(), cog_train::Error>(())
/// ```
pub struct TextClassifier {
    model: SequenceClassifier,
    tokenizer: Tokenizer,
    most_tokens: usize,
    device: Device,
}

/// The label of a text. A predictor may return it.
#[derive(Debug, Clone, PartialEq, crate::PredictOutput)]
#[non_exhaustive]
pub struct LabelScores {
    /// The most probable label.
    pub label: String,
    /// The probability of each label.
    pub scores: BTreeMap<String, f64>,
}

impl TextClassifier {
    /// Opens a folder and loads the model.
    ///
    /// # Errors
    ///
    /// Those of [`Pretrained::open`], [`Pretrained::tensors_of`] and [`Tokenizer::open`].
    pub fn open(folder: impl AsRef<Path>, device: &Device) -> Result<Self, Error> {
        let base = Pretrained::open(folder)?;
        let model = |init: &Init| SequenceClassifier::new(init, base.config());
        let tensors = base.tensors_of(device, model)?;
        let tokenizer = Tokenizer::open(base.folder())?;
        let model = Init::from_tensors(tensors).build(model)?;
        let most_tokens = base.config().max_positions();
        Ok(Self { model, tokenizer, most_tokens, device: device.clone() })
    }

    /// Returns the most probable label and the probability of each. A text of more tokens than the model sees is cut off.
    ///
    /// # Errors
    ///
    /// [`Error::Tokenizer`]; [`Error::Tensor`] when the device fails.
    pub fn classify(&self, text: &str) -> Result<LabelScores, Error> {
        let ids = self.tokenizer.encode_within(text, self.most_tokens)?;
        let logits = self.model.logits(&Tokens::padded(&[ids], 0, &self.device)?)?;
        let scores = softmax(&logits.to_dtype(DType::F32)?, 1)?.squeeze(0)?.to_vec1::<f32>()?;
        let names = self.model.labels().names();
        let best = scores.iter().zip(names).max_by(|a, b| a.0.total_cmp(b.0));
        let label = best.map(|(_, name)| name.clone()).unwrap_or_default();
        let scores = names.iter().cloned().zip(scores.into_iter().map(f64::from)).collect();
        Ok(LabelScores { label, scores })
    }
}
