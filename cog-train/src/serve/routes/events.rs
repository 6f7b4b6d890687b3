//! `GET /trainings/{id}/events`: server-sent events, which Cog has for predictions alone.
//!
//! Each event has a number, counted from 1. A client that comes back with `Last-Event-ID` gets the events after that one;
//! of those that are no longer kept, an event `skipped` says how many there were.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use crate::serve::answer::{error, json_answer};
use crate::serve::id;
use crate::serve::state::Server;

/// The events that wait for a slow client.
const WAITING: usize = 64;
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Streams the events of a training. One that has ended has one event, `completed`.
pub(super) async fn events(
    State(server): State<Arc<Server>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let last = headers.get("last-event-id").and_then(|it| it.to_str().ok()?.parse().ok());
    let (sender, receiver) = mpsc::channel(WAITING);
    let subscription = match server.service.subscribe_prediction_stream(&id) {
        Ok(subscription) => subscription,
        Err(_) if server.service.prediction_exists(&id) => {
            return error(StatusCode::TOO_MANY_REQUESTS, "too many clients read the events");
        }
        Err(_) => {
            let state = if id::is_valid(&id) { server.unkept.state_of(&id).await } else { None };
            let Some(state) = state else { return json_answer(StatusCode::NOT_FOUND, json!({})) };
            drop(sender.send(named("completed", &state)).await);
            return stream(receiver);
        }
    };
    tokio::spawn(async move {
        // It is removed before its end is sent: no replay has one.
        let (replay, skipped, mut events, _guard) = subscription.into_parts();
        let mut out = Numbered { sender, number: 0, last: last.unwrap_or(0) };
        if !out.skip(skipped).await {
            return;
        }
        for event in replay {
            if !out.send(event.event_name(), &event.json_data()).await {
                return;
            }
        }
        loop {
            let is_open = match events.recv().await {
                Ok(event) if event.event_name() == "completed" => {
                    let end = kept(&server, &id, event.json_data()).await;
                    out.send("completed", &end).await;
                    false
                }
                Ok(event) => out.send(event.event_name(), &event.json_data()).await,
                Err(RecvError::Lagged(missed)) => out.skip(missed).await,
                Err(RecvError::Closed) => false,
            };
            if !is_open {
                return;
            }
        }
    });
    stream(receiver)
}

/// Returns the end of a training as every other route gives it. coglet's own differs in the time, and a training that is resumed at
/// once has no other.
async fn kept(server: &Server, id: &str, end: Value) -> Value {
    let kept = server.unkept.state_of(id).await;
    kept.filter(|kept| kept["status"] == end["status"]).unwrap_or(end)
}

/// Counts the events, and leaves out those that the client has.
struct Numbered {
    sender: mpsc::Sender<Event>,
    number: u64,
    last: u64,
}

impl Numbered {
    /// Sends an event; `false` when the client has gone.
    async fn send(&mut self, name: &str, data: &Value) -> bool {
        self.number += 1;
        if self.number <= self.last {
            return !self.sender.is_closed();
        }
        self.sender.send(named(name, data).id(self.number.to_string())).await.is_ok()
    }

    /// Counts events that are no longer there, and says so when the client lacks them.
    async fn skip(&mut self, count: u64) -> bool {
        self.number += count;
        let missed = count.min(self.number.saturating_sub(self.last));
        if missed == 0 {
            return !self.sender.is_closed();
        }
        self.sender.send(named("skipped", &json!({"events": missed}))).await.is_ok()
    }
}

fn named(name: &str, data: &Value) -> Event {
    let mut data = data.clone();
    data.sort_all_objects();
    // JSON text has no line breaks, so that it is one field of the event.
    Event::default().event(name).data(data.to_string())
}

fn stream(receiver: mpsc::Receiver<Event>) -> Response {
    let events = unfold(receiver, |mut receiver| async move {
        let event = receiver.recv().await?;
        Some((Ok::<_, Infallible>(event), receiver))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}
