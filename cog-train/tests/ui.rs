//! Declarations that the macros refuse, each mistake with one message at its token, and those that they accept.
//!
//! A file under `ui/fail` is named after its one mistake; the `.stderr` beside it is all that a user then reads. After a
//! change of a sentence: `UI=overwrite cargo test -p cog-train --test ui`, and read the difference.
//!
//! Each file is given to rustc with the libraries that this test was linked with, so that nothing is compiled a second time.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use cog_train::serde_json::Value;

/// The compiler's arguments for `cog_train` and all that it depends on.
struct Libraries {
    arguments: Vec<String>,
}

impl Libraries {
    /// Asks cargo where they are.
    fn find() -> Self {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args([
            "test",
            "--no-run",
            "--quiet",
            "--message-format=json",
            "-p",
            "cog-train",
            "--test",
            "ui",
        ]);
        // Variables of this test's own package, by which build scripts would take themselves for changed.
        for (name, _) in std::env::vars_os() {
            if ["CARGO_PKG_", "CARGO_MANIFEST_"]
                .iter()
                .any(|it| name.to_string_lossy().starts_with(it))
            {
                cargo.env_remove(name);
            }
        }
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        let output = cargo.output().expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let artifacts = text.lines().map(|line| line.parse::<Value>().unwrap());
        let (mut folders, mut library) = (BTreeSet::new(), None);
        for artifact in artifacts.filter(|it| it["reason"] == "compiler-artifact") {
            for file in artifact["filenames"].as_array().unwrap() {
                let file = Path::new(file.as_str().unwrap());
                folders.insert(file.parent().unwrap().to_owned());
                if artifact["target"]["name"] == "cog_train" && file.extension().unwrap() == "rmeta"
                {
                    library = Some(file.to_owned());
                }
            }
        }
        let library = library.expect("cargo names the library");
        let search = folders.iter().map(|folder| format!("-Ldependency={}", folder.display()));
        let library = format!("--extern=cog_train={}", library.display());
        Self { arguments: search.chain([library]).collect() }
    }

    /// Returns all that rustc says about a file, in terms that are the same on every machine; nothing if it accepts it.
    fn compile(&self, source: &Path, out: &Path) -> String {
        let output = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()))
            .args([
                "--edition=2024",
                "--crate-type=bin",
                "--emit=metadata",
                "--color=never",
                "--out-dir",
            ])
            .arg(out)
            .args(&self.arguments)
            .arg(Path::new("cog-train").join(source))
            .current_dir("..") // from where the library's sources are found
            .output()
            .expect("rustc runs");
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            output.status.success(),
            !text.contains("error"),
            "{}: {text}",
            source.display()
        );
        portable(&text)
    }
}

/// Returns diagnostics without what differs between machines and changes of the library: the compiler's summary, the places of other
/// files than the tests', and the width of the margin.
fn portable(text: &str) -> String {
    let of_summary = |line: &str| {
        ["error: aborting", "For more information", "Some errors have"]
            .iter()
            .any(|it| line.starts_with(it))
    };
    let (mut lines, mut elsewhere) = (Vec::new(), false);
    for line in text.lines().filter(|line| !of_summary(line)) {
        let inner = line.trim_start();
        let margin = inner.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
        let number =
            &inner[..inner.len() - inner.trim_start_matches(|c: char| c.is_ascii_digit()).len()];
        lines.push(if let Some(place) = inner.strip_prefix("--> ") {
            elsewhere = !place.starts_with("cog-train/tests/ui/");
            let place = place.strip_prefix("cog-train/").unwrap_or(place);
            let place = place
                .rsplit_once("/library/")
                .map_or(place.to_owned(), |(_, file)| format!("$RUST/{file}"));
            let file = place.split(':').next().unwrap_or(&place);
            format!(" --> {}", if elsewhere { file } else { &place })
        } else if margin.starts_with('|') && (number.is_empty() || elsewhere) {
            format!("  {margin}")
        } else if margin.starts_with('|') {
            format!("{number} {margin}")
        } else if inner.starts_with("= ") {
            format!("  {inner}")
        } else if inner.starts_with("and ") && inner.ends_with(" others") {
            "          and $N others".to_owned()
        } else {
            elsewhere &= line.starts_with(' ');
            line.to_owned()
        });
    }
    let text = lines.join("\n");
    if text.trim().is_empty() { String::new() } else { format!("{}\n", text.trim_end()) }
}

/// Returns the sources in a folder, in order.
fn sources(folder: &str) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut sources: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect();
    sources.sort();
    sources
}

#[test]
fn each_mistake_is_one_message_at_its_token() {
    let (passing, failing) = (sources("tests/ui/pass"), sources("tests/ui/fail"));
    assert!(passing.len() >= 4 && failing.len() >= 120, "{} {}", passing.len(), failing.len());
    let libraries = Libraries::find();
    let out = tempfile::tempdir().unwrap();
    let (files, next) = ([passing, failing].concat(), AtomicUsize::new(0));
    let overwrite = std::env::var_os("UI").is_some_and(|it| it == "overwrite");
    let differs = |source: &PathBuf| {
        let expected = source.with_extension("stderr");
        let said = libraries.compile(source, out.path());
        if overwrite && !said.is_empty() {
            std::fs::write(&expected, &said).unwrap();
        }
        let known = std::fs::read_to_string(&expected).unwrap_or_default();
        (said != known).then(|| format!("{}:\n{said}\nand not\n{known}", source.display()))
    };
    let work = || -> Vec<String> {
        let mine = || files.get(next.fetch_add(1, Ordering::Relaxed));
        std::iter::from_fn(mine).filter_map(&differs).collect()
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let different: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// A mistake never causes a second error somewhere else: of what is expected above, each is one error.
#[test]
fn every_mistake_is_one_error() {
    for source in sources("tests/ui/fail") {
        let expected = source.with_extension("stderr");
        let text = std::fs::read_to_string(&expected)
            .unwrap_or_else(|_| panic!("no {}", expected.display()));
        let errors = text.lines().filter(|line| line.starts_with("error")).count();
        assert_eq!(errors, 1, "{}:\n{text}", expected.display());
        assert!(!text.contains("warning"), "{}:\n{text}", expected.display());
    }
}
