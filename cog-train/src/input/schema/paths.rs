//! The routes in the document. Cog describes no others, though a server has them.

use serde_json::{Map, Value, json};

use super::component::title;
use super::{Names, reference};

/// Returns the routes of every server.
pub(super) fn fixed() -> Map<String, Value> {
    Map::from_iter([
        ("/".to_owned(), json!({"get": operation("root__get", "Root")})),
        (
            "/health-check".to_owned(),
            json!({"get": operation("healthcheck_health_check_get", "Healthcheck")}),
        ),
    ])
}

/// Adds the routes that start and cancel one side.
pub(super) fn add(names: &Names, paths: &mut Map<String, Value>) {
    let body = |schema: &str| json!({"application/json": {"schema": reference(schema)}});
    let refused =
        json!({"content": body("HTTPValidationError"), "description": "Validation Error"});
    paths.insert(
        names.path.to_owned(),
        json!({"post": {
            "description": names.description,
            "operationId": names.operation,
            "requestBody": {"content": body(names.request)},
            "responses": {
                "200": {"content": body(names.response), "description": "Successful Response"},
                "422": refused,
            },
            "summary": names.summary,
        }}),
    );
    let mut cancel = operation(names.cancel, "Cancel");
    cancel["parameters"] = json!([{
        "in": "path",
        "name": names.id,
        "required": true,
        "schema": {"title": title(names.id), "type": "string"},
    }]);
    cancel["responses"]["422"] = refused;
    cancel.sort_all_objects();
    paths.insert(format!("{}/{{{}}}/cancel", names.path, names.id), json!({"post": cancel}));
}

/// Returns an operation whose response is not described.
fn operation(id: &str, summary: &str) -> Value {
    json!({
        "operationId": id,
        "responses": {
            "200": {"content": {"application/json": {"schema": {}}}, "description": "Successful Response"},
        },
        "summary": summary,
    })
}
