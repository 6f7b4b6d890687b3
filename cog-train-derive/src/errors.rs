//! All mistakes of one declaration, each at the token that is wrong.

use std::fmt::Display;

use proc_macro2::TokenStream;
use quote::ToTokens;

/// Collects mistakes: a macro continues after one, so that the user sees all of them.
#[derive(Default)]
pub(crate) struct Errors(Vec<syn::Error>);

impl Errors {
    /// Adds a mistake that spans `tokens`.
    pub(crate) fn at(&mut self, tokens: impl ToTokens, message: impl Display) {
        self.0.push(syn::Error::new_spanned(tokens, message));
    }

    pub(crate) fn push(&mut self, error: syn::Error) {
        self.0.push(error);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns one `compile_error!` for each mistake.
    pub(crate) fn to_compile_errors(&self) -> TokenStream {
        self.0.iter().map(syn::Error::to_compile_error).collect()
    }

    #[cfg(test)]
    pub(crate) fn messages(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

/// Returns the name that `written` probably means: a known synonym, or the nearest by edit distance.
pub(crate) fn nearest<'a>(
    written: &str,
    names: &[&'a str],
    synonyms: &[(&str, &'a str)],
) -> Option<&'a str> {
    let lower = written.to_lowercase();
    if let Some((_, name)) = synonyms.iter().find(|(synonym, _)| *synonym == lower) {
        return Some(name);
    }
    names
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&lower, name), *name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Joins names in backticks: "`a`, `b` and `c`".
pub(crate) fn join(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_are_synonyms_or_close_names() {
        let names = ["default", "description", "ge", "le", "regex"];
        let synonyms = [("min", "ge"), ("pattern", "regex")];
        let near = |written| nearest(written, &names, &synonyms);
        assert_eq!(near("defualt"), Some("default"));
        assert_eq!(near("descripton"), Some("description"));
        assert_eq!(near("Default"), Some("default"));
        assert_eq!(near("min"), Some("ge"));
        assert_eq!(near("pattern"), Some("regex"));
        assert_eq!(near("colour"), None);
    }

    #[test]
    fn names_are_joined_as_in_a_sentence() {
        assert_eq!(join(&[]), "");
        assert_eq!(join(&["a"]), "`a`");
        assert_eq!(join(&["a", "b", "c"]), "`a`, `b` and `c`");
    }
}
