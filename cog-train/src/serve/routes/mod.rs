//! The routes.

mod cancel;
mod checkpoint;
mod create;
mod events;
mod meta;
mod read;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{any, get, post, put};

use super::answer::error;
use super::auth::{self, Token};
use super::body::{self, Bodies};
use super::origin::{self, Names};
use super::state::Server;
use super::ui::{self, Ui};
use crate::run::{Kind, RUNS};

/// Returns the service of all routes. Those of the other kind answer 404 with a sentence.
pub(super) fn router(server: Arc<Server>) -> Router {
    let router = Router::new()
        .route("/", get(meta::root))
        .route("/health-check", get(meta::health_check))
        .route("/openapi.json", get(meta::openapi))
        .route("/shutdown", post(meta::shutdown));
    let router = match server.role.kind {
        Kind::Train => router
            .route("/trainings", get(read::list).post(create::post))
            .route("/trainings/{id}", get(read::one).put(create::put))
            .route("/trainings/{id}/cancel", post(cancel::cancel))
            .route("/trainings/{id}/checkpoint", post(checkpoint::checkpoint))
            .route("/trainings/{id}/events", get(events::events))
            .route("/predictions", any(predictions_elsewhere))
            .route("/predictions/{*rest}", any(predictions_elsewhere)),
        Kind::Predict => router
            .route("/predictions", post(create::post))
            .route("/predictions/{id}", put(create::put))
            .route("/predictions/{id}/cancel", post(cancel::cancel))
            .route("/trainings", any(trainings_elsewhere))
            .route("/trainings/{*rest}", any(trainings_elsewhere)),
    };
    let service = Arc::clone(&server.service);
    let is_live = move |id: &str| service.prediction_exists(id);
    let runs = Ui::of_server(RUNS.into(), Box::new(is_live));
    let names = Names::new(&server.options.host, &server.options.allow_hosts);
    let guarded = router
        .with_state(server)
        .merge(ui::routes(Arc::new(runs)))
        // `body` has limits of its own.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(Bodies::new(body::Limits::default()), body::read))
        .layer(from_fn_with_state(Token::from_env(), auth::check));
    with_page(guarded, names)
}

/// Returns the service of the page alone, which listens on `host`.
pub(super) fn of_page(runs: Ui, host: &str) -> Router {
    let guarded =
        ui::routes(Arc::new(runs)).layer(from_fn_with_state(Token::from_env(), auth::check));
    with_page(guarded, Names::new(host, &[]))
}

/// Adds the page, which asks for the token itself. Of two routers that are merged, the second one answers paths that there are
/// not.
fn with_page(guarded: Router, names: Names) -> Router {
    ui::page().merge(guarded).layer(from_fn_with_state(names, origin::check))
}

async fn predictions_elsewhere() -> Response {
    let text = "this server trains and does not predict: start one with `serve --mode predict`";
    error(StatusCode::NOT_FOUND, text)
}

async fn trainings_elsewhere() -> Response {
    let text = "this server predicts and does not train: start one with `serve --mode train`";
    error(StatusCode::NOT_FOUND, text)
}
