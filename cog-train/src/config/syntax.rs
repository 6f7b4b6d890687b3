//! Syntax errors of YAML, phrased for the author of a `cog.yaml`.

use serde_saphyr::granit_parser::{ErrorKind as E, ScanError};

use super::node::Mistake;
use super::note::Location;
use super::source::lines;

/// Converts the parser's error. `bracket` is the innermost one that is still open.
pub(super) fn mistake(error: &ScanError, text: &str, bracket: Option<(char, Location)>) -> Mistake {
    let at = location(error, text);
    if let Some((bracket, opened)) = bracket
        && (ends_in_bracket(error.kind())
            || (runs_on(error.kind(), opened, at) && !closed_after(text, at, bracket)))
    {
        return Mistake::new(opened, format!("`{bracket}` is opened and never closed"));
    }
    let (message, hint) = phrase(error.kind());
    let mistake = Mistake::new(at, message);
    match hint {
        Some(hint) => mistake.hint(hint),
        None => mistake,
    }
}

/// Whether the text ended in an open bracket.
fn ends_in_bracket(kind: &E) -> bool {
    matches!(
        kind,
        E::UnexpectedEofFlowSequence
            | E::UnexpectedEofFlowMapping
            | E::UnexpectedEofImplicitFlowMapping
            | E::UnclosedFlowCollection { .. }
            | E::UnexpectedEof
    )
}

/// Whether an unclosed bracket may have swallowed the keys of later lines.
fn runs_on(kind: &E, opened: Location, at: Location) -> bool {
    let kind = matches!(
        kind,
        E::MappingValueNotAllowed
            | E::InvalidColonPlacement
            | E::ExpectedFlowSequenceSeparator
            | E::ExpectedFlowMappingSeparator
            | E::InvalidFlowScalarIndent
            | E::SimpleKeyExpected
            | E::InvalidSimpleKey
    );
    kind && opened.line < at.line
}

fn closed_after(text: &str, at: Location, bracket: char) -> bool {
    let close = if bracket == '[' { ']' } else { '}' };
    lines(text).skip(at.line - 1).any(|line| line.contains(close))
}

/// Returns the error's location, moved to the end of the text when the parser looked beyond it, and to the offending
/// tab.
fn location(error: &ScanError, text: &str) -> Location {
    let marker = error.marker();
    let line = marker.line().clamp(1, lines(text).count());
    if is_tab(error.kind())
        && let Some(tab) = first_tab(text, line)
    {
        return tab;
    }
    let width = lines(text).nth(line - 1).unwrap_or_default().chars().count();
    let column = if line == marker.line() { marker.col().min(width) } else { width };
    Location { line, column: column + 1 }
}

/// Finds the first tab in an indentation, from this line on.
fn first_tab(text: &str, from: usize) -> Option<Location> {
    lines(text).enumerate().skip(from - 1).find_map(|(index, line)| {
        let column = line.chars().take_while(|&c| c == ' ').count();
        let is_tab = line[column..].starts_with('\t');
        is_tab.then_some(Location { line: index + 1, column: column + 1 })
    })
}

fn is_tab(kind: &E) -> bool {
    matches!(
        kind,
        E::TabNotAllowed
            | E::TabInBlockIndentation
            | E::TabInIndentation
            | E::TabAtBlockScalarStart
            | E::TabInPlainScalar
    )
}

/// Returns the message and the hint for a kind of error.
fn phrase(kind: &E) -> (String, Option<&'static str>) {
    let (message, hint) = match kind {
        kind if is_tab(kind) => ("a tab may not indent in YAML", Some("write spaces")),
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
        E::UnexpectedCharacter { .. } => {
            ("a value may not start with this character", Some("quote the value"))
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
