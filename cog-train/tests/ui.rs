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

use cog_train::Weights;
use cog_train::candle_core::Device;
use cog_train::serde_json::Value;

#[path = "tool/inner_cargo.rs"]
mod inner_cargo;

use inner_cargo::inner_cargo;

/// The compiler's arguments for `cog_train` and all that it depends on.
struct Libraries {
    search: Vec<String>,
    /// The library that programs are checked against, and the one that they are linked with.
    metadata: PathBuf,
    library: PathBuf,
}

impl Libraries {
    /// Asks cargo where they are.
    fn find() -> Self {
        let mut cargo = inner_cargo();
        cargo.args(["test", "--no-run", "--quiet", "--message-format=json", "-p", "cog-train"]);
        cargo.args(["--test", "ui"]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        let output = cargo.output().expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let messages: Vec<Value> = text.lines().map(|line| line.parse().unwrap()).collect();
        let texts = |message: &Value, key: &str| -> Vec<String> {
            let texts = message[key].as_array().into_iter().flatten();
            texts.map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        let (mut search, mut own) = (BTreeSet::new(), Vec::new());
        for message in &messages {
            // Those of libraries that build scripts have made.
            search.extend(texts(message, "linked_paths").iter().map(|path| format!("-L{path}")));
            for file in texts(message, "filenames").iter().map(Path::new) {
                search.insert(format!("-Ldependency={}", file.parent().unwrap().display()));
                if message["target"]["name"] == "cog_train" {
                    own.push(file.to_owned());
                }
            }
        }
        let of_kind = |kind: &str| {
            let found = own.iter().find(|file| file.extension().is_some_and(|it| it == kind));
            found.expect("cargo names the library").clone()
        };
        let (metadata, library) = (of_kind("rmeta"), of_kind("rlib"));
        Self { search: search.into_iter().collect(), metadata, library }
    }

    /// Compiles a file as far as `arguments` say. Returns all that rustc says, in terms that are the same on every machine;
    /// nothing if it accepts the file.
    fn compile(&self, source: &Path, library: &Path, arguments: &[&str]) -> String {
        let output = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()))
            .args(["--edition=2024", "--crate-type=bin", "--color=never"])
            .args(&self.search)
            .arg(format!("--extern=cog_train={}", library.display()))
            .args(arguments)
            .arg(Path::new("cog-train").join(source))
            .current_dir("..") // from where the library's sources are found
            .output()
            .expect("rustc runs");
        let text = String::from_utf8(output.stderr).unwrap();
        let is_refused = text.contains("error");
        assert_eq!(output.status.success(), !is_refused, "{}: {text}", source.display());
        portable(&text)
    }

    /// Returns what rustc says about a file, without a program as its result.
    fn check(&self, source: &Path, out: &Path) -> String {
        let out = format!("--out-dir={}", out.display());
        self.compile(source, &self.metadata, &["--emit=metadata", &out])
    }

    /// Makes a program of a file and runs it.
    fn run(&self, source: &Path, out: &Path) {
        let program = out.join(source.file_stem().unwrap());
        let said = self.compile(source, &self.library, &["-o", program.to_str().unwrap()]);
        assert_eq!(said, "", "{}", source.display());
        let output = Command::new(&program).output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {text}", source.display());
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
fn declarations_without_a_mistake_run() {
    let (libraries, out) = (Libraries::find(), tempfile::tempdir().unwrap());
    let passing = sources("tests/ui/pass");
    assert!(passing.len() >= 4, "{}", passing.len());
    for source in passing {
        libraries.run(&source, out.path());
    }
}

/// Through the points (0, 1), (1, 3) and (2, 5).
#[test]
fn the_program_of_the_readme_finds_a_line() {
    let (libraries, here) = (Libraries::find(), tempfile::tempdir().unwrap());
    let readme = std::fs::read_to_string("../README.md").unwrap();
    let (_, rest) = readme.split_once("```rust,no_run\n").expect("its program");
    let (text, _) = rest.split_once("```").unwrap();
    let [source, program, weights] =
        ["line.rs", "line", "line.safetensors"].map(|name| here.path().join(name));
    std::fs::write(&source, text).unwrap();
    std::fs::write(here.path().join("points.csv"), "0,1\n1,3\n2,5\n").unwrap();

    let said = libraries.compile(&source, &libraries.library, &["-o", program.to_str().unwrap()]);
    assert_eq!(said, "");
    let trained = Command::new(&program)
        .args(["-i", "train_data=@points.csv", "-i", "learning_rate=0.3", "-o"])
        .arg(&weights)
        .current_dir(here.path())
        .output()
        .expect("it runs");
    assert!(trained.status.success(), "{}", String::from_utf8_lossy(&trained.stderr));
    let line = Weights::open(weights.to_str().unwrap()).unwrap();
    let line = line.get("line", &Device::Cpu).unwrap().flatten_all().unwrap();
    let line: Vec<f32> = line.to_vec1().unwrap();
    assert!((line[0] - 2.0).abs() < 1e-3 && (line[1] - 1.0).abs() < 1e-3, "{line:?}");
}

#[test]
fn each_mistake_is_one_message_at_its_token() {
    let (libraries, out) = (Libraries::find(), tempfile::tempdir().unwrap());
    let (files, next) = (sources("tests/ui/fail"), AtomicUsize::new(0));
    assert!(files.len() >= 120, "{}", files.len());
    let overwrite = std::env::var_os("UI").is_some_and(|it| it == "overwrite");
    let differs = |source: &PathBuf| {
        let expected = source.with_extension("stderr");
        let said = libraries.check(source, out.path());
        if overwrite {
            std::fs::write(&expected, &said).unwrap();
        }
        let known = std::fs::read_to_string(&expected).unwrap_or_default();
        (said.is_empty() || said != known)
            .then(|| format!("{}:\n{said}\nand not\n{known}", source.display()))
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
