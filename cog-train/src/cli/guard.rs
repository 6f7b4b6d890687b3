//! The end of a training whose other ranks are lost or have failed, while this one computes or waits in an operation that never ends.

use super::answer;
use super::terminal::{Format, Terminal, print_answer};
use crate::error::Error;
use crate::run::{Control, Kind, Outcome};

/// The exit code of a process that another one has failed.
const FAILED: i32 = 1;

/// Spawns the thread that ends this process; none where it trains alone.
pub(super) fn start(control: &Control, terminal: &Terminal, format: Format) -> Result<(), Error> {
    let (active, terminal) = (control.active.clone(), terminal.clone());
    control.ranks.guard(move |errors| {
        if let Some(first) = errors.first() {
            active.fail(&errors.join("\n"));
            terminal.close();
            for error in errors {
                terminal.error(error);
            }
            let refused = Outcome::refused(Error::Ranks { reason: first.clone() }.into());
            print_answer(&terminal, &answer::text(&refused, format, Kind::Train, None));
        }
        // Not `exit`, which would run destructors of a process that still computes.
        signal_hook::low_level::exit(FAILED);
    })
}
