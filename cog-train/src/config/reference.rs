//! `train`, `run` and `predict`: a source file and the name in it, `src/main.rs:TextFinetune`.

use super::node::Mistake;
use super::note::{Location, Position, example, quoted};
use super::read::{Fields, Reader, Text};

/// A reference to a trainer or predictor: its source file and its name.
///
/// ```
/// use cog_train::Config;
///
/// let (config, _) = Config::parse("train: \"src/main.rs:TextFinetune\"", "cog.yaml").unwrap();
/// let train = config.train().unwrap();
/// assert_eq!((train.file(), train.name()), ("src/main.rs", "TextFinetune"));
/// assert_eq!(train.position().to_string(), "cog.yaml:1:8");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub(super) key: &'static str,
    file: String,
    name: String,
    position: Position,
}

impl Reference {
    /// Returns the source file, which ends in `.rs`.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Returns the name of the type given to `run!`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the position of the value.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.position
    }
}

/// The file in a hint when the written one is not a Rust file.
const MAIN: &str = "src/main.rs";

/// Reads the reference under a key. `known` is the correct name for the hint, if known.
pub(super) fn read(
    reader: &mut Reader,
    fields: &Fields<'_>,
    key: &'static str,
    known: Option<&str>,
) -> Option<Reference> {
    let Text { text, at } = reader.text(fields, key)?;
    match split(key, &text, at, known.unwrap_or("NAME")) {
        Ok((file, name)) => Some(Reference {
            key,
            file: file.to_owned(),
            name: name.to_owned(),
            position: reader.position(at),
        }),
        Err(mistake) => {
            reader.wrong(mistake);
            None
        }
    }
}

fn split<'t>(
    key: &str,
    text: &'t str,
    at: Location,
    known: &str,
) -> Result<(&'t str, &'t str), Mistake> {
    let shown = quoted(text);
    let wrong = |message: String, file: &str| {
        Err(Mistake::new(at, message).hint(example(&format!("{key}: \"{file}:{known}\""))))
    };
    let (file, name) = text.split_once(':').unwrap_or((text, ""));
    if is_python(file) {
        return wrong(format!("{shown} is in Python, and this program is in Rust"), MAIN);
    }
    if file.strip_suffix(".rs").is_none_or(|stem| stem.is_empty() || stem.ends_with('/')) {
        return wrong(format!("{shown} is not a Rust file and a name, `FILE.rs:NAME`"), MAIN);
    }
    if name.is_empty() {
        return wrong(format!("{shown} has no name after the file"), file);
    }
    if let Some((_, last)) = name.rsplit_once("::")
        && is_identifier(last)
    {
        let message =
            format!("{shown} has a path after the file, and only its last name belongs there");
        return Err(Mistake::new(at, message).hint(example(&format!("{key}: \"{file}:{last}\""))));
    }
    if !is_identifier(name) {
        return wrong(format!("{} is not a name in Rust", quoted(name)), file);
    }
    Ok((file, name))
}

fn is_python(file: &str) -> bool {
    std::path::Path::new(file).extension().is_some_and(|end| end.eq_ignore_ascii_case("py"))
}

fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    let first = chars.next().is_some_and(|c| c.is_alphabetic() || c == '_');
    first && name != "_" && chars.all(|c| c.is_alphanumeric() || c == '_')
}
