//! The validator and the published schema refuse the same values, in the same words.

use cog_train::input::{Mask, Path, Values};
use jsonschema::Validator;
use jsonschema::error::ValidationErrorKind;
use proptest::prelude::*;
use proptest::strategy::Union;

use super::*;

/// A type of a field, and whether a checked value becomes one.
type FieldType = (Type, fn(&Values, &str) -> bool);

macro_rules! field_types {
    ($($ty:ty),*) => {
        &[$(
            (<$ty>::TYPE, |values, name| values.take::<$ty>(name).is_ok()),
            (<Option<$ty>>::TYPE, |values, name| values.take::<Option<$ty>>(name).is_ok()),
            (<Vec<$ty>>::TYPE, |values, name| values.take::<Vec<$ty>>(name).is_ok()),
            (<Option<Vec<$ty>>>::TYPE, |values, name| values.take::<Option<Vec<$ty>>>(name).is_ok()),
        )*]
    };
}

const FIELD_TYPES: &[FieldType] = field_types![
    String, i8, i16, i32, i64, isize, u8, u16, u32, u64, usize, f32, f64, bool, Path, Secret, Map<String, Value>, Value,
    Colour
];

/// The code of `#[derive(Choice)]`, by hand.
struct Colour;

impl input::Item for Colour {
    const KIND: Kind = Kind::Choice(&["red", "dark_red", "🟥"]);

    fn from_value(value: &Value) -> Option<Self> {
        ["red", "dark_red", "🟥"].contains(&value.as_str()?).then_some(Self)
    }
}

/// Text of few letters, so that short patterns and lengths hit; some outside the basic plane, some combining.
fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop::sample::select(vec!['a', 'b', 'c', '-', '1', 'ß', '\u{301}', '🚂', '\n']),
        0..6,
    )
    .prop_map(String::from_iter)
}

/// Patterns that Rust's dialect and JSON Schema's read alike.
fn pattern() -> impl Strategy<Value = String> {
    let atom =
        prop::sample::select(vec!["a", "b", "-", "1", "[a-c]", "[^a]", "ß", "(ab|1)", "🚂", "\\."]);
    let repeat = prop::sample::select(vec!["", "", "?", "*", "+", "{2}", "{1,3}"]);
    let body = proptest::collection::vec((atom, repeat), 1..4).prop_map(|parts| {
        parts.into_iter().flat_map(|(atom, repeat)| [atom, repeat]).collect::<String>()
    });
    (any::<bool>(), body, any::<bool>()).prop_map(|(start, body, end)| {
        format!("{}{body}{}", ["", "^"][usize::from(start)], ["", "$"][usize::from(end)])
    })
}

fn leak<T>(value: Vec<T>) -> &'static [T] {
    Box::leak(value.into_boxed_slice())
}

fn leak_str(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

/// A whole number of a type: its ends, zero, or anything between.
fn whole(min: i128, max: i128) -> BoxedStrategy<i128> {
    prop_oneof![
        Just(min),
        Just(max),
        Just(0.clamp(min, max)),
        min..=max,
        (-5..=5_i128).prop_map(move |n| n.clamp(min, max))
    ]
    .boxed()
}

fn float() -> impl Strategy<Value = f64> + Clone {
    prop_oneof![
        Just(0.0),
        Just(-0.0),
        Just(1e-3),
        Just(1.0),
        Just(2f64.powi(53)),
        Just(1e300),
        -4.0..4.0,
        -1e6..1e6
    ]
}

/// A pair of bounds, each of which may be absent.
fn bounds<T: Clone + std::fmt::Debug + PartialOrd + 'static>(
    one: impl Strategy<Value = T> + Clone + 'static,
) -> BoxedStrategy<(Option<T>, Option<T>)> {
    (proptest::option::of(one.clone()), proptest::option::of(one))
        .prop_map(|pair| match pair {
            (Some(a), Some(b)) if a > b => (Some(b), Some(a)),
            pair => pair,
        })
        .boxed()
}

