//! The preferences of a file's rows, with what was lost on the way.

use std::collections::HashSet;
use std::fmt;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::builder::ExampleBuilder;
use super::example::Example;
use super::examples::hexadecimal;
use super::formats::Row;
use super::preference::{Outcome, Preference, ReferenceLogProbs};
use super::report::{MARKS, counted, marked};
use super::tokenizer::Tokenizer;
use crate::data::Dataset;
use crate::error::Error;
use crate::models::CausalLm;
use crate::progress::CancelToken;

/// The pairs whose reference is computed at a time.
const AT_ONCE: usize = 8;

/// The number of rows that were used, and of those that were not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PreferenceCounts {
    /// All rows.
    pub rows: usize,
    /// The pairs that were made of them.
    pub pairs: usize,
    /// Rows with an empty answer: they are dropped.
    pub empty: usize,
    /// Rows whose answers are the same, or are so when they are truncated: they are dropped.
    pub same: usize,
    /// Pairs that lost tokens because they are too long.
    pub truncated: usize,
    /// Pairs with an answer that no stop token ends.
    pub unstopped: usize,
    /// The most tokens of a text before it was truncated.
    pub longest_whole: usize,
}

/// Pairs of answers made by an [`ExampleBuilder`], in the order of their rows.
///
/// Its lengths ([`Dataset::tokens`]) are those of both inputs together.
///
/// ```
/// use cog_train::CancelToken;
/// use cog_train::candle_core::Device;
/// use cog_train::data::{Dataset, Rows};
/// use cog_train::serde_json::json;
/// use cog_train::text::{ExampleBuilder, Format, Preference, PreferenceReport, Row, Tokenizer};
///
/// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/text/pieces");
/// let tokenizer = Tokenizer::open(folder)?;
/// let row = json!({"prompt": "The answer", "chosen": " is yes", "rejected": " is no"});
/// let rows = Rows::new(vec![Row::parse(Format::Preference, &row).unwrap()]); // or `TextRows::open(file, &cancel)?`
/// let pairs = ExampleBuilder::new(&tokenizer, 64).preferences(rows, &CancelToken::new())?;
/// println!("{}", PreferenceReport::new(&tokenizer, &pairs, None)?);
///
/// let batch = Preference::batch(&[pairs.item(0)?], tokenizer.pad_id(), &Device::Cpu)?;
/// assert_eq!(batch.pairs(), 1);
/// # Ok::<(), cog_train::Error>(())
/// ```
pub struct Preferences {
    items: Vec<Preference>,
    /// The row of each pair.
    rows: Vec<usize>,
    counts: PreferenceCounts,
    source: Box<dyn Dataset<Item = Row>>,
}

impl ExampleBuilder<'_> {
    /// Makes the pairs of all rows of preferences, until the token is cancelled. [`preference`](Self::preference) makes each.
    ///
    /// # Errors
    ///
    /// Those of reading a row; [`Error::Data`] with the first row of which no pair can be made, and when no row is left to train
    /// on; [`Error::Cancelled`].
    pub fn preferences<D>(&self, rows: D, cancel: &CancelToken) -> Result<Preferences, Error>
    where
        D: Dataset<Item = Row> + 'static,
    {
        let of = |index: usize| {
            cancel.check()?;
            self.pair(&rows.item(index)?).map_err(|error| match error {
                Error::Cancelled | Error::Data { .. } => error,
                other => Error::Data { location: rows.location(index), reason: other.to_string() },
            })
        };
        // The error of the first bad row, on any number of threads.
        let made: Vec<Result<Outcome, Error>> = (0..rows.len()).into_par_iter().map(of).collect();
        let mut counts = PreferenceCounts { rows: rows.len(), ..PreferenceCounts::default() };
        let (mut items, mut origins) = (Vec::new(), Vec::new());
        for (row, made) in made.into_iter().enumerate() {
            match made? {
                Outcome::Empty => counts.empty += 1,
                Outcome::Same => counts.same += 1,
                Outcome::Pair(pair) => {
                    counts.pairs += 1;
                    counts.truncated += usize::from(pair.whole > self.limit());
                    counts.unstopped += usize::from(pair.unstopped);
                    counts.longest_whole = counts.longest_whole.max(pair.whole);
                    items.push(pair.preference);
                    origins.push(row);
                }
            }
        }
        if items.is_empty() {
            let PreferenceCounts { rows: all, empty, same, .. } = counts;
            let reason = format!(
                "no two answers to compare in {}: {empty} with an empty one, {same} with the same twice",
                counted(all, "row")
            );
            return Err(Error::Data { location: rows.location(0), reason });
        }
        Ok(Preferences { items, rows: origins, counts, source: Box::new(rows) })
    }
}

impl Preferences {
    /// Returns the numbers of rows that were used and that were not.
    #[must_use]
    pub fn counts(&self) -> PreferenceCounts {
        self.counts
    }

