//! The arguments of `ui`.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};

/// The page to show.
#[cfg_attr(
    not(feature = "serve"),
    expect(dead_code, reason = "arguments are checked, and `ui` then refused")
)]
#[derive(Debug)]
pub(crate) struct UiArgs {
    /// The folder of runs.
    pub(crate) folder: PathBuf,
    pub(crate) port: Option<u16>,
}

pub(crate) fn parse(matches: &ArgMatches) -> UiArgs {
    let folder = matches.get_one::<PathBuf>("folder").cloned();
    UiArgs {
        folder: folder.unwrap_or_else(|| "runs".into()),
        port: matches.get_one::<u16>("port").copied(),
    }
}

/// The command.
pub(crate) fn command() -> Command {
    Command::new("ui").about("Show the runs in a browser").max_term_width(100).args([
        Arg::new("folder")
            .value_name("DIR")
            .help("The folder of runs [default: runs]")
            .value_parser(value_parser!(PathBuf)),
        Arg::new("port")
            .long("port")
            .value_name("PORT")
            .help("The port to listen on [default: 5001, or a free one]")
            .value_parser(value_parser!(u16)),
    ])
}
