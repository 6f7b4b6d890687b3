//! Answers as Cog's server writes them: JSON whose objects have sorted keys.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Returns a JSON answer.
pub(super) fn json_answer(status: StatusCode, mut body: Value) -> Response {
    body.sort_all_objects();
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// Returns the answer to a request whose part `loc` is not valid.
pub(super) fn invalid(loc: &[&str], message: impl Into<String>) -> Response {
    let body = json!({"detail": [{"loc": loc, "msg": message.into(), "type": "value_error"}]});
    json_answer(StatusCode::UNPROCESSABLE_ENTITY, body)
}

/// Returns the answer to a request that cannot be fulfilled now.
pub(super) fn refused(status: StatusCode, error: impl Into<String>) -> Response {
    json_answer(status, json!({"error": error.into(), "status": "failed"}))
}

/// Returns an answer with an error and nothing else.
pub(super) fn error(status: StatusCode, error: impl Into<String>) -> Response {
    json_answer(status, json!({"error": error.into()}))
}
