//! The arguments of `serve`, and of `-m cog.server.http`, by which Cog starts a server.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::app::App;
use super::stop::{Stop, wrong};
use crate::device::DeviceChoice;
use crate::error::Error;
use crate::run::Kind;

/// The command by which a server starts its worker.
pub(crate) const WORKER: &str = "serve-worker";

const MODULE: &str = "cog.server.http";

/// A call that is about serving.
#[derive(Debug)]
pub(crate) enum ServeCall {
    Listen(Box<ServeArgs>),
    /// Print the version as Cog's server does.
    Version,
    /// Be the worker of the server that started this process.
    Work,
}

/// A server to start.
#[cfg_attr(
    not(feature = "serve"),
    expect(dead_code, reason = "arguments are checked, and `serve` then refused")
)]
#[derive(Debug)]
pub(crate) struct ServeArgs {
    pub(crate) kind: Kind,
    pub(crate) host: String,
    pub(crate) allow_hosts: Vec<String>,
    pub(crate) port: Option<u16>,
    pub(crate) upload_url: Option<String>,
    pub(crate) await_explicit_shutdown: bool,
    pub(crate) allow_local: bool,
    pub(crate) grace: Option<u64>,
    pub(crate) env: Vec<String>,
    pub(crate) device: Option<String>,
    pub(crate) config: Option<PathBuf>,
}

/// Reads the calls that are not for a person: that of a worker, and that of `python -m cog.server.http` with this binary in
/// place of `python`. `None` for every other call.
pub(super) fn parse_call(app: &App, args: &[OsString]) -> Option<Result<ServeCall, Stop>> {
    let mut rest = args.get(1..).unwrap_or_default();
    if rest.first().is_some_and(|arg| arg == WORKER) {
        return Some(Ok(ServeCall::Work));
    }
    // Options of Python's.
    while let [option, _, tail @ ..] = rest
        && option == "--check-hash-based-pycs"
    {
        rest = tail;
    }
    let [option, module, rest @ ..] = rest else { return None };
    if option != "-m" {
        return None;
    }
    if module != MODULE {
        return Some(Err(wrong(&format!(
            "`-m {}` is not a module of this program\nhint: there is `-m {MODULE}`",
            module.to_string_lossy()
        ))));
    }
    if matches!(rest, [flag] if flag == "-v" || flag == "--version") {
        return Some(Ok(ServeCall::Version));
    }
    let command = command().bin_name(format!("-m {MODULE}")).no_binary_name(true);
    let matches = match command.try_get_matches_from(rest) {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => return Some(Err(Stop::Wrong(error.to_string()))),
        Err(error) => return Some(Err(Stop::Shown(error.to_string()))),
    };
    Some(read(app, &matches, Kind::Predict))
}

/// Reads the arguments of `serve`.
pub(super) fn parse(app: &App, matches: &ArgMatches) -> Result<ServeCall, Stop> {
    read(app, matches, app.default_role().map_or(Kind::Train, |role| role.kind))
}

fn read(app: &App, matches: &ArgMatches, default: Kind) -> Result<ServeCall, Stop> {
    let text = |id: &str| matches.get_one::<String>(id).cloned();
    let kind = match matches.get_one::<String>("mode").map(String::as_str) {
        Some("train") => Kind::Train,
        Some(_) => Kind::Predict,
        None => default,
    };
    if app.role(kind).is_none() {
        let (none, other) = match kind {
            Kind::Train => ("trainer", "predict"),
            Kind::Predict => ("predictor", "train"),
        };
        return Err(wrong(&format!(
            "this binary has no {none} to serve\nhint: there is `--mode {other}`"
        )));
    }
    if let Some(device) = matches.get_one::<String>("device") {
        device.parse::<DeviceChoice>().map_err(|error: Error| wrong(&error.to_string()))?;
    }
    Ok(ServeCall::Listen(Box::new(ServeArgs {
        kind,
        host: text("host").unwrap_or_else(|| "0.0.0.0".to_owned()),
        allow_hosts: matches
            .get_many::<String>("allow-host")
            .into_iter()
            .flatten()
            .cloned()
            .collect(),
        port: matches.get_one::<u16>("port").copied(),
        upload_url: text("upload-url"),
        // Any text is a yes, as with Cog.
        await_explicit_shutdown: text("await-explicit-shutdown").is_some_and(|it| !it.is_empty()),
        allow_local: matches.get_flag("allow-local"),
        grace: matches.get_one::<u64>("grace").copied(),
        env: matches.get_many::<String>("env").into_iter().flatten().cloned().collect(),
        device: text("device"),
        config: matches.get_one::<PathBuf>("config").cloned(),
    })))
}

/// The command.
pub(super) fn command() -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    Command::new("serve").about("Answer Cog's HTTP API").max_term_width(100).args([
        option("mode", "MODE", "train or predict [default: train, if there is a trainer]")
            .alias("x-mode")
            .value_parser(["train", "predict"])
            .hide_possible_values(true),
        option("host", "ADDRESS", "The address to listen on [default: 0.0.0.0]"),
        option("port", "PORT", "The port to listen on [default: PORT, else 5000]")
            .value_parser(clap::value_parser!(u16)),
        option("allow-host", "NAME", "A name by which this server is called; may be repeated")
            .action(ArgAction::Append),
        option("upload-url", "URL", "Where to PUT output files; without it, answers hold them"),
        option("await-explicit-shutdown", "true", "Ignore SIGTERM: end on POST /shutdown"),
        option(
            "grace",
            "SECONDS",
            "The time in which a training saves its state at the end [default: 30]",
        )
        .value_parser(clap::value_parser!(u64)),
        Arg::new("allow-local")
            .long("allow-local")
            .help("Let inputs name files of this machine and addresses of its network")
            .action(ArgAction::SetTrue),
        option("env", "NAME=VALUE", "An environment variable for the worker; may be repeated")
            .short('e')
            .action(ArgAction::Append),
        option("device", "DEVICE", "auto [default], cpu, cuda or cuda:N"),
        option("config", "FILE", "A cog.yaml in place of the one compiled in")
            .value_parser(clap::value_parser!(PathBuf)),
        // Cog's; nothing depends on it.
        option("threads", "N", "").hide(true),
    ])
}
