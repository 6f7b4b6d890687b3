//! The `weights` section: files that Cog mounts beside a model. Checked by Cog's rules, and unused here.

use std::collections::HashMap;

use super::build::texts;
use super::keys;
use super::node::{Content, Mistake, Node};
use super::note::quoted;
use super::read::{Fields, Reader, Text};

/// An item of `weights`: files that Cog mounts into the container.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WeightEntry {
    /// The entry's name, unique in the file.
    pub name: String,
    /// The absolute path in the container.
    pub target: String,
    /// The sources of the files, at least one.
    pub sources: Vec<WeightSource>,
}

/// A source of an item of `weights`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WeightSource {
    /// `hf://`, `https://`, `file://`, or a path.
    pub uri: String,
    /// Patterns of the files to include; empty for all.
    pub include: Vec<String>,
    /// Patterns of the files to exclude.
    pub exclude: Vec<String>,
}

pub(super) fn read(reader: &mut Reader, top: &Fields<'_>) -> Vec<WeightEntry> {
    let items = reader.items(top, "weights");
    if items.is_empty() {
        return Vec::new();
    }
    if top.given("model").is_none()
        && !top.is_broken("model")
        && let Some((key, _)) = top.get("weights")
    {
        let mistake = Mistake::new(key.at, "`weights` needs `model`");
        reader.wrong(match top.given("image") {
            Some(_) => mistake.hint("rename `image` to `model`"),
            None => mistake.hint("name the repository that the weights are pushed to"),
        });
    }
    let mut names = HashMap::new();
    let mut targets = Vec::new();
    let entries =
        items.iter().filter_map(|item| entry(reader, item, &mut names, &mut targets)).collect();
    disjoint(reader, targets);
    entries
}

fn entry(
    reader: &mut Reader,
    item: &Node,
    names: &mut HashMap<String, usize>,
    targets: &mut Vec<(String, Text)>,
) -> Option<WeightEntry> {
    let fields = reader.fields(&keys::WEIGHT, item)?;
    let mut required = |name| reader.required(keys::WEIGHT.of, &fields, name);
    let (name, target) = (required("name"), required("target"));
    if let Some(name) = &name {
        check_name(reader, name, names);
    }
    if let Some(target) = &target {
        match normalize(&target.text) {
            Ok(path) => targets.push((path, target.clone())),
            Err(message) => reader.wrong(Mistake::new(target.at, message)),
        }
    }
    let sources = sources(reader, &fields);
    Some(WeightEntry { name: name?.text, target: target?.text, sources })
}

fn check_name(reader: &mut Reader, name: &Text, names: &mut HashMap<String, usize>) {
    if let Some(line) = names.get(&name.text) {
        let message =
            format!("the name {} is given twice, first on line {line}", quoted(&name.text));
        reader.wrong(Mistake::new(name.at, message));
        return;
    }
    names.insert(name.text.clone(), name.at.line);
    let good = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    // It becomes part of a registry's tag.
    if !name.text.split(['.', '_', '-']).all(good) {
        let message = format!("{} is not a name for weights", quoted(&name.text));
        let hint = "write lowercase letters and digits, with single `.`, `_` or `-` between them";
        reader.wrong(Mistake::new(name.at, message).hint(hint));
    }
}

/// Normalizes a path: without `.`, `..` and doubled `/`, with a final `/`.
fn normalize(target: &str) -> Result<String, String> {
    let shown = quoted(target);
    if !target.starts_with('/') {
        return Err(format!("`target` must be an absolute path, found {shown}"));
    }
    let mut parts = Vec::new();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    if parts.is_empty() {
        return Err(format!("`target` may not be the root of the container, found {shown}"));
    }
    Ok(format!("/{}/", parts.join("/")))
}

/// Reports targets that are equal to or inside another one.
fn disjoint(reader: &mut Reader, mut targets: Vec<(String, Text)>) {
    // A path inside a folder sorts right after it, since each path ends in `/`.
    targets.sort_by(|(a, at), (b, bt)| a.cmp(b).then(at.at.cmp(&bt.at)));
    let mut outer: Option<&(String, Text)> = None;
    for target in &targets {
        let Some(other) = outer.filter(|outer| target.0.starts_with(&outer.0)) else {
            outer = Some(target);
            continue;
        };
        let (first, second) =
            if other.1.at < target.1.at { (&other.1, &target.1) } else { (&target.1, &other.1) };
        let message = format!(
            "the targets {} and {} overlap, the other one is on line {}",
            quoted(&second.text),
            quoted(&first.text),
            first.at.line
        );
        reader.wrong(Mistake::new(second.at, message));
    }
}

/// Reads one source or a list of them.
fn sources(reader: &mut Reader, fields: &Fields<'_>) -> Vec<WeightSource> {
    let Some((_, node)) = fields.get("source") else {
        reader.missing(keys::WEIGHT.of, fields, "source");
        return Vec::new();
    };
    match &*node.content {
        Content::List(items) => {
            if items.is_empty() {
                reader.wrong(Mistake::new(node.at, "`source` is empty"));
            }
            items.iter().filter_map(|item| source(reader, item)).collect()
        }
        _ => source(reader, node).into_iter().collect(),
    }
}

fn source(reader: &mut Reader, node: &Node) -> Option<WeightSource> {
    let fields = reader.fields(&keys::SOURCE, node)?;
    let include = patterns(reader, &fields, "include");
    let exclude = patterns(reader, &fields, "exclude");
    let uri = reader.required(keys::SOURCE.of, &fields, "uri")?.text;
    Some(WeightSource { uri, include, exclude })
}

fn patterns(reader: &mut Reader, fields: &Fields<'_>, name: &str) -> Vec<String> {
    let patterns = reader.texts(fields, name);
    for pattern in &patterns {
        let text = pattern.text.trim();
        let wrong = if text.is_empty() {
            "a pattern is empty"
        } else if text.starts_with('!') {
            "a pattern may not start with `!`"
        } else if text.contains('\\') {
            "a pattern has `/` and no `\\` between its parts"
        } else {
            continue;
        };
        reader.wrong(Mistake::new(pattern.at, wrong));
    }
    texts(patterns)
}
