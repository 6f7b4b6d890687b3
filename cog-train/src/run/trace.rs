//! The author's frames of a backtrace.

use std::path::Path;

use crate::error;

/// The first names of symbols that are not the author's.
const FOREIGN: &[&str] = &[
    "std",
    "core",
    "alloc",
    "anyhow",
    "candle_core",
    "candle_nn",
    "cog_train",
    "cog_train_nn",
    "rayon",
];
/// Parts of the paths of sources that are not the author's.
const FOREIGN_PATHS: &[&str] = &["/rustc/", "/rustlib/src/", "/registry/src/", "/git/checkouts/"];

/// Returns the author's frames of an error's backtrace, the innermost first: `at FUNCTION, FILE:LINE:COLUMN`. Empty unless
/// `RUST_BACKTRACE` is set.
pub(crate) fn frames_of(error: &anyhow::Error) -> Vec<String> {
    if let Some(panic) = error.downcast_ref::<PanicTrace>() {
        return panic.frames.clone();
    }
    error::backtrace(error).map_or_else(Vec::new, |text| author_frames(&text))
}

/// A panic's message with its frames, as the context of its error.
#[derive(Debug)]
pub(crate) struct PanicTrace {
    pub(crate) message: String,
    pub(crate) frames: Vec<String>,
}

impl std::fmt::Display for PanicTrace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

/// Returns the author's frames of a backtrace that was printed in a panic hook: the frames of the hook are above the panic.
pub(crate) fn panic_frames(backtrace: &str) -> Vec<String> {
    let raised = ["rust_begin_unwind", "core::panicking::", "std::panicking::begin_panic"];
    let last = raised.iter().filter_map(|symbol| backtrace.rfind(symbol)).max();
    author_frames(&backtrace[last.unwrap_or_default()..])
}

/// Returns the author's frames of a printed backtrace; none of one that leads to the start of the program without a call of
/// the author's methods, such as that of an input that is not valid.
fn author_frames(backtrace: &str) -> Vec<String> {
    let mut frames = Vec::new();
    let mut symbol: Option<&str> = None;
    for line in backtrace.lines() {
        let line = line.trim_start();
        if let Some(location) = line.strip_prefix("at ") {
            // The frames below the call of the author's method are this crate's.
            if location.contains("src/run/panics.rs") && is_own_source(location) {
                break;
            }
            if let Some(symbol) = symbol.take().filter(|symbol| is_authors(symbol, location)) {
                frames.push(format!("at {symbol}, {location}"));
            }
        } else if let Some((number, name)) = line.split_once(": ")
            && number.parse::<u32>().is_ok()
        {
            if name.contains("lang_start") || name.starts_with("__libc_start") {
                return Vec::new();
            }
            symbol = Some(name);
        }
    }
    frames
}

fn is_authors(symbol: &str, location: &str) -> bool {
    let crate_name: String = symbol
        .trim_start_matches(['<', '&', '*'])
        .trim_start_matches("dyn ")
        .chars()
        .take_while(|c| *c == '_' || c.is_alphanumeric())
        .collect();
    // A closure may be named by the trait that it is called by: `core::ops::function::FnOnce::call_once`.
    let is_foreign = FOREIGN.contains(&crate_name.as_str()) && symbol.contains("::")
        || FOREIGN_PATHS.iter().any(|part| location.contains(part))
        || is_own_source(location);
    !is_foreign
}

/// Whether a path is that of a source of this crate or of `cog-train-nn`.
fn is_own_source(location: &str) -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let absolute = std::path::absolute(location).unwrap_or_default();
    [root.join("src"), root.join("nn/src")].iter().any(|source| absolute.starts_with(source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_candle_and_of_the_runtime_are_cut_and_the_authors_stay() {
        let root = env!("CARGO_MANIFEST_DIR");
        let text = format!(
            "   0: candle_core::error::Error::bt
             at /home/a/.cargo/registry/src/x/candle-core/src/error.rs:264:5
   1: candle_core::tensor::Tensor::matmul
   2: <probe::Net as cog_train::nn::Layer>::forward
             at /home/a/net/src/net.rs:12:9
   3: {{{{closure#0}}}}
             at /home/a/net/src/main.rs:40:20
   4: cog_train::engine::fit::fit
             at {root}/src/engine/fit.rs:10:1
   5: train
             at /home/a/net/src/main.rs:30:5
   6: guarded<probe::Output>
             at {root}/src/run/panics.rs:40:5
   7: probe::main
             at /home/a/net/src/main.rs:99:1
"
        );
        assert_eq!(
            author_frames(&text),
            [
                "at <probe::Net as cog_train::nn::Layer>::forward, /home/a/net/src/net.rs:12:9",
                "at {{closure#0}}, /home/a/net/src/main.rs:40:20",
                "at train, /home/a/net/src/main.rs:30:5",
            ]
        );
    }

    #[test]
    fn an_error_outside_of_the_authors_methods_has_no_frames() {
        let text = "   0: anyhow::error::from
             at /home/a/.cargo/registry/src/x/anyhow/src/backtrace.rs:10:14
   1: main
             at /home/a/net/src/main.rs:99:1
   2: lang_start<std::process::ExitCode>
             at /rustc/1/library/std/src/rt.rs:206:5
   3: __libc_start_call_main
             at ./csu/../sysdeps/nptl/libc_start_call_main.h:58:16
";
        assert!(author_frames(text).is_empty());
    }

    #[test]
    fn a_stripped_binary_has_no_frames() {
        let text = "   0: <unknown>
   1: <unknown>
   2: __libc_start_call_main
             at ./csu/../sysdeps/nptl/libc_start_call_main.h:58:16
   3: __libc_start_main_impl
             at ./csu/../csu/libc-start.c:360:3
   4: <unknown>
";
        assert!(author_frames(text).is_empty());
    }

    #[test]
    fn frames_of_a_panic_begin_below_the_hook() {
        let root = env!("CARGO_MANIFEST_DIR");
        let text = format!(
            "   0: std::backtrace::Backtrace::capture
             at /rustc/1/library/std/src/backtrace.rs:1:1
   1: cog_train::run::panics::record
             at {root}/src/run/panics.rs:70:17
   2: __rustc::rust_begin_unwind
             at /rustc/1/library/std/src/panicking.rs:689:5
   3: core::panicking::panic_fmt
             at /rustc/1/library/core/src/panicking.rs:80:14
   4: train
             at /home/a/net/src/main.rs:30:5
   5: guarded<probe::Output>
             at {root}/src/run/panics.rs:40:5
"
        );
        assert_eq!(panic_frames(&text), ["at train, /home/a/net/src/main.rs:30:5"]);
    }
}
