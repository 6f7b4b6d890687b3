//! Constant checks of declarations whose types a derive cannot see: it reads tokens, and an alias may be any type. The
//! derives emit constant calls of these functions, which fail the build with a message at the offending token.
//!
//! `#[track_caller]` moves the error there: the compiler reports the caller's location, and the call has the span of
//! the option. A constant panic has no formatting, so the messages contain no values.

use super::spec::{Kind, Literal, Number, Type};

/// Checks `ge` and `le`: for numbers, and in the range of the integer type.
///
/// # Panics
///
/// At compile time, when the bound does not fit.
#[track_caller]
pub const fn bound(ty: Type, bound: Number) {
    match (ty.kind, bound) {
        (Kind::Float, _) => {}
        (Kind::Integer { min, max }, Number::Int(number)) => {
            assert!(min <= number && number <= max, "{}", OUT_OF_RANGE);
        }
        (Kind::Integer { .. }, Number::Float(_)) => {
            panic!("the type is an integer: write a whole number, without a point or an exponent")
        }
        _ => panic!("`ge` and `le` are for numbers, and this type is not one"),
    }
}

/// Checks `min_length`, `max_length` and `regex`: for texts.
///
/// # Panics
///
/// At compile time, when the type is another.
#[track_caller]
pub const fn text(ty: Type) {
    assert!(
        matches!(ty.kind, Kind::String),
        "`min_length`, `max_length` and `regex` are for `String`, and this type is another"
    );
}

/// Checks `choices`: for texts and integers.
///
/// # Panics
///
/// At compile time, when the type is another.
#[track_caller]
pub const fn choices(ty: Type) {
    assert!(
        matches!(ty.kind, Kind::String | Kind::Integer { .. }),
        "`choices` is for `String` and integers, and this type is another"
    );
}

/// Checks one of `choices`, of a type that [`choices`] accepts.
///
/// # Panics
///
/// At compile time, when it is not a value of the type.
#[track_caller]
pub const fn choice(ty: Type, value: Literal) {
    if matches!(ty.kind, Kind::String | Kind::Integer { .. }) {
        fits(ty.kind, value);
    }
}

/// Checks a default without brackets.
///
/// # Panics
///
/// At compile time, when the type is a list, or the value is not one of the type.
#[track_caller]
pub const fn single(ty: Type, value: Literal) {
    assert!(!ty.list, "this type is a list: write the default in brackets");
    fits(ty.kind, value);
}

/// Checks a default in brackets.
///
/// # Panics
///
/// At compile time, when the type is not a list.
#[track_caller]
pub const fn list(ty: Type) {
    assert!(
        ty.list || matches!(ty.kind, Kind::Any),
        "the default is a list, and this type is not: write it without brackets"
    );
}

/// Checks one item of a default in brackets, of a type that [`list`] accepts.
///
/// # Panics
///
/// At compile time, when it is not a value of the list's type.
#[track_caller]
pub const fn item(ty: Type, value: Literal) {
    if ty.list {
        fits(ty.kind, value);
    }
}

#[track_caller]
const fn fits(kind: Kind, value: Literal) {
    match (kind, value) {
        (Kind::Any, _)
        | (Kind::String | Kind::Path, Literal::Str(_))
        | (Kind::Boolean, Literal::Bool(_))
        | (Kind::Float, Literal::Int(_) | Literal::Float(_))
        | (Kind::Choice(_), Literal::Variant(_)) => {}
        (Kind::Integer { min, max }, Literal::Int(number)) => {
            assert!(min <= number && number <= max, "{}", OUT_OF_RANGE);
        }
        (Kind::String, _) => panic!("`String` is written as a text in double quotes"),
        (Kind::Path, _) => panic!("`Path` is written as a text in double quotes"),
        (Kind::Boolean, _) => panic!("`bool` is `true` or `false`"),
        (Kind::Float, _) => panic!("the type is a float: write a number"),
        (Kind::Integer { .. }, _) => {
            panic!("the type is an integer: write a whole number, without a point or an exponent")
        }
        (Kind::Choice(_), _) => {
            panic!("the default of a choice is a variant: write `default = Enum::Variant`")
        }
        (Kind::Secret, _) => {
            panic!("a `Secret` has no default: leave it out, or make the field `Option<Secret>`")
        }
        (Kind::Object, _) => {
            panic!("an object has no literal: leave the default out and make the field an `Option`")
        }
    }
}

