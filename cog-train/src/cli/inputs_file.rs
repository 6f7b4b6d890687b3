//! `--inputs FILE`: inputs in YAML or JSON, or those of an earlier run.
//!
//! A text or number of the file is read as the text after `-i NAME=`, by the type of its input: `run_name: 3` is a text when
//! `run_name` is one, `@FILE` is that file, and `@@` is a literal `@`. Quotes are YAML's. Paths are relative to the current
//! folder, as on the command line. Within a map an `@` is only a character.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::pairs;
use crate::config::{Named, Shape, parse_named};
use crate::error::Error;
use crate::input::Spec;
use crate::run::{Given, inputs_of_run};

/// Reads a file of inputs for a trainer or a predictor.
///
/// # Errors
///
/// [`Error::Arguments`] when there is no such file, or it is the record of another trainer's run; [`Error::Config`] with each
/// mistake of YAML. Mistakes in values are found when they are checked, each with its place.
pub(super) fn read(role: &str, table: &[Spec], file: &Path) -> Result<Given, Error> {
    let name = file.display().to_string();
    let text = pairs::read_file(&name)?;
    let is_json = file.extension().is_some_and(|extension| extension == "json");
    if !is_json && !text.trim_start().starts_with('{') {
        return Ok(of_named(table, &parse_named(&text, &name)?));
    }
    let fields = match (pairs::parse_json(&name, &text), is_json) {
        (Ok(Value::Object(fields)), _) => fields,
        (Ok(_), _) => {
            let reason = format!(
                "`--inputs`: `{name}` is not a JSON object\nhint: write all inputs as one object: `{{\"epochs\": 3}}`"
            );
            return Err(Error::Arguments { reason });
        }
        (Err(error), true) => return Err(error),
        // A mapping in YAML's flow style.
        (Err(_), false) => return Ok(of_named(table, &parse_named(&text, &name)?)),
    };
    let run = inputs_of_run(role, table, &fields)
        .map_err(|error| Error::Arguments { reason: format!("`--inputs`: `{name}`: {error}") })?;
    Ok(match run {
        Some(given) => {
            let places = table.iter().map(|spec| (spec.name.to_owned(), name.clone()));
            given.in_file(places.collect())
        }
        None => of_fields(table, &fields, &text, &name),
    })
}

fn of_named(table: &[Spec], named: &[Named]) -> Given {
    let is_input = |name: &str| table.iter().any(|spec| spec.name == name);
    let place = |it: &Named| if is_input(&it.name) { &it.value_at } else { &it.at }.to_string();
    let places = named.iter().map(|it| (it.name.clone(), place(it))).collect();
    pairs::from_shapes(table, named.iter().map(|it| (it.name.as_str(), &it.value))).in_file(places)
}

/// The values are those of JSON, and their places those of YAML, which reads all but a few such files.
fn of_fields(table: &[Spec], fields: &Map<String, Value>, text: &str, name: &str) -> Given {
    let shapes: Vec<(&str, Shape)> =
        fields.iter().map(|(name, value)| (name.as_str(), shape(value))).collect();
    let given = pairs::from_shapes(table, shapes.iter().map(|(name, shape)| (*name, shape)));
    let mut places: BTreeMap<String, String> =
        fields.keys().map(|field| (field.clone(), name.to_owned())).collect();
    for it in parse_named(text, name).unwrap_or_default() {
        places.insert(it.name, it.value_at.to_string());
    }
    given.in_file(places)
}

