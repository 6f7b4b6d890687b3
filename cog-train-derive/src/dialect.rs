//! Patterns of `regex` that the Rust crate and JSON Schema interpret alike.
//!
//! An input is checked twice: by the trainer with the `regex` crate, and by the schema's readers (the HTTP server, a web
//! form) with ECMA-262's rules under its `u` flag. A pattern that the two interpret differently would pass one check and
//! fail the other, so it is refused, with a spelling that both interpret alike.

use regex_syntax::ast::{
    AssertionKind, Ast, ClassPerlKind, ClassSet, ClassSetItem, ClassUnicode, ClassUnicodeKind,
    ClassUnicodeOpKind, GroupKind, HexLiteralKind, Literal, LiteralKind, RepetitionOp, Span,
    SpecialLiteralKind,
};

/// Compiles a pattern, or returns the message with the remedy.
pub(crate) fn compile(pattern: &str) -> Result<regex::Regex, String> {
    let broken = |why: String, at: Option<&Span>| match at
        .map(|at| &pattern[at.start.offset..at.end.offset])
    {
        Some(piece) if !piece.is_empty() => {
            format!("this regex does not compile: {why}: `{piece}`")
        }
        _ => format!("this regex does not compile: {why}"),
    };
    regex_syntax::Parser::new().parse(pattern).map_err(|error| match &error {
        regex_syntax::Error::Parse(error) => broken(error.kind().to_string(), Some(error.span())),
        regex_syntax::Error::Translate(error) => {
            broken(error.kind().to_string(), Some(error.span()))
        }
        error => broken(error.to_string(), None),
    })?;
    let ast = regex_syntax::ast::parse::Parser::new().parse(pattern).expect("it was parsed above");
    Reader { pattern }.read(&ast).map_err(|Difference { what, remedy }| {
        format!("JSON Schema does not read `{what}` as Rust does: {remedy}")
    })?;
    regex::Regex::new(pattern).map_err(|error| broken(error.to_string(), None))
}

/// A piece of a pattern that the two dialects interpret differently, and the remedy.
struct Difference {
    what: String,
    remedy: String,
}

type Alike = Result<(), Difference>;

struct Reader<'a> {
    pattern: &'a str,
}

