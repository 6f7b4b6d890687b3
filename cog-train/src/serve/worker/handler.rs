//! coglet's face of the worker: each request becomes a task of the main thread.

use std::collections::HashMap;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use coglet::bridge::protocol::SlotId;
use coglet::orchestrator::HealthcheckResult;
use coglet::{PredictHandler, PredictResult, SetupError, SlotSender};
use serde_json::Value;
use tokio::sync::oneshot;

use super::tasks::{Call, Shared, Task};
use crate::progress::CancelToken;
use crate::run::Kind;

/// The interval at which a health check looks for a training, and the number of its looks.
const POLL: Duration = Duration::from_millis(50);
const POLLS: u32 = 100;
/// The error of a request that meets a main thread that has ended.
const GONE: &str = "the worker is shutting down";

/// The name in a request's context of the mark that ends the training's output.
pub(crate) const MARK: &str = "mark";

pub(super) struct Handler {
    kind: Kind,
    tasks: Mutex<Sender<Task>>,
    shared: Arc<Shared>,
}

impl Handler {
    pub(super) fn new(kind: Kind, tasks: Sender<Task>, shared: Arc<Shared>) -> Self {
        Self { kind, tasks: Mutex::new(tasks), shared }
    }

    /// Sends a task to the main thread and returns its answer; `None` when that thread has ended.
    async fn ask<T>(&self, task: impl FnOnce(oneshot::Sender<T>) -> Task) -> Option<T> {
        let (sender, answer) = oneshot::channel();
        let task = task(sender);
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).send(task).ok()?;
        answer.await.ok()
    }
}

#[async_trait]
impl PredictHandler for Handler {
    async fn setup(&self) -> Result<(), SetupError> {
        match self.ask(Task::Setup).await {
            Some(Ok(())) => Ok(()),
            Some(Err(message)) => Err(SetupError::Setup { message }),
            None => Err(SetupError::internal(GONE)),
        }
    }

    fn is_train(&self) -> bool {
        self.kind == Kind::Train
    }

    async fn predict(
        &self,
        slot: SlotId,
        id: String,
        input: Value,
        sender: Arc<SlotSender>,
        mut context: HashMap<String, String>,
    ) -> PredictResult {
        let cancel = CancelToken::new();
        self.shared.begin(slot, cancel.clone());
        let mark = context.remove(MARK).unwrap_or_default();
        let call = Call { id, input, mark, sender, cancel };
        let ended = self.ask(|answer| Task::Run(Box::new(call), answer)).await;
        self.shared.end(slot);
        ended.unwrap_or_else(|| PredictResult::failed(GONE.to_owned(), 0.0))
    }

    fn cancel(&self, slot: SlotId) {
        self.shared.cancel(slot);
    }

    async fn healthcheck(&self) -> HealthcheckResult {
        // The author's code runs on one thread: while it trains, its health is that of the training.
        if self.shared.is_busy() {
            return HealthcheckResult::healthy();
        }
        let answer = self.ask(Task::Healthcheck);
        tokio::pin!(answer);
        for _ in 0..POLLS {
            match tokio::time::timeout(POLL, &mut answer).await {
                Ok(Some(Ok(()))) => return HealthcheckResult::healthy(),
                Ok(Some(Err(error))) => return unhealthy(&error),
                Ok(None) => return HealthcheckResult::unhealthy(GONE),
                // A training came first. Until this returns, coglet cancels nothing.
                Err(_) if self.shared.is_busy() => return HealthcheckResult::healthy(),
                Err(_) => {}
            }
        }
        unhealthy("it takes too long")
    }
}

/// Returns a reason as Cog words it.
fn unhealthy(reason: &str) -> HealthcheckResult {
    HealthcheckResult::unhealthy(format!("Healthcheck failed: {reason}"))
}