    /// Returns all pairs.
    #[must_use]
    pub fn all(&self) -> &[Preference] {
        &self.items
    }

    /// Keeps beside each pair the log-probabilities that `model` gives its answers now, so that a training of all its weights needs
    /// no second model as the reference. Rows are padded with the token `pad`.
    ///
    /// # Errors
    ///
    /// Those of [`CausalLm::log_probs`]; [`Error::Cancelled`].
    pub fn with_reference(
        mut self,
        model: &CausalLm,
        pad: u32,
        cancel: &CancelToken,
    ) -> Result<Self, Error> {
        for pairs in self.items.chunks_mut(AT_ONCE) {
            cancel.check()?;
            let batch = Preference::batch(pairs, pad, model.device())?;
            let found = model.reference_log_probs(&batch)?;
            let (chosen, rejected) = (found.chosen.to_vec1()?, found.rejected.to_vec1()?);
            for ((pair, chosen), rejected) in pairs.iter_mut().zip(chosen).zip(rejected) {
                pair.reference = Some(ReferenceLogProbs { chosen, rejected });
            }
        }
        Ok(self)
    }
}

impl Dataset for Preferences {
    type Item = Preference;

    fn len(&self) -> usize {
        self.items.len()
    }

    fn item(&self, index: usize) -> Result<Preference, Error> {
        self.items.get(index).cloned().ok_or_else(|| Error::Data {
            location: "preferences".to_owned(),
            reason: format!("row {} is out of range: there are {}", index + 1, self.items.len()),
        })
    }

    fn tokens(&self, index: usize) -> usize {
        let both = |pair: &Preference| pair.chosen.inputs().len() + pair.rejected.inputs().len();
        self.items.get(index).map_or(1, both)
    }

    fn location(&self, index: usize) -> String {
        self.source.location(self.rows.get(index).copied().unwrap_or(usize::MAX))
    }

    /// The digest of the tokens and of which of them are trained: another tokenizer or template makes another one.
    fn digest(&self) -> Result<String, Error> {
        let mut hash = Sha256::new();
        for example in self.items.iter().flat_map(|pair| [&pair.chosen, &pair.rejected]) {
            example.digest_into(&mut hash);
        }
        Ok(hexadecimal(hash))
    }
}

/// A report on the pairs of a training, with the first one and its trained tokens between `⟦` and `⟧`.
///
/// Its `Display` has several lines, for [`Job::line`](crate::Job::line) before the first step.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PreferenceReport {
    /// Of the pairs that are trained.
    pub train: PreferenceCounts,
    /// Of the pairs that are evaluated.
    pub eval: Option<PreferenceCounts>,
    /// The pairs that are both trained and evaluated.
    pub leaks: usize,
    shown: [String; 2],
}

impl PreferenceReport {
    /// Examines the pairs that are trained and those that are evaluated.
    ///
    /// # Errors
    ///
    /// Those of [`Tokenizer::decode_all`].
    pub fn new(
        tokenizer: &Tokenizer,
        train: &Preferences,
        eval: Option<&Preferences>,
    ) -> Result<Self, Error> {
        let known: HashSet<[&Example; 2]> =
            train.all().iter().map(|pair| [&pair.chosen, &pair.rejected]).collect();
        let evaluated = eval.map_or(&[][..], Preferences::all);
        let leaks = evaluated.iter().filter(|pair| known.contains(&[&pair.chosen, &pair.rejected]));
        let leaks = leaks.count();
        let shown = match train.all().first() {
            Some(pair) => [marked(tokenizer, &pair.chosen)?, marked(tokenizer, &pair.rejected)?],
            None => Default::default(),
        };
        Ok(Self { train: train.counts(), eval: eval.map(Preferences::counts), leaks, shown })
    }
}

impl fmt::Display for PreferenceCounts {
    fn fmt(&self, form: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, pairs, empty, same, truncated, unstopped, longest_whole } = *self;
        write!(form, "{} of {}", counted(pairs, "pair"), counted(rows, "row"))?;
        for (count, about) in [
            (truncated, format!("truncated; the longest had {longest_whole} tokens")),
            (empty, "dropped: an answer is empty".to_owned()),
            (same, "dropped: both answers are the same".to_owned()),
            (
                unstopped,
                "with an answer that no stop token ends: the model does not learn to stop"
                    .to_owned(),
            ),
        ] {
            if count > 0 {
                write!(form, "\n  {count} {about}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for PreferenceReport {
    fn fmt(&self, form: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(form, "train: {}", self.train)?;
        if let Some(eval) = &self.eval {
            write!(form, "\neval: {eval}")?;
        }
        if self.leaks > 0 {
            write!(form, "\n  {} of train too", counted(self.leaks, "pair"))?;
        }
        let [open, close] = MARKS;
        let [chosen, rejected] = &self.shown;
        write!(form, "\npair 1, trained between {open} and {close}")?;
        write!(form, "\n  chosen: {chosen}\n  rejected: {rejected}")
    }
}
