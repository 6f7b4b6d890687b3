//! SIGINT, SIGTERM and SIGHUP ask a run to stop, a second one stops it at once; SIGUSR1 asks for a checkpoint.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use super::run::OpenRun;
use super::terminal::Terminal;
use crate::progress::CancelToken;

/// The exit code of an interrupted process.
const INTERRUPTED: i32 = 130;

/// Listens from now on, on a thread of its own, to the end of the process.
pub(crate) fn listen(
    cancel: CancelToken,
    save: Arc<AtomicBool>,
    terminal: Terminal,
    open: OpenRun,
) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM, SIGUSR1])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            if signal == SIGUSR1 {
                save.store(true, Ordering::SeqCst);
            } else if cancel.is_cancelled() {
                open.cut_off();
                terminal.close();
                // Not `exit`: that would wait for nothing, but run destructors of a process that still computes.
                signal_hook::low_level::exit(INTERRUPTED);
            } else {
                cancel.cancel();
                terminal.note("stopping; once more to stop at once");
            }
        }
    })?;
    Ok(())
}
