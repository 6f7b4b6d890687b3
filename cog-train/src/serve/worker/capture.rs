//! Everything that a call prints, by `Job` or by `println!`, in order, for the call's log.
//!
//! Standard output and standard error become one pipe. A thread reads it and sends whole lines to the call in progress. A
//! program that the author's code has started may hold the pipe longer than its call; what it prints then goes to the
//! server's own log.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coglet::SlotSender;
use coglet::bridge::protocol::LogSource;

use crate::input::Mask;

/// A line without an end is sent at this length.
const LONGEST: usize = 1 << 16;
/// The most time that the end of a call waits for its last lines.
const PATIENCE: Duration = Duration::from_secs(10);

/// The process's standard output and standard error, read by a thread.
pub(super) struct Capture {
    call: Arc<Mutex<Option<Call>>>,
    /// A line that nobody prints by accident: it ends a call.
    mark: String,
    ended: Receiver<()>,
}

struct Call {
    sender: Arc<SlotSender>,
    mask: Mask,
}

impl Capture {
    /// Points standard output and standard error at a pipe, for good.
    pub(super) fn install() -> io::Result<Self> {
        io::stdout().flush()?;
        let server: OwnedFd = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
        let (reader, writer) = io::pipe()?;
        rustix::stdio::dup2_stdout(&writer)?;
        rustix::stdio::dup2_stderr(&writer)?;
        let call = Arc::default();
        let mark = format!("\0end of call {:x}\0", RandomState::new().hash_one(0));
        let (sender, ended) = channel();
        let lines = Lines {
            call: Arc::clone(&call),
            mark: format!("{mark}\n").into_bytes(),
            server: server.into(),
            ended: sender,
            rest: Vec::new(),
        };
        std::thread::Builder::new().name("output".to_owned()).spawn(move || lines.read(reader))?;
        Ok(Self { call, mark, ended })
    }

    /// Sends what is printed from here on to a call. `mask` holds the secrets of its inputs.
    pub(super) fn begin(&mut self, sender: Arc<SlotSender>, mask: Mask) {
        *lock(&self.call) = Some(Call { sender, mask });
    }

    /// Ends the call once all that was printed is sent.
    pub(super) fn end(&mut self) {
        // Of an earlier call that did not wait for it.
        while self.ended.try_recv().is_ok() {}
        let mut output = io::stdout().lock();
        let marked = output
            .flush()
            .and_then(|()| output.write_all(format!("{}\n", self.mark).as_bytes()))
            .and_then(|()| output.flush());
        drop(output);
        if marked.is_ok() {
            let _ = self.ended.recv_timeout(PATIENCE);
        }
        *lock(&self.call) = None;
    }
}

fn lock(call: &Mutex<Option<Call>>) -> MutexGuard<'_, Option<Call>> {
    call.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The reading side.
struct Lines {
    call: Arc<Mutex<Option<Call>>>,
    mark: Vec<u8>,
    /// The server's log, for lines that are of no call.
    server: File,
    ended: Sender<()>,
    /// The beginning of a line.
    rest: Vec<u8>,
}

impl Lines {
    fn read(mut self, mut pipe: PipeReader) {
        let mut buffer = vec![0; LONGEST];
        loop {
            match pipe.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => self.take(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        while let Some(at) = find(&self.rest, &self.mark) {
            let after = self.rest.split_off(at + self.mark.len());
            self.rest.truncate(at);
            self.send(self.rest.len());
            self.rest = after;
            let _ = self.ended.send(());
        }
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        // The last bytes may be the beginning of the mark.
        let longest = LONGEST + self.mark.len();
        let is_long = whole == 0 && self.rest.len() >= longest;
        self.send(if is_long { self.rest.len() - self.mark.len() } else { whole });
    }

    /// Sends the first bytes of the rest.
    fn send(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        let bytes: Vec<u8> = self.rest.drain(..count).collect();
        match &*lock(&self.call) {
            Some(call) => {
                let text = String::from_utf8_lossy(&bytes);
                // The server has gone: the worker ends soon.
                drop(call.sender.send_log(LogSource::Stdout, &call.mask.text(&text)));
            }
            None => drop(self.server.write_all(&bytes)),
        }
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
