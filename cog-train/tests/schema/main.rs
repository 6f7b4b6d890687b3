//! The OpenAPI document is the one that Cog makes of the same declarations, and it refuses what `check` refuses.

mod golden;
mod law;

use cog_train::input::schema::{Api, Side, document};
use cog_train::input::{
    self, InputType, Kind, Literal, Number, OutputField, OutputType, Problems, Secret, Spec, Type,
    Unknown,
};
use serde_json::{Map, Value, json};

mod both_sides {
    use super::*;

    const TRAIN: &[Spec] = &[
        Spec::new("mode", String::TYPE).choices(&[Literal::Str("fast"), Literal::Str("slow")]),
        Spec::new("size", u8::TYPE).choices(&[Literal::Int(1), Literal::Int(2)]),
        Spec::new(
            "Status",
            Type { kind: Kind::Choice(&["on", "off"]), list: false, optional: true },
        ),
        Spec::new("Output", <Vec<String>>::TYPE).choices(&[Literal::Str("x")]),
    ];
    const PREDICT: &[Spec] = &[
        Spec::new("mode", String::TYPE).choices(&[Literal::Str("greedy")]),
        Spec::new("size", u8::TYPE).choices(&[Literal::Int(1), Literal::Int(2)]),
    ];

    fn both() -> Value {
        document(&Api {
            version: "1",
            train: Some(Side { table: TRAIN, output: OutputType::Path }),
            predict: Some(Side {
                table: PREDICT,
                output: OutputType::Array(Box::new(OutputType::String)),
            }),
        })
    }

    fn reference(of: &Value) -> &str {
        of["allOf"][0]["$ref"].as_str().unwrap().strip_prefix("#/components/schemas/").unwrap()
    }

    #[test]
    fn the_prediction_side_is_the_base() {
        let document = both();
        let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
        assert_eq!(
            paths,
            [
                "/",
                "/health-check",
                "/predictions",
                "/predictions/{prediction_id}/cancel",
                "/trainings",
                "/trainings/{training_id}/cancel"
            ]
        );
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let names: Vec<&String> = schemas.keys().collect();
        assert_eq!(
            names,
            [
                "Input",
                "Output",
                "mode",
                "size",
                "PredictionRequest",
                "PredictionResponse",
                "Status",
                "HTTPValidationError",
                "ValidationError",
                "TrainingInput",
                "TrainingOutput",
                "TrainingInput.mode",
                "TrainingInput.Status",
                "TrainingInput.Output",
                "TrainingRequest",
                "TrainingResponse",
            ]
        );
        assert_eq!(
            schemas["Output"],
            json!({"items": {"type": "string"}, "title": "Output", "type": "array"})
        );
        assert_eq!(
            schemas["TrainingOutput"],
            json!({"format": "uri", "title": "Output", "type": "string"})
        );
        let post = &document["paths"]["/predictions"]["post"];
        assert_eq!(post["operationId"], "predict_predictions_post");
        assert_eq!(post["description"], "Run a single prediction on the model");
        assert_eq!(
            schemas["PredictionRequest"]["properties"]["input"]["$ref"],
            "#/components/schemas/Input"
        );
    }

    #[test]
    fn every_enumeration_is_found_under_its_reference() {
        let document = both();
        let schemas = &document["components"]["schemas"];
        let train = &schemas["TrainingInput"]["properties"];
        let values = |of: &Value| schemas[reference(of)]["enum"].clone();
        assert_eq!(values(&schemas["Input"]["properties"]["mode"]), json!(["greedy"]));
        assert_eq!(values(&train["mode"]), json!(["fast", "slow"]));
        assert_eq!(values(&train["Status"]), json!(["on", "off"]));
        assert_eq!(values(&train["Output"]["items"]), json!(["x"]));
        assert_eq!(values(&train["size"]), json!([1, 2]));
        assert_eq!(schemas[reference(&train["size"])]["type"], "integer");
        assert_eq!(reference(&train["size"]), "size", "equal enumerations are one");
        assert_eq!(schemas["Status"]["enum"][0], "starting");
    }

    #[test]
    fn every_reference_has_its_component() {
        fn visit(value: &Value, schemas: &Value, count: &mut usize) {
            match value {
                Value::Object(map) => {
                    if let Some(Value::String(to)) = map.get("$ref") {
                        *count += 1;
                        assert!(
                            schemas
                                .get(to.strip_prefix("#/components/schemas/").unwrap())
                                .is_some(),
                            "{to}"
                        );
                    }
                    map.values().for_each(|value| visit(value, schemas, count));
                }
                Value::Array(items) => items.iter().for_each(|value| visit(value, schemas, count)),
                _ => {}
            }
        }
        let (document, mut count) = (both(), 0);
        visit(&document, &document["components"]["schemas"], &mut count);
        // Choices, requests, responses, bodies and answers of the operations, the list of validation errors.
        assert_eq!(count, 6 + 2 + 2 * 2 + 2 * 4 + 1);
    }

    #[test]
    fn without_inputs_nothing_is_required() {
        let side = Side { table: &[], output: OutputType::Object };
        let document = document(&Api { version: "1", train: None, predict: Some(side) });
        let schemas = &document["components"]["schemas"];
        assert_eq!(schemas["Input"], json!({"properties": {}, "title": "Input", "type": "object"}));
        assert_eq!(schemas.get("TrainingInput"), None);
        assert_eq!(document["paths"].get("/trainings"), None);
    }
}