const OUT_OF_RANGE: &str = "this number is outside the range of the integer type";

#[cfg(test)]
mod tests {
    use super::super::convert::InputType;
    use super::*;

    /// Whether the check refuses; at compile time the same panic is an error.
    fn refuses(check: impl FnOnce() + std::panic::UnwindSafe) -> bool {
        std::panic::catch_unwind(check).is_err()
    }

    #[test]
    fn integers_end_where_their_type_ends() {
        const BYTE: Type = <u8 as InputType>::TYPE;
        for (number, fits) in [(-1, false), (0, true), (255, true), (256, false)] {
            assert_eq!(!refuses(|| bound(BYTE, Number::Int(number))), fits, "{number}");
            assert_eq!(!refuses(|| single(BYTE, Literal::Int(number))), fits, "{number}");
            assert_eq!(!refuses(|| choice(BYTE, Literal::Int(number))), fits, "{number}");
        }
        assert!(refuses(|| bound(BYTE, Number::Float(1.0))));
        assert!(!refuses(|| bound(<f32 as InputType>::TYPE, Number::Int(1))));
    }

    #[test]
    fn only_lists_are_written_in_brackets() {
        for (ty, is_list) in [
            (<Vec<String> as InputType>::TYPE, true),
            (<Option<Vec<String>> as InputType>::TYPE, true),
            (<String as InputType>::TYPE, false),
            (<Option<String> as InputType>::TYPE, false),
        ] {
            assert_eq!(!refuses(|| list(ty)), is_list);
            assert_eq!(refuses(|| single(ty, Literal::Str("a"))), is_list);
            // A wrong shape is reported once, and not again for each item.
            assert_eq!(refuses(|| item(ty, Literal::Int(1))), is_list);
        }
        let any = <serde_json::Value as InputType>::TYPE;
        assert!(!refuses(|| list(any)) && !refuses(|| single(any, Literal::Int(1))));
    }

    #[test]
    fn each_kind_accepts_only_its_own_literals() {
        let literals = [
            Literal::Bool(true),
            Literal::Int(1),
            Literal::Float(0.5),
            Literal::Str("a"),
            Literal::Variant(|| "a"),
        ];
        let taken = |ty: Type| -> Vec<bool> {
            literals.iter().map(|literal| !refuses(|| single(ty, *literal))).collect()
        };
        assert_eq!(taken(<bool as InputType>::TYPE), [true, false, false, false, false]);
        assert_eq!(taken(<i64 as InputType>::TYPE), [false, true, false, false, false]);
        assert_eq!(taken(<f64 as InputType>::TYPE), [false, true, true, false, false]);
        assert_eq!(taken(<String as InputType>::TYPE), [false, false, false, true, false]);
        assert_eq!(taken(<crate::Path as InputType>::TYPE), [false, false, false, true, false]);
        assert_eq!(taken(<crate::Secret as InputType>::TYPE), [false; 5]);
        let choice = Type { kind: Kind::Choice(&["a"]), list: false, optional: false };
        assert_eq!(taken(choice), [false, false, false, false, true]);
    }

    #[test]
    fn rules_apply_only_to_their_types() {
        assert!(!refuses(|| text(<Vec<String> as InputType>::TYPE)));
        assert!(refuses(|| text(<u8 as InputType>::TYPE)));
        assert!(refuses(|| text(<crate::Secret as InputType>::TYPE)));
        assert!(refuses(|| bound(<String as InputType>::TYPE, Number::Int(1))));
        assert!(refuses(|| choices(<f64 as InputType>::TYPE)));
        assert!(
            !refuses(|| choice(<f64 as InputType>::TYPE, Literal::Float(1.0))),
            "reported once, by `choices`"
        );
        assert!(refuses(|| choice(<String as InputType>::TYPE, Literal::Int(1))));
    }
}
