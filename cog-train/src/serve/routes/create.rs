//! `POST /trainings`, `PUT /trainings/{id}`, and their twins for predictions.
//!
//! The order of checks is Cog's: content type, JSON, shape, id, training of this id in progress, inputs, server, slot.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use coglet::CreatePredictionError;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use crate::input::{self, Checked, Mask, Origin, Unknown, Values};
use crate::run::{Kind, run_dir_of};
use crate::serve::answer::{error, invalid, json_answer, refused};
use crate::serve::history::{Begun, Ended, digest_of, is_training_elsewhere};
use crate::serve::id::{LONGEST, generate, is_valid};
use crate::serve::local::refuse_local;
use crate::serve::request::{PredictionRequest, is_async, wants_events};
use crate::serve::state::Server;
use crate::serve::training::Training;

const NOT_READY: &str =
    "Setup has not finished yet. Wait until it has finished, or GET /health-check for status.";
const NO_SLOT: &str = "At capacity - all prediction slots busy";
const NO_EVENTS: &str = "Training endpoints do not support streaming responses.";

/// Creates a training with the body's id, or a new one.
pub(super) async fn post(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    body: Option<Json<PredictionRequest>>,
) -> Response {
    let body = body.map_or_else(PredictionRequest::default, |Json(body)| body);
    if wants_events(&headers) {
        return no_events(server.role.kind);
    }
    let id = body.id.clone().unwrap_or_else(generate);
    if !is_valid(&id) {
        return bad_id(&["body", "id"]);
    }
    create(server, &headers, id, body).await
}

/// Creates the training of this id, or gives back what is known of it.
pub(super) async fn put(
    State(server): State<Arc<Server>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Option<Json<PredictionRequest>>,
) -> Response {
    let body = body.map_or_else(PredictionRequest::default, |Json(body)| body);
    let kind = server.role.kind;
    if wants_events(&headers) {
        return no_events(kind);
    }
    let what = if kind == Kind::Train { "training" } else { "prediction" };
    if body.id.as_ref().is_some_and(|own| *own != id) {
        let text = format!("{what} ID must match the ID supplied in the URL");
        return invalid(&["body", "id"], text);
    }
    if !is_valid(&id) {
        return bad_id(&["path", format!("{what}_id").as_str()]);
    }
    if let Some(state) = server.service.get_prediction_response(&id) {
        return json_answer(StatusCode::ACCEPTED, state);
    }
    create(server, &headers, id, body).await
}

fn no_events(kind: Kind) -> Response {
    let text = match kind {
        Kind::Train => NO_EVENTS,
        Kind::Predict => "This model does not support streaming responses.",
    };
    error(StatusCode::NOT_ACCEPTABLE, text)
}

fn bad_id(loc: &[&str]) -> Response {
    invalid(loc, format!("an id is 1 to {LONGEST} of the characters A-Z, a-z, 0-9, `_` and `-`"))
}

