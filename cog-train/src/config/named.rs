//! A file of named values in YAML, such as that of `--inputs`: each value as it is written, with its position.

use std::sync::Arc;

use super::load;
use super::node::{Content, Mistake, Node};
use super::note::{ConfigError, Location, Position};
use super::read::Reader;

/// A name with its value.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) at: Position,
    pub(crate) value: Shape,
    pub(crate) value_at: Position,
}

/// A value as it is written.
#[derive(Debug, PartialEq)]
pub(crate) enum Shape {
    Null,
    /// `plain` when neither quotes nor a tag make it a string.
    Text {
        text: String,
        plain: bool,
    },
    List(Vec<Shape>),
    Map(Vec<(String, Shape)>),
}

/// Parses a mapping of names to values. An empty file has none.
///
/// # Errors
///
/// Every mistake, at its line and column.
pub(crate) fn parse_named(
    bytes: impl AsRef<[u8]>,
    file_name: &str,
) -> Result<Vec<Named>, ConfigError> {
    let file: Arc<str> = Arc::from(file_name);
    let mut reader = Reader::new(&file);
    let root = load::root(&mut reader, bytes.as_ref());
    let found = match root.as_ref().map(|root| (&*root.content, root.at)) {
        None => Vec::new(),
        Some((Content::Map(entries), _)) => {
            let named = |at: Location, name: &str, node: &Node| Named {
                name: name.to_owned(),
                at: Position::new(&file, at),
                value: shape(node),
                value_at: Position::new(&file, node.at),
            };
            entries.iter().map(|(key, node)| named(key.at, &key.text, node)).collect()
        }
        Some((_, at)) => {
            let mistake = Mistake::new(at, "the file must be a mapping of names to values");
            reader.wrong(mistake.hint("write each on a line of its own: `NAME: VALUE`"));
            Vec::new()
        }
    };
    ConfigError::unless_empty(&file, reader.notes)?;
    Ok(found)
}

fn shape(node: &Node) -> Shape {
    match &*node.content {
        _ if node.is_null() => Shape::Null,
        // A mistake, which ends the reading.
        Content::Broken => Shape::Null,
        Content::Scalar { text, plain } => Shape::Text { text: text.clone(), plain: *plain },
        Content::List(items) => Shape::List(items.iter().map(shape).collect()),
        Content::Map(entries) => {
            Shape::Map(entries.iter().map(|(key, node)| (key.text.clone(), shape(node))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_how_and_where_they_are_written() {
        let found = parse_named("a: 3\nb: \"3\"\nc:\n  - x\n  - ~\nd: {e: 1}\n", "i.yaml").unwrap();
        let text = |text: &str, plain| Shape::Text { text: text.to_owned(), plain };
        let values: Vec<&Shape> = found.iter().map(|it| &it.value).collect();
        assert_eq!(values[..2], [&text("3", true), &text("3", false)]);
        assert_eq!(*values[2], Shape::List(vec![text("x", true), Shape::Null]));
        assert_eq!(*values[3], Shape::Map(vec![("e".to_owned(), text("1", true))]));
        let places = [&found[3].at, &found[3].value_at].map(ToString::to_string);
        assert_eq!(places, ["i.yaml:6:1", "i.yaml:6:4"]);
        assert!(parse_named("# nothing\n", "i.yaml").unwrap().is_empty());
    }

    #[test]
    fn mistakes_have_their_positions() {
        for (text, expected) in [
            ("a: 1\na: 2\n", "i.yaml:2:1: `a` is given twice, first on line 1"),
            ("- a\n", "i.yaml:1:1: the file must be a mapping of names to values"),
            ("a: [1\n", "i.yaml:1:4: `[` is opened and never closed"),
        ] {
            let error = parse_named(text, "i.yaml").unwrap_err().to_string();
            assert!(error.starts_with(&format!("1 mistake in `i.yaml`\n  {expected}")), "{error}");
        }
    }
}