impl Reader<'_> {
    fn text(&self, span: &Span) -> &str {
        &self.pattern[span.start.offset..span.end.offset]
    }

    fn differs(&self, span: &Span, remedy: impl Into<String>) -> Alike {
        Err(Difference { what: self.text(span).to_owned(), remedy: remedy.into() })
    }

    fn read(&self, ast: &Ast) -> Alike {
        match ast {
            Ast::Empty(_) => Ok(()),
            Ast::Flags(flags) => self.differs(&flags.span, NO_FLAGS),
            Ast::Literal(literal) => self.literal(literal, false),
            Ast::Dot(span) => self.differs(span, r"write `[^\n\r\u2028\u2029]` in a raw string"),
            Ast::Assertion(assertion) => match assertion.kind {
                AssertionKind::StartLine | AssertionKind::EndLine => Ok(()),
                AssertionKind::StartText => self.differs(&assertion.span, "write `^`"),
                AssertionKind::EndText => self.differs(&assertion.span, "write `$`"),
                _ => self.differs(
                    &assertion.span,
                    "write the characters that may stand there, `(^|[^A-Za-z0-9_])`",
                ),
            },
            Ast::ClassUnicode(class) => self.property(class),
            Ast::ClassPerl(class) => {
                self.differs(&class.span, perl(&class.kind, class.negated, false))
            }
            Ast::ClassBracketed(class) => self.set(&class.kind),
            Ast::Repetition(repetition) => {
                self.operator(&repetition.op)?;
                let inner: &Ast = &repetition.ast;
                if matches!(inner, Ast::Repetition(_) | Ast::Assertion(_) | Ast::Empty(_)) {
                    return self
                        .differs(&repetition.span, "put what is repeated in a group, `(?:...)`");
                }
                // ECMA-262 allows it, and the server's own reader of JSON Schema does not.
                if is_nothing(inner) {
                    return self.differs(&repetition.span, "leave it out: it repeats nothing");
                }
                self.read(inner)
            }
            Ast::Group(group) => {
                match &group.kind {
                    GroupKind::CaptureName { starts_with_p: true, .. } => {
                        return self.differs(
                            &group.span,
                            "write `(?<name>...)`, or `(...)` without a name",
                        );
                    }
                    GroupKind::CaptureName { name, .. } if !is_identifier(&name.name) => {
                        return self
                            .differs(&name.span, "name the group by letters, digits and `_`");
                    }
                    GroupKind::NonCapturing(flags) if !flags.items.is_empty() => {
                        return self.differs(&group.span, NO_FLAGS);
                    }
                    _ => {}
                }
                self.read(&group.ast)
            }
            Ast::Alternation(alternation) => {
                alternation.asts.iter().try_for_each(|ast| self.read(ast))
            }
            Ast::Concat(concat) => concat.asts.iter().try_for_each(|ast| self.read(ast)),
        }
    }

    /// Refuses spaces inside `{2,3}`, which Rust accepts.
    fn operator(&self, op: &RepetitionOp) -> Alike {
        let text = self.text(&op.span);
        if text.contains(char::is_whitespace) {
            return self.differs(&op.span, "write it without spaces");
        }
        Ok(())
    }

    fn literal(&self, literal: &Literal, in_class: bool) -> Alike {
        let without =
            || self.differs(&literal.span, format!("write `{}` without the backslash", literal.c));
        match literal.kind {
            LiteralKind::Verbatim
                if matches!(literal.c, ']' | '}') && (!in_class || literal.c == ']') =>
            {
                self.differs(&literal.span, format!(r"write `\{}`", literal.c))
            }
            LiteralKind::Meta if SYNTAX.contains(literal.c) || (in_class && literal.c == '-') => {
                Ok(())
            }
            LiteralKind::Meta => without(),
            LiteralKind::Superfluous if literal.c != '/' => without(),
            LiteralKind::HexFixed(HexLiteralKind::UnicodeLong)
            | LiteralKind::HexBrace(HexLiteralKind::X | HexLiteralKind::UnicodeLong) => {
                self.differs(&literal.span, format!(r"write `\u{{{:x}}}`", u32::from(literal.c)))
            }
            LiteralKind::Special(SpecialLiteralKind::Bell) => {
                self.differs(&literal.span, r"write `\x07`")
            }
            _ => Ok(()),
        }
    }

    fn set(&self, set: &ClassSet) -> Alike {
        match set {
            ClassSet::Item(item) => self.set_item(item),
            ClassSet::BinaryOp(op) => self
                .differs(&op.span, "write the set's characters out, without `&&`, `--` and `~~`"),
        }
    }

    fn set_item(&self, item: &ClassSetItem) -> Alike {
        match item {
            ClassSetItem::Empty(_) => Ok(()),
            ClassSetItem::Literal(literal) => self.literal(literal, true),
            ClassSetItem::Range(range) => {
                self.literal(&range.start, true)?;
                self.literal(&range.end, true)
            }
            ClassSetItem::Ascii(class) => {
                self.differs(&class.span, "write the characters, `a-z` for `[:lower:]`")
            }
            ClassSetItem::Unicode(class) => self.property(class),
            ClassSetItem::Perl(class) => {
                self.differs(&class.span, perl(&class.kind, class.negated, true))
            }
            ClassSetItem::Bracketed(class) => self.differs(
                &class.span,
                r"write the characters without brackets, and a bracket itself as `\[`",
            ),
            ClassSetItem::Union(union) => {
                for pair in union.items.windows(2) {
                    if pair.iter().all(is_hyphen) {
                        return self
                            .differs(&union.span, "write one `-`, at the end of the brackets");
                    }
                }
                union.items.iter().try_for_each(|item| self.set_item(item))
            }
        }
    }

    /// Checks `\p{...}`: Rust accepts names in any case and abbreviated, ECMA-262 only those of the standard.
    fn property(&self, class: &ClassUnicode) -> Alike {
        let remedy = match &class.kind {
            ClassUnicodeKind::OneLetter(letter) => {
                format!(r"write `\{}{{{letter}}}`", if class.negated { 'P' } else { 'p' })
            }
            ClassUnicodeKind::Named(name) if GENERAL_CATEGORIES.contains(&name.as_str()) => {
                return Ok(());
            }
            ClassUnicodeKind::Named(name) if BINARY_PROPERTIES.contains(&name.as_str()) => {
                return Ok(());
            }
            ClassUnicodeKind::NamedValue { op: ClassUnicodeOpKind::Equal, name, value }
                if matches!(name.as_str(), "Script" | "sc" | "Script_Extensions" | "scx")
                    && is_title_case(value) =>
            {
                return Ok(());
            }
            _ => r"write a general category, `\p{Lu}`, or a script, `\p{Script=Greek}`".to_owned(),
        };
        self.differs(&class.span, remedy)
    }
}