/// A row of the table that the derive could have emitted.
fn spec(name: &'static str) -> impl Strategy<Value = (Spec, FieldType)> {
    prop::sample::select(FIELD_TYPES).prop_flat_map(move |field| {
        let bare = Spec::new(name, field.0);
        let rules: BoxedStrategy<Spec> = match field.0.kind {
            Kind::String => prop_oneof![
                3 => texts(&bare),
                1 => proptest::collection::btree_set(text(), 1..4).prop_map(move |choices| {
                    bare.choices(leak(choices.into_iter().map(|text| Literal::Str(leak_str(text))).collect()))
                }),
            ]
            .boxed(),
            Kind::Secret => texts(&bare),
            Kind::Integer { min, max } => prop_oneof![
                3 => bounds(whole(min, max)).prop_map(move |(ge, le)| {
                    numbers(&bare, ge.map(Number::Int), le.map(Number::Int))
                }),
                1 => proptest::collection::btree_set(whole(min, max), 1..4).prop_map(move |choices| {
                    bare.choices(leak(choices.into_iter().map(Literal::Int).collect()))
                }),
            ]
            .boxed(),
            Kind::Float => bounds(float())
                .prop_map(move |(ge, le)| numbers(&bare, ge.map(Number::Float), le.map(Number::Float)))
                .boxed(),
            _ => Just(bare).boxed(),
        };
        // Defaults do not take part in checking; whether there is one decides what is required.
        (rules, any::<bool>(), any::<bool>()).prop_map(move |(mut spec, default, deprecated)| {
            // No literal is a map.
            if default && !matches!(field.0.kind, Kind::Secret | Kind::Object) {
                spec = spec.default(a_default(&spec));
            }
            spec.deprecated = deprecated;
            (spec, field)
        })
    })
}

fn texts(bare: &Spec) -> BoxedStrategy<Spec> {
    let bare = *bare;
    (bounds(0..5_u64), proptest::option::of(pattern()))
        .prop_map(move |((least, greatest), pattern)| {
            let mut spec = bare;
            spec.min_length = least;
            spec.max_length = greatest;
            spec.regex = pattern.map(leak_str);
            spec
        })
        .boxed()
}

fn numbers(bare: &Spec, ge: Option<Number>, le: Option<Number>) -> Spec {
    let mut spec = *bare;
    spec.ge = ge;
    spec.le = le;
    spec
}

/// A default of the right type.
fn a_default(spec: &Spec) -> Literal {
    if spec.ty.list {
        return Literal::List(&[]);
    }
    match (spec.choices, spec.ty.kind) {
        (Some(choices), _) => choices[0],
        (None, Kind::Boolean) => Literal::Bool(true),
        (None, Kind::Integer { min, .. }) => match spec.ge {
            Some(Number::Int(least)) => Literal::Int(least),
            _ => Literal::Int(min),
        },
        (None, Kind::Float) => Literal::Float(0.5),
        (None, Kind::Choice(_)) => Literal::Variant(|| "red"),
        (None, _) => Literal::Str("a"),
    }
}

fn any_number() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-300..300_i64).prop_map(Value::from),
        float().prop_map(Value::from),
        (-300..300_i32).prop_map(|n| Value::from(f64::from(n))),
        prop::sample::select(vec![
            1e19,
            -1e19,
            1.844_674_407_370_955_2e19,
            9.223_372_036_854_776e18,
            1.5,
            1e39
        ])
        .prop_map(Value::from),
    ]
}

/// A number at a bound or one step beside it, as an integer and as a float.
fn near(number: Number) -> BoxedStrategy<Value> {
    match number {
        Number::Int(bound) => (-1..=1_i128, any::<bool>())
            .prop_map(move |(step, float)| {
                let number = Number::Int(bound + step).to_json();
                if float { json!(number.as_f64().unwrap()) } else { number }
            })
            .boxed(),
        Number::Float(bound) => prop::sample::select(vec![
            json!(bound),
            json!(bound.next_up()),
            json!(bound.next_down()),
            Number::Float(bound).to_json(),
        ])
        .boxed(),
    }
}

