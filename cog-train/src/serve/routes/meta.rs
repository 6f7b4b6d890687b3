//! The routes about the server itself.

use std::path::Path;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use coglet::{COGLET_VERSION, Health, SetupResult, VersionInfo};
use serde::Serialize;
use serde_json::json;
use tracing::warn;

use crate::serve::answer::{error, json_answer};
use crate::serve::logs::TARGET;
use crate::serve::state::Server;

/// `GET /`: the addresses of all routes.
pub(super) async fn root(State(server): State<Arc<Server>>) -> Response {
    let mut routes = json!({
        "cog_version": COGLET_VERSION,
        "docs_url": "/docs",
        "healthcheck_url": "/health-check",
        "openapi_url": "/openapi.json",
        "predictions_cancel_url": "/predictions/{prediction_id}/cancel",
        "predictions_idempotent_url": "/predictions/{prediction_id}",
        "predictions_url": "/predictions",
        "shutdown_url": "/shutdown",
    });
    if server.service.supports_training().await {
        routes["trainings_url"] = "/trainings".into();
        routes["trainings_idempotent_url"] = "/trainings/{training_id}".into();
        routes["trainings_cancel_url"] = "/trainings/{training_id}/cancel".into();
    }
    json_answer(StatusCode::OK, routes)
}

/// `GET /health-check`: 200 always; the status is in the body.
pub(super) async fn health_check(State(server): State<Arc<Server>>) -> Response {
    let health = server.service.health().await;
    let mut unhealthy = None;
    if health.is_ready() {
        mark_ready();
        unhealthy = match server.service.healthcheck().await {
            Ok(result) if result.is_healthy() => None,
            Ok(result) => Some(result.error.unwrap_or_else(|| "unhealthy".to_owned())),
            // The worker has just died; the next answer says STARTING.
            Err(error) => Some(format!("Healthcheck error: {error}")),
        };
    }
    let status = match (&unhealthy, health.state) {
        (Some(_), _) => "UNHEALTHY",
        (None, Health::Ready) if health.is_busy() => "BUSY",
        (None, Health::Ready) => "READY",
        (None, Health::Busy) => "BUSY",
        (None, Health::Starting) => "STARTING",
        (None, Health::SetupFailed) => "SETUP_FAILED",
        (None, Health::Defunct) => "DEFUNCT",
        (None, Health::Unknown) => "UNKNOWN",
    };
    let body = HealthCheck {
        status,
        setup: health.setup_result,
        version: health.version,
        user_healthcheck_error: unhealthy,
    };
    Json(body).into_response()
}

/// The one answer that Cog does not sort.
#[derive(Serialize)]
struct HealthCheck {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    setup: Option<SetupResult>,
    version: VersionInfo,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_healthcheck_error: Option<String>,
}

/// Under Kubernetes, the first healthy answer leaves a file for a probe that looks for it.
fn mark_ready() {
    const FOLDER: &str = "/var/run/cog";
    let file = Path::new(FOLDER).join("ready");
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_none() || file.exists() {
        return;
    }
    let made = std::fs::create_dir_all(FOLDER).and_then(|()| std::fs::write(&file, ""));
    if let Err(error) = made {
        warn!(target: TARGET, "cannot write `{}`: {error}", file.display());
    }
}

/// `GET /openapi.json`: the document, once `setup` has succeeded.
pub(super) async fn openapi(State(server): State<Arc<Server>>) -> Response {
    match server.service.schema().await {
        Some(document) => json_answer(StatusCode::OK, document),
        None => error(StatusCode::SERVICE_UNAVAILABLE, "OpenAPI schema not available"),
    }
}

/// `POST /shutdown`.
pub(super) async fn shutdown(State(server): State<Arc<Server>>) -> Response {
    server.service.trigger_shutdown();
    json_answer(StatusCode::OK, json!({}))
}
