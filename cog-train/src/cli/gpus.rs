//! `--gpus N|all`: this process supervises one copy of itself for each GPU.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use super::terminal::Terminal;
use crate::error::{Error, plain_io};

/// The GPUs of `--gpus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gpus {
    All,
    Count(usize),
}

impl FromStr for Gpus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("all", _) => Ok(Self::All),
            (_, Ok(count)) if count > 0 => Ok(Self::Count(count)),
            _ => Err("it is neither a number from 1 nor `all`".to_owned()),
        }
    }
}

/// Set in the processes of a supervisor, whose arguments name `--gpus` too.
const SUPERVISED: &str = "COG_TRAIN_SUPERVISED";

/// The time in which rank 0 prints the cause and ends when a rank is gone. One that has failed waits for it before it ends.
const GRACE: Duration = Duration::from_secs(8);

/// The time in which they end when rank 0 is gone: there is nobody left to wait for.
const BRIEF: Duration = Duration::from_secs(2);

/// Whether this process was started by a supervisor.
pub(super) fn is_supervised() -> bool {
    std::env::var_os(SUPERVISED).is_some()
}

/// Starts the processes and waits for all of them. Returns the exit code; `None` when this process alone has the one GPU.
pub(super) fn train(gpus: Gpus, terminal: &Terminal) -> Result<Option<u8>, Error> {
    let found = found();
    let count = match gpus {
        Gpus::All if found == 0 => {
            let reason = "`--gpus all`: this machine has no GPU of NVIDIA".to_owned();
            return Err(Error::Arguments { reason });
        }
        Gpus::All => found,
        Gpus::Count(count) if count > found => {
            let reason = format!("`--gpus {count}`: this machine has {found} of NVIDIA's GPUs");
            return Err(Error::Arguments { reason });
        }
        Gpus::Count(count) => count,
    };
    if count == 1 {
        return Ok(None);
    }
    if !cfg!(feature = "nccl") {
        let reason = format!(
            "`--gpus {count}`: this binary was built without the feature `nccl`\n\
             hint: build it with the feature, or start it by `mpirun`"
        );
        return Err(Error::Arguments { reason });
    }
    let failed = |error: io::Error| Error::Ranks {
        reason: format!("the processes of `--gpus` cannot be started: {}", plain_io(&error)),
    };
    let port = free_port().map_err(failed)?;
    let program = std::env::current_exe().map_err(failed)?;
    let command = |rank: usize| {
        let mut command = Command::new(&program);
        command
            .args(std::env::args_os().skip(1))
            .env(SUPERVISED, std::process::id().to_string())
            .env("RANK", rank.to_string())
            .env("LOCAL_RANK", rank.to_string())
            .env("WORLD_SIZE", count.to_string())
            .env("MASTER_ADDR", "127.0.0.1")
            .env("MASTER_PORT", port.to_string());
        command
    };
    let ended = supervise((0..count).map(command), GRACE).map_err(failed)?;
    if let Some(cause) = &ended.unreported {
        terminal.error(cause);
    }
    Ok(Some(ended.code))
}

/// Returns the number of GPUs that this process may use.
fn found() -> usize {
    if let Ok(visible) = std::env::var("CUDA_VISIBLE_DEVICES") {
        return visible.split(',').filter(|name| !name.trim().is_empty()).count();
    }
    let is_gpu = |name: &str| {
        name.strip_prefix("nvidia")
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    };
    let entries = std::fs::read_dir("/dev").into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_str().is_some_and(is_gpu)).count()
}

/// Returns a `MASTER_PORT` after which a port is free.
fn free_port() -> io::Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    Ok(listener.local_addr()?.port() - 1)
}

/// The end of all processes.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    code: u8,
    /// The cause that no process has printed.
    unreported: Option<String>,
}

