//! `{% generation %}`: the parts of a rendered conversation that the assistant wrote.
//!
//! The template engine has no custom tags. A block becomes a call whose output is put between two characters that occur nowhere
//! else in it, and these are removed from the rendered text.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

/// The function that a block calls.
pub(super) const FUNCTION: &str = "__generation";

static TAGS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}").expect("the expression is valid")
});

/// Rewrites the blocks of a template's source. `None` when there are none.
pub(super) fn rewrite(source: &str) -> Option<String> {
    let call = |found: &regex::Captures<'_>| {
        let (before, after) = (&found[1], &found[3]);
        if found.get(2).is_some() {
            format!("{{%{before} endcall {after}%}}")
        } else {
            format!("{{%{before} call {FUNCTION}() {after}%}}")
        }
    };
    TAGS.is_match(source).then(|| TAGS.replace_all(source, call).into_owned())
}

/// Two characters that a text does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) open: char,
    pub(super) close: char,
}

impl Marks {
    /// Selects two of the noncharacters that Unicode sets aside for such a use.
    pub(super) fn absent_from(text: &str) -> Option<Self> {
        let mut free = ('\u{fdd0}'..='\u{fdef}').filter(|mark| !text.contains(*mark));
        Some(Self { open: free.next()?, close: free.next()? })
    }

    /// Returns the text without marks, and the byte ranges between them.
    pub(super) fn remove(self, text: &str) -> (String, Vec<Range<usize>>) {
        let mut plain = String::with_capacity(text.len());
        let (mut spans, mut depth, mut start) = (Vec::new(), 0_usize, 0);
        for piece in text.split_inclusive([self.open, self.close]) {
            let body = piece.trim_end_matches([self.open, self.close]);
            plain.push_str(body);
            if piece.ends_with(self.open) {
                if depth == 0 {
                    start = plain.len();
                }
                depth += 1;
            } else if piece.ends_with(self.close) {
                depth = depth.saturating_sub(1);
                if depth == 0 && start < plain.len() {
                    spans.push(start..plain.len());
                }
            }
        }
        (plain, spans)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_become_calls_with_their_whitespace_control() {
        for (source, expected) in [
            ("{% generation %}a{%endgeneration%}", "{% call __generation() %}a{% endcall %}"),
            (
                "{%- generation -%}{%+  endgeneration +%}",
                "{%- call __generation() -%}{%+ endcall +%}",
            ),
        ] {
            assert_eq!(rewrite(source).unwrap(), expected);
        }
        assert_eq!(rewrite("{% if generation %}{{ add_generation_prompt }}"), None);
    }

    #[test]
    fn marks_are_removed_and_their_ranges_are_of_the_plain_text() {
        let marks = Marks::absent_from("a \u{fdd0} b").unwrap();
        assert_eq!((marks.open, marks.close), ('\u{fdd1}', '\u{fdd2}'));
        let text =
            "é\u{fdd1}one\u{fdd2}, \u{fdd1}\u{fdd2}\u{fdd1}t\u{fdd1}w\u{fdd2}o\u{fdd2}\u{fdd0}";
        let (plain, spans) = marks.remove(text);
        assert_eq!(plain, "éone, two\u{fdd0}");
        assert_eq!(spans, [2..5, 7..10]);
        let all: String = ('\u{fdd0}'..='\u{fdee}').collect();
        assert_eq!(Marks::absent_from(&all), None);
    }
}
