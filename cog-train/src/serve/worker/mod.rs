//! The worker process: the author's code, apart from the server.
//!
//! Its main thread owns the trainer, which need not be `Send`, and takes one [`Task`] after the other. Another thread
//! speaks with the server through coglet.

mod capture;
mod control;
mod handler;
mod media;
mod messages;
mod publisher;
mod sink;
mod start;
mod tasks;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use coglet::{WorkerConfig, run_worker};

use self::capture::{Capture, Drain};
use self::handler::Handler;
use self::tasks::{Shared, perform};
use crate::run::{Role, RoleWorker};

pub(crate) use control::WorkerControl;
pub(crate) use handler::MARK;
pub(crate) use messages::PREFIXES;
pub(crate) use start::{Start, WorkerOptions};

/// The time that a training has to save its state once its server has gone.
const LAST_SAVE: Duration = Duration::from_mins(1);

/// Performs the server's tasks until the server ends the connection. The calling thread runs the author's code.
pub(crate) fn work(
    start: Start,
    role: &Role,
    worker: RoleWorker<'_>,
    control: &WorkerControl,
) -> io::Result<()> {
    let (sender, tasks) = channel();
    let shared = Arc::new(Shared::default());
    let handler = Arc::new(Handler::new(role.kind, sender, Arc::clone(&shared)));
    let options = start.options.clone();
    let drain = Drain::new();
    let capture = Capture::new()?;
    let thread = std::thread::Builder::new().name("server".to_owned()).spawn(move || {
        let ended = connect(handler, start);
        // Without a server nobody takes the result; a checkpoint is still of use.
        shared.cancel_all();
        std::thread::spawn(|| {
            std::thread::sleep(LAST_SAVE);
            std::process::exit(1);
        });
        std::thread::spawn(|| drain.run());
        ended
    })?;
    perform(&tasks, role, worker, &options, control, capture);
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread of the server panicked")))
}

fn connect(handler: Arc<Handler>, start: Start) -> io::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let config = WorkerConfig { num_slots: start.num_slots, ..WorkerConfig::default() };
    let ended = runtime.block_on(run_worker(handler, config, start.transport));
    // A call of the author's code is waited for by the main thread, not here.
    runtime.shutdown_background();
    ended
}
