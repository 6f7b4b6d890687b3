//! The attributes of a field: `#[input(...)]` and doc comments.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Expr, ExprLit, Ident, Lit, Meta, Token};

use crate::errors::{Errors, join, nearest};
use crate::value::{self, Literal, Value};

/// The options of one input.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) description: Option<Written>,
    pub(crate) default: Option<Written>,
    pub(crate) ge: Option<Written>,
    pub(crate) le: Option<Written>,
    pub(crate) min_length: Option<Written>,
    pub(crate) max_length: Option<Written>,
    pub(crate) regex: Option<Written>,
    pub(crate) choices: Option<Written>,
    pub(crate) deprecated: Option<Written>,
}

/// One option: its name, for mistakes with the option itself, and its value.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) name: Ident,
    pub(crate) value: Value,
}

const NAMES: [&str; 9] = [
    "description",
    "default",
    "ge",
    "le",
    "min_length",
    "max_length",
    "regex",
    "choices",
    "deprecated",
];

/// The options' names in other libraries.
const SYNONYMS: [(&str, &str); 16] = [
    ("min", "ge"),
    ("minimum", "ge"),
    ("gt", "ge"),
    ("max", "le"),
    ("maximum", "le"),
    ("lt", "le"),
    ("pattern", "regex"),
    ("help", "description"),
    ("about", "description"),
    ("doc", "description"),
    ("values", "choices"),
    ("one_of", "choices"),
    ("enum", "choices"),
    ("min_len", "min_length"),
    ("max_len", "max_length"),
    ("default_value", "default"),
];

impl Options {
    /// Reads the options in all `#[input(...)]` of a field.
    pub(crate) fn read(attrs: &[Attribute], errors: &mut Errors) -> Self {
        let mut options = Self::default();
        for_each_option(attrs, "input", errors, |name, value, errors| {
            options.set(name, value, errors);
        });
        options
    }

    fn set(&mut self, name: &Ident, value: Option<Expr>, errors: &mut Errors) {
        let word = name.unraw().to_string();
        let slot = match word.as_str() {
            "description" => &mut self.description,
            "default" => &mut self.default,
            "ge" => &mut self.ge,
            "le" => &mut self.le,
            "min_length" => &mut self.min_length,
            "max_length" => &mut self.max_length,
            "regex" => &mut self.regex,
            "choices" => &mut self.choices,
            "deprecated" => &mut self.deprecated,
            _ => return errors.at(name, unknown(&word, &NAMES, &SYNONYMS)),
        };
        if slot.is_some() {
            return errors.at(name, format!("`{word}` is given twice"));
        }
        let value = match value {
            Some(value) => value,
            None if word == "deprecated" => syn::parse_quote_spanned!(name.span()=> true),
            None => return errors.at(name, format!("write `{word} = ...`")),
        };
        let value = match Value::read(value) {
            Ok(value) => value,
            Err(error) => return errors.push(error),
        };
        match wrong_kind(&word, &value) {
            Some(error) => errors.push(error),
            None => *slot = Some(Written { name: name.clone(), value }),
        }
    }
}

/// Returns the mistake in a value that the option never takes, whatever the field's type.
fn wrong_kind(option: &str, value: &Value) -> Option<syn::Error> {
    let literal = &value.literal;
    if option == "default" {
        return None;
    }
    if matches!(literal, Literal::Path(_)) {
        return Some(value::not_a_literal(value));
    }
    let (fits, sentence) = match option {
        "description" | "regex" => {
            (matches!(literal, Literal::Str(_)), format!("`{option}` is a text in double quotes"))
        }
        "ge" | "le" => (
            matches!(literal, Literal::Int(_) | Literal::Float(_)),
            format!("`{option}` is a number"),
        ),
        "min_length" | "max_length" => (
            matches!(literal, Literal::Int(length) if u64::try_from(*length).is_ok()),
            format!("`{option}` is a number of characters, 0 or more"),
        ),
        "choices" => (
            matches!(literal, Literal::List(_)),
            "`choices` is a list: write `choices = [...]`".to_owned(),
        ),
        _ => (matches!(literal, Literal::Bool(_)), format!("write `{option}` alone")),
    };
    (!fits).then(|| syn::Error::new_spanned(&value.tokens, sentence))
}

