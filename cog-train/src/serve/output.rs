//! Everything that a worker prints during its trainings, by `Job` or by `println!`, in order.
//!
//! The server reads it, so that a worker that is killed loses no line: its standard error is a pipe of the server, and its first training
//! points its standard output at the same pipe. Whole lines go to the log of the training in progress. What is printed between two trainings,
//! such as by a program that the author's code has started, goes to the server's own log.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, PipeReader};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;
use tracing::info;

use super::logs::TARGET;
use super::mirror::{self, Shared};
use crate::input::Mask;

/// A line without an end is sent at this length.
const LONGEST: usize = 1 << 16;
/// The most time in which the last lines of a training arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// The output of one worker process.
#[derive(Clone)]
pub(super) struct WorkerOutput {
    /// A line that nobody prints by accident: the worker prints it behind each training.
    mark: Arc<str>,
    state: Arc<Mutex<State>>,
    /// The number of trainings whose last line was read.
    ended: Arc<watch::Sender<u64>>,
}

#[derive(Default)]
struct State {
    /// The training in progress.
    training: Option<Shared>,
    /// The secrets of the last training.
    mask: Mask,
    begun: u64,
}

impl WorkerOutput {
    pub(super) fn new() -> Self {
        let mark = format!("\0end of training {:x}\0\n", RandomState::new().hash_one(0));
        Self { mark: mark.into(), state: Arc::default(), ended: Arc::new(watch::Sender::new(0)) }
    }

    /// Returns the line that ends a training.
    pub(super) fn mark(&self) -> &str {
        &self.mark
    }

    /// Reads the pipe to its end, in a task.
    pub(super) fn read(&self, pipe: PipeReader) -> io::Result<()> {
        let mut pipe = Receiver::from_owned_fd(pipe.into())?;
        let mut lines = Lines { output: self.clone(), rest: Vec::new() };
        tokio::spawn(async move {
            let mut buffer = vec![0; LONGEST];
            while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
                lines.take(&buffer[..count]);
            }
            lines.send(lines.rest.len());
            lines.output.ended.send_replace(u64::MAX);
        });
        Ok(())
    }

    /// Sends what is printed from here on to the log of a training. `mask` holds the secrets of its inputs.
    pub(super) fn begin(&self, training: Shared, mask: Mask) {
        let mut state = self.lock();
        *state = State { training: Some(training), mask, begun: state.begun + 1 };
    }

    /// Waits until the last line of the training is read.
    pub(super) async fn ended(&self) {
        let begun = self.lock().begun;
        let mut ended = self.ended.subscribe();
        drop(tokio::time::timeout(PATIENCE, ended.wait_for(|ended| *ended >= begun)).await);
    }

    /// Ends the training, also where its last line did not come.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.training = None;
        self.ended.send_modify(|ended| *ended = state.begun.max(*ended));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes that were read, up to the end of a line.
struct Lines {
    output: WorkerOutput,
    rest: Vec<u8>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let mark = Arc::clone(&self.output.mark);
        while let Some(at) = find(&self.rest, mark.as_bytes()) {
            let after = self.rest.split_off(at + mark.len());
            self.rest.truncate(at);
            self.send(self.rest.len());
            self.rest = after;
            self.output.ended.send_modify(|ended| *ended += 1);
        }
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        // The last bytes may be the beginning of the mark.
        let is_long = whole == 0 && self.rest.len() >= LONGEST + mark.len();
        self.send(if is_long { self.rest.len() - mark.len() } else { whole });
    }

    /// Sends the first bytes of the rest.
    fn send(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        let bytes: Vec<u8> = self.rest.drain(..count).collect();
        let text = String::from_utf8_lossy(&bytes);
        let state = self.output.lock();
        let text = state.mask.text(&text);
        match &state.training {
            Some(training) => mirror::lock(training).append_log(&text),
            None => text.lines().for_each(|line| info!(target: TARGET, "{line}")),
        }
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use coglet::Prediction;

    use super::*;

    fn training() -> Shared {
        Arc::new(Mutex::new(Prediction::new("a".to_owned(), None)))
    }

    #[tokio::test]
    async fn each_training_has_its_own_lines_without_secrets() {
        let (reader, mut writer) = io::pipe().unwrap();
        let output = WorkerOutput::new();
        output.read(reader).unwrap();
        writer.write_all(b"before\n").unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        for (printed, log) in [
            ("one\ntwo", "one\ntwo"),
            ("", ""),
            ("the key is hunter2\n\0\n", "the key is **********\n\0\n"),
        ] {
            let training = training();
            output.begin(Arc::clone(&training), Mask::new(["hunter2".to_owned()]));
            writer.write_all(format!("{printed}{}", output.mark()).as_bytes()).unwrap();
            output.ended().await;
            output.end();
            assert_eq!(mirror::lock(&training).logs(), log);
        }
    }

    #[tokio::test]
    async fn a_worker_that_ends_loses_nothing_that_it_has_printed() {
        let (reader, mut writer) = io::pipe().unwrap();
        let (output, training) = (WorkerOutput::new(), training());
        output.begin(Arc::clone(&training), Mask::default());
        output.read(reader).unwrap();
        let text = format!("{}\nlast", "x".repeat(3 * LONGEST));
        let printed = text.clone();
        std::thread::spawn(move || writer.write_all(printed.as_bytes()).unwrap());
        output.ended().await;
        assert_eq!(mirror::lock(&training).logs(), text);
    }
}
