//! Errors of YAML's syntax, in words for somebody who writes a `cog.yaml` and not a parser.

use serde_saphyr::granit_parser::{ErrorKind as E, ScanError};

use super::note::Place;
use super::tree::Mistake;

/// The parser's error at its place in the text.
pub(super) fn mistake(error: &ScanError, text: &str) -> Mistake {
    let (message, hint) = words(error.kind());
    let mistake = Mistake::new(inside(error, text), message);
    match hint {
        Some(hint) => mistake.hint(hint),
        None => mistake,
    }
}

/// The error's place, moved to the end of the text where the parser looked beyond it.
fn inside(error: &ScanError, text: &str) -> Place {
    let marker = error.marker();
    let line = marker.line().clamp(1, text.lines().count().max(1));
    let width = text.lines().nth(line - 1).map_or(0, |line| line.chars().count());
    let column = if line == marker.line() { marker.col() } else { width };
    Place { line, column: column.min(width) + 1 }
}

/// What is wrong, and what to do about it.
fn words(kind: &E) -> (String, Option<&'static str>) {
    let (message, hint) = match kind {
        E::TabNotAllowed
        | E::TabInBlockIndentation
        | E::TabInIndentation
        | E::TabAtBlockScalarStart
        | E::TabInPlainScalar => ("a tab may not indent in YAML", Some("write spaces")),
        E::UnclosedQuotedScalar => ("a quote is opened and never closed", None),
        E::InvalidTrailingSingleQuotedScalar | E::InvalidTrailingDoubleQuotedScalar => {
            ("a quoted text ends, and something follows it", Some("quote the whole value"))
        }
        E::DocumentIndicatorInQuotedScalar => ("a document ends inside quotes", None),
        E::UnknownQuotedScalarEscape
        | E::InvalidQuotedScalarHexEscape
        | E::InvalidLowSurrogateHexEscape
        | E::InvalidLowSurrogate
        | E::MissingLowSurrogate
        | E::UnpairedLowSurrogate
        | E::InvalidUnicodeEscape => (
            "YAML has no such escape in double quotes",
            Some("write `\\\\` for a backslash, or use single quotes"),
        ),
        E::UnexpectedEofFlowSequence | E::UnclosedFlowCollection { open: '[' } => {
            ("`[` is opened and never closed", None)
        }
        E::UnexpectedEofFlowMapping
        | E::UnexpectedEofImplicitFlowMapping
        | E::UnclosedFlowCollection { .. } => ("`{` is opened and never closed", None),
        E::ExpectedFlowSequenceSeparator => ("`,` or `]` is missing here", None),
        E::ExpectedFlowMappingSeparator => ("`,` or `}` is missing here", None),
        E::MismatchedFlowCollectionEnd { open, close } => {
            return (format!("`{close}` does not close `{open}`"), None);
        }
        E::MisplacedFlowCollectionEnd => ("a bracket is closed that was not opened", None),
        E::MappingValueNotAllowed | E::InvalidColonPlacement => (
            "`:` may not stand here",
            Some("quote a value that holds `: `, and start each key on a line of its own"),
        ),
        E::SimpleKeyExpected | E::InvalidSimpleKey => {
            ("a key without `:`", Some("write `key: value`"))
        }
        E::ExpectedBlockMappingKey
        | E::MappingKeyNotAllowed
        | E::UnexpectedEofBlockMapping
        | E::InvalidIndentation
        | E::InvalidFlowScalarIndent
        | E::InvalidQuotedScalarIndent
        | E::InvalidBlockScalarIndent => (
            "this line's indentation fits nothing above it",
            Some("indent all keys of one mapping alike"),
        ),
        E::ExpectedBlockSequenceEntry
        | E::UnexpectedEofBlockSequence
        | E::BlockSequenceEntryNotAllowed
        | E::BlockEntryInFlowCollection
        | E::InvalidBlockEntryWhitespace => (
            "a list's `- ` is missing or may not stand here",
            Some("start each item of a list with `- ` on a line of its own"),
        ),
        E::CommentNotSeparated => ("a comment needs a space before its `#`", None),
        E::UnexpectedCharacter { character } => {
            return (
                format!("a value may not start with `{}`", character.escape_debug()),
                Some("quote the value"),
            );
        }
        E::MissingAnchorOrAliasName => {
            ("an anchor or alias without a name", Some("quote a text that starts with `&` or `*`"))
        }
        E::RecursionLimitExceeded => ("lists and mappings are nested too deeply", None),
        E::BomInsideDocument => ("a byte-order mark inside the file", Some("remove it")),
        _ => ("this is not valid YAML", None),
    };
    (message.to_owned(), hint)
}
