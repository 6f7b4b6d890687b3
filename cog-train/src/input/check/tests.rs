use serde_json::json;

use super::*;
use crate::input::{InputType, Literal, Number, Path, Secret};

const CONTRACT: &[Spec] = &[
    Spec::new("train_data", Path::TYPE),
    Spec::new("learning_rate", f64::TYPE)
        .default(Literal::Float(5e-5))
        .ge(Number::Float(0.0))
        .le(Number::Float(1e-3)),
    Spec::new("epochs", u32::TYPE).default(Literal::Int(3)).ge(Number::Int(1)).le(Number::Int(10)),
    Spec::new("optimizer", String::TYPE).default(Literal::Str("adamw")).choices(&[
        Literal::Str("adam"),
        Literal::Str("sgd"),
        Literal::Str("adamw"),
    ]),
    Spec::new("run_name", <Option<String>>::TYPE).min_length(1).max_length(4).regex("^[a-z0-9-]+$"),
    Spec::new("max_steps", <Option<u64>>::TYPE).default(Literal::Int(7)),
    Spec::new("ids", <Vec<i8>>::TYPE).default(Literal::List(&[])).ge(Number::Int(0)),
    Spec::new("hub_token", <Option<Secret>>::TYPE).min_length(20).regex("^hf_"),
];

/// The problems with these inputs, without the headline; empty when there are none.
fn problems(given: Value) -> Vec<String> {
    let mut given = given;
    if let Some(given) = given.as_object_mut() {
        given.entry("train_data").or_insert_with(|| "data.jsonl".into());
    }
    match check(CONTRACT, &given, Unknown::Refuse) {
        Ok(_) => Vec::new(),
        Err(problems) => {
            problems.to_string().lines().skip(1).map(|line| line.trim().to_owned()).collect()
        }
    }
}

#[test]
fn the_report_names_every_problem_with_its_hint() {
    let given = json!({"train_data": "a", "epochs": 300, "learning_rte": 1e-4});
    let report = check(CONTRACT, &given, Unknown::Refuse).unwrap_err().to_string();
    assert_eq!(
        report,
        "2 inputs are not valid\n  `epochs`: 300 is greater than the maximum of 10\n  `learning_rte`: no such input\n  hint: did you mean `learning_rate`?"
    );
}

