//! Classifiers of texts.

use candle_core::{Error as TensorError, Tensor};
use cog_train_nn::{self as nn, Init, Initializer, Linear};

use super::config::{Config, Family, text_classifier_families};
use super::encoder::{Encoder, sequence_head};
use super::gpt2::Gpt2;
use super::heads::SequenceHead;
use super::labels::Labels;
use super::layers::linear_of;
use super::tokens::Tokens;
use crate::error::Error;

/// A model with one result for each text: a class, several, or numbers (`AutoModelForSequenceClassification`).
///
/// ```no_run
/// use cog_train::candle_core::{Device, Tensor};
/// use cog_train::engine::Params;
/// use cog_train::models::{Head, Labels, Pretrained, SequenceClassifier, Tokens};
/// use cog_train::nn::{Init, Rng};
///
/// let device = Device::Cpu;
/// let base = Pretrained::open("minilm")?
///     .with_head(Head::SequenceClassification)?
///     .with_labels(Labels::new(["negative", "positive"]));
/// let loaded = base.load(&device, Rng::new(42, "init"), |init| SequenceClassifier::new(init, base.config()))?;
/// println!("{}", loaded); // the tensors of the head, which are new
/// let params = Params::new(loaded.into_tensors())?;
/// let model = Init::from_tensors(params.tensors()).build(|init| SequenceClassifier::new(init, base.config()))?;
///
/// let tokens = Tokens::padded(&[vec![101, 2204, 102], vec![101, 2919, 3185, 102]], 0, &device)?;
/// let sum = model.loss(&tokens, &Tensor::new(&[1u32, 0], &device)?)?; // over the two texts
/// # drop(sum);
/// base.save("out", params.masters())?;
/// # Ok::<(), cog_train::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SequenceClassifier {
    model: Model,
    labels: Labels,
}

#[derive(Debug, Clone)]
enum Model {
    Encoder(Box<Encoder>, SequenceHead),
    /// It scores the last token that is not `padding`.
    Gpt2 {
        body: Gpt2,
        head: Linear,
        padding: Option<u32>,
    },
}

impl SequenceClassifier {
    /// Builds the model that `config` describes from its tensors.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] when the family has no such head; [`Error::Tensor`] when a tensor is missing or has another shape;
    /// within [`Init::build`] all of them are reported.
    pub fn new(init: &Init, config: &Config) -> Result<Self, Error> {
        let labels = config.labels().clone();
        if let Family::Gpt2(gpt2) = config.family() {
            let normal = Initializer::Normal { std: gpt2.std };
            let head = linear_of(&init.at("score"), gpt2.hidden, labels.count(), normal, false)?;
            let (body, padding) = (Gpt2::new(init, gpt2)?, config.padding_token());
            return Ok(Self { model: Model::Gpt2 { body, head, padding }, labels });
        }
        let parts = Encoder::new(init, config)?.zip(sequence_head(init, config)?);
        let (encoder, head) = parts.ok_or_else(|| {
            config.without_head("sequence classification", text_classifier_families())
        })?;
        Ok(Self { model: Model::Encoder(Box::new(encoder), head), labels })
    }

    /// Sets activation checkpointing: the backward pass computes the activations of each layer again instead of keeping them. The
    /// gradients are the same bits.
    #[must_use]
    pub fn checkpoint_layers(mut self, on: bool) -> Self {
        match &mut self.model {
            Model::Encoder(encoder, _) => encoder.set_checkpointed(on),
            Model::Gpt2 { body, .. } => body.set_checkpointed(on),
        }
        self
    }

    /// The labels of its scores.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Computes the scores of each text, `[B, labels]`.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when a token has no embedding, a text is longer than the model can see, a row holds several texts, or
    /// the device fails.
    pub fn logits(&self, tokens: &Tokens) -> Result<Tensor, Error> {
        Ok(match &self.model {
            Model::Encoder(encoder, head) => {
                encoder.forward(tokens, |x, batch| head.forward(x, batch))?
            }
            Model::Gpt2 { body, head, padding } => {
                let last = last_tokens(tokens, *padding)?;
                nn::trace([tokens.ids()], |[ids]| {
                    let x = body.hidden(&ids, tokens)?;
                    let width = x.dims().last().copied().unwrap_or(0);
                    let x = nn::index_select(&nn::reshape(&x, ((), width))?, 0, &last)?;
                    head.forward(&x)
                })?
            }
        })
    }

    /// Computes the loss, added up over the texts. `labels` are `[B]` integers for one label of each text, `[B, labels]` floats of
    /// 0 and 1 for any of them, and `[B]` or `[B, labels]` floats for regression.
    ///
    /// # Errors
    ///
    /// Those of [`logits`](Self::logits); labels of another shape, and a label that is no class.
    pub fn loss(&self, tokens: &Tokens, labels: &Tensor) -> Result<Tensor, Error> {
        Ok(self.labels.loss(&self.logits(tokens)?, labels)?)
    }
}

/// Returns the flat index of the last token of each row that is not padding, as transformers looks for it.
fn last_tokens(tokens: &Tokens, padding: Option<u32>) -> Result<Tensor, TensorError> {
    let (rows, length) = tokens.ids().dims2()?;
    let lengths = tokens.lengths().map(Tensor::to_vec1::<u32>).transpose()?;
    let ids: Vec<u32> = tokens.ids().flatten_all()?.to_vec1()?;
    let last = |row: usize| {
        let ids = &ids[row * length..][..length];
        let end = match (padding, &lengths) {
            (Some(padding), _) => ids.iter().rposition(|id| *id != padding).map_or(1, |at| at + 1),
            (None, Some(lengths)) => lengths[row].max(1) as usize,
            (None, None) => length,
        };
        u32::try_from(row * length + end - 1).map_err(TensorError::wrap)
    };
    let last = (0..rows).map(last).collect::<Result<Vec<_>, _>>()?;
    Tensor::from_vec(last, rows, tokens.ids().device())
}
