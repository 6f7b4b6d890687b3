//! Rows with labels, from files to tokens.

use std::path::Path;
use std::sync::Arc;

use cog_train::CancelToken;
use cog_train::data::{Dataset, split};
use cog_train::models::{Config, Labels};
use cog_train::prelude::*;
use cog_train::text::{Format, Row, TextRows, Tokenizer};

/// A text as tokens, with the id of its label.
#[derive(Debug, Clone)]
pub(crate) struct Example {
    pub(crate) ids: Vec<u32>,
    pub(crate) label: u32,
}

/// Rows with `text` and `label`, to train on and to evaluate on.
pub(crate) struct LabelledRows {
    train: Rows,
    /// In a file of their own, which may have labels that nothing trains.
    eval: Option<Rows>,
}

type Rows = Arc<dyn Dataset<Item = Row>>;
type Examples = Box<dyn Dataset<Item = Example>>;

impl LabelledRows {
    pub(crate) fn open(train: &Path, eval: Option<&Path>, cancel: &CancelToken) -> Result<Self> {
        let open = |path| -> Result<Rows> {
            Ok(Arc::new(TextRows::open(path, cancel)?.require(Format::Labelled)?))
        };
        Ok(Self { train: open(train)?, eval: eval.map(open).transpose()? })
    }

    /// The labels of the rows to train on: with the ids of the base where it is a classifier that knows them all, else sorted.
    pub(crate) fn labels(&self, of_base: &Labels, cancel: &CancelToken) -> Result<Labels> {
        let name = |at| -> Result<String> {
            cancel.check()?;
            match self.train.item(at)? {
                Row::Labelled { label, .. } => Ok(label.to_string()),
                _ => bail!("{} has no label", self.train.location(at)),
            }
        };
        let labels = Labels::distinct((0..self.train.len()).map(name).collect::<Result<Vec<_>>>()?);
        let [_, _, ..] = labels.names() else {
            bail!(
                "all rows have the label `{}`, and a classifier needs two",
                labels.names().concat()
            )
        };
        let known = labels.names().iter().all(|name| of_base.id(name).is_some());
        Ok(if known { of_base.clone() } else { labels })
    }

    /// The examples to train on and those to evaluate on. All rows are read once, so that each mistake is found before the training.
    pub(crate) fn encode(
        self,
        encoder: &Encoder,
        cancel: &CancelToken,
    ) -> Result<(Examples, Examples)> {
        let (train, eval): (Rows, Rows) = if let Some(eval) = self.eval {
            (self.train, eval)
        } else {
            let (train, eval) = split(self.train, 0.2, 0)?;
            (Arc::new(train), Arc::new(eval))
        };
        let encode = |rows: Rows| -> Result<Examples> {
            let encoder = encoder.clone();
            let examples = rows.map(move |row| encoder.example(&row));
            Ok(Box::new(examples.with_tokens_until(cancel, |example| example.ids.len())?))
        };
        Ok((encode(train)?, encode(eval)?))
    }
}

/// Makes examples of rows.
#[derive(Clone)]
pub(crate) struct Encoder {
    tokenizer: Tokenizer,
    labels: Labels,
    max_length: usize,
}

impl Encoder {
    pub(crate) fn new(
        tokenizer: &Tokenizer,
        labels: &Labels,
        config: &Config,
        max_length: usize,
    ) -> Self {
        let max_length = max_length.min(config.max_positions());
        Self { tokenizer: tokenizer.clone(), labels: labels.clone(), max_length }
    }

    pub(crate) fn ids(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.tokenizer.encode_within(text, self.max_length)?)
    }

    fn example(&self, row: &Row) -> Result<Example> {
        let Row::Labelled { text, label } = row else { bail!("the row has no label") };
        Ok(Example { ids: self.ids(text)?, label: self.labels.require(&label.to_string())? })
    }
}