/// Starts the processes, hands signals on to them, and waits for all. When one fails, the others have `grace` to end.
fn supervise(commands: impl Iterator<Item = Command>, grace: Duration) -> io::Result<Ended> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM, SIGUSR1])?;
    let mut ranks: Vec<Rank> = Vec::new();
    for (rank, mut command) in commands.enumerate() {
        // A group of its own: a key of the terminal reaches the supervisor alone, which hands it on once.
        command.process_group(0);
        if rank > 0 {
            command.stdin(Stdio::null()).stdout(Stdio::null());
        }
        match command.spawn() {
            Ok(child) => ranks.push(Rank { child, status: None }),
            Err(error) => {
                ranks.iter_mut().for_each(Rank::kill);
                return Err(error);
            }
        }
    }
    let mut first_failure: Option<(usize, ExitStatus, Instant)> = None;
    let mut were_killed = false;
    while ranks.iter().any(|rank| rank.status.is_none()) {
        for signal in signals.pending() {
            for rank in &ranks {
                rank.signal(signal);
            }
        }
        for (number, rank) in ranks.iter_mut().enumerate() {
            if rank.status.is_none()
                && let Some(status) = rank.child.try_wait()?
            {
                rank.status = Some(status);
                if !status.success() && first_failure.is_none() {
                    first_failure = Some((number, status, Instant::now()));
                }
            }
        }
        let is_over = |(number, _, since): (usize, ExitStatus, Instant)| {
            since.elapsed() > if number == 0 { grace.min(BRIEF) } else { grace }
        };
        if !were_killed && first_failure.is_some_and(is_over) {
            were_killed = true;
            ranks.iter_mut().for_each(Rank::kill);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let Some((number, status, _)) = first_failure else {
        return Ok(Ended { code: 0, unreported: None });
    };
    // Rank 0 reports the errors of all, if it ends by itself.
    let of_rank_0 = ranks[0].status.and_then(|status| status.code()).filter(|code| *code != 0);
    let code = of_rank_0.or(status.code()).and_then(|code| u8::try_from(code).ok());
    let unreported = of_rank_0.is_none().then(|| match status.signal() {
        Some(signal) => format!("rank {number}: its process was killed by signal {signal}"),
        None => format!("rank {number}: its process ended with {}", status.code().unwrap_or(1)),
    });
    Ok(Ended { code: code.unwrap_or(1), unreported })
}

/// A process, and how it ended.
struct Rank {
    child: Child,
    status: Option<ExitStatus>,
}

impl Rank {
    fn signal(&self, signal: i32) {
        let signal = match signal {
            SIGHUP => Signal::HUP,
            SIGINT => Signal::INT,
            SIGUSR1 => Signal::USR1,
            _ => Signal::TERM,
        };
        if self.status.is_none() {
            // It may have ended by now.
            let _ = kill_process(Pid::from_child(&self.child), signal);
        }
    }

    fn kill(&mut self) {
        // As above.
        let _ = self.child.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs shell commands as ranks.
    fn supervised(scripts: &[&str], grace: Duration) -> (Ended, Duration) {
        let commands = scripts.iter().map(|script| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        });
        let began = Instant::now();
        (supervise(commands, grace).unwrap(), began.elapsed())
    }

    #[test]
    fn the_gpus_are_a_number_or_all() {
        assert_eq!("all".parse(), Ok(Gpus::All));
        assert_eq!("4".parse(), Ok(Gpus::Count(4)));
        for bad in ["0", "-1", "", "two"] {
            assert!(bad.parse::<Gpus>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ranks_that_succeed_end_with_0() {
        let (ended, _) = supervised(&["true", "sleep 0.1"], GRACE);
        assert_eq!(ended, Ended { code: 0, unreported: None });
    }

    #[test]
    fn rank_0_reports_for_all() {
        let (ended, _) = supervised(&["sleep 0.1; exit 3", "exit 1"], GRACE);
        assert_eq!(ended, Ended { code: 3, unreported: None });
        // The others wait for it no longer, and report nothing again.
        let (ended, took) = supervised(&["exit 3", "sleep 60"], Duration::from_secs(50));
        assert_eq!(ended, Ended { code: 3, unreported: None });
        assert!(took < Duration::from_secs(20), "{took:?}");
    }

    #[test]
    fn a_rank_that_dies_ends_all_and_is_reported_once() {
        let grace = Duration::from_millis(200);
        let (ended, took) = supervised(&["sleep 60", "kill -9 $$", "sleep 60"], grace);
        let cause = "rank 1: its process was killed by signal 9".to_owned();
        assert_eq!(ended, Ended { code: 1, unreported: Some(cause) });
        assert!(took < Duration::from_secs(10), "{took:?}");
        let (ended, _) = supervised(&["sleep 60", "exit 7"], grace);
        assert_eq!(ended.code, 7);
        assert_eq!(ended.unreported.unwrap(), "rank 1: its process ended with 7");
    }
}
