//! Patterns of file names.

use regex::Regex;

/// A file's name, or a pattern: `*` stands for any characters but `/`, `**` for any characters, `?` for one but `/`.
pub(super) struct Pattern<'a> {
    text: &'a str,
    /// `None` for a name.
    regex: Option<Regex>,
}

impl<'a> Pattern<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        // A pattern that is too large for its matcher is taken as a name, which no file has.
        let regex = text.contains(['*', '?']).then(|| Regex::new(&expression(text)).ok());
        Self { text, regex: regex.flatten() }
    }

    /// Returns the name, unless this is a pattern.
    pub(super) fn name(&self) -> Option<&'a str> {
        self.regex.is_none().then_some(self.text)
    }

    pub(super) fn fits(&self, name: &str) -> bool {
        match &self.regex {
            Some(regex) => regex.is_match(name),
            None => self.text == name,
        }
    }
}

fn expression(pattern: &str) -> String {
    let mut expression = "(?s)^".to_owned();
    let mut rest = pattern;
    while let Some(at) = rest.find(['*', '?']) {
        expression += &regex::escape(&rest[..at]);
        let (stands_for, length) = match &rest[at..] {
            special if special.starts_with("**") => (".*", 2),
            special if special.starts_with('*') => ("[^/]*", 1),
            _ => ("[^/]", 1),
        };
        expression += stands_for;
        rest = &rest[at + length..];
    }
    expression + &regex::escape(rest) + "$"
}
