//! Texts with a label each, from files to batches.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Tensor};

use super::formats::{Format, Row, TextRows};
use super::tokenizer::Tokenizer;
use crate::data::{Batching, Dataset, Loader, split};
use crate::error::Error;
use crate::models::{Config, Labels, Tokens};
use crate::progress::CancelToken;

/// The share of the rows that are held out when there is no file to evaluate on.
const HELD_OUT: f64 = 0.2;

type Rows = Arc<dyn Dataset<Item = Row>>;

/// Rows with `text` and `label`, to train a classifier on and to evaluate it on.
///
/// ```
/// use cog_train::CancelToken;
/// use cog_train::candle_core::Device;
/// use cog_train::text::{LabelledTexts, Tokenizer};
///
/// # let dir = tempfile::tempdir()?;
/// # let file = dir.path().join("reviews.jsonl");
/// # let rows = [("good", "pos"), ("bad", "neg"), ("fine", "pos"), ("poor", "neg"), ("great", "pos")];
/// # let rows = rows.map(|(text, label)| format!("{{\"text\": \"{text}\", \"label\": \"{label}\"}}\n"));
/// # std::fs::write(&file, rows.concat())?;
/// let cancel = CancelToken::new();
/// let texts = LabelledTexts::open(&file, None, &cancel)?;
/// # let config = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/classify/base");
/// # let base = cog_train::models::Pretrained::open(config)?;
/// # let tokenizer = Tokenizer::open(config)?;
/// let examples = texts.tokenize(&tokenizer, base.config(), 256, &cancel)?;
/// assert_eq!(examples.labels.names(), ["neg", "pos"]);
/// assert_eq!((examples.train.len(), examples.eval.len()), (4, 1)); // a fifth is held out
/// let loader = examples.eval.loader(8);
/// let batch = loader.once(&Device::Cpu, None).next()?.expect("a row is held out");
/// assert_eq!(batch.parts[0].batch.labels.dims(), [1]);
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
pub struct LabelledTexts {
    train: Rows,
    /// In a file of their own, which may have labels that nothing trains.
    eval: Option<Rows>,
}

/// The examples of [`LabelledTexts`]. It prints as their numbers and the labels.
#[non_exhaustive]
pub struct LabelledSplit {
    /// To train on.
    pub train: LabelledExamples,
    /// To evaluate on.
    pub eval: LabelledExamples,
    /// The labels.
    pub labels: Labels,
    /// The number of rows of each label before any is held out, by id, for
    /// [`CrossEntropy::balanced`](cog_train_nn::CrossEntropy::balanced).
    pub counts: Vec<u64>,
}

impl fmt::Display for LabelledSplit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels = self.labels.names().join(", ");
        let (train, eval) = (self.train.len(), self.eval.len());
        write!(f, "rows: {train} to train on, {eval} held out; labels: {labels}")
    }
}

/// Texts as tokens, each with the id of its label.
#[derive(Clone)]
pub struct LabelledExamples {
    rows: Arc<dyn Dataset<Item = LabelledExample>>,
    pad: u32,
}

/// A text as tokens, with the id of its label.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LabelledExample {
    /// The tokens.
    pub ids: Vec<u32>,
    /// The id of the label.
    pub label: u32,
}

/// Texts side by side, with their labels.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LabelledBatch {
    /// The tokens, padded.
    pub tokens: Tokens,
    /// The ids of the labels, `[B]` of u32.
    pub labels: Tensor,
}

impl LabelledTexts {
    /// Opens the rows to train on, and those to evaluate on if they are in a file of their own: JSONL, JSON, CSV or TSV.
    ///
    /// # Errors
    ///
    /// Those of [`TextRows::open`] and [`TextRows::require`]; [`Error::Cancelled`].
    pub fn open(
        train: impl AsRef<Path>,
        eval: Option<&Path>,
        cancel: &CancelToken,
    ) -> Result<Self, Error> {
        let open = |path: &Path| -> Result<Rows, Error> {
            Ok(Arc::new(TextRows::open(path, cancel)?.require(Format::Labelled)?))
        };
        Ok(Self { train: open(train.as_ref())?, eval: eval.map(open).transpose()? })
    }

