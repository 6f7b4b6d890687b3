//! The examples of a file's rows, with what was lost on the way.

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::example::Example;
use super::formats::Row;
use crate::data::Dataset;
use crate::error::{Error, counted};
use crate::progress::CancelToken;

/// The number of rows that were used, and of those that were not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// All rows.
    pub rows: usize,
    /// The examples that were made of them.
    pub examples: usize,
    /// Rows without text or without an answer: there is nothing to train.
    pub empty: usize,
    /// Rows that lost tokens because they are too long.
    pub truncated: usize,
    /// Those of them that lost their whole answer and make no example.
    pub cut_off: usize,
    /// Conversations with an answer that no stop token ends: the model does not learn to stop after it.
    pub unstopped: usize,
    /// The most tokens of a row before it was truncated; texts are not counted, for nothing of them is lost.
    pub longest_whole: usize,
}

impl Counts {
    fn add(self, other: Self) -> Self {
        Self {
            rows: self.rows + other.rows,
            examples: self.examples + other.examples,
            empty: self.empty + other.empty,
            truncated: self.truncated + other.truncated,
            cut_off: self.cut_off + other.cut_off,
            unstopped: self.unstopped + other.unstopped,
            longest_whole: self.longest_whole.max(other.longest_whole),
        }
    }
}

/// Examples made by an [`ExampleBuilder`](super::ExampleBuilder), in the order of their rows.
///
/// Its lengths ([`Dataset::tokens`]) are those of the inputs, so that [`Batching::Tokens`](crate::data::Batching) groups examples
/// of similar length.
pub struct Examples {
    items: Vec<Example>,
    /// The row of each example.
    rows: Vec<usize>,
    counts: Counts,
    locate: Locate,
}

/// Returns the location of a row.
type Locate = Box<dyn Fn(usize) -> String + Send + Sync>;

/// The examples of one row.
type Made = Result<(Vec<Example>, Counts), Error>;

impl Examples {
    pub(super) fn make<D>(
        source: D,
        cancel: &CancelToken,
        context: usize,
        build: impl Fn(&Row) -> Made + Sync,
    ) -> Result<Self, Error>
    where
        D: Dataset<Item = Row> + 'static,
    {
        let of = |index: usize| {
            cancel.check()?;
            let row = source.item(index)?;
            build(&row).map_err(|error| match error {
                Error::Cancelled | Error::Data { .. } => error,
                other => {
                    Error::Data { location: source.location(index), reason: other.to_string() }
                }
            })
        };
        // The error of the first bad row, on any number of threads.
        let made: Vec<Made> = (0..source.len()).into_par_iter().map(of).collect();
        let (mut items, mut rows, mut counts) = (Vec::new(), Vec::new(), Counts::default());
        for (row, made) in made.into_iter().enumerate() {
            let (examples, of_row) = made?;
            rows.extend(std::iter::repeat_n(row, examples.len()));
            items.extend(examples);
            counts = counts.add(of_row);
        }
        if items.is_empty() {
            return Err(Error::Data {
                location: source.location(0),
                reason: nothing_left(&counts, context),
            });
        }
        let locate = Box::new(move |row| source.location(row));
        Ok(Self { items, rows, counts, locate })
    }

    /// Takes examples that were made elsewhere. Each counts as a row.
    ///
    /// ```
    /// use cog_train::data::{Rows, split};
    /// use cog_train::text::{Example, Examples};
    ///
    /// let windows: Vec<Example> = (0..10).map(|id| Example::completion(vec![id, id + 1], 1)).collect();
    /// let (train, eval) = split(Rows::new(windows).named("book.txt"), 0.1, 0)?;
    /// let (train, eval) = (Examples::new(train)?, Examples::new(eval)?);
    /// assert_eq!((train.counts().rows, eval.all().len()), (9, 1));
    /// # Ok::<(), cog_train::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of reading a row; [`Error::Data`] when there is none.
    pub fn new<D>(examples: D) -> Result<Self, Error>
    where
        D: Dataset<Item = Example> + 'static,
    {
        let items = (0..examples.len()).map(|at| examples.item(at));
        let items: Vec<Example> = items.collect::<Result<_, _>>()?;
        if items.is_empty() {
            let location = examples.location(0);
            return Err(Error::Data { location, reason: "there are no examples".to_owned() });
        }
        let (rows, count) = ((0..items.len()).collect(), items.len());
        let counts = Counts { rows: count, examples: count, ..Counts::default() };
        let locate = Box::new(move |row| examples.location(row));
        Ok(Self { items, rows, counts, locate })
    }

    /// Returns the numbers of rows that were used and that were not.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Returns all examples.
    #[must_use]
    pub fn all(&self) -> &[Example] {
        &self.items
    }
}

/// The reason when no row makes an example.
fn nothing_left(counts: &Counts, context: usize) -> String {
    let Counts { rows, cut_off, empty, longest_whole, .. } = counts;
    if *cut_off == 0 {
        return format!("nothing to train in {}: {empty} empty", counted(*rows, "row"));
    }
    format!(
        "nothing left to train in {}: {cut_off} with the whole answer beyond the limit of {}, {empty} empty\n\
         hint: the longest row has {longest_whole} tokens; raise the limit, or truncate the start of rows and not their end",
        counted(*rows, "row"),
        counted(context, "token")
    )
}

impl Dataset for Examples {
    type Item = Example;

    fn len(&self) -> usize {
        self.items.len()
    }

    fn item(&self, index: usize) -> Result<Example, Error> {
        self.items.get(index).cloned().ok_or_else(|| Error::Data {
            location: "examples".to_owned(),
            reason: format!("row {} is out of range: there are {}", index + 1, self.items.len()),
        })
    }

    fn tokens(&self, index: usize) -> usize {
        self.items.get(index).map_or(1, |example| example.inputs().len())
    }

    fn location(&self, index: usize) -> String {
        (self.locate)(self.rows.get(index).copied().unwrap_or(usize::MAX))
    }

    /// The digest of the tokens and of which of them are trained: another tokenizer or template makes another one.
    fn digest(&self) -> Result<String, Error> {
        let mut hash = Sha256::new();
        self.items.iter().for_each(|example| example.digest_into(&mut hash));
        Ok(hexadecimal(hash))
    }
}

pub(super) fn hexadecimal(hash: Sha256) -> String {
    use std::fmt::Write;
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
