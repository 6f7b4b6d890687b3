//! `regex`: patterns that the Rust crate and JSON Schema read alike.
//!
//! An input is checked twice: by the trainer with the `regex` crate, and by whoever reads the schema (the HTTP server,
//! a web form) with ECMA-262's rules under its `u` flag. A pattern that the two read differently would pass one check
//! and fail the other, so it is refused, with the spelling that both read alike.

use regex_syntax::ast::{
    AssertionKind, Ast, ClassPerlKind, ClassSet, ClassSetItem, ClassUnicode, ClassUnicodeKind,
    ClassUnicodeOpKind, GroupKind, HexLiteralKind, Literal, LiteralKind, RepetitionOp, Span,
    SpecialLiteralKind,
};

/// The compiled pattern, or the sentence that says what to write.
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

/// A piece of a pattern that the two dialects read differently, and what to write.
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

    /// Rust lets spaces stand inside `{2,3}`.
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
            LiteralKind::Meta if !(SYNTAX.contains(literal.c) || in_class && literal.c == '-') => {
                without()
            }
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

    /// `\p{...}`: Rust takes names in any case and shortened, ECMA-262 takes the standard's own only.
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

/// ECMA-262's syntax characters, and `/`: what may be escaped.
const SYNTAX: &str = r"^$\.*+?()[]{}|/";

const NO_FLAGS: &str = "write the pattern without flags, `[Aa]` in the place of `(?i)a`";

const GENERAL_CATEGORIES: [&str; 36] = [
    "L", "Lu", "Ll", "Lt", "LC", "Lm", "Lo", "M", "Mn", "Mc", "Me", "N", "Nd", "Nl", "No", "P",
    "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "S", "Sm", "Sc", "Sk", "So", "Z", "Zs", "Zl", "Zp",
    "C", "Cc", "Cf", "Co",
];

const BINARY_PROPERTIES: [&str; 5] = ["Alphabetic", "Lowercase", "Uppercase", "White_Space", "Any"];

/// What to write for `\d`, `\s` and `\w`, which are Unicode classes in Rust and short ASCII ones (`\s` another set of
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

