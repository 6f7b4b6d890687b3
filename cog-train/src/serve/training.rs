//! One training or prediction, from its slot to its last webhook.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use coglet::Orchestrator;
use coglet::bridge::protocol::{MAX_INLINE_IPC_SIZE, SlotRequest};
use coglet::permit::{InactiveSlotIdleToken, PredictionSlot, UnregisteredPredictionSlot};
use coglet::webhook::WebhookEventType;
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::logs::TARGET;
use super::mirror::{Ending, Mirror, Shared, lock, mirror};
use super::state::{Server, WorkerProcess};
use super::worker::{MARK, PREFIXES};
use crate::error::plain_io;
use crate::input::Mask;
use crate::partial;
use crate::run::Kind;

/// The interval at which a cancellation is repeated: a worker that has not begun yet does not see the first one.
const CANCEL_EVERY: Duration = Duration::from_millis(250);
/// The time in which the last messages of a worker that has ended arrive.
const LAST_MESSAGES: Duration = Duration::from_millis(200);
/// The time in which a worker that has reported its end becomes free, or has died.
const SETTLED: Duration = Duration::from_secs(5);

/// The beginning of the names of temporary folders.
pub(super) const FOLDER: &str = "cog-train-";

/// Numbers the trainings of this process: a cancellation that coglet receives too late is of no later training.
static NUMBER: AtomicU64 = AtomicU64::new(1);

/// A training that has a slot.
pub(super) struct Training {
    pub(super) id: String,
    /// The checked inputs, secrets in the clear.
    pub(super) input: Map<String, Value>,
    /// The digest of the inputs, by which a later request of this id is compared.
    pub(super) digest: String,
    /// Whether an earlier request of this id has begun it.
    pub(super) is_begun: bool,
    /// The secrets of the inputs.
    pub(super) mask: Mask,
    /// The first lines of the log.
    pub(super) notes: String,
    pub(super) slot: UnregisteredPredictionSlot,
    pub(super) worker: Arc<WorkerProcess>,
    pub(super) cancel: CancellationToken,
}

