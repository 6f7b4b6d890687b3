//! Bad rows of a file, reported all at once.

use crate::error::{Error, counted};

/// The most bad rows that are shown.
const SHOWN: usize = 20;
/// The most characters of a reason that are shown.
const REASON: usize = 300;

/// Bad rows found so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    count: usize,
    shown: Vec<String>,
}

impl Problems {
    /// Adds a row by its position in the file, such as `line 3`.
    pub(super) fn add(&mut self, position: impl std::fmt::Display, reason: &str) {
        self.count += 1;
        if self.count <= SHOWN {
            let mut line = format!("{position}: {reason}");
            if let Some((cut, _)) = line.char_indices().nth(REASON) {
                line.truncate(cut);
                line.push_str("...");
            }
            self.shown.push(line);
        }
    }

    /// Returns the error of the file `name`, if a row is bad.
    pub(super) fn finish(mut self, name: &str) -> Result<(), Error> {
        if self.count == 0 {
            return Ok(());
        }
        if self.count > SHOWN {
            self.shown.push(format!("and {} more", self.count - SHOWN));
        }
        let rows = counted(self.count, "row");
        let reason = format!("{rows} cannot be used\n  {}", self.shown.join("\n  "));
        Err(Error::Data { location: name.to_owned(), reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_reported_up_to_a_limit() {
        let of = |count| {
            let mut problems = Problems::default();
            (0..count).for_each(|at| problems.add(format!("line {}", at + 1), "bad"));
            problems.finish("a.jsonl")
        };
        assert!(of(0).is_ok());
        let text = of(1).unwrap_err().to_string();
        assert_eq!(text, "data `a.jsonl`: 1 row cannot be used\n  line 1: bad");
        let text = of(25).unwrap_err().to_string();
        assert!(
            text.starts_with("data `a.jsonl`: 25 rows cannot be used\n  line 1: bad\n"),
            "{text}"
        );
        assert!(text.ends_with("\n  line 20: bad\n  and 5 more"), "{text}");
    }

    #[test]
    fn a_long_reason_is_cut() {
        let mut problems = Problems::default();
        problems.add("line 1", &"\u{e4}".repeat(1000));
        assert!(problems.finish("a").unwrap_err().to_string().len() < 700);
    }
}
