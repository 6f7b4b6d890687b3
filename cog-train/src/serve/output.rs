//! Everything that a worker prints during its trainings, by `Job` or by `println!`, in order.
//!
//! The server reads it, so that a worker that is killed loses no line: its standard error is a pipe of the server, and its first training
//! points its standard output at the same pipe. Whole lines go to the log of the training in progress. What is printed between two trainings,
//! such as by a program that the author's code has started, goes to the server's own log.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, PipeReader};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;
use tracing::info;

use super::logs::TARGET;
use super::mirror::{self, Shared};
use crate::input::Mask;

/// The end of a mark.
const MARK_END: &str = "\0\n";
/// The most digits of a mark's number.
const MOST_DIGITS: usize = 20;
/// A line without an end is sent at this length.
const LONGEST: usize = 1 << 16;
/// The most time in which the last lines of a training arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// The output of one worker process.
#[derive(Clone)]
pub(super) struct WorkerOutput {
    /// The beginning of the marks, which nobody prints by accident.
    prefix: Arc<str>,
    state: Arc<Mutex<State>>,
    /// The number of the last training whose mark was read, or is no longer waited for.
    ended: Arc<watch::Sender<u64>>,
}

#[derive(Default)]
struct State {
    /// The training in progress.
    training: Option<Shared>,
    /// The secrets of the last training.
    mask: Mask,
    /// The number of the last training.
    begun: u64,
}

impl WorkerOutput {
    pub(super) fn new() -> Self {
        let prefix = format!("\0end of training {:x}-", RandomState::new().hash_one(0));
        let ended = Arc::new(watch::Sender::new(0));
        Self { prefix: prefix.into(), state: Arc::default(), ended }
    }

    fn mark(&self, number: u64) -> String {
        format!("{}{number}{MARK_END}", self.prefix)
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

    /// Sends what is printed from here on to the log of a training. `mask` holds the secrets of its inputs. Returns the mark that
    /// the worker prints behind the training: it has the training's number, so that the mark of another one, late or printed by
    /// the trainer, does not end it.
    pub(super) fn begin(&self, training: Shared, mask: Mask) -> String {
        let mut state = self.lock();
        let begun = state.begun + 1;
        *state = State { training: Some(training), mask, begun };
        self.mark(begun)
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
        while let Some(mark) = self.mark() {
            let after = self.rest.split_off(mark.range.end);
            self.rest.truncate(mark.range.start);
            self.send(self.rest.len());
            self.rest = after;
            if mark.number == self.output.lock().begun {
                self.output.ended.send_replace(mark.number);
            }
        }
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        // The last bytes may be the beginning of a mark.
        let longest = self.output.prefix.len() + MOST_DIGITS + MARK_END.len();
        let is_long = whole == 0 && self.rest.len() >= LONGEST + longest;
        self.send(if is_long { self.rest.len() - longest } else { whole });
    }

    /// Finds the first mark.
    fn mark(&self) -> Option<Mark> {
        let prefix = self.output.prefix.as_bytes();
        let mut from = 0;
        while let Some(at) = find(&self.rest[from..], prefix) {
            let start = from + at;
            let text = &self.rest[start + prefix.len()..];
            let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let number = str::from_utf8(&text[..digits]).ok().and_then(|text| text.parse().ok());
            if let Some(number) = number
                && text[digits..].starts_with(MARK_END.as_bytes())
            {
                let end = start + prefix.len() + digits + MARK_END.len();
                return Some(Mark { range: start..end, number });
            }
            from = start + prefix.len();
        }
        None
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

/// A mark in the bytes that were read.
struct Mark {
    range: Range<usize>,
    number: u64,
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
            let mark = output.begin(Arc::clone(&training), Mask::new(["hunter2".to_owned()]));
            writer.write_all(format!("{printed}{mark}").as_bytes()).unwrap();
            output.ended().await;
            output.end();
            assert_eq!(mirror::lock(&training).logs(), log);
        }
    }

    #[tokio::test]
    async fn the_mark_of_another_training_ends_none() {
        let (reader, mut writer) = io::pipe().unwrap();
        let output = WorkerOutput::new();
        output.read(reader).unwrap();
        let first = output.begin(training(), Mask::default());
        output.end();
        let training = training();
        let second = output.begin(Arc::clone(&training), Mask::default());
        let third = output.mark(3);
        // The first one's is late, and the trainer prints others, and parts of its own.
        let part = &second[..second.len() - 1];
        let last = output.mark(u64::MAX);
        writer.write_all(format!("{first}{first}\n{part}x\n{third}{last}").as_bytes()).unwrap();
        let wait = tokio::time::timeout(Duration::from_millis(200), output.ended()).await;
        assert!(wait.is_err(), "it has printed no mark of its own");
        writer.write_all(format!("last{second}").as_bytes()).unwrap();
        output.ended().await;
        assert_eq!(mirror::lock(&training).logs(), format!("\n{part}x\nlast"));
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
