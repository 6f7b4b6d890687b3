//! `environment`: a list of `NAME=value`, set before `setup`.

use std::collections::HashMap;

use super::node::Mistake;
use super::note::{Position, quoted};
use super::read::{Fields, Reader, Text};

/// Names that Cog reserves. A final `*` matches any suffix.
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

/// The variables and their positions.
pub(super) struct Environment {
    pub(super) variables: Vec<(String, String)>,
    pub(super) positions: Vec<Position>,
}

/// Reads the variables in the order of the file.
pub(super) fn read(reader: &mut Reader, fields: &Fields<'_>) -> Environment {
    let (mut variables, mut positions) = (Vec::new(), Vec::new());
    let mut lines = HashMap::new();
    for item in reader.texts(fields, "environment") {
        let (name, value) = match split(&item) {
            Ok(pair) => pair,
            Err(mistake) => {
                reader.wrong(mistake);
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
        positions.push(reader.position(item.at));
    }
    Environment { variables, positions }
}

/// Splits `NAME=value`.
fn split(item: &Text) -> Result<(&str, &str), Mistake> {
    let Text { text, at } = item;
    let Some((name, value)) = text.split_once('=').filter(|(name, _)| !name.is_empty()) else {
        let message = format!("{} is not `NAME=value`", quoted(text));
        return Err(Mistake::new(*at, message).hint("write `- NAME=value`"));
    };
    if !is_name(name) {
        let message = format!("{} is not the name of a variable", quoted(name));
        let hint = "a name is of letters, digits and `_`, and does not start with a digit";
        return Err(Mistake::new(*at, message).hint(hint));
    }
    if is_reserved(name) {
        return Err(Mistake::new(*at, format!("`{name}` may not be set: Cog reserves it")));
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
