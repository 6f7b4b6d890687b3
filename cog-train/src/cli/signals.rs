//! SIGINT, SIGTERM and SIGHUP cancel a run, a second one ends the process at once; SIGUSR1 requests a checkpoint.

use std::sync::atomic::Ordering;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use super::terminal::Terminal;
use crate::run::Control;

/// The exit code of an interrupted process.
const INTERRUPTED: i32 = 130;

/// Spawns a thread that listens until the process ends. Signals that the parent process ignored (`nohup`) stay ignored.
pub(crate) fn listen(control: Control, terminal: Terminal) -> std::io::Result<()> {
    let ignored = ignored_signals();
    let handled = [SIGHUP, SIGINT, SIGTERM, SIGUSR1].into_iter();
    let mut signals = Signals::new(handled.filter(|signal| ignored >> (signal - 1) & 1 == 0))?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            if signal == SIGUSR1 {
                control.save.store(true, Ordering::SeqCst);
            } else if control.cancel.is_cancelled() {
                control.active.stop();
                terminal.close();
                // Not `exit`: that would wait for nothing, but run destructors of a process that still computes.
                signal_hook::low_level::exit(INTERRUPTED);
            } else {
                control.cancel.cancel();
                terminal.note("stopping after this step; press Ctrl-C again to quit now");
            }
        }
    })?;
    Ok(())
}

/// Returns the signals that the process ignores as a mask, signal 1 lowest. A system without `/proc` shows none.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}
