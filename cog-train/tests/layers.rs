//! Imports go down: the table of ARCHITECTURE.md, section 3, kept by a test.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Each module with what it may import, the lowest floor first.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    // Ground. `error` holds the reports of `input` and `config`, which import nothing above it.
    ("error", &["config", "input"]),
    ("input", &[]),
    ("config", &["error"]),
    ("progress", &["error"]),
    ("rng", &["error"]),
    ("device", &["error"]),
    ("partial", &[]),
    ("archive", &["error", "partial", "progress"]),
    ("fetch", &["error", "partial", "progress"]),
    ("weights", &["archive", "device", "error", "fetch", "partial", "progress"]),
    // The contract.
    ("output", &["error", "input", "weights"]),
    ("job", &["config", "device", "error", "input", "progress", "rng", "weights"]),
    ("kernels", &["device", "error", "rng"]),
    ("trainer", &["error", "input", "job", "output", "weights"]),
    ("predictor", &["error", "input", "job", "output", "weights"]),
    ("nn", &["device", "error", "kernels", "rng"]),
    // What trains.
    (
        "engine",
        &["archive", "device", "error", "fetch", "job", "kernels", "progress", "rng", "weights"],
    ),
    // What runs it.
    (
        "runner",
        &[
            "archive",
            "config",
            "device",
            "error",
            "fetch",
            "input",
            "job",
            "output",
            "predictor",
            "progress",
            "trainer",
            "weights",
        ],
    ),
];

/// The crate's own doors, which see everything.
const DOORS: &[&str] = &["lib", "prelude", "private"];

/// Outside crates that only some modules may name.
const KEPT: &[(&str, &[&str])] = &[
    (
        "candle_core",
        &["error", "device", "rng", "job", "weights", "kernels", "nn", "engine", "lib", "private"],
    ),
    ("candle_nn", &["weights", "engine", "lib"]),
    ("clap", &["runner"]),
    ("cudarc", &["kernels", "engine"]),
    ("indicatif", &["runner"]),
    ("serde_saphyr", &["config"]),
    ("signal_hook", &["runner"]),
    ("ureq", &["fetch"]),
];

/// The re-exports of `lib.rs` stand for the modules that they come from.
const HOMES: &[(&str, &str)] = &[
    ("CancelToken", "progress"),
    ("Config", "config"),
    ("Error", "error"),
    ("Path", "input"),
    ("Secret", "input"),
    ("Weights", "weights"),
];

struct Source {
    module: String,
    path: PathBuf,
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut found) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("tests.rs")
            {
                let inner = path.strip_prefix(&root).unwrap().to_owned();
                let first = inner.iter().next().unwrap().to_str().unwrap();
                let module = first.trim_end_matches(".rs").to_owned();
                found.push(Source {
                    module,
                    code: code_of(&std::fs::read_to_string(&path).unwrap()),
                    path: inner,
                });
            }
        }
    }
    assert!(found.len() > 20, "the sources were not found");
    found
}

/// Without comments, and without the unit tests at the end, which may reach further.
fn code_of(text: &str) -> String {
    let body = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    body.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn is_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// The first name after every `crate::`, each name of a group in `crate::{a, b::c}`.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, door) in code.match_indices("crate::") {
        if code[..at].ends_with(is_name) {
            continue;
        }
        let rest = &code[at + door.len()..];
        match rest.strip_prefix('{') {
            None => drop(found.insert(rest.chars().take_while(|c| is_name(*c)).collect())),
            Some(group) => found.extend(group_members(group)),
        }
    }
    found
}

fn group_members(group: &str) -> Vec<String> {
    let mut members = vec![String::new()];
    let mut depth = 0;
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => members.push(String::new()),
            _ => members.last_mut().unwrap().push(c),
        }
    }
    members
        .iter()
        .map(|member| member.trim().chars().take_while(|c| is_name(*c)).collect())
        .collect()
}

#[test]
fn imports_go_down() {
    let allowed: BTreeMap<_, _> = MAY_IMPORT.iter().copied().collect();
    let homes: BTreeMap<_, _> = HOMES.iter().copied().collect();
    let mut wrong = Vec::new();
    for Source { module, path, code } in sources() {
        if DOORS.contains(&module.as_str()) {
            continue;
        }
        let Some(allowed) = allowed.get(module.as_str()) else {
            wrong.push(format!(
                "{}: the module `{module}` has no floor in this test",
                path.display()
            ));
            continue;
        };
        for name in imports(&code) {
            let target = homes.get(name.as_str()).copied().unwrap_or(&name);
            if target != module && !allowed.contains(&target) {
                wrong.push(format!("{}: `{module}` must not import `{target}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn outside_crates_stay_where_they_belong() {
    let mut wrong = Vec::new();
    for Source { module, path, code } in sources() {
        for (outside, homes) in KEPT {
            if code.contains(&format!("{outside}::")) && !homes.contains(&module.as_str()) {
                wrong.push(format!("{}: `{outside}` belongs to {homes:?}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The reader above must see what it is there to refuse.
#[test]
fn imports_are_seen_in_every_spelling() {
    let code = "use crate::error::Error;\nuse crate::{input::{Path, Spec}, job};\nfn f() { crate::weights::g() }\nuse mycrate::x;";
    assert_eq!(imports(code), ["error", "input", "job", "weights"].map(str::to_owned).into());
}