/// `Greek`, `Old_Italic`: how the standard writes scripts.
fn is_title_case(name: &str) -> bool {
    name.split('_').all(|word| {
        let mut letters = word.chars();
        letters.next().is_some_and(|first| first.is_ascii_uppercase())
            && letters.all(|c| c.is_ascii_lowercase())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Characters on which the two dialects are known to part.
    const TEXTS: [&str; 24] = [
        "",
        "a",
        "A",
        "z",
        "_",
        "-",
        "5",
        "\u{665}",
        "é",
        "\u{3b1}",
        "\u{1f600}",
        " ",
        "\t",
        "\n",
        "\r",
        "\u{85}",
        "\u{a0}",
        "\u{2028}",
        "\u{feff}",
        "]",
        "[",
        "&",
        "a-b_c",
        "\u{7}",
    ];

    fn schema(pattern: &str) -> jsonschema::Validator {
        jsonschema::validator_for(&serde_json::json!({ "pattern": pattern }))
            .unwrap_or_else(|error| panic!("JSON Schema refuses {pattern:?}: {error}"))
    }

    fn assert_read_alike(pattern: &str, texts: &[&str]) {
        let Ok(regex) = compile(pattern) else { return };
        let schema = schema(pattern);
        for text in texts {
            assert_eq!(
                schema.is_valid(&(*text).into()),
                regex.is_match(text),
                "{pattern:?} on {text:?}"
            );
        }
    }

    #[test]
    fn common_patterns_are_read_alike() {
        for pattern in [
            "^[a-z0-9-]+$",
            "",
            "^(a|b)*$",
            "^(?:a|b){2,3}?$",
            r"^\p{Lu}\P{Lu}$",
            r"[^\n]",
            r"^\x41\u0042$",
            r"\u{1f600}",
            r"^[\]\[\\^-]$",
            r"^[a&b~c]$",
            r"a\.b\/c",
            r"^[+-]?[0-9]+$",
            r"(?<year>[0-9]{4})",
            r"^\p{Script=Greek}$",
            r"[\-a]",
            "[a-]",
            "[-a]",
            "[^-a]",
            "[a-c-e]",
            r"\t|\v|\f",
            "a{2,}",
            "^$",
            r"\*",
            "[.*+?]",
            "é",
            "[😀-😃]",
        ] {
            assert!(compile(pattern).is_ok(), "{pattern:?}: {:?}", compile(pattern));
            assert_read_alike(pattern, &TEXTS);
        }
        for category in GENERAL_CATEGORIES.iter().chain(&BINARY_PROPERTIES) {
            assert_read_alike(&format!(r"\p{{{category}}}"), &TEXTS);
            assert!(compile(&format!(r"\p{{{category}}}")).is_ok(), "{category}");
        }
    }

    #[test]
    fn what_is_read_otherwise_is_refused_with_a_remedy() {
        for (pattern, remedy) in [
            (r"\d", "write `[0-9]`"),
            (r"\W", "write `[^A-Za-z0-9_]`"),
            (r"[\d_]", "write `0-9`"),
            (r"\bword", "write the characters"),
            (r"\b{start}a", "write the characters"),
            (r"\Aa", "write `^`"),
            (r"a\z", "write `$`"),
            ("a.b", "write `[^"),
            ("(?i)a", "without flags"),
            ("(?i:a)", "without flags"),
            ("(?P<n>a)", "write `(?<name>...)`"),
            ("(?<a.b>a)", "name the group"),
            ("[[:alpha:]]", "write the characters"),
            ("[a-z&&[^b]]", "without `&&`"),
            ("[a-z--b]", "without `&&`"),
            ("[a~~b]", "without `&&`"),
            ("[a[bc]]", "without brackets"),
            ("[--a]", "write one `-`"),
            ("[]a]", r"write `\]`"),
            ("[^]a]", r"write `\]`"),
            ("a]", r"write `\]`"),
            ("a}", r"write `\}`"),
            (r"\pL", r"write `\p{L}`"),
            (r"\PL", r"write `\P{L}`"),
            (r"\p{Greek}", "write a general category"),
            (r"\p{lu}", "write a general category"),
            (r"\p{sc!=Greek}", "write a general category"),
            (r"\x{41}", r"write `\u{41}`"),
            (r"\U00000041", r"write `\u{41}`"),
            (r"\a", r"write `\x07`"),
            (r"\@", "without the backslash"),
            (r"a\-b", "without the backslash"),
            (r"[\&]", "without the backslash"),
            ("a{ 3 }", "without spaces"),
            ("a**", "in a group"),
            ("a{2}{3}", "in a group"),
            ("^*a", "in a group"),
        ] {
            let message = compile(pattern).expect_err(pattern);
            assert!(
                message.starts_with("JSON Schema") && message.contains(remedy),
                "{pattern:?}: {message}"
            );
        }
    }

    #[test]
    fn what_does_not_compile_says_where() {
        for (pattern, piece) in [
            ("(a", "`(`"),
            ("[a", "`[`"),
            ("a{3,2}", "`{3,2}`"),
            ("(?=a)", "`(?=`"),
            (r"(a)\1", r"`\1`"),
            (r"\p{Nope}", r"`\p{Nope}`"),
        ] {
            let message = compile(pattern).expect_err(pattern);
            assert!(
                message.starts_with("this regex does not compile") && message.ends_with(piece),
                "{message}"
            );
        }
        assert!(compile("(?:(?:(?:[0-9]{99}){99}){99}){99}").is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever is accepted, JSON Schema reads alike: pieces of every construct, thrown together.
        #[test]
        fn every_accepted_pattern_is_read_alike(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "a", "b", "-", "^", "$", ".", "[", "]", "[^", "(", ")", "(?:", "(?<n>", "(?i)", "|", "*", "+", "?", "{2}", "{,2}", "{",
                "}", "&", "&&", "~~", "--", "a-z", r"\d", r"\w", r"\s", r"\b", r"\-", r"\]", r"\[", r"\.", r"\/", r"\n", r"\v",
                r"\x41", r"\u0042", r"\u{1f600}", r"\p{L}", r"\P{Lu}", r"\pL", "[:alpha:]", "é", " ", ",",
            ]), 0..8),
            text in "[-a-cA-B_&~\\]\\[ \u{e9}\u{3b1}\u{665}\n\r\u{2028}]{0,4}",
        ) {
            assert_read_alike(&pieces.concat(), &[text.as_str(), "", "a", "-", "B", "\u{e9}"]);
        }
    }
}