/// Reads `#[name(option = value, option, ...)]`, and continues after a mistake.
pub(crate) fn for_each_option(
    attrs: &[Attribute],
    name: &str,
    errors: &mut Errors,
    mut set: impl FnMut(&Ident, Option<Expr>, &mut Errors),
) {
    for attr in attrs.iter().filter(|attr| attr.path().is_ident(name)) {
        let Meta::List(list) = &attr.meta else {
            errors.at(&attr.meta, format!("write the options in parentheses: `#[{name}(...)]`"));
            continue;
        };
        let parser = |input: ParseStream<'_>| {
            while !input.is_empty() {
                match option(input) {
                    Ok((name, value)) => set(&name, value, errors),
                    Err(error) => {
                        errors.push(error);
                        skip_to_comma(input)?;
                    }
                }
                if !input.is_empty() && input.parse::<Token![,]>().is_err() {
                    errors.push(input.error("a comma is missing between two options"));
                    skip_to_comma(input)?;
                    input.parse::<Option<Token![,]>>()?;
                }
            }
            Ok(())
        };
        if let Err(error) = parser.parse2(list.tokens.clone()) {
            errors.push(error);
        }
    }
}

fn option(input: ParseStream<'_>) -> syn::Result<(Ident, Option<Expr>)> {
    if !input.peek(Ident::peek_any) {
        return Err(input.error("an option is a name: `name = value`"));
    }
    let name = input.call(Ident::parse_any)?;
    if input.is_empty() || input.peek(Token![,]) {
        return Ok((name, None));
    }
    if input.parse::<Token![=]>().is_err() {
        return Err(syn::Error::new_spanned(&name, format!("write `{name} = ...`")));
    }
    if input.is_empty() || input.peek(Token![,]) {
        return Err(syn::Error::new_spanned(
            &name,
            format!("`{name}` has no value: write `{name} = ...`"),
        ));
    }
    Ok((name, Some(input.parse()?)))
}

fn skip_to_comma(input: ParseStream<'_>) -> syn::Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<proc_macro2::TokenTree>()?;
    }
    Ok(())
}

/// Returns the message for an unknown option.
pub(crate) fn unknown(word: &str, names: &[&str], synonyms: &[(&str, &str)]) -> String {
    match nearest(word, names, synonyms) {
        Some(name) => format!("unknown option `{word}`: did you mean `{name}`?"),
        None if names.len() == 1 => {
            format!("unknown option `{word}`: the only one is {}", join(names))
        }
        None => format!("unknown option `{word}`: there are {}", join(names)),
    }
}

/// Refuses our attributes where they have no effect. `target` is where they belong.
pub(crate) fn refuse(attrs: &[Attribute], name: &str, target: &str, errors: &mut Errors) {
    for attr in attrs.iter().filter(|attr| attr.path().is_ident(name)) {
        errors.at(attr, format!("`#[{name}(...)]` belongs on {target}"));
    }
}

/// Returns the text of doc comments: lines joined into paragraphs, an empty line between two of them.
pub(crate) fn docs(attrs: &[Attribute]) -> String {
    let mut paragraphs = vec![String::new()];
    for line in attrs
        .iter()
        .filter_map(doc)
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
    {
        let line = line.trim();
        let last = paragraphs.last_mut().expect("there is one from the start");
        match (line.is_empty(), last.is_empty()) {
            (true, true) => {}
            (true, false) => paragraphs.push(String::new()),
            (false, true) => last.push_str(line),
            (false, false) => {
                last.push(' ');
                last.push_str(line);
            }
        }
    }
    paragraphs.retain(|paragraph| !paragraph.is_empty());
    paragraphs.join("\n\n")
}

/// Returns the text of one `#[doc = "..."]`. The lines of a `/** */` comment keep their stars in the tokens.
fn doc(attr: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attr.meta else { return None };
    let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &pair.value else { return None };
    if !pair.path.is_ident("doc") {
        return None;
    }
    let text = text.value();
    let block = text.contains('\n');
    let lines = text.lines().map(|line| match line.trim_start().strip_prefix('*') {
        Some(rest) if block && !rest.starts_with('*') => rest.to_owned(),
        _ => line.to_owned(),
    });
    Some(if text.is_empty() { "\n".to_owned() } else { lines.collect::<Vec<_>>().join("\n") })
}

impl ToTokens for Written {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.value.tokens.to_tokens(tokens);
    }
}

#[cfg(test)]
mod tests;
