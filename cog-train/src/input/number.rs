//! Exact conversion and comparison of the table's numbers and JSON's.
//!
//! A bound may be a 64-bit float and a value a 64-bit integer; converting either to the other's type would round.

use std::cmp::Ordering;

use serde_json::Value;

use super::spec::{Literal, Number};

/// 2^127, the first number that `i128` does not hold.
const I128_END: f64 = 170_141_183_460_469_231_731_687_303_715_884_105_728.0;

impl Number {
    /// Converts the number to JSON. A float without a fraction is written as a whole number, as Cog's generator writes it.
    ///
    /// ```
    /// use cog_train::input::Number;
    ///
    /// assert_eq!(Number::Float(1.0).to_json().to_string(), "1");
    /// assert_eq!(Number::Float(0.1).to_json().to_string(), "0.1");
    /// assert_eq!(Number::Int(u64::MAX.into()).to_json().to_string(), "18446744073709551615");
    /// ```
    #[must_use]
    pub fn to_json(self) -> Value {
        match self {
            Self::Int(number) => int_to_json(number),
            Self::Float(number) => float_to_json(number),
        }
    }
}

impl Literal {
    /// Converts the value to JSON, numbers as [`Number::to_json`] writes them.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Bool(value) => Value::from(*value),
            Self::Int(number) => int_to_json(*number),
            Self::Float(number) => float_to_json(*number),
            Self::Str(text) => Value::from(*text),
            Self::Variant(name) => Value::from(name()),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
        }
    }
}

/// Compares a JSON number with a bound, without rounding either.
pub(crate) fn compare(number: &serde_json::Number, bound: Number) -> Ordering {
    match (exact(number), bound) {
        (Number::Int(a), Number::Int(b)) => a.cmp(&b),
        (Number::Int(a), Number::Float(b)) => compare_float(b, a).reverse(),
        (Number::Float(a), Number::Int(b)) => compare_float(a, b),
        (Number::Float(a), Number::Float(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
    }
}

/// Whether a JSON number is an integer: `3` and `3.0` alike, as in JSON Schema.
pub(crate) fn is_whole(number: &serde_json::Number) -> bool {
    match exact(number) {
        Number::Int(_) => true,
        Number::Float(float) => float.fract() == 0.0,
    }
}

fn exact(number: &serde_json::Number) -> Number {
    if let Some(number) = number.as_i64() {
        Number::Int(number.into())
    } else if let Some(number) = number.as_u64() {
        Number::Int(number.into())
    } else {
        Number::Float(number.as_f64().expect("a JSON number has 64 bits"))
    }
}

fn compare_float(float: f64, int: i128) -> Ordering {
    if float >= I128_END {
        return Ordering::Greater;
    }
    if float < -I128_END {
        return Ordering::Less;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "in range, and the fraction is compared after"
    )]
    let whole = float.trunc() as i128;
    whole.cmp(&int).then_with(|| float.fract().partial_cmp(&0.0).unwrap_or(Ordering::Equal))
}

fn int_to_json(number: i128) -> Value {
    if let Ok(number) = i64::try_from(number) {
        Value::from(number)
    } else if let Ok(number) = u64::try_from(number) {
        Value::from(number)
    } else {
        #[expect(
            clippy::cast_precision_loss,
            reason = "no integer type of an input goes beyond 64 bits"
        )]
        Value::from(number as f64)
    }
}

fn float_to_json(number: f64) -> Value {
    // Minus zero stays a float: the integer zero has lost its sign.
    let whole = number.fract() == 0.0 && !(number == 0.0 && number.is_sign_negative());
    if whole && (-2f64.powi(63)..2f64.powi(64)).contains(&number) {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 65 bits")]
        return int_to_json(number as i128);
    }
    Value::from(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> serde_json::Number {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn comparison_does_not_round() {
        // 2^53 + 1 is not a float; a comparison through `f64` would call these equal.
        assert_eq!(
            compare(&number("9007199254740993"), Number::Float(2f64.powi(53))),
            Ordering::Greater
        );
        assert_eq!(
            compare(&number("9007199254740992.0"), Number::Int((1 << 53) + 1)),
            Ordering::Less
        );
        assert_eq!(
            compare(&number("18446744073709551616"), Number::Int(u64::MAX.into())),
            Ordering::Greater
        );
        assert_eq!(compare(&number("-0.5"), Number::Int(0)), Ordering::Less);
        assert_eq!(compare(&number("0.5"), Number::Int(0)), Ordering::Greater);
        assert_eq!(compare(&number("-1e300"), Number::Int(i128::MIN)), Ordering::Less);
        assert_eq!(compare(&number("1e300"), Number::Int(i128::MAX)), Ordering::Greater);
        assert_eq!(compare(&number("1"), Number::Float(1.0)), Ordering::Equal);
        assert_eq!(compare(&number("1"), Number::Float(1.5)), Ordering::Less);
    }

    #[test]
    fn literals_are_written_as_the_generator_writes_them() {
        let list = Literal::List(&[
            Literal::Float(0.0),
            Literal::Float(-0.0),
            Literal::Float(0.1),
            Literal::Int(7),
        ]);
        assert_eq!(list.to_json().to_string(), "[0,-0.0,0.1,7]");
        assert_eq!(Literal::Float(1e20).to_json().to_string(), "1e+20");
        assert_eq!(Literal::Float(1e19).to_json(), Value::from(10_000_000_000_000_000_000_u64));
        assert_eq!(Literal::Variant(|| "adamw").to_json(), "adamw");
    }

    #[test]
    fn whole_numbers() {
        for text in ["3", "-3", "3.0", "1e3", "1e300", "18446744073709551615", "-0.0"] {
            assert!(is_whole(&number(text)), "{text}");
        }
        for text in ["3.5", "1e-3", "-0.1"] {
            assert!(!is_whole(&number(text)), "{text}");
        }
    }
}