/// One value for an input or for an item of it: mostly of its type, near its rules, else anything.
fn value(spec: &Spec) -> BoxedStrategy<Value> {
    let anything = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any_number(),
        text().prop_map(Value::from),
        Just(json!([])),
        Just(json!({"a": null})),
    ];
    let fitting = match spec.ty.kind {
        Kind::String | Kind::Path | Kind::Secret => text().prop_map(Value::from).boxed(),
        Kind::Integer { .. } | Kind::Float => any_number().boxed(),
        Kind::Boolean => any::<bool>().prop_map(Value::from).boxed(),
        Kind::Choice(names) => prop::sample::select(names).prop_map(Value::from).boxed(),
        // Beyond objects the schema of `Any` is narrower: `what_the_schema_leaves_to_check`.
        Kind::Any => {
            return prop_oneof![Just(Value::Null), Just(json!({})), Just(json!({"a": [1]}))]
                .boxed();
        }
        Kind::Object => Just(json!({"k": 1})).boxed(),
    };
    let mut all: Vec<(u32, BoxedStrategy<Value>)> = vec![(2, anything.boxed()), (4, fitting)];
    for choice in spec.choices.unwrap_or_default() {
        let choice = choice.to_json();
        all.push((
            2,
            Just(choice.as_f64().filter(|n| n.abs() < 9e15).map_or(choice.clone(), Value::from))
                .boxed(),
        ));
        all.push((2, Just(choice).boxed()));
    }
    let mut ends: Vec<Number> = spec.ge.into_iter().chain(spec.le).collect();
    if let Kind::Integer { min, max } = spec.ty.kind {
        ends.extend([Number::Int(min), Number::Int(max)]);
    }
    all.extend(ends.into_iter().map(|end| (2, near(end))));
    Union::new_weighted(all).boxed()
}

/// A caller's value for one input: nothing, null, a value, a list.
fn given(spec: &Spec) -> BoxedStrategy<Option<Value>> {
    let one = value(spec);
    let list = proptest::collection::vec(one.clone(), 0..4).prop_map(Value::from).boxed();
    let (usual, unusual) = match spec.ty {
        Type { list: true, .. } => (list, one),
        Type { kind: Kind::Any, .. } => (one.clone(), one),
        _ => (one, list),
    };
    prop_oneof![
        1 => Just(None),
        1 => Just(Some(Value::Null)),
        6 => usual.prop_map(Some),
        1 => unusual.prop_map(Some),
    ]
    .boxed()
}

#[derive(Debug)]
struct Case {
    table: &'static [Spec],
    fields: Vec<FieldType>,
    given: Vec<Value>,
}

/// A table of one to three inputs and eight objects of values for it.
fn case() -> impl Strategy<Value = Case> {
    let specs = (spec("a"), spec("b"), spec("c"), 1..=3_usize);
    specs.prop_flat_map(|(a, b, c, count)| {
        let (table, fields): (Vec<Spec>, Vec<FieldType>) =
            [a, b, c].into_iter().take(count).unzip();
        let table = leak(table);
        let object = table
            .iter()
            .map(|spec| {
                given(spec).prop_map(|value| value.map(|value| (spec.name.to_owned(), value)))
            })
            .collect::<Vec<_>>()
            .prop_map(|pairs| Value::Object(pairs.into_iter().flatten().collect()));
        let fields = Just(fields);
        (fields, proptest::collection::vec(object, 8)).prop_map(|(fields, given)| Case {
            table,
            fields,
            given,
        })
    })
}

/// The published schema, with the range of an `i64` written out.
fn complete(table: &[Spec]) -> Value {
    let mut schema = published(table);
    for spec in table.iter().filter(|spec| spec.choices.is_none()) {
        if let Kind::Integer { min, max } = spec.ty.kind {
            let property = &mut schema["properties"][spec.name];
            let typed = if spec.ty.list { &mut property["items"] } else { property };
            for (keyword, end) in [("minimum", min), ("maximum", max)] {
                typed.as_object_mut().unwrap().entry(keyword).or_insert(Number::Int(end).to_json());
            }
            typed.sort_all_objects();
        }
    }
    schema
}