#[test]
fn properties() {
    const TABLE: &[Spec] = &[
        Spec::new("x", <Vec<i8>>::TYPE)
            .ge(Number::Int(0))
            .default(Literal::List(&[Literal::Int(1)])),
        Spec::new("old_name", f32::TYPE).deprecated().le(Number::Float(1e-3)),
        Spec::new("big", u64::TYPE),
        Spec::new("whole", isize::TYPE),
        Spec::new("keys", <Option<Vec<Secret>>>::TYPE).min_length(3).regex("^k"),
        Spec::new("anything", <serde_json::Value as InputType>::TYPE),
        Spec::new("map", <Map<String, Value> as InputType>::TYPE).description("A map"),
    ];
    let side = Side {
        table: TABLE,
        output: OutputType::Fields(vec![
            OutputField { name: "log_file", ty: OutputType::Path, optional: true },
            OutputField {
                name: "losses",
                ty: OutputType::Array(Box::new(OutputType::Number)),
                optional: false,
            },
        ]),
    };
    let document = document(&Api { version: "1", train: Some(side), predict: None });
    let schemas = &document["components"]["schemas"];
    assert_eq!(
        schemas["TrainingInput"],
        json!({
            "properties": {
                "x": {
                    "default": [1], "items": {"maximum": 127, "minimum": 0, "type": "integer"}, "title": "X",
                    "type": "array", "x-order": 0,
                },
                "old_name": {"deprecated": true, "maximum": 0.001, "title": "Old Name", "type": "number", "x-order": 1},
                "big": {"maximum": u64::MAX, "minimum": 0, "title": "Big", "type": "integer", "x-order": 2},
                "whole": {"title": "Whole", "type": "integer", "x-order": 3},
                "keys": {
                    "default": null,
                    "items": {
                        "format": "password", "minLength": 3, "pattern": "^k", "type": "string", "writeOnly": true,
                        "x-cog-secret": true,
                    },
                    "nullable": true, "title": "Keys", "type": "array", "x-order": 4,
                },
                "anything": {"title": "Anything", "type": "object", "x-order": 5},
                "map": {"description": "A map", "title": "Map", "type": "object", "x-order": 6},
            },
            "required": ["old_name", "big", "whole", "anything", "map"],
            "title": "TrainingInput",
            "type": "object",
        })
    );
    assert_eq!(
        schemas["TrainingOutput"],
        json!({
            "properties": {
                "log_file": {"format": "uri", "nullable": true, "title": "Log File", "type": "string"},
                "losses": {"items": {"type": "number"}, "title": "Losses", "type": "array"},
            },
            "required": ["losses"],
            "title": "Output",
            "type": "object",
        })
    );
}

/// The published component of the inputs, with its references resolved.
fn published(table: &[Spec]) -> Value {
    let side = Side { table, output: OutputType::Path };
    let document = document(&Api { version: "1", train: Some(side), predict: None });
    let schemas = &document["components"]["schemas"];
    let mut input = schemas["TrainingInput"].clone();
    resolve(&mut input, schemas);
    input
}

fn resolve(schema: &mut Value, schemas: &Value) {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        *schema = schemas[name.strip_prefix("#/components/schemas/").unwrap()].clone();
    }
    match schema {
        Value::Object(map) => map.values_mut().for_each(|value| resolve(value, schemas)),
        Value::Array(items) => items.iter_mut().for_each(|value| resolve(value, schemas)),
        _ => {}
    }
}

fn refused_by_check(table: &[Spec], given: &Value) -> Vec<(String, String)> {
    let problems = match input::check(table, given, Unknown::Drop) {
        Ok(_) => Problems::default(),
        Err(problems) => problems,
    };
    problems.iter().map(|problem| (problem.input.clone(), problem.message.clone())).collect()
}

mod what_the_schema_leaves_to_check {
    use super::*;

    #[test]
    fn the_range_of_an_i64() {
        for ty in [i64::TYPE, isize::TYPE] {
            let table = &[Spec::new("x", ty)];
            let schema = jsonschema::validator_for(&published(table)).unwrap();
            for (number, fits) in [
                (json!(i64::MAX), true),
                (json!(i64::MIN), true),
                (json!(i64::MAX as u64 + 1), false),
                (json!(u64::MAX), false),
                (json!(-1e19), false),
                (json!(1e300), false),
            ] {
                let given = json!({ "x": number });
                assert!(schema.is_valid(&given), "{given}");
                assert_eq!(refused_by_check(table, &given).is_empty(), fits, "{given}");
            }
        }
    }

    #[test]
    fn any_json_value() {
        let table = &[Spec::new("x", <Value as InputType>::TYPE)];
        let schema = jsonschema::validator_for(&published(table)).unwrap();
        for (value, published, taken) in [
            (json!({}), true, true),
            (json!(1), false, true),
            (json!("a"), false, true),
            (json!([null]), false, true),
            (json!(null), false, false),
        ] {
            let given = json!({ "x": value });
            assert_eq!(schema.is_valid(&given), published, "{given}");
            assert_eq!(refused_by_check(table, &given).is_empty(), taken, "{given}");
        }
    }

    #[test]
    fn the_greatest_f32() {
        const TABLE: &[Spec] = &[Spec::new("x", f32::TYPE)];
        let given = json!({"x": 1e39});
        assert!(jsonschema::validator_for(&published(TABLE)).unwrap().is_valid(&given));
        let values = input::check(TABLE, &given, Unknown::Drop).unwrap().values;
        assert!(values.take::<f32>("x").is_err());
    }
}