/// Whether it is groups without anything in them.
fn is_nothing(ast: &Ast) -> bool {
    match ast {
        Ast::Empty(_) => true,
        Ast::Group(group) => {
            matches!(group.kind, GroupKind::NonCapturing(_)) && is_nothing(&group.ast)
        }
        Ast::Concat(concat) => concat.asts.iter().all(is_nothing),
        _ => false,
    }
}

/// The characters that may be escaped: ECMA-262's syntax characters and `/`.
const SYNTAX: &str = r"^$\.*+?()[]{}|/";

const NO_FLAGS: &str = "write the pattern without flags, `[Aa]` instead of `(?i)a`";

const GENERAL_CATEGORIES: [&str; 36] = [
    "L", "Lu", "Ll", "Lt", "LC", "Lm", "Lo", "M", "Mn", "Mc", "Me", "N", "Nd", "Nl", "No", "P",
    "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "S", "Sm", "Sc", "Sk", "So", "Z", "Zs", "Zl", "Zp",
    "C", "Cc", "Cf", "Co",
];

const BINARY_PROPERTIES: [&str; 5] = ["Alphabetic", "Lowercase", "Uppercase", "White_Space", "Any"];

/// Returns the replacement of `\d`, `\s` and `\w`, which are Unicode classes in Rust and short ASCII ones (`\s` another set of
/// spaces) in JSON Schema.
fn perl(kind: &ClassPerlKind, negated: bool, in_class: bool) -> String {
    let set = match kind {
        ClassPerlKind::Digit => "0-9",
        ClassPerlKind::Space => r" \t\r\n",
        ClassPerlKind::Word => "A-Za-z0-9_",
    };
    match (negated, in_class) {
        (false, false) => format!("write `[{set}]`"),
        (true, false) => format!("write `[^{set}]`"),
        (false, true) => format!("write `{set}`"),
        (true, true) => format!("write a set of its own, `[^{set}]`"),
    }
}

fn is_hyphen(item: &ClassSetItem) -> bool {
    matches!(item, ClassSetItem::Literal(Literal { kind: LiteralKind::Verbatim, c: '-', .. }))
}

fn is_identifier(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether a name is written as the standard writes scripts: `Greek`, `Old_Italic`.
fn is_title_case(name: &str) -> bool {
    name.split('_').all(|word| {
        let mut letters = word.chars();
        letters.next().is_some_and(|first| first.is_ascii_uppercase())
            && letters.all(|c| c.is_ascii_lowercase())
    })
}

#[cfg(test)]
mod tests;
