//! `GET /trainings` and `GET /trainings/{id}`, which Cog does not have.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use crate::serve::answer::json_answer;
use crate::serve::state::Server;
use crate::serve::{id, listing};

/// Lists the trainings of this server's folder, the newest first.
pub(super) async fn list(State(server): State<Arc<Server>>) -> Response {
    let service = Arc::clone(&server.service);
    let trainings = listing::list(move |id| service.prediction_exists(id)).await;
    json_answer(StatusCode::OK, json!({"trainings": trainings}))
}

/// Returns the state of a training: while it is in progress, its log and metrics so far. It is in progress until its end is kept
/// and the slot is free.
pub(super) async fn one(State(server): State<Arc<Server>>, Path(id): Path<String>) -> Response {
    let state = match server.service.get_prediction_response(&id) {
        Some(state) => Some(state),
        None if id::is_valid(&id) => server.unkept.state_of(&id).await,
        None => None,
    };
    match state {
        Some(state) => json_answer(StatusCode::OK, state),
        None => json_answer(StatusCode::NOT_FOUND, json!({})),
    }
}
