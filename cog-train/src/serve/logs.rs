//! The server's own log, on standard error: JSON lines, or text when `LOG_FORMAT` is `console`.

use std::fmt::Debug;

use coglet::SetupLogAccumulator;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry};

/// The name of this crate's lines in the log.
pub(super) const TARGET: &str = "cog_train";

/// The lines of the log, for the health check, which shows those of `setup`.
pub(super) type SetupLogs = UnboundedReceiver<String>;

/// Starts the log.
pub(super) fn start() -> SetupLogs {
    let (sender, lines) = unbounded_channel();
    let console = std::env::var("LOG_FORMAT").is_ok_and(|format| format == "console");
    let layers = registry().with(filter()).with(Irrelevant).with(SetupLogAccumulator::new(sender));
    let text = fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    // A program that has a log of its own keeps it.
    drop(if console { layers.with(text).try_init() } else { layers.with(text.json()).try_init() });
    lines
}

/// Drops the lines of coglet that are about Cog's own images.
struct Irrelevant;

impl<S: Subscriber> Layer<S> for Irrelevant {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let mut found = Found(false);
        if event.metadata().target() == "coglet::worker" {
            event.record(&mut found);
        }
        !found.0
    }
}

/// Whether an event's message is that a worker has no schema in a file. The schema is compiled into this program.
struct Found(bool);

impl Visit for Found {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            let text = format!("{value:?}");
            self.0 = text.trim_start_matches('"').starts_with("No schema file at ");
        }
    }
}

/// The filter of `RUST_LOG`, else the level of `COG_LOG_LEVEL`.
fn filter() -> EnvFilter {
    if let Ok(filter) = EnvFilter::try_from_default_env() {
        return filter;
    }
    let level = match std::env::var("COG_LOG_LEVEL").as_deref() {
        Ok("debug") => "debug",
        Ok("warn" | "warning") => "warn",
        Ok("error") => "error",
        _ => "info",
    };
    // coglet names the whole address of a webhook that fails, which may hold a token.
    EnvFilter::new(format!("coglet={level},coglet::webhook=off,{TARGET}={level}"))
}
