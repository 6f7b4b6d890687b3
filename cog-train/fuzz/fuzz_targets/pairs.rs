//! Any text after `-i`: reading never panics, and what is accepted is printed and read back as the same values.
//!
//! Pairs are separated by a zero byte. Those that name a file are left out: the fuzzer has no business on the disk.

#![no_main]

use cog_train::input::{InputType, Kind, Literal, Number, Origin, Path, Secret, Spec, Type};
use cog_train::__private::pairs::{from_pairs, print};
use cog_train::serde_json::{Map, Value};
use libfuzzer_sys::fuzz_target;

const CHOICE: Type = Type { kind: Kind::Choice(&["adam", "null"]), list: false, optional: true };

const TABLE: &[Spec] = &[
    Spec::new("a", <Option<String>>::TYPE).max_length(9).regex("^[^x]*$"),
    Spec::new("b", <Option<i8>>::TYPE).ge(Number::Int(-7)),
    Spec::new("c", <Option<u64>>::TYPE),
    Spec::new("d", <Option<f64>>::TYPE).le(Number::Float(0.5)),
    Spec::new("e", <Option<bool>>::TYPE),
    Spec::new("f", <Option<Path>>::TYPE),
    Spec::new("g", <Option<Secret>>::TYPE),
    Spec::new("h", <Option<Map<String, Value>>>::TYPE),
    Spec::new("i", <Option<Value> as InputType>::TYPE),
    Spec::new("j", CHOICE),
    Spec::new("k", <Vec<String>>::TYPE).default(Literal::List(&[])),
    Spec::new("l", <Option<Vec<i64>>>::TYPE),
    Spec::new("m", <Vec<Path>>::TYPE).default(Literal::List(&[])),
    Spec::new("n", <Vec<Value>>::TYPE).default(Literal::List(&[])),
];

fuzz_target!(|text: &str| {
    let names_a_file = |pair: &str| {
        pair.split_once('=').is_some_and(|(_, value)| value.starts_with('@') && !value.starts_with("@@"))
    };
    let pairs: Vec<&str> = text.split('\0').filter(|pair| !names_a_file(pair)).collect();
    let Ok(values) = from_pairs(TABLE, &pairs).check(TABLE) else { return };
    let printed: Vec<String> = TABLE
        .iter()
        .filter(|spec| values.origin(spec.name) == Some(Origin::Given))
        .map(|spec| format!("{}={}", spec.name, print(spec, values.get(spec.name).expect("a row"))))
        .collect();
    let again = from_pairs(TABLE, &printed).check(TABLE).expect("what was accepted is accepted again");
    assert_eq!(values, again);
});
