//! `POST .../{id}/cancel`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use crate::serve::answer::json_answer;
use crate::serve::state::Server;

/// Cancels a training in progress, which saves its state first.
pub(super) async fn cancel(State(server): State<Arc<Server>>, Path(id): Path<String>) -> Response {
    let found = server.service.cancel(&id);
    json_answer(if found { StatusCode::OK } else { StatusCode::NOT_FOUND }, json!({}))
}