    /// Returns the labels of the rows to train on, with the number of rows of each.
    fn labels(&self, of_base: &Labels, cancel: &CancelToken) -> Result<(Labels, Vec<u64>), Error> {
        let mut rows: BTreeMap<String, u64> = BTreeMap::new();
        for at in 0..self.train.len() {
            cancel.check()?;
            let Row::Labelled { label, .. } = self.train.item(at)? else {
                let location = self.train.location(at);
                return Err(Error::Data { location, reason: unlabelled() });
            };
            *rows.entry(label.to_string()).or_default() += 1;
        }
        let labels = Labels::distinct(rows.keys().cloned());
        if labels.count() < 2 {
            let reason = format!(
                "all rows have the label `{}`, and a classifier needs two",
                labels.names().concat()
            );
            return Err(Error::InvalidConfig { reason });
        }
        let known = labels.names().iter().all(|name| of_base.id(name).is_some());
        let labels = if known { of_base.clone() } else { labels };
        let mut counts = vec![0; labels.count()];
        for (name, rows) in rows {
            if let Some(id) = labels.id(&name) {
                counts[id as usize] = rows;
            }
        }
        Ok((labels, counts))
    }

    /// Makes examples of all rows, of at most `most_tokens` tokens and at most as many as the model sees. All rows are read and tokenized here,
    /// so that each mistake is found before the training. Without a file to evaluate on, a fifth of the rows is held out, always the same.
    ///
    /// The labels are those of the rows to train on: with the ids of a base that knows all of them, else sorted.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] when there are fewer than two labels; [`Error::Data`] with the place of a row to evaluate on that has
    /// another one; [`Error::Tokenizer`], also for a tokenizer of another model; [`Error::Cancelled`].
    pub fn tokenize(
        self,
        tokenizer: &Tokenizer,
        of_base: &Config,
        most_tokens: usize,
        cancel: &CancelToken,
    ) -> Result<LabelledSplit, Error> {
        tokenizer.check_embedding(of_base.vocabulary())?;
        let most_tokens = most_tokens.min(of_base.max_positions());
        let (labels, counts) = self.labels(of_base.labels(), cancel)?;
        let (train, eval): (Rows, Rows) = if let Some(eval) = self.eval {
            (self.train, eval)
        } else {
            let (train, eval) = split(self.train, HELD_OUT, 0)?;
            (Arc::new(train), Arc::new(eval))
        };
        let tokenize = |rows: Rows| -> Result<LabelledExamples, Error> {
            let (of_rows, labels) = (tokenizer.clone(), labels.clone());
            let examples = rows.map(move |row| {
                let Row::Labelled { text, label } = row else { anyhow::bail!(unlabelled()) };
                let ids = of_rows.encode_within(&text, most_tokens)?;
                Ok(LabelledExample { ids, label: labels.require(&label.to_string())? })
            });
            let examples = examples.with_tokens_until(cancel, |example| example.ids.len())?;
            Ok(LabelledExamples { rows: Arc::new(examples), pad: tokenizer.pad_id() })
        };
        let (train, eval) = (tokenize(train)?, tokenize(eval)?);
        Ok(LabelledSplit { train, eval, labels, counts })
    }
}

fn unlabelled() -> String {
    "the row has no label".to_owned()
}

impl LabelledExamples {
    /// The number of texts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns a batch of the first `rows` texts, to look at.
    ///
    /// # Errors
    ///
    /// [`Error::Data`]; [`Error::Tensor`] when the device fails.
    pub fn first(&self, rows: usize, device: &Device) -> Result<LabelledBatch, Error> {
        let rows = (0..self.len().min(rows)).map(|at| self.rows.item(at));
        LabelledBatch::new(&rows.collect::<Result<Vec<_>, _>>()?, self.pad, device)
    }

    /// Returns batches of `rows` texts.
    #[must_use]
    pub fn loader(&self, rows: usize) -> Loader<LabelledBatch> {
        let pad = self.pad;
        Loader::new(self.rows.clone(), move |rows: Vec<LabelledExample>, batch| {
            Ok(LabelledBatch::new(&rows, pad, batch.device())?)
        })
        .batch(Batching::Rows(rows))
    }
}

impl LabelledBatch {
    /// Pads texts to a batch.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the device fails.
    pub fn new(rows: &[LabelledExample], pad: u32, device: &Device) -> Result<Self, Error> {
        let ids: Vec<Vec<u32>> = rows.iter().map(|row| row.ids.clone()).collect();
        let labels: Vec<u32> = rows.iter().map(|row| row.label).collect();
        let tokens = Tokens::padded(&ids, pad, device)?;
        Ok(Self { tokens, labels: Tensor::new(labels, device)? })
    }
}
