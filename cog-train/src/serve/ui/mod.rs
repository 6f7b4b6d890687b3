//! The page for people: `GET /ui`, and the routes below it, which read the folders of runs.
//!
//! | route | answer |
//! |---|---|
//! | `GET /ui` | the page: one file, which needs no token and asks no other host |
//! | `GET /ui/runs` | `{"folder", "server", "now", "runs": [...]}`, the newest run first |
//! | `GET /ui/runs/{id}` | `{"id", "status", "live", "record", "checkpoints"}`: `run.json` and what is beside it |
//! | `GET /ui/runs/{id}/metrics?width=&from=&to=&after=` | `{"cursor", "restarted", "lines", "series"}`, see [`metrics`] |
//! | `GET /ui/runs/{id}/clock?width=&after=` | `{"cursor", "restarted", "step", "time"}`: the time of steps, see [`clock`] |
//! | `GET /ui/runs/{id}/log?after=&until=` | `{"cursor", "restarted", "start", "text"}`: whole lines, the last ones first |
//! | `GET /ui/runs/{id}/samples?after=` | `{"cursor", "restarted", "start", "samples": [...]}` |
//! | `GET /ui/runs/{id}/samples/{file}` | an image of a sample |
//!
//! A `cursor` is a position in a file: given back as `after`, the answer begins there. Where a resumed run has truncated the
//! file in between, the answer begins at the start and says `restarted`.
//!
//! An id is the name of a folder in the folder of runs; nothing else of a client's becomes a path.

mod answer;
mod buckets;
mod clock;
mod log;
mod metrics;
mod page;
mod query;
mod runs;
mod samples;
mod summary;
mod tail;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

use self::answer::{data, image, no_run, problem};
use self::query::Query;
use self::runs::{IsLive, Runs};

/// The runs that the page shows.
pub(super) struct Ui {
    runs: Runs,
    is_live: IsLive,
    /// Whether runs can be cancelled here.
    is_server: bool,
}

impl Ui {
    /// The runs of a server.
    pub(super) fn of_server(folder: PathBuf, is_live: IsLive) -> Self {
        Self { runs: Runs::new(folder), is_live, is_server: true }
    }

    /// The runs in a folder, which other processes train.
    pub(super) fn of_folder(folder: PathBuf) -> Self {
        Self { runs: Runs::new(folder), is_live: Box::new(|_| false), is_server: false }
    }
}

/// Returns the route of the page itself.
pub(super) fn page() -> Router {
    Router::new().route("/ui", get(page::page)).route("/ui/", get(page::page))
}

/// Returns the routes of the page's data.
pub(super) fn routes(ui: Arc<Ui>) -> Router {
    Router::new()
        .route("/ui/runs", get(list))
        .route("/ui/runs/{id}", get(record))
        .route("/ui/runs/{id}/metrics", get(|run, uri| read(run, uri, metrics::read)))
        .route("/ui/runs/{id}/clock", get(|run, uri| read(run, uri, clock::read)))
        .route("/ui/runs/{id}/log", get(|run, uri| read(run, uri, log::read)))
        .route("/ui/runs/{id}/samples", get(|run, uri| read(run, uri, samples::read)))
        .route("/ui/runs/{id}/samples/{file}", get(picture))
        .with_state(ui)
}

async fn list(State(ui): State<Arc<Ui>>) -> Response {
    blocking(move || {
        let runs = ui.runs.list(&ui.is_live);
        Ok(data(&json!({
            "folder": ui.runs.shown(),
            "server": ui.is_server,
            "now": summary::now(),
            "runs": runs,
        })))
    })
    .await
}

async fn record(State(ui): State<Arc<Ui>>, Path(id): Path<String>) -> Response {
    blocking(move || {
        let Some(dir) = ui.runs.find(&id) else { return Ok(no_run(&id)) };
        Ok(data(&summary::whole(&id, &dir, (ui.is_live)(&id))))
    })
    .await
}

/// Answers with what `read` finds in the folder of a run.
async fn read(
    (State(ui), Path(id)): (State<Arc<Ui>>, Path<String>),
    uri: Uri,
    read: fn(&std::path::Path, &Query) -> std::io::Result<Value>,
) -> Response {
    let query = match Query::parse(uri.query().unwrap_or_default()) {
        Ok(query) => query,
        Err(text) => return problem(StatusCode::BAD_REQUEST, &text),
    };
    blocking(move || {
        let Some(dir) = ui.runs.find(&id) else { return Ok(no_run(&id)) };
        Ok(data(&read(&dir, &query)?))
    })
    .await
}

async fn picture(State(ui): State<Arc<Ui>>, Path((id, file)): Path<(String, String)>) -> Response {
    blocking(move || {
        let Some(dir) = ui.runs.find(&id) else { return Ok(no_run(&id)) };
        match samples::picture(&dir, &file)? {
            Some(bytes) => Ok(image(bytes)),
            None => Ok(problem(StatusCode::NOT_FOUND, "the run has no such image")),
        }
    })
    .await
}

/// Reads files on a thread that may wait for them.
async fn blocking(work: impl FnOnce() -> std::io::Result<Response> + Send + 'static) -> Response {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            let text = format!("the run's files cannot be read: {error}");
            problem(StatusCode::INTERNAL_SERVER_ERROR, &text)
        }
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "the run's files cannot be read"),
    }
}