#[test]
fn each_mistake_has_its_message() {
    for (given, expected) in [
        (json!({"epochs": "3"}), vec![r#"`epochs`: "3" is not of type "integer""#]),
        (json!({"epochs": true}), vec![r#"`epochs`: true is not of type "integer""#]),
        (json!({"epochs": null}), vec![r#"`epochs`: null is not of type "integer""#]),
        (json!({"epochs": 1.5}), vec![r#"`epochs`: 1.5 is not of type "integer""#]),
        (
            json!({"epochs": 10.5}),
            vec![
                "`epochs`: 10.5 is greater than the maximum of 10",
                r#"`epochs`: 10.5 is not of type "integer""#,
            ],
        ),
        (json!({"epochs": -1e300}), vec!["`epochs`: -1e+300 is less than the minimum of 1"]),
        (json!({"max_steps": -1}), vec!["`max_steps`: -1 is less than the minimum of 0"]),
        (
            json!({"max_steps": 18_446_744_073_709_551_616.0}),
            vec![
                "`max_steps`: 1.8446744073709552e+19 is greater than the maximum of 18446744073709551615",
            ],
        ),
        (
            json!({"learning_rate": 1}),
            vec!["`learning_rate`: 1 is greater than the maximum of 0.001"],
        ),
        (json!({"learning_rate": "x"}), vec![r#"`learning_rate`: "x" is not of type "number""#]),
        (
            json!({"optimizer": "zz"}),
            vec![r#"`optimizer`: "zz" is not one of ["adam","sgd","adamw"]"#],
        ),
        (
            json!({"optimizer": 1}),
            vec![
                r#"`optimizer`: 1 is not one of ["adam","sgd","adamw"]"#,
                r#"`optimizer`: 1 is not of type "string""#,
            ],
        ),
        (
            json!({"run_name": ""}),
            vec![
                r#"`run_name`: "" is shorter than 1 character"#,
                r#"`run_name`: "" does not match "^[a-z0-9-]+$""#,
            ],
        ),
        (json!({"run_name": "a\n"}), vec![r#"`run_name`: "a\n" does not match "^[a-z0-9-]+$""#]),
        (
            json!({"ids": [1, 300, -1, "2"]}),
            vec![
                "`ids/1`: 300 is greater than the maximum of 127",
                "`ids/2`: -1 is less than the minimum of 0",
                r#"`ids/3`: "2" is not of type "integer""#,
            ],
        ),
        (json!({"ids": 1}), vec![r#"`ids`: 1 is not of type "array""#]),
        (json!([1]), vec![r#"`__root__`: ********** is not of type "object""#]),
    ] {
        assert_eq!(problems(given.clone()), expected, "{given}");
    }
}

#[test]
fn valid_values_are_accepted() {
    for given in [
        json!({}),
        json!({"epochs": 1.0}),
        json!({"epochs": 1e1}),
        json!({"learning_rate": 0}),
        json!({"learning_rate": 0.001}),
        json!({"max_steps": 18_446_744_073_709_551_615_u64}),
        json!({"max_steps": null, "run_name": null, "hub_token": null}),
        json!({"run_name": "abcd"}),
        json!({"ids": []}),
        json!({"ids": [0, 127]}),
    ] {
        assert_eq!(problems(given.clone()), Vec::<String>::new(), "{given}");
    }
}

#[test]
fn lengths_count_characters() {
    const TABLE: &[Spec] = &[Spec::new("text", String::TYPE).min_length(2).max_length(2)];
    for (text, fits) in
        [("ab", true), ("äß", true), ("🚂🚃", true), ("🚂", false), ("🚂🚃🚄", false)]
    {
        assert_eq!(check(TABLE, &json!({ "text": text }), Unknown::Refuse).is_ok(), fits, "{text}");
    }
}

#[test]
fn a_regex_matches_anywhere_in_the_text() {
    const TABLE: &[Spec] = &[Spec::new("text", String::TYPE).regex("b+")];
    assert!(check(TABLE, &json!({"text": "abc"}), Unknown::Refuse).is_ok());
    assert!(check(TABLE, &json!({"text": "ac"}), Unknown::Refuse).is_err());
}

#[test]
fn an_explicit_null_is_given_and_overrides_the_default() {
    let given = json!({"train_data": "a", "max_steps": null, "epochs": 3});
    let values = check(CONTRACT, &given, Unknown::Refuse).unwrap().values;
    assert_eq!(
        values.take::<Option<u64>>("max_steps").unwrap(),
        None,
        "an explicit null is not the default"
    );
    for (name, origin) in [
        ("train_data", Origin::Given),
        ("epochs", Origin::Given),
        ("max_steps", Origin::Given),
        ("learning_rate", Origin::Default),
        ("ids", Origin::Default),
        ("run_name", Origin::Absent),
    ] {
        assert_eq!(values.origin(name), Some(origin), "{name}");
    }
    let values = check(CONTRACT, &json!({"train_data": "a"}), Unknown::Refuse).unwrap().values;
    assert_eq!(values.take::<Option<u64>>("max_steps").unwrap(), Some(7));
    assert_eq!(values.take::<Vec<i8>>("ids").unwrap(), Vec::<i8>::new());
    assert_eq!(values.origin("nothing"), None);
}

#[test]
fn unknown_names_are_refused_or_dropped() {
    let given = json!({"train_data": "a", "x": {"token": 1}, "b": 2});
    let checked = check(CONTRACT, &given, Unknown::Drop).unwrap();
    assert_eq!(checked.dropped, ["x", "b"]);
    assert_eq!(checked.values.get("x"), None);
    assert_eq!(check(CONTRACT, &given, Unknown::Refuse).unwrap_err().iter().count(), 2);
}

#[test]
fn integers_are_exact_over_64_bits() {
    const TABLE: &[Spec] =
        &[Spec::new("a", u64::TYPE), Spec::new("b", i64::TYPE), Spec::new("c", f64::TYPE)];
    let given = json!({"a": u64::MAX, "b": i64::MIN, "c": 0.090_909_090_909_090_91});
    let values = check(TABLE, &given, Unknown::Refuse).unwrap().values;
    assert_eq!(values.take::<u64>("a").unwrap(), u64::MAX);
    assert_eq!(values.take::<i64>("b").unwrap(), i64::MIN);
    assert_eq!(values.take::<f64>("c").unwrap().to_bits(), (1.0_f64 / 11.0).to_bits());
    let problems =
        check(TABLE, &json!({"a": 0, "b": 9_223_372_036_854_775_808_u64, "c": 0}), Unknown::Refuse);
    assert_eq!(
        problems.unwrap_err().iter().next().unwrap().message,
        "9223372036854775808 is greater than the maximum of 9223372036854775807"
    );
}

#[test]
fn an_f32_that_overflows_is_refused_when_taken() {
    const TABLE: &[Spec] = &[Spec::new("x", f32::TYPE)];
    let values = check(TABLE, &json!({"x": 1e39}), Unknown::Refuse).unwrap().values;
    let problems = values.take::<f32>("x").unwrap_err();
    assert_eq!(problems.iter().next().unwrap().message, "1e+39 does not fit the type of the field");
}

#[test]
fn secrets_are_masked_in_problems_entries_and_debug() {
    const TABLE: &[Spec] =
        &[Spec::new("one", Secret::TYPE), Spec::new("many", <Vec<Secret>>::TYPE)];
    for secret in [
        json!("hunter2hunter2hunter2"),
        json!("hunter2"),
        json!(["hunter2"]),
        json!({"k": "hunter2"}),
    ] {
        let report = problems(json!({ "hub_token": secret })).join("\n");
        assert!(!report.is_empty());
        assert!(!report.contains("hunter2"), "{report}");
        assert!(report.contains("**********"), "{report}");
    }
    let given = json!({"one": "hunter2", "many": ["hunter2", "hunter3"]});
    let values = check(TABLE, &given, Unknown::Refuse).unwrap().values;
    let entries: Vec<Value> = values.entries().map(|entry| entry.value.into_owned()).collect();
    assert_eq!(Value::from(entries), json!(["**********", ["**********", "**********"]]));
    assert!(!format!("{values:?}").contains("hunter"), "{values:?}");
    assert!(values.take::<u8>("one").unwrap_err().to_string().contains("does not fit"));
    assert_eq!(values.take::<Secret>("one").unwrap().expose(), "hunter2");
}

#[test]
fn a_secret_that_is_also_another_value_is_masked_in_its_message() {
    let report = problems(
        json!({"hub_token": "hf_hunter2hunter2hunter2", "epochs": "hf_hunter2hunter2hunter2"}),
    );
    assert_eq!(report, [r#"`epochs`: ********** is not of type "integer""#]);
    let report = problems(json!({"hub_token": ["hunter2"], "run_name": "a-hunter2"}));
    assert_eq!(report[1], "`run_name`: ********** is longer than 4 characters");
}

#[test]
fn a_secret_that_is_also_another_value_is_masked_in_every_entry() {
    const TABLE: &[Spec] = &[
        Spec::new("token", Secret::TYPE),
        Spec::new("text", String::TYPE),
        Spec::new("paths", <Vec<Path>>::TYPE),
        Spec::new("any", Value::TYPE),
        Spec::new("other", String::TYPE),
        Spec::new("default", String::TYPE).default(Literal::Str("hunter2")),
    ];
    let given = json!({
        "token": "hunter2",
        "text": "a hunter2",
        "paths": ["b", "hunter2/c"],
        "any": {"hunter2": ["hunter2", 1]},
        "other": "hunter",
    });
    let values = check(TABLE, &given, Unknown::Refuse).unwrap().values;
    let entries: Vec<_> =
        values.entries().map(|entry| (entry.value.into_owned(), entry.hidden)).collect();
    assert_eq!(
        entries,
        [
            (json!(MASK), true),
            (json!(format!("a {MASK}")), true),
            (json!(["b", format!("{MASK}/c")]), true),
            (json!({MASK: [MASK, 1]}), true),
            (json!("hunter"), false),
            (json!("hunter2"), false),
        ]
    );
    assert_eq!(values.take::<String>("text").unwrap(), "a hunter2");
}

#[test]
fn urls_can_be_replaced_by_files() {
    const TABLE: &[Spec] = &[
        Spec::new("one", Path::TYPE),
        Spec::new("text", String::TYPE),
        Spec::new("many", <Vec<Path>>::TYPE),
        Spec::new("none", <Option<Path>>::TYPE),
    ];
    let given = json!({"one": "https://a/x", "text": "https://a/t", "many": ["y", "https://a/z"]});
    let mut values = check(TABLE, &given, Unknown::Refuse).unwrap().values;
    let mut seen = Vec::new();
    for (name, path) in values.paths_mut() {
        seen.push(name);
        *path = format!("/tmp/{path}");
    }
    assert_eq!(seen, ["one", "many/0", "many/1"]);
    assert_eq!(values.take::<Path>("one").unwrap(), Path::from("/tmp/https://a/x"));
    assert_eq!(values.take::<Vec<Path>>("many").unwrap()[1], Path::from("/tmp/https://a/z"));
    assert_eq!(values.take::<String>("text").unwrap(), "https://a/t");
}

/// `[[...{"a": 1}...]]` with this many levels.
fn nested(levels: usize) -> Value {
    (1..levels).fold(json!({"a": 1}), |inner, _| json!([inner]))
}

#[test]
fn a_value_is_refused_beyond_the_greatest_depth() {
    const TABLE: &[Spec] = &[
        Spec::new("any", <Option<Value>>::TYPE),
        Spec::new("object", <Option<Map<String, Value>>>::TYPE),
        Spec::new("list", <Vec<Value>>::TYPE).default(Literal::List(&[])),
        Spec::new("token", <Option<Secret>>::TYPE),
    ];
    let message = |given: Value| match check(TABLE, &given, Unknown::Refuse) {
        Ok(_) => String::new(),
        Err(problems) => problems.to_string(),
    };
    assert_eq!(message(json!({"any": nested(MAX_DEPTH), "list": nested(MAX_DEPTH)})), "");
    for (name, value) in [
        ("any", nested(MAX_DEPTH + 1)),
        ("list", nested(MAX_DEPTH + 1)),
        ("object", json!({"x": nested(MAX_DEPTH)})),
        ("token", nested(MAX_DEPTH + 1)),
    ] {
        let text = format!(
            "1 input is not valid\n  `{name}`: nested 101 levels deep, more than the maximum of 100\n  \
             hint: flatten the value, or write it to a file and pass that as a `Path`"
        );
        assert_eq!(message(json!({ name: value })), text);
    }
}

#[test]
fn an_accepted_value_can_be_read_back_from_every_record_of_it() {
    const TABLE: &[Spec] = &[Spec::new("any", Value::TYPE)];
    let given = json!({"any": nested(MAX_DEPTH)});
    let values = check(TABLE, &given, Unknown::Refuse).unwrap().values;
    // As deep as a request, an answer or `run.json` puts a value, and some more.
    let record = (0..20).fold(values.get("any").unwrap().clone(), |inner, _| json!({ "a": inner }));
    let text = record.to_string();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), record);
}

#[test]
fn depth_counts_lists_and_objects_within_each_other() {
    for (value, levels) in [
        (json!(1), 0),
        (json!("[[["), 0),
        (json!([]), 1),
        (json!([1, {"a": []}, [2]]), 3),
        (nested(1000), 1000),
    ] {
        assert_eq!(depth(&value), levels, "{value}");
    }
}
