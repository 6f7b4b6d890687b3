//! Values of options: a literal with an optional minus, or a list of them; for the default of a choice, a path.

use std::fmt;

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::{Expr, ExprLit, ExprUnary, Lit, UnOp};

/// A value with its tokens.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    pub(crate) tokens: Expr,
    pub(crate) literal: Literal,
}

/// A parsed value.
#[derive(Debug, Clone)]
pub(crate) enum Literal {
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(String),
    /// A variant of a `Choice` enum, to be checked by the compiler.
    Path(syn::ExprPath),
    List(Vec<Value>),
}

impl Value {
    /// Parses a value.
    pub(crate) fn read(tokens: Expr) -> syn::Result<Self> {
        let literal = literal(&tokens)?;
        Ok(Self { tokens, literal })
    }

    pub(crate) fn span(&self) -> Span {
        self.tokens.span()
    }

    /// Returns the items of a list, or the value itself.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.literal {
            Literal::List(items) => items,
            _ => std::slice::from_ref(self),
        }
    }
}

const NOT_A_LITERAL: &str = "option values are literals with an optional minus, or `[...]` of them for a list; \
     constants and other expressions are not read";

fn literal(tokens: &Expr) -> syn::Result<Literal> {
    match tokens {
        // The group around a `macro_rules!` fragment.
        Expr::Group(group) => literal(&group.expr),
        Expr::Lit(ExprLit { lit, .. }) => plain(lit, tokens),
        Expr::Unary(ExprUnary { op: UnOp::Neg(_), expr, .. }) => match literal(expr)? {
            Literal::Int(number) => Ok(Literal::Int(-number)),
            Literal::Float(number) => Ok(Literal::Float(-number)),
            _ => Err(syn::Error::new_spanned(tokens, "only a number takes a minus")),
        },
        Expr::Array(array) => {
            let mut items = Vec::new();
            for item in &array.elems {
                let item = Value::read(item.clone())?;
                if matches!(item.literal, Literal::List(_)) {
                    return Err(syn::Error::new_spanned(
                        item.tokens,
                        "a list in a list: lists are not nested",
                    ));
                }
                items.push(item);
            }
            Ok(Literal::List(items))
        }
        Expr::Path(path) if path.path.is_ident("None") || path.path.is_ident("null") => {
            Err(syn::Error::new_spanned(
                tokens,
                "leave `default` out: without it an `Option` that is not given is `None`",
            ))
        }
        Expr::Path(path) => Ok(Literal::Path(path.clone())),
        _ => Err(syn::Error::new_spanned(tokens, NOT_A_LITERAL)),
    }
}

fn plain(lit: &Lit, tokens: &Expr) -> syn::Result<Literal> {
    let wrong = |message: &str| Err(syn::Error::new_spanned(tokens, message));
    match lit {
        Lit::Str(text) if text.suffix().is_empty() => Ok(Literal::Str(text.value())),
        Lit::Bool(value) => Ok(Literal::Bool(value.value)),
        Lit::Int(number) if number.suffix().is_empty() => match number.base10_digits().parse() {
            Ok(number) => Ok(Literal::Int(number)),
            Err(_) => wrong("this number is too large for every integer type"),
        },
        Lit::Float(number) if number.suffix().is_empty() => {
            match number.base10_digits().parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(Literal::Float(number)),
                _ => wrong("this number is too large for an `f64`"),
            }
        }
        Lit::Int(number) => wrong(&format!(
            "write `{}` without `{}`: the field's type says what it is",
            number.base10_digits(),
            number.suffix()
        )),
        Lit::Float(number) => wrong(&format!(
            "write `{}` without `{}`: the field's type says what it is",
            number.base10_digits(),
            number.suffix()
        )),
        _ => wrong("a text is written in plain double quotes"),
    }
}

/// Returns the error for a path instead of a literal.
pub(crate) fn not_a_literal(value: &Value) -> syn::Error {
    syn::Error::new_spanned(&value.tokens, NOT_A_LITERAL)
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.literal {
            Literal::Bool(value) => write!(f, "{value}"),
            Literal::Int(number) => write!(f, "{number}"),
            // The shortest digits that parse as this number, as an author would write them.
            Literal::Float(number) => write!(f, "{number:?}"),
            Literal::Str(text) => write!(f, "{text:?}"),
            Literal::Path(path) => {
                let names: Vec<String> =
                    path.path.segments.iter().map(|s| s.ident.to_string()).collect();
                f.write_str(&names.join("::"))
            }
            Literal::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        let value =
            Value::read(syn::parse_str(text).unwrap()).map_err(|error| error.to_string())?;
        Ok(value.to_string())
    }

    #[test]
    fn literals_are_read_as_written() {
        for (text, value) in [
            ("3", "3"),
            ("-1", "-1"),
            ("0xff", "255"),
            ("1_000", "1000"),
            ("18446744073709551615", "18446744073709551615"),
            ("5e-5", "5e-5"),
            ("-0.5", "-0.5"),
            ("true", "true"),
            (r##"r#"a"b"#"##, r#""a\"b""#),
            ("[1, -2]", "[1, -2]"),
            ("[]", "[]"),
            ("Optimizer::AdamW", "Optimizer::AdamW"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(value), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "1 + 1",
            "f()",
            "a.b",
            "&1",
            "(1)",
            "{ 1 }",
            "concat!(\"a\")",
            "1..2",
            "-[1]",
            "!true",
            "Some(1)",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        for text in ["1u8", "0.5f32", "1e999", "'a'", "b\"a\"", "c\"a\"", "[[1]]", "None", "null"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(read(&"9".repeat(40)).is_err());
    }
}
