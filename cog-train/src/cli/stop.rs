//! The reasons for which there is no command to execute.

/// The reason for which there is no command to execute.
pub(crate) enum Stop {
    /// Help or the version was asked for.
    Shown(String),
    /// The arguments are wrong; the text is ready to print.
    Wrong(String),
}

/// Refuses the arguments.
pub(super) fn wrong(reason: &str) -> Stop {
    Stop::Wrong(format!("error: {reason}\n"))
}