/// `nullable: true`, which is OpenAPI's word, in the words of JSON Schema.
fn read_nullable(mut schema: Value) -> Value {
    for property in schema["properties"].as_object_mut().unwrap().values_mut() {
        if property["nullable"] != true {
            continue;
        }
        let typed =
            if property.get("allOf").is_some() { &mut property["allOf"][0] } else { property };
        typed["type"] = json!([typed["type"], "null"]);
        if let Some(values) = typed.get_mut("enum") {
            values.as_array_mut().unwrap().push(Value::Null);
        }
    }
    schema
}

/// The values that the schema refuses, in the words of Cog's answers: those of `jsonschema`, except for choices and
/// missing inputs, and with every value masked that holds a secret.
fn refused_by_schema(table: &[Spec], schema: &Validator, given: &Value) -> Vec<(String, String)> {
    let secrets = table.iter().filter(|spec| spec.ty.kind == Kind::Secret);
    let texts = secrets.flat_map(|spec| match &given[spec.name] {
        Value::Array(items) => items.clone(),
        value => vec![value.clone()],
    });
    let mask = Mask::new(texts.filter_map(|value| value.as_str().map(str::to_owned)));
    schema
        .iter_errors(given)
        .map(|error| {
            let input = error.instance_path().to_string().trim_start_matches('/').to_owned();
            match error.kind() {
                ValidationErrorKind::Required { property } => {
                    (property.as_str().unwrap().to_owned(), "Field required".to_owned())
                }
                ValidationErrorKind::Enum { options } => {
                    let hidden = mask.hides(error.instance());
                    let value =
                        if hidden { "**********".to_owned() } else { error.instance().to_string() };
                    (input, format!("{value} is not one of {options}"))
                }
                _ => {
                    let name = input.split('/').next().unwrap();
                    let secret =
                        table.iter().any(|spec| spec.name == name && spec.ty.kind == Kind::Secret);
                    let message = if secret || mask.hides(error.instance()) {
                        error.masked_with("**********").to_string()
                    } else {
                        error.to_string()
                    };
                    (input, message)
                }
            }
        })
        .collect()
}

/// Drops nulls of optional inputs: validators do not know the keyword of the published schema.
fn without_nulls(table: &[Spec], given: &Value) -> Value {
    let optional = |name: &str| table.iter().any(|spec| spec.name == name && spec.ty.optional);
    let given = given
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, value)| !(value.is_null() && optional(name)));
    Value::Object(given.map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// A number that is out of the range of `f32` fits the schema and not the type.
fn beyond_f32(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(beyond_f32),
        value => value.as_f64().is_some_and(|number| number.abs() > f64::from(f32::MAX)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn check_and_schema_refuse_the_same(case in case()) {
        let schema = complete(case.table);
        let words = jsonschema::validator_for(&schema).unwrap();
        let accepts = jsonschema::validator_for(&read_nullable(schema)).unwrap();
        for given in &case.given {
            let refused = refused_by_check(case.table, given);
            prop_assert_eq!(refused.is_empty(), accepts.is_valid(given), "{}", given);
            // The two have different orders; the order of `check` has unit tests.
            let sorted = |mut problems: Vec<(String, String)>| {
                problems.sort_unstable();
                problems
            };
            let expected = refused_by_schema(case.table, &words, &without_nulls(case.table, given));
            prop_assert_eq!(sorted(refused.clone()), sorted(expected), "{}", given);
            // Unknown names change nothing.
            let mut more = given.clone();
            more["d"] = json!(1);
            prop_assert_eq!(&refused, &refused_by_check(case.table, &more));
            // What is accepted becomes the field's type.
            if let Ok(checked) = input::check(case.table, given, Unknown::Refuse) {
                for (spec, (_, take)) in case.table.iter().zip(&case.fields) {
                    let value = checked.values.get(spec.name).unwrap();
                    prop_assert!(
                        take(&checked.values, spec.name) || (spec.ty.kind == Kind::Float && beyond_f32(value)),
                        "{} = {value} as {:?}", spec.name, spec.ty
                    );
                }
            }
        }
    }
}
