//! `model`: the bare name of a repository, without tag or digest.

use super::node::Mistake;
use super::note::{example, quoted};
use super::read::Text;

/// Checks a repository's name: `r8.im/owner/model`, `localhost:5000/model`, `owner/model`.
pub(super) fn check(model: &Text) -> Result<(), Mistake> {
    let Text { text, at } = model;
    let shown = quoted(text);
    let wrong = |message: String| Mistake::new(*at, message);
    if let Some((bare, _)) = text.split_once('@') {
        let message = format!("{shown} has a digest, and `model` is a repository");
        return Err(wrong(message).hint(example(&format!("model: {bare}"))));
    }
    let last = text.rsplit('/').next().unwrap_or(text);
    if let Some((_, tag)) = last.split_once(':') {
        let bare = &text[..text.len() - tag.len() - 1];
        let message = format!("{shown} has a tag, and `model` is a repository");
        return Err(wrong(message).hint(example(&format!("model: {bare}"))));
    }
    // A first component with a dot or a port is the registry's host.
    let path = match text.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => path,
        _ => text,
    };
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.".contains(c);
    if !(2..=255).contains(&path.len())
        || !path.split('/').all(|part| !part.is_empty() && part.chars().all(good))
    {
        let message = format!("{shown} is not the name of a repository");
        let hint = "write lowercase letters, digits, `_`, `-` and `.`, as in `r8.im/owner/model`";
        return Err(wrong(message).hint(hint));
    }
    Ok(())
}