fn shape(value: &Value) -> Shape {
    match value {
        Value::Null => Shape::Null,
        Value::String(text) => Shape::Text { text: text.clone(), plain: false },
        Value::Bool(_) | Value::Number(_) => Shape::Text { text: value.to_string(), plain: true },
        Value::Array(items) => Shape::List(items.iter().map(shape).collect()),
        Value::Object(fields) => {
            Shape::Map(fields.iter().map(|(name, value)| (name.clone(), shape(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::input::{InputType, Number, Secret};

    const TABLE: &[Spec] = &[
        Spec::new("name", <Option<String>>::TYPE),
        Spec::new("epochs", <Option<u32>>::TYPE).le(Number::Int(10)),
        Spec::new("rate", <Option<f64>>::TYPE),
        Spec::new("flag", <Option<bool>>::TYPE),
        Spec::new("tags", <Option<Vec<String>>>::TYPE),
        Spec::new("ids", <Option<Vec<u8>>>::TYPE),
        Spec::new("map", <Option<Map<String, Value>>>::TYPE),
        Spec::new("any", <Option<Value> as InputType>::TYPE),
        Spec::new("token", <Option<Secret>>::TYPE),
        Spec::new("data", <Option<crate::Path>>::TYPE),
    ];

    /// The values, or the report without its headline.
    fn given(file: &str, text: &str) -> Result<Value, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(file);
        std::fs::write(&path, text).unwrap();
        let short = |text: String| text.replace(&format!("{}/", dir.path().display()), "");
        let given = read("T", TABLE, &path).map_err(|error| short(error.to_string()))?;
        let values = given.values.clone();
        let report = |problems: crate::input::Problems| {
            short(problems.to_string())
                .lines()
                .skip(1)
                .map(str::trim)
                .collect::<Vec<_>>()
                .join(" | ")
        };
        given.check(TABLE).map_err(report).map(|_| Value::Object(values))
    }

    #[test]
    fn values_are_read_by_the_types_of_their_inputs() {
        for (text, expected) in [
            ("", json!({})),
            ("name: 3\nepochs: 3\nrate: 1e-4\n", json!({"name": "3", "epochs": 3, "rate": 1e-4})),
            ("name: \"@@a\"\nepochs: \"3\"\n", json!({"name": "@a", "epochs": 3})),
            ("name: '\"quoted\"'\nrate: 1\n", json!({"name": "\"quoted\"", "rate": 1})),
            ("name: ~\nflag: true\n", json!({"name": null, "flag": true})),
            (
                "tags: [a, 1, 'true']\nids: [1, 2]\n",
                json!({"tags": ["a", "1", "true"], "ids": [1, 2]}),
            ),
            ("tags: a\nids:\n- 7\n", json!({"tags": ["a"], "ids": [7]})),
            (
                "map: {a: 1, b: [x, \"2\", true, null, 0.5]}\nany: yes\n",
                json!({"map": {"a": 1, "b": ["x", "2", true, null, 0.5]}, "any": "yes"}),
            ),
            ("any: {at: \"@none\"}\n", json!({"any": {"at": "@none"}})),
            ("any: 18446744073709551615\n", json!({"any": u64::MAX})),
            ("{name: a}\n", json!({"name": "a"})),
            ("{\n\t\"epochs\": 2, \"tags\": [\"a\"]}\n", json!({"epochs": 2, "tags": ["a"]})),
        ] {
            assert_eq!(given("i.yaml", text), Ok(expected.clone()), "{text}");
            if text.starts_with("{\n") {
                assert_eq!(given("i.json", text), Ok(expected), "{text}");
            }
        }
    }

    #[test]
    fn mistakes_have_the_line_and_the_column_of_their_value() {
        for (file, text, expected) in [
            (
                "i.yaml",
                "name: a\nepochs: 300\n",
                "i.yaml:2:9: `epochs`: 300 is greater than the maximum of 10",
            ),
            (
                "i.yaml",
                "epocs: 3\n",
                "i.yaml:1:1: `epocs`: no such input | hint: did you mean `epochs`?",
            ),
            (
                "i.yaml",
                "ids:\n  - 1\n  - x\n",
                "i.yaml:2:3: `ids/1`: \"x\" is not of type \"integer\"",
            ),
            ("i.yaml", "map: text\n", "i.yaml:1:6: `map`: \"text\" is not of type \"object\""),
            ("i.yaml", "flag: yes\n", "i.yaml:1:7: `flag`: \"yes\" is not of type \"boolean\""),
            (
                "i.yaml",
                "name: \"@gone\"\n",
                "i.yaml:1:7: `name`: cannot read `gone`: no such file or directory",
            ),
            (
                "i.json",
                "{\"name\": \"a\",\n \"epochs\": 0.5}",
                "i.json:2:12: `epochs`: 0.5 is not of type \"integer\"",
            ),
            (
                "i.json",
                "{\"name\": \"\\u0000\", \"epochs\": 0.5}",
                "i.json: `epochs`: 0.5 is not of type \"integer\"",
            ),
        ] {
            assert_eq!(given(file, text), Err(expected.to_owned()), "{text}");
        }
        for (file, text, expected) in [
            ("i.yaml", "- a\n", "1 mistake in `i.yaml`\n  i.yaml:1:1: the file must be a mapping"),
            (
                "i.yaml",
                "name: [a\n",
                "1 mistake in `i.yaml`\n  i.yaml:1:7: `[` is opened and never closed",
            ),
            ("i.json", "{\"name\": 1,}", "`i.json`: the text is not JSON: "),
            ("i.json", "[1]", "`--inputs`: `i.json` is not a JSON object"),
        ] {
            let error = given(file, text).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn an_earlier_runs_record_gives_its_inputs() {
        let record = |trainer: &str| {
            json!({
                "trainer": trainer, "started_at": "2026-11-23T22:03:11Z",
                "inputs": {
                    "name": {"value": "@literal", "origin": "given"},
                    "epochs": {"value": 3, "origin": "default"},
                    "rate": {"value": null, "origin": "absent"},
                    "gone": {"value": 1, "origin": "given"},
                },
            })
        };
        let found = given("run.json", &record("T").to_string());
        assert_eq!(found, Ok(json!({"name": "@literal", "epochs": 3})));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("run.json");
        std::fs::write(&file, record("T").to_string()).unwrap();
        let values = read("T", TABLE, &file).unwrap().check(TABLE).unwrap();
        let placed = values.entries().filter(|entry| entry.place.is_some());
        let placed: Vec<&str> = placed.map(|entry| entry.name).collect();
        assert_eq!(placed, ["name", "epochs"], "what the run left out has no place");
        let error = given("run.json", &record("U").to_string()).unwrap_err();
        let expected = "`--inputs`: `run.json`: it is the record of a run of `U`, and this is `T`";
        assert_eq!(error, expected);
        let mut hidden = record("T");
        hidden["inputs"]["token"] = json!({"value": "**********", "origin": "given"});
        hidden["inputs"]["data"] = json!({"value": "https://h/x?...", "origin": "given"});
        assert_eq!(
            given("run.json", &hidden.to_string()),
            Err("run.json: `data`: its address was recorded in part | hint: give it again with `-i data=ADDRESS` | \
                 run.json: `token`: it was given to the run, and secrets are not kept | hint: give it again with \
                 `-i token=VALUE`"
                .to_owned())
        );
    }

    #[test]
    fn what_is_given_on_the_command_line_overrides_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("i.yaml");
        std::fs::write(&file, "epochs: 300\nname: a\n").unwrap();
        let both = pairs::from_pairs(TABLE, &["epochs=2"]).or(read("T", TABLE, &file).unwrap());
        let values = both.check(TABLE).unwrap();
        assert_eq!(
            (values.get("epochs"), values.get("name")),
            (Some(&json!(2)), Some(&json!("a")))
        );
        let places: Vec<Option<&str>> = values.entries().map(|entry| entry.place).take(2).collect();
        assert!(
            places[0].is_some_and(|place| place.ends_with("i.yaml:2:7")) && places[1].is_none()
        );
    }
}
