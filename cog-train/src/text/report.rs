//! A report on the data, before the first step.

use std::collections::HashSet;
use std::fmt;

use super::example::Example;
use super::examples::{Counts, Examples};
use super::tokenizer::Tokenizer;
use crate::data::Dataset;
use crate::error::{Error, printable};

/// The examples that are shown, and the most characters of each part of one.
const SHOWN: usize = 2;
const PART: usize = 160;
/// Around trained tokens.
pub(super) const MARKS: [char; 2] = ['\u{27e6}', '\u{27e7}'];

/// A report on the examples of a training, with the first ones and their trained tokens between `⟦` and `⟧`.
///
/// Its `Display` has several lines, for [`Job::line`](crate::Job::line) before the first step.
///
/// ```
/// use cog_train::CancelToken;
/// use cog_train::data::Rows;
/// use cog_train::text::{ExampleBuilder, Report, Row, Tokenizer};
///
/// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/text/pieces");
/// let tokenizer = Tokenizer::open(folder)?;
/// let rows = ["The answer", "The question", "The answer"].map(|text| Row::Text(text.to_owned()));
/// let builder = ExampleBuilder::new(&tokenizer, 64);
/// let examples = builder.examples(Rows::new(rows.to_vec()), &CancelToken::new())?;
/// let report = Report::new(&tokenizer, &examples, None)?;
/// assert_eq!(report.train.duplicates, 1);
/// assert!(report.to_string().contains("<s>⟦ The answer</s>⟧"));
/// # Ok::<(), cog_train::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The examples that are trained.
    pub train: Summary,
    /// The examples that are evaluated.
    pub eval: Option<Summary>,
    /// The examples that are both trained and evaluated, with the place of the first of them.
    pub leaks: usize,
    first_leak: Option<String>,
    shown: Vec<String>,
}

/// The numbers of one set of examples.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// The rows that were used and those that were not.
    pub counts: Counts,
    /// The tokens that the model reads in an epoch.
    pub tokens: usize,
    /// Those of them that are trained.
    pub trained: usize,
    /// Examples that are equal to an earlier one.
    pub duplicates: usize,
    /// The lengths of the longest examples with their places, the longest first.
    pub longest: Vec<(usize, String)>,
}

impl Summary {
    fn new(examples: &Examples) -> Self {
        let all = examples.all();
        let distinct: HashSet<&Example> = all.iter().collect();
        let mut longest: Vec<usize> = (0..all.len()).collect();
        longest.sort_by_key(|at| (std::cmp::Reverse(all[*at].inputs().len()), *at));
        longest.truncate(3);
        Self {
            counts: examples.counts(),
            tokens: all.iter().map(|example| example.inputs().len()).sum(),
            trained: all.iter().map(Example::trained_tokens).sum(),
            duplicates: all.len() - distinct.len(),
            longest: longest
                .into_iter()
                .map(|at| (all[at].inputs().len(), examples.location(at)))
                .collect(),
        }
    }
}

impl Report {
    /// Examines the examples that are trained and those that are evaluated.
    ///
    /// # Errors
    ///
    /// Those of [`Tokenizer::decode_all`].
    pub fn new(
        tokenizer: &Tokenizer,
        train: &Examples,
        eval: Option<&Examples>,
    ) -> Result<Self, Error> {
        let known: HashSet<&Example> = train.all().iter().collect();
        let evaluated = eval.map_or(&[][..], Examples::all);
        let leaks: Vec<usize> =
            (0..evaluated.len()).filter(|at| known.contains(&evaluated[*at])).collect();
        let shown = train.all().iter().take(SHOWN).map(|example| marked(tokenizer, example));
        Ok(Self {
            train: Summary::new(train),
            eval: eval.map(Summary::new),
            leaks: leaks.len(),
            first_leak: leaks.first().zip(eval).map(|(at, eval)| eval.location(*at)),
            shown: shown.collect::<Result<_, _>>()?,
        })
    }
}

/// The text of an example with its trained tokens marked; long parts are cut in the middle.
pub(super) fn marked(tokenizer: &Tokenizer, example: &Example) -> Result<String, Error> {
    let ids = example.ids();
    let ranges = example.trained().iter();
    let mut borders: Vec<usize> = ranges.flat_map(|range| [range.start, range.end]).collect();
    borders.push(ids.len());
    let (mut text, mut before, mut start) = (String::new(), String::new(), 0);
    for (at, end) in borders.into_iter().enumerate() {
        // A decoder may write a token in another way where it is the first one.
        let whole = tokenizer.decode_all(&ids[..end])?;
        let part = match whole.strip_prefix(&before) {
            Some(part) => cut(part),
            None => cut(&tokenizer.decode_all(&ids[start..end])?),
        };
        let is_trained = at % 2 == 1;
        if is_trained {
            text.extend([MARKS[0].to_string(), part, MARKS[1].to_string()]);
        } else {
            text.push_str(&part);
        }
        (before, start) = (whole, end);
    }
    Ok(text)
}

/// A text with its middle left out, unless that makes it no shorter.
fn cut(part: &str) -> String {
    let chars: Vec<char> = part.chars().collect();
    let hidden = chars.len().saturating_sub(PART);
    let gap = format!(" ... {hidden} characters ... ");
    if hidden <= gap.len() {
        return printable(part);
    }
    let half = |chars: &[char]| printable(chars.iter().collect::<String>());
    let (head, tail) = (&chars[..PART / 2], &chars[chars.len() - PART / 2..]);
    format!("{}{gap}{}", half(head), half(tail))
}

impl fmt::Display for Summary {
    fn fmt(&self, form: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { rows, examples, empty, truncated, cut_off, unstopped, longest_whole } =
            self.counts;
        write!(
            form,
            "{} of {}, {} an epoch, {} of them trained",
            counted(examples, "example"),
            counted(rows, "row"),
            counted(self.tokens, "token"),
            self.trained
        )?;
        for (count, about) in [
            (truncated, format!("truncated; the longest had {longest_whole} tokens")),
            (cut_off, "not trained: the whole answer was cut off".to_owned()),
            (empty, "not trained: empty".to_owned()),
            (self.duplicates, "equal to an earlier one".to_owned()),
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
        let longest: Vec<String> = self
            .longest
            .iter()
            .map(|(tokens, location)| {
                format!("{} in {}", counted(*tokens, "token"), printable(location))
            })
            .collect();
        write!(form, "\n  longest: {}", longest.join(", "))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, form: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(form, "train: {}", self.train)?;
        if let Some(eval) = &self.eval {
            write!(form, "\neval: {eval}")?;
        }
        if let Some(location) = &self.first_leak {
            let leaks = counted(self.leaks, "example");
            write!(form, "\n  {leaks} of train too, the first in {}", printable(location))?;
        }
        for (at, shown) in (1..).zip(&self.shown) {
            write!(form, "\nexample {at}, trained between {} and {}: {shown}", MARKS[0], MARKS[1])?;
        }
        Ok(())
    }
}

/// A number with its noun: `1 row`, `2 rows`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_longer_than_what_stands_for_it() {
        let long = |count: usize| "a".repeat(count);
        for count in [0, PART, PART + 5, PART + 23] {
            assert_eq!(cut(&long(count)), long(count));
        }
        let half = long(PART / 2);
        assert_eq!(cut(&long(PART + 24)), format!("{half} ... 24 characters ... {half}"));
    }
}
