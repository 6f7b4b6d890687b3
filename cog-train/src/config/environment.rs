//! `environment`: a list of `NAME=value`, set before `setup`.

use std::collections::HashMap;

use super::node::Mistake;
use super::note::quoted;
use super::read::{Fields, Reader};

/// Names that Cog keeps for itself; a `*` stands for any rest.
const RESERVED: &[&str] = &[
    "PATH",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "PYTHONUNBUFFERED",
    "LIBRARY_PATH",
    "R8_*",
    "REPLICATE_*",
    "CUDA_*",
    "NVIDIA_*",
    "NV_*",
    "PGET_*",
    "HF_ENDPOINT",
    "HF_HUB_ENABLE_HF_TRANSFER",
    "KUBERNETES_*",
];

/// The variables in the order of the file.
pub(super) fn read(reader: &mut Reader, fields: &Fields<'_>) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    let mut lines = HashMap::new();
    for item in reader.texts(fields, "environment") {
        let (name, value) = match split(&item.text) {
            Ok(pair) => pair,
            Err((message, hint)) => {
                let mistake = Mistake::new(item.at, message);
                reader.wrong(match hint {
                    Some(hint) => mistake.hint(hint),
                    None => mistake,
                });
                continue;
            }
        };
        if let Some(line) = lines.insert(name.to_owned(), item.at.line) {
            let message = format!("`{name}` is set twice, first on line {line}");
            reader.wrong(Mistake::new(item.at, message));
            lines.insert(name.to_owned(), line);
            continue;
        }
        variables.push((name.to_owned(), value.to_owned()));
    }
    variables
}

/// Name and value, or what is wrong and what to write.
fn split(text: &str) -> Result<(&str, &str), (String, Option<String>)> {
    let example = || Some("write `- NAME=value`".to_owned());
    let Some((name, value)) = text.split_once('=').filter(|(name, _)| !name.is_empty()) else {
        return Err((format!("{} is not `NAME=value`", quoted(text)), example()));
    };
    if !is_name(name) {
        let message = format!("{} is not the name of a variable", quoted(name));
        let hint = "a name is of letters, digits and `_`, and does not start with a digit";
        return Err((message, Some(hint.to_owned())));
    }
    if is_reserved(name) {
        return Err((format!("`{name}` may not be set: Cog keeps it for itself"), None));
    }
    Ok((name, value))
}

fn is_name(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.bytes().next().is_some_and(|b| !b.is_ascii_digit())
}

fn is_reserved(name: &str) -> bool {
    RESERVED.iter().any(|reserved| match reserved.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == *reserved,
    })
}
