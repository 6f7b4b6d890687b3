//! `POST /trainings/{id}/checkpoint`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::serve::answer::{error, json_answer};
use crate::serve::state::Server;

/// Asks the training for a checkpoint after its current step. The answer does not wait for it.
pub(super) async fn checkpoint(
    State(server): State<Arc<Server>>,
    Path(id): Path<String>,
) -> Response {
    if !server.service.prediction_exists(&id) {
        return json_answer(StatusCode::NOT_FOUND, json!({}));
    }
    let worker = server.worker.read().await.clone();
    if worker.is_some_and(|worker| worker.watched.signal(Signal::SIGUSR1)) {
        return json_answer(StatusCode::ACCEPTED, json!({}));
    }
    error(StatusCode::SERVICE_UNAVAILABLE, "the worker process has ended")
}