async fn create(
    server: Arc<Server>,
    headers: &HeaderMap,
    id: String,
    mut body: PredictionRequest,
) -> Response {
    // Before the first setup there is no schema, and no input is looked at.
    if server.service.schema().await.is_none() {
        return refused(StatusCode::SERVICE_UNAVAILABLE, NOT_READY);
    }
    let checked = match input::check(server.role.table, &body.input, Unknown::Drop) {
        Ok(checked) => checked,
        Err(problems) => return json_answer(StatusCode::UNPROCESSABLE_ENTITY, problems.detail()),
    };
    if let Err(problems) = refuse_local(&checked.values, server.options.allow_local) {
        return json_answer(StatusCode::UNPROCESSABLE_ENTITY, problems.detail());
    }
    let digest = digest_of(&checked.values);
    let mut is_begun = false;
    if server.role.kind == Kind::Train && !server.service.prediction_exists(&id) {
        if let Some(ended) = Ended::find(&id).await {
            if !ended.has_inputs(&digest) {
                return other_inputs(&id, &[], !ended.succeeded());
            }
            if ended.succeeded() {
                return json_answer(StatusCode::OK, ended.answer);
            }
            is_begun = true;
        }
        if is_training_elsewhere(&id).await {
            let text = format!("another process is training in `{}`", run_dir_of(&id).display());
            return refused(StatusCode::CONFLICT, text);
        }
        if let Some(begun) = Begun::find(&id).await.filter(|_| !is_begun) {
            let changes = begun.changes(server.role.table, &checked.values);
            if !changes.is_empty() {
                return other_inputs(&id, &changes, true);
            }
            is_begun = true;
        }
    }
    let webhook = body.webhook(headers);
    let shown = shown(&checked.values);
    // Held until both are known: a new worker brings new slots.
    let worker = server.worker.read().await;
    let submitted = match &*worker {
        Some(process) if !process.watched.has_ended() => {
            server.service.submit_prediction(id.clone(), shown, webhook, false).await
        }
        _ => Err(CreatePredictionError::NotReady),
    };
    let (handle, slot) = match submitted {
        Ok(submitted) => submitted,
        Err(CreatePredictionError::NotReady) => {
            return refused(StatusCode::SERVICE_UNAVAILABLE, NOT_READY);
        }
        Err(CreatePredictionError::AtCapacity) => return refused(StatusCode::CONFLICT, NO_SLOT),
    };
    let Some(process) = worker.clone() else {
        return refused(StatusCode::SERVICE_UNAVAILABLE, NOT_READY);
    };
    process.is_used.store(true, Ordering::Relaxed);
    drop(worker);
    let training = Training {
        id: id.clone(),
        input: given(body.input, &checked),
        digest,
        is_begun,
        mask: Mask::new(checked.values.secrets()),
        notes: notes(&checked),
        slot,
        worker: process,
        cancel: handle.cancel_token(),
    };
    let (sender, answer) = oneshot::channel();
    // A client that goes cancels its training, and not the task that follows it.
    server.tasks.spawn(training.run(Arc::clone(&server), sender));
    if is_async(headers) {
        return json_answer(StatusCode::ACCEPTED, json!({"id": id, "status": "starting"}));
    }
    let mut guard = handle.sync_guard(Arc::clone(&server.service));
    let answer = answer.await;
    guard.disarm();
    match answer {
        Ok(state) => json_answer(StatusCode::OK, state),
        Err(_) => refused(StatusCode::INTERNAL_SERVER_ERROR, "the training was lost"),
    }
}

/// Refuses the inputs of a training that was begun with others.
fn other_inputs(id: &str, changes: &[String], is_unfinished: bool) -> Response {
    let mut text = format!("the training `{id}` has other inputs: choose another id for these");
    for change in changes {
        text.push_str("\n  ");
        text.push_str(change);
    }
    if is_unfinished {
        text.push_str("\nhint: a PUT of the inputs that it began with resumes it");
    }
    refused(StatusCode::CONFLICT, text)
}

/// Returns the inputs that were given, for the worker.
fn given(input: Value, checked: &Checked) -> Map<String, Value> {
    let Value::Object(mut input) = input else { return Map::new() };
    input.retain(|name, _| !checked.dropped.contains(name));
    input
}

/// Returns the inputs as answers show them: those that were given, null for those that have no value, secrets masked.
fn shown(values: &Values) -> Value {
    let entries = values.entries().filter(|entry| entry.origin != Origin::Default);
    entries.map(|entry| (entry.name.to_owned(), entry.value.into_owned())).collect()
}

/// Returns the first line of the log: names that are dropped are not dropped in silence.
fn notes(checked: &Checked) -> String {
    if checked.dropped.is_empty() {
        return String::new();
    }
    let names: Vec<String> = checked.dropped.iter().map(|name| format!("`{name}`")).collect();
    format!("warning: no such input, and not used: {}\n", crate::error::printable(names.join(", ")))
}
