//! The reasons for which there is no command to execute.

use super::terminal::colored;

/// The reason for which there is no command to execute.
pub(crate) enum Stop {
    /// Help or the version was asked for.
    Shown(String),
    /// The arguments are wrong; the text is ready to print.
    Wrong(String),
}

impl Stop {
    /// Renders help, the version or an error of the parser, in colours where they are wanted.
    pub(crate) fn of(error: &clap::Error) -> Self {
        let text = |colored: bool| {
            let text = error.render();
            if colored { text.ansi().to_string() } else { text.to_string() }
        };
        if error.use_stderr() {
            Self::Wrong(text(colored(&std::io::stderr())))
        } else {
            Self::Shown(text(colored(&std::io::stdout())))
        }
    }
}

/// Refuses the arguments.
pub(crate) fn wrong(reason: &str) -> Stop {
    Stop::Wrong(format!("error: {reason}\n"))
}
