//! The start of a worker process, and the watch over its end.

use std::process::Stdio;
use std::sync::Arc;
use std::{fmt, io};

use coglet::orchestrator::{SpawnError, WorkerSpawnConfig, WorkerSpawner};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::output::WorkerOutput;

/// The end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Exit(i32),
    Signal(i32),
    /// It was reaped before it was seen.
    Unseen,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SIGABRT: i32 = 6;
        const SIGKILL: i32 = 9;
        match self {
            Self::Exit(code) => write!(f, "the worker process ended with exit code {code}"),
            Self::Signal(SIGKILL) => f.write_str(
                "the worker process was killed by signal 9 (SIGKILL): the machine may have run out of memory",
            ),
            Self::Unseen => f.write_str("the worker process ended"),
            Self::Signal(SIGABRT) => f.write_str(
                "the worker process aborted by signal 6 (SIGABRT): memory that was refused, a stack that overflowed, or \
                 `abort` end a process so",
            ),
            Self::Signal(signal) => match Signal::try_from(*signal) {
                Ok(name) => write!(f, "the worker process was killed by signal {signal} ({})", name.as_str()),
                Err(_) => write!(f, "the worker process was killed by signal {signal}"),
            },
        }
    }
}

/// A worker process, as whoever waits for it sees it.
#[derive(Clone)]
pub(super) struct Watched {
    pid: Arc<std::sync::Mutex<Option<Pid>>>,
    end: watch::Receiver<Option<End>>,
    pub(super) output: WorkerOutput,
}

impl Watched {
    /// Waits for the end of the process.
    pub(super) async fn ended(&self) -> End {
        let mut end = self.end.clone();
        match end.wait_for(Option::is_some).await.map(|end| *end) {
            Ok(Some(end)) => end,
            // It was never started.
            _ => std::future::pending().await,
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.end.borrow().is_some()
    }

    /// Sends a signal, unless the process has ended.
    pub(super) fn signal(&self, signal: Signal) -> bool {
        let pid = self.pid.lock().ok().and_then(|pid| *pid);
        !self.has_ended() && pid.is_some_and(|pid| kill(pid, signal).is_ok())
    }
}

/// Starts this executable as a worker.
pub(super) struct SelfSpawner {
    args: Vec<&'static str>,
    pid: Arc<std::sync::Mutex<Option<Pid>>>,
    end: watch::Sender<Option<End>>,
    output: WorkerOutput,
}

impl SelfSpawner {
    /// A spawner by the arguments that make a process a worker, and the watch over what it spawns.
    pub(super) fn new(args: Vec<&'static str>) -> (Self, Watched) {
        let (sender, end) = watch::channel(None);
        let (pid, output) = (Arc::default(), WorkerOutput::new());
        let spawner = Self { args, pid: Arc::clone(&pid), end: sender, output: output.clone() };
        (spawner, Watched { pid, end, output })
    }
}

impl WorkerSpawner for SelfSpawner {
    fn spawn(&self, _config: &WorkerSpawnConfig) -> Result<Child, SpawnError> {
        let (reader, writer) = io::pipe()?;
        self.output.read(reader)?;
        let child = Command::new(std::env::current_exe()?)
            .args(&self.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(writer)
            .kill_on_drop(true)
            .spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let Some(id) = id else { return Err(SpawnError::Other("it has no id".to_owned())) };
        let pid = Pid::from_raw(id);
        if let Ok(mut known) = self.pid.lock() {
            *known = Some(pid);
        }
        let end = self.end.clone();
        std::thread::Builder::new()
            .name("worker watch".to_owned())
            .spawn(move || end.send_replace(Some(wait_for(pid))))?;
        Ok(child)
    }
}

/// Waits for the end of a child, which is left to tokio to reap.
fn wait_for(pid: Pid) -> End {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    loop {
        match waitid(Id::Pid(pid), flags) {
            Ok(WaitStatus::Exited(_, code)) => return End::Exit(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => return End::Signal(signal as i32),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return End::Unseen,
        }
    }
}