impl Training {
    /// Runs it, sends the answer to whoever waits, and then the last webhook.
    pub(super) async fn run(self, server: Arc<Server>, answer: oneshot::Sender<Value>) {
        let Self { id, input, digest, is_begun, mask, notes, slot, worker, cancel } = self;
        let (idle, mut slot) = slot.into_parts();
        let outer = slot.prediction();
        {
            let mut state = lock(&outer);
            state.set_processing();
            if !notes.is_empty() {
                state.append_log(&notes);
            }
        }
        let inner = format!("{id} {}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut mirror = mirror(&inner, Arc::clone(&outer));
        let output = &worker.watched.output;
        let mark = output.begin(Arc::clone(&outer), mask);
        let ending = match prepare(&id, input, mark).await {
            Ok(Prepared { request, folder: _folder }) => {
                worker.handle.register_prediction(slot.slot_id(), mirror.inner(), idle).await;
                if let Some(permit) = slot.permit_mut() {
                    // A worker that takes no requests has ended, which is seen below.
                    drop(permit.send(request).await);
                }
                let ending = follow(&server, &worker, &cancel, &inner, &mut mirror).await;
                last_lines(&server, &worker).await;
                ending
            }
            Err(text) => {
                // The worker knows nothing of it, and its slot is free.
                drop(idle.send(InactiveSlotIdleToken::new(slot.slot_id()).activate()));
                Ending::Failed(own(&server, &text))
            }
        };
        output.end();
        let is_refused =
            is_begun && matches!(&ending, Ending::Failed(error) if error.starts_with(PREFIXES[1]));
        let state = ending.answer(&lock(&outer));
        if is_refused {
            server.unkept.remember(&id, &state);
        } else if server.role.kind == Kind::Train {
            server.unkept.keep(&id, &digest, &state).await;
        }
        free(&server, &worker, slot, &outer).await;
        // Until here it is in progress for everybody. From here on its end is the kept one, and the next training finds a slot.
        server.service.remove_prediction(&id);
        let webhook = {
            let mut outer = lock(&outer);
            // It is sent below: a server that ends waits for it.
            let webhook = outer.take_webhook();
            ending.set(&mut outer);
            webhook
        };
        // The client may have gone.
        drop(answer.send(state.clone()));
        if let Some(webhook) = &webhook {
            webhook.send_terminal(WebhookEventType::Completed, &state).await;
        }
    }
}

/// A request to the worker.
struct Prepared {
    request: SlotRequest,
    /// The folder of its large values, which goes with the training.
    folder: partial::Folder,
}

async fn prepare(id: &str, input: Map<String, Value>, mark: String) -> Result<Prepared, String> {
    // A server that was killed has left its own, which the next one removes.
    let made = || partial::folder(&std::env::temp_dir(), FOLDER);
    let made = tokio::task::spawn_blocking(made).await.map_err(std::io::Error::other).flatten();
    let folder =
        made.map_err(|error| format!("cannot make a temporary folder: {}", plain_io(&error)))?;
    let output_dir = folder.path().display().to_string();
    let input = Value::Object(input);
    let text = input.to_string();
    let (input, input_file) = if text.len() > MAX_INLINE_IPC_SIZE {
        let path = folder.path().join("input.json");
        tokio::fs::write(&path, text)
            .await
            .map_err(|error| format!("cannot write `{}`: {}", path.display(), plain_io(&error)))?;
        (None, Some(path.display().to_string()))
    } else {
        (Some(input), None)
    };
    let (id, context) = (id.to_owned(), HashMap::from([(MARK.to_owned(), mark)]));
    let request = SlotRequest::Predict { id, input, input_file, output_dir, context, trace: None };
    Ok(Prepared { request, folder })
}

/// Waits until the last line is in the log. A worker that has ended may have left a program that holds its output.
async fn last_lines(server: &Server, worker: &WorkerProcess) {
    let dead = async {
        worker.watched.ended().await;
        tokio::time::sleep(LAST_MESSAGES).await;
    };
    tokio::select! {
        () = worker.watched.output.ended() => {}
        () = dead => {}
        () = server.giving_up.cancelled() => {}
    }
}

/// Follows the training to its end.
async fn follow<E: Clone>(
    server: &Server,
    worker: &WorkerProcess,
    cancel: &CancellationToken,
    id: &str,
    mirror: &mut Mirror<E>,
) -> Ending {
    let mut ticks = tokio::time::interval(CANCEL_EVERY);
    loop {
        let is_stopping = cancel.is_cancelled() || server.stopping.is_cancelled();
        tokio::select! {
            ending = mirror.next() => match ending {
                Some(Ending::Failed(text)) => return failed(server, worker, text).await,
                Some(ending) => return ending,
                None => {}
            },
            () = cancel.cancelled(), if !is_stopping => {}
            () = server.stopping.cancelled(), if !is_stopping => {}
            _ = ticks.tick(), if is_stopping => {
                // A worker that has died takes no message; the branch below sees its end.
                drop(worker.handle.cancel_by_prediction_id(id).await);
            }
            () = server.giving_up.cancelled() => {
                let grace = server.options.grace().as_secs();
                let text = format!("the server was stopped, and the training did not save its state within {grace} seconds");
                return Ending::Failed(own(server, &text));
            }
            _ = worker.watched.ended() => {
                tokio::time::sleep(LAST_MESSAGES).await;
                return match mirror.sync() {
                    Some(Ending::Failed(text)) => failed(server, worker, text).await,
                    Some(ending) => ending,
                    None => failed(server, worker, String::new()).await,
                };
            }
        }
    }
}

/// Explains a failure. coglet's own texts do not name the cause of a worker's death, except for a panic's.
async fn failed(server: &Server, worker: &WorkerProcess, text: String) -> Ending {
    if PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
        return Ending::Failed(text);
    }
    let text = match tokio::time::timeout(SETTLED, worker.watched.ended()).await {
        Ok(_) if text.starts_with("panic") => format!("the worker process ended by a {text}"),
        Ok(end) => end.to_string(),
        Err(_) => text,
    };
    let hint = match server.role.kind {
        Kind::Train => "\nhint: PUT of this id resumes the training from its last checkpoint",
        Kind::Predict => "",
    };
    Ending::Failed(own(server, &format!("{text}{hint}")))
}

fn own(server: &Server, text: &str) -> String {
    let what = if server.role.kind == Kind::Train { "Training" } else { "Prediction" };
    format!("{}{what} failed: {text}", PREFIXES[0])
}

/// Waits until the worker has freed the slot, so that the next request finds it free.
async fn free(server: &Server, worker: &WorkerProcess, slot: PredictionSlot, state: &Shared) {
    let id = slot.slot_id();
    // coglet ends the state of a slot that is lost, by a text of its own, unless the state is locked.
    let mut idle = Box::pin(slot.into_idle());
    let locked = poll_fn(|context| {
        let _state = lock(state);
        idle.as_mut().poll(context)
    });
    let is_free = tokio::select! {
        freed = tokio::time::timeout(SETTLED, locked) => matches!(freed, Ok(Ok(()))),
        () = server.giving_up.cancelled() => true,
    };
    {
        let _state = lock(state);
        drop(idle);
    }
    if !is_free {
        // That of a worker that has ended is gone with it.
        if !worker.watched.has_ended() {
            error!(target: TARGET, "the slot {id} does not become free");
        }
        if let Some(pool) = server.service.pool().await {
            pool.poison(id);
        }
    }
}
