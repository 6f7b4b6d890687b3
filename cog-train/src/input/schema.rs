//! The OpenAPI document, as Cog 0.22's generator writes it for the same declarations.
//!
//! The document is as precise as Rust's types where these are more precise than Python's: the range of an integer type other than
//! `i64` is its `minimum` and `maximum`, and the rules of a list are those of its items, where JSON Schema applies them.
//! [`check`](super::check) covers what the document cannot express:
//!
//! - the range of an `i64` (integers beyond 64 bits are valid in JSON Schema);
//! - the maximum of an `f32`;
//! - the greatest depth of a value;
//! - that an input of type `serde_json::Value` takes any JSON value: Cog calls it an object.

mod component;
mod paths;

use serde_json::{Map, Value, json};

use super::output_type::OutputType;
use super::spec::Spec;

/// The contents of a document.
#[derive(Debug, Clone)]
pub struct Api<'a> {
    /// The `info.version`.
    pub version: &'a str,
    /// The training side, if there is one.
    pub train: Option<Side<'a>>,
    /// The prediction side, if there is one.
    pub predict: Option<Side<'a>>,
}

/// One side, training or prediction: its inputs and its output.
#[derive(Debug, Clone)]
pub struct Side<'a> {
    /// The inputs.
    pub table: &'a [Spec],
    /// The output.
    pub output: OutputType,
}

/// Returns the OpenAPI document of a program that trains, predicts, or both.
///
/// The component for the choices of an input has the input's name. When that name is taken, by a fixed component
/// (`Status`) or by another enumeration of the other side, it is `TrainingInput.NAME` or `Input.NAME`.
///
/// ```
/// use cog_train::input::schema::{Api, Side, document};
/// use cog_train::input::{InputType, OutputType, Spec};
///
/// const TABLE: &[Spec] = &[Spec::new("steps", <u8 as InputType>::TYPE)];
/// let side = Side { table: TABLE, output: OutputType::Path };
/// let document = document(&Api { version: "1.0.0", train: Some(side), predict: None });
/// let steps = &document["components"]["schemas"]["TrainingInput"]["properties"]["steps"];
/// assert_eq!(
///     steps.to_string(),
///     r#"{"maximum":255,"minimum":0,"title":"Steps","type":"integer","x-order":0}"#
/// );
/// ```
#[must_use]
pub fn document(api: &Api<'_>) -> Value {
    let mut components = Map::new();
    let mut paths = paths::fixed();
    // Predictions come first, as in Cog's document of both.
    for (names, side) in [(&PREDICT, &api.predict), (&TRAIN, &api.train)] {
        if let Some(side) = side {
            add_components(names, side, &mut components);
            paths::add(names, &mut paths);
        }
    }
    json!({
        "components": {"schemas": components},
        "info": {"title": "Cog", "version": api.version},
        "openapi": "3.0.2",
        "paths": paths,
    })
}

/// The names that differ between the two sides.
struct Names {
    input: &'static str,
    output: &'static str,
    request: &'static str,
    response: &'static str,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    description: &'static str,
    operation: &'static str,
    cancel: &'static str,
}

const TRAIN: Names = Names {
    input: "TrainingInput",
    output: "TrainingOutput",
    request: "TrainingRequest",
    response: "TrainingResponse",
    path: "/trainings",
    id: "training_id",
    summary: "Train",
    description: "Run a single training on the model",
    operation: "train_trainings_post",
    cancel: "cancel_trainings__training_id__cancel_post",
};

const PREDICT: Names = Names {
    input: "Input",
    output: "Output",
    request: "PredictionRequest",
    response: "PredictionResponse",
    path: "/predictions",
    id: "prediction_id",
    summary: "Predict",
    description: "Run a single prediction on the model",
    operation: "predict_predictions_post",
    cancel: "cancel_predictions__prediction_id__cancel_post",
};

/// Names that a component for choices may not take, on either side: a server finds an `Input` by name.
const RESERVED: [&str; 11] = [
    TRAIN.input,
    TRAIN.output,
    TRAIN.request,
    TRAIN.response,
    PREDICT.input,
    PREDICT.output,
    PREDICT.request,
    PREDICT.response,
    "Status",
    "HTTPValidationError",
    "ValidationError",
];

fn add_components(names: &Names, side: &Side<'_>, components: &mut Map<String, Value>) {
    let mut enumerations = Map::new();
    let input = component::input(names.input, side.table, |spec, schema| {
        let free = !RESERVED.contains(&spec.name)
            && components.get(spec.name).is_none_or(|taken| *taken == schema);
        // A dot is allowed in the name of a component and not in that of an input.
        let name =
            if free { spec.name.to_owned() } else { format!("{}.{}", names.input, spec.name) };
        enumerations.insert(name.clone(), schema);
        name
    });
    let mut add = |name: &str, schema: Value| {
        components.entry(name).or_insert(schema);
    };
    add(names.input, input);
    add(names.output, component::output(&side.output));
    for (name, schema) in enumerations {
        add(&name, schema);
    }
    let string = |title: &str| json!({"title": title, "type": "string"});
    let time = |title: &str| json!({"format": "date-time", "title": title, "type": "string"});
    add(
        names.request,
        json!({
            "properties": {"id": string("Id"), "input": reference(names.input)},
            "title": names.request,
            "type": "object",
        }),
    );
    add(
        names.response,
        json!({
            "properties": {
                "completed_at": time("Completed At"),
                "created_at": time("Created At"),
                "error": string("Error"),
                "id": string("Id"),
                "input": reference(names.input),
                "logs": string("Logs"),
                "metrics": {"title": "Metrics", "type": "object"},
                "output": reference(names.output),
                "started_at": time("Started At"),
                "status": string("Status"),
                "version": string("Version"),
            },
            "title": names.response,
            "type": "object",
        }),
    );
    let states = ["starting", "processing", "succeeded", "canceled", "failed"].map(Value::from);
    add("Status", component::enumeration("Status", &states, "string"));
    add(
        "HTTPValidationError",
        json!({
            "properties": {"detail": {"items": reference("ValidationError"), "title": "Detail", "type": "array"}},
            "title": "HTTPValidationError",
            "type": "object",
        }),
    );
    add(
        "ValidationError",
        json!({
            "properties": {
                "loc": {
                    "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
                    "title": "Location",
                    "type": "array",
                },
                "msg": string("Message"),
                "type": string("Error Type"),
            },
            "required": ["loc", "msg", "type"],
            "title": "ValidationError",
            "type": "object",
        }),
    );
}

fn reference(component: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{component}")})
}
