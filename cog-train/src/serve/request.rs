//! The body of a request for a training or a prediction.

use std::collections::HashMap;

use axum::http::{HeaderMap, header};
use coglet::webhook::{TraceContext, WebhookConfig, WebhookEventType, WebhookSender};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use tracing::warn;

use super::logs::TARGET;

/// The body, by the name that messages about its shape have in Cog. Names that are not here are ignored.
#[derive(Debug, Deserialize)]
pub(super) struct PredictionRequest {
    pub(super) id: Option<String>,
    /// Nothing and null are no inputs.
    #[serde(default = "no_input", deserialize_with = "input")]
    pub(super) input: Value,
    /// Accepted as Cog accepts it; there is nothing here that reads it.
    #[serde(default)]
    #[expect(dead_code, reason = "its type is checked")]
    context: HashMap<String, String>,
    webhook: Option<String>,
    #[serde(default = "all_events")]
    webhook_events_filter: Vec<WebhookEventType>,
}

impl Default for PredictionRequest {
    fn default() -> Self {
        Self {
            id: None,
            input: no_input(),
            context: HashMap::new(),
            webhook: None,
            webhook_events_filter: all_events(),
        }
    }
}

fn no_input() -> Value {
    Value::Object(Map::new())
}

fn input<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(if value.is_null() { no_input() } else { value })
}

fn all_events() -> Vec<WebhookEventType> {
    WebhookEventType::all().into_iter().collect()
}

impl PredictionRequest {
    /// Returns the sender of the webhooks. One that cannot be made does not fail the training.
    pub(super) fn webhook(&mut self, headers: &HeaderMap) -> Option<WebhookSender> {
        let url = self.webhook.take()?;
        let events_filter = self.webhook_events_filter.drain(..).collect();
        let config = WebhookConfig { events_filter, ..WebhookConfig::default() };
        let text = |name| Some(headers.get(name)?.to_str().ok()?.to_owned());
        let trace = TraceContext {
            traceparent: text("traceparent"),
            tracestate: text("tracestate"),
            custom_header: None,
        };
        WebhookSender::with_trace_context(url, config, trace)
            .inspect_err(|error| warn!(target: TARGET, "no webhooks are sent: {error}"))
            .ok()
    }
}

/// Whether the answer may come before the end: `Prefer: respond-async`, alone or beside other preferences.
pub(super) fn is_async(headers: &HeaderMap) -> bool {
    let preferences = headers.get_all("prefer").iter().filter_map(|it| it.to_str().ok());
    let mut names = preferences.flat_map(|it| it.split(',')).filter_map(|it| it.split(';').next());
    names.any(|name| name.trim().eq_ignore_ascii_case("respond-async"))
}

/// Whether the client wants a stream of events.
pub(super) fn wants_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|it| it.to_str().ok()).unwrap_or_default();
    accepted.split(',').any(|part| part.trim().split(';').next() == Some("text/event-stream"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preference_is_found_beside_others() {
        let asks = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("prefer", value.parse().unwrap());
            }
            is_async(&headers)
        };
        for values in [
            &["respond-async"][..],
            &["respond-async, wait=5"],
            &["wait=5,respond-async"],
            &["wait=5", "Respond-Async"],
            &["respond-async; foo=bar"],
        ] {
            assert!(asks(values), "{values:?}");
        }
        for values in
            [&[][..], &["wait=5"], &["respond-asynchronously"], &["wait=respond-async"], &[""]]
        {
            assert!(!asks(values), "{values:?}");
        }
    }
}
