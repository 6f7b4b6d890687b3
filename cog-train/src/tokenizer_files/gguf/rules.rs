//! The rules of a `tokenizer.json` that llama.cpp has a name for.

use serde_json::Value;

use super::pieces::SPACE;
use super::split::GPT2;
use crate::error::printable_name;

/// The special tokens around each sequence.
#[derive(Default)]
pub(super) struct Around {
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
}

impl Around {
    pub(super) fn read(processor: &Value) -> Result<Self, String> {
        match processor["type"].as_str() {
            None | Some("ByteLevel") => Ok(Self::default()),
            Some("Sequence") => {
                let parts = processor["processors"].as_array().into_iter().flatten();
                let mut found = parts.filter(|part| part["type"] != "ByteLevel");
                match (found.next(), found.next()) {
                    (None, _) => Ok(Self::default()),
                    (Some(one), None) => Self::read(one),
                    (Some(_), Some(other)) => Err(Self::refused(other)),
                }
            }
            Some("TemplateProcessing") => {
                let parts = processor["single"].as_array().map_or(&[][..], Vec::as_slice);
                let token = |part: &Value| part["SpecialToken"]["id"].as_str().map(str::to_owned);
                let at = parts.iter().position(|part| part.get("Sequence").is_some());
                let (before, after) = parts.split_at(at.unwrap_or(parts.len()));
                match (before, after) {
                    ([], [_]) => Ok(Self::default()),
                    ([first], [_]) => Ok(Self { before: token(first), after: None }),
                    ([], [_, last]) => Ok(Self { before: None, after: token(last) }),
                    ([first], [_, last]) => Ok(Self { before: token(first), after: token(last) }),
                    _ => Err(Self::refused(processor)),
                }
            }
            Some(_) => Err(Self::refused(processor)),
        }
    }

    fn refused(processor: &Value) -> String {
        format!(
            "the tokens around each sequence come from {}, which a GGUF file cannot express",
            of_type(processor)
        )
    }
}

/// The merges of a `tokenizer.json`: pairs, or texts with a space between.
pub(super) fn pairs(json: &Value) -> Result<Vec<[String; 2]>, String> {
    let pair = |merge: &Value| match merge {
        Value::String(text) => text.split_once(' ').map(|(a, b)| [a.to_owned(), b.to_owned()]),
        merge => Some([merge[0].as_str()?.to_owned(), merge[1].as_str()?.to_owned()]),
    };
    let merges = json["model"]["merges"].as_array().into_iter().flatten();
    merges.map(|merge| pair(merge).ok_or_else(|| format!("the merge {merge} is no pair"))).collect()
}

/// Gathers the expressions that split a text before its bytes are merged.
pub(super) fn split(rule: &Value, expressions: &mut Vec<String>) -> Result<(), String> {
    match rule["type"].as_str() {
        Some("Sequence") => {
            let rules = rule["pretokenizers"].as_array().into_iter().flatten();
            return rules.into_iter().try_for_each(|rule| split(rule, expressions));
        }
        Some("ByteLevel") if rule["add_prefix_space"] != true => {
            if rule["use_regex"] != false {
                expressions.push(GPT2.to_owned());
            }
        }
        Some("Digits") => {
            let one = rule["individual_digits"] == true;
            expressions.push(if one { r"\p{N}" } else { r"\p{N}+" }.to_owned());
        }
        Some("Split") if rule["behavior"] == "Isolated" && rule["invert"] != true => {
            match rule["pattern"]["Regex"].as_str() {
                Some(expression) => expressions.push(expression.to_owned()),
                None => return Err(format!("a text is split by {}", rule["pattern"])),
            }
        }
        _ => return Err(format!("a text is split by {}", of_type(rule))),
    }
    Ok(())
}

/// Whether a text, and each part of one between special tokens, begins with a space. Nothing else is done to it but that spaces
/// become a part of pieces.
pub(super) fn spaced(json: &Value) -> Result<bool, String> {
    let normalizer = &json["normalizer"];
    let rules = match normalizer["type"].as_str() {
        None => Vec::new(),
        Some("Sequence") => normalizer["normalizers"].as_array().cloned().unwrap_or_default(),
        Some(_) => vec![normalizer.clone()],
    };
    let prepends = |rule: &Value| rule["type"] == "Prepend" && rule["prepend"] == SPACE;
    let replaces = |rule: &Value| {
        rule["type"] == "Replace" && rule["pattern"]["String"] == " " && rule["content"] == SPACE
    };
    let split = &json["pre_tokenizer"];
    // All spaces have become a part of pieces.
    let is_idle = split.is_null() || split["type"] == "Split" && split["pattern"]["String"] == " ";
    match rules.as_slice() {
        [first, second] if prepends(first) && replaces(second) && is_idle => Ok(true),
        [only] if replaces(only) && is_idle => Ok(false),
        [] if split["type"] == "Metaspace" && split["split"] == false => {
            match split["prepend_scheme"].as_str() {
                Some("never") => Ok(false),
                // Of these a text that begins with a space gets no other one, and a part of a text may get none.
                scheme => Err(format!(
                    "spaces are put in front of texts by the `prepend_scheme` `{}`",
                    printable_name(scheme.unwrap_or("always"))
                )),
            }
        }
        _ => Err(format!(
            "the normalizer is {}, and a text is split by {}",
            of_type(normalizer),
            of_type(split)
        )),
    }
}

/// The name of a part of a `tokenizer.json`, for messages.
pub(super) fn of_type(part: &Value) -> String {
    match part["type"].as_str() {
        Some("Sequence") => {
            let inner =
                part.as_object().into_iter().flatten().find_map(|(_, value)| value.as_array());
            let names: Vec<_> = inner.into_iter().flatten().map(of_type).collect();
            names.join(", ")
        }
        Some(name) => format!("`{}`", printable_name(name)),
        None => "nothing".to_owned(),
    }
}
