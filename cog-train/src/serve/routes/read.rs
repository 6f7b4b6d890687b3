//! `GET /trainings` and `GET /trainings/{id}`, which Cog does not have.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use crate::run::{Kind, Status};
use crate::serve::answer::json_answer;
use crate::serve::state::Server;
use crate::serve::{id, listing};

/// The interval at which a training that has ended is looked for.
const SETTLING: Duration = Duration::from_millis(10);

/// Lists the trainings of this server's folder, the newest first.
pub(super) async fn list(State(server): State<Arc<Server>>) -> Response {
    let is_running = |id: &str| server.service.prediction_exists(id);
    let mut trainings = listing::list().await;
    for training in &mut trainings {
        training.settle(is_running(&training.id));
    }
    json_answer(StatusCode::OK, json!({"trainings": trainings}))
}

/// Returns the state of a training: while it is in progress, its log and metrics so far. Its end is given when it is kept in its folder
/// and the slot is free: each server of the folder gives it then, and the next training can begin.
pub(super) async fn one(State(server): State<Arc<Server>>, Path(id): Path<String>) -> Response {
    while let Some(state) = server.service.get_prediction_response(&id) {
        let has_ended = Status::ALL.iter().any(|end| state["status"] == end.name());
        if !has_ended || server.role.kind == Kind::Predict {
            return json_answer(StatusCode::OK, state);
        }
        tokio::time::sleep(SETTLING).await;
    }
    let state = if id::is_valid(&id) { server.unkept.state_of(&id).await } else { None };
    match state {
        Some(state) => json_answer(StatusCode::OK, state),
        None => json_answer(StatusCode::NOT_FOUND, json!({})),
    }
}
