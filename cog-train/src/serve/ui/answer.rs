//! Answers of the page's routes. No browser keeps them, and none takes them for anything but data.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// The headers of every answer below `/ui`.
pub(super) const HEADERS: [(HeaderName, HeaderValue); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// Data is no document: nothing in it may be loaded or run.
const NOTHING: (HeaderName, HeaderValue) =
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));

fn answer(status: StatusCode, media: &'static str, body: impl IntoResponse) -> Response {
    let media = (header::CONTENT_TYPE, HeaderValue::from_static(media));
    (status, HEADERS, [NOTHING, media], body).into_response()
}

/// Returns data as JSON.
pub(super) fn data(value: &Value) -> Response {
    answer(StatusCode::OK, "application/json", value.to_string())
}

/// Returns a PNG file.
pub(super) fn image(bytes: Vec<u8>) -> Response {
    answer(StatusCode::OK, "image/png", bytes)
}

/// Returns a sentence that says why there is no data.
pub(super) fn problem(status: StatusCode, text: &str) -> Response {
    answer(status, "application/json", json!({"error": text}).to_string())
}

/// Returns the answer to an id that names no run.
pub(super) fn no_run(id: &str) -> Response {
    let text = format!("there is no run `{}`", crate::error::printable_name(id));
    problem(StatusCode::NOT_FOUND, &text)
}
