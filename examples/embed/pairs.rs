//! Pairs of texts, from files to tokens.

use std::path::Path;
use std::sync::Arc;

use cog_train::CancelToken;
use cog_train::data::{Dataset, split};
use cog_train::models::{Pooling, Pretrained};
use cog_train::prelude::*;
use cog_train::text::{Format, Row, TextRows, Tokenizer};

/// Texts as tokens.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) anchor: Vec<u32>,
    pub(crate) positive: Vec<u32>,
    pub(crate) negative: Option<Vec<u32>>,
}

type Rows = Arc<dyn Dataset<Item = Row>>;
type Pairs = Box<dyn Dataset<Item = Pair>>;

/// Opens the pairs to train on and those to evaluate on. All rows are read once, so that each mistake is found before the training.
pub(crate) fn open(
    train: &Path,
    eval: Option<&Path>,
    encoder: &Encoder,
    cancel: &CancelToken,
) -> Result<(Pairs, Pairs)> {
    let rows = |path| TextRows::open(path, cancel)?.require(Format::Pair);
    let (train, eval): (Rows, Rows) = if let Some(eval) = eval {
        (Arc::new(rows(train)?), Arc::new(rows(eval)?))
    } else {
        let (train, eval) = split(rows(train)?, 0.2, 0)?;
        (Arc::new(train), Arc::new(eval))
    };
    let encode = |rows: Rows| -> Result<Pairs> {
        let encoder = encoder.clone();
        let pairs = rows.map(move |row| encoder.pair(&row));
        let longest = |pair: &Pair| pair.anchor.len().max(pair.positive.len());
        Ok(Box::new(pairs.with_tokens_until(cancel, longest)?))
    };
    Ok((encode(train)?, encode(eval)?))
}

/// Makes tokens of texts.
#[derive(Clone)]
pub(crate) struct Encoder {
    tokenizer: Tokenizer,
    max_length: usize,
}

impl Encoder {
    pub(crate) fn open(base: &Pretrained, pooling: &Pooling) -> Result<Self> {
        let tokenizer = Tokenizer::open(base.folder())?;
        tokenizer.check_embedding(base.config().vocabulary())?;
        let most = base.config().max_positions();
        Ok(Self {
            tokenizer,
            max_length: pooling.max_length().map_or(most, |limit| limit.min(most)),
        })
    }

    /// The token that fills short rows of a batch.
    pub(crate) fn pad(&self) -> u32 {
        self.tokenizer.pad_id()
    }

    pub(crate) fn ids(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.tokenizer.encode_within(text, self.max_length)?)
    }

    fn pair(&self, row: &Row) -> Result<Pair> {
        let Row::Pair { anchor, positive, negative } = row else { bail!("the row is no pair") };
        Ok(Pair {
            anchor: self.ids(anchor)?,
            positive: self.ids(positive)?,
            negative: negative.as_deref().map(|text| self.ids(text)).transpose()?,
        })
    }
}
