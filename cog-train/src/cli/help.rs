//! The inputs as `--help` shows them: like clap's own options, by name, type, rules and description.

use std::fmt::Write;

use clap::builder::styling::Styles;

use crate::error::counted;
use crate::input::{Kind, Literal, Number, Spec};
use crate::message::width as columns_of;

/// The column at which descriptions begin.
const COLUMN: usize = 30;
/// Below this width descriptions stand under the names.
const NARROW: usize = 60;

/// A section of help with one entry for each input; empty when there are none.
pub(crate) fn inputs(table: &[Spec], heading: &str, width: usize) -> String {
    let styles = Styles::styled();
    let (header, literal) = (styles.get_header(), styles.get_literal());
    let mut text = format!("{header}{heading}:{header:#}\n");
    if table.is_empty() {
        text.push_str("  none\n");
    }
    for spec in table {
        let label =
            format!("{}=<{}>{}", spec.name, kind_of(spec), if spec.ty.list { "..." } else { "" });
        let (name, rest) = label.split_at(spec.name.len());
        let _ = write!(text, "  {literal}{name}{literal:#}{rest}");
        let mut used = 2 + columns_of(&label);
        let column = if width < NARROW { 10 } else { COLUMN };
        if used + 2 > column {
            text.push('\n');
            used = 0;
        }
        let mut words = spec.description.unwrap_or_default().to_owned();
        for rule in rules(spec) {
            let _ = write!(words, " [{rule}]");
        }
        wrap(&mut text, words.trim(), used, column, width);
    }
    text
}

/// Puts words from `column` on; the line holds `used` characters already.
fn wrap(text: &mut String, words: &str, used: usize, column: usize, width: usize) {
    if words.is_empty() {
        text.push('\n');
        return;
    }
    let _ = write!(text, "{:1$}", "", column - used);
    let room = width.saturating_sub(column).max(20);
    let mut line = 0;
    for word in words.split_whitespace() {
        let length = columns_of(word);
        if line > 0 && line + 1 + length > room {
            let _ = write!(text, "\n{:column$}", "");
            line = 0;
        } else if line > 0 {
            text.push(' ');
            line += 1;
        }
        text.push_str(word);
        line += length;
    }
    text.push('\n');
}

fn kind_of(spec: &Spec) -> &'static str {
    match spec.ty.kind {
        Kind::String | Kind::Choice(_) => "TEXT",
        Kind::Integer { .. } => "INTEGER",
        Kind::Float => "NUMBER",
        Kind::Boolean => "true|false",
        Kind::Path => "FILE",
        Kind::Secret => "SECRET",
        Kind::Object | Kind::Any => "JSON",
    }
}

fn rules(spec: &Spec) -> Vec<String> {
    let mut rules = Vec::new();
    match &spec.default {
        Some(default) => rules.push(format!("default: {}", literal_text(default))),
        None if spec.required() => rules.push("required".to_owned()),
        None => {}
    }
    match (spec.ge.map(number), spec.le.map(number)) {
        (Some(least), Some(greatest)) => rules.push(format!("{least} to {greatest}")),
        (Some(least), None) => rules.push(format!("at least {least}")),
        (None, Some(greatest)) => rules.push(format!("at most {greatest}")),
        (None, None) => {}
    }
    match (spec.min_length, spec.max_length) {
        (Some(least), Some(greatest)) => {
            rules.push(format!("{least} to {}", counted(greatest, "character")));
        }
        (Some(least), None) => rules.push(format!("at least {}", counted(least, "character"))),
        (None, Some(greatest)) => rules.push(format!("at most {}", counted(greatest, "character"))),
        (None, None) => {}
    }
    if let Some(pattern) = spec.regex {
        rules.push(format!("matches: {pattern}"));
    }
    if let Some(choices) = spec.choices {
        rules.push(format!("possible values: {}", join(choices.iter().map(literal_text))));
    }
    if let Kind::Choice(names) = spec.ty.kind {
        rules.push(format!("possible values: {}", names.join(", ")));
    }
    if spec.deprecated {
        rules.push("deprecated".to_owned());
    }
    rules
}

fn number(number: Number) -> String {
    match number {
        Number::Int(int) => int.to_string(),
        Number::Float(float) => float.to_string(),
    }
}

fn literal_text(literal: &Literal) -> String {
    match literal {
        Literal::Bool(value) => value.to_string(),
        Literal::Int(value) => value.to_string(),
        // As an author would write it: 5e-5, not 0.00005.
        Literal::Float(value) if *value != 0.0 && !(1e-3..1e6).contains(&value.abs()) => {
            format!("{value:e}")
        }
        Literal::Float(value) => value.to_string(),
        Literal::Str("") => "\"\"".to_owned(),
        Literal::Str(text) => (*text).to_owned(),
        Literal::Variant(name) => name().to_owned(),
        Literal::List(items) => format!("[{}]", join(items.iter().map(literal_text))),
    }
}

fn join(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::InputType;

    #[test]
    fn an_input_shows_all_that_is_known_of_it() {
        let table = [
            Spec::new("train_data", <crate::Path as InputType>::TYPE).description("JSONL file"),
            Spec::new("rate", <f64 as InputType>::TYPE)
                .description("A description that is long enough to need a second line of its own")
                .default(Literal::Float(5e-5))
                .ge(Number::Float(0.0))
                .le(Number::Int(1)),
            Spec::new("a_name_that_is_rather_long_indeed", <Vec<String> as InputType>::TYPE)
                .default(Literal::List(&[]))
                .choices(&[Literal::Str("a"), Literal::Str("b")]),
        ];
        let plain = anstyle_free(&inputs(&table, "Inputs", 80));
        let expected = "\
Inputs:
  train_data=<FILE>           JSONL file [required]
  rate=<NUMBER>               A description that is long enough to need a second
                              line of its own [default: 5e-5] [0 to 1]
  a_name_that_is_rather_long_indeed=<TEXT>...
                              [default: []] [possible values: a, b]
";
        assert_eq!(plain, expected);
    }

    fn anstyle_free(text: &str) -> String {
        let mut plain = String::new();
        let mut escape = false;
        for c in text.chars() {
            match c {
                '\u{1b}' => escape = true,
                'm' if escape => escape = false,
                _ if escape => {}
                other => plain.push(other),
            }
        }
        plain
    }
}
