//! The structure of the crates and the words of their docs: imports go down the table of ARCHITECTURE.md, section 3; files do
//! not import each other in a cycle; outside crates stay where they belong; the docs speak in standard terms.

mod book;
mod imports;
mod profiles;
mod release;
mod source;
mod words;

use std::collections::BTreeMap;
use std::path::Path;

use crate::imports::{Graph, cycles, graph, members};
use crate::source::{Source, sources};

/// The folders of the crates, from this package's.
const CRATES: &[&str] = &[".", "nn", "../cog-train-derive"];

/// Each top-level module of `cog-train` with the modules that it may import, the lowest first.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    // Ground. `error` holds the reports of `input` and `config`, which import neither it nor each other.
    ("book", &[]),
    ("durable", &[]),
    ("json", &[]),
    ("message", &[]),
    ("table", &[]),
    ("config", &[]),
    ("input", &[]),
    ("error", &["config", "input"]),
    ("read", &["config", "error"]),
    ("progress", &["error"]),
    ("cancellable", &["error", "progress"]),
    ("device", &["error"]),
    ("disk", &["error"]),
    ("partial", &[]),
    ("archive", &["error", "partial", "progress"]),
    ("fetch", &["error", "input", "partial", "progress", "read"]),
    ("hub", &["disk", "error", "fetch", "input", "progress", "read"]),
    ("weights", &["archive", "device", "error", "fetch", "hub", "partial", "progress", "read"]),
    ("gguf", &["error", "partial", "read"]),
    ("tokenizer_files", &["error", "gguf"]),
    // The contract.
    ("output", &["error", "input", "weights"]),
    ("parallel", &["error"]),
    ("job", &["config", "device", "error", "input", "parallel", "progress", "weights"]),
    ("trainer", &["error", "input", "job", "output", "weights"]),
    ("predictor", &["error", "input", "job", "output", "weights"]),
    // Pretrained models.
    ("models", &["error", "gguf", "partial", "read", "tokenizer_files", "weights"]),
    // What trains.
    ("params", &["error", "input"]),
    ("metrics", &["error"]),
    ("data", &["archive", "cancellable", "error", "fetch", "progress", "read"]),
    ("text", &["data", "error", "gguf", "models", "output", "progress", "read", "tokenizer_files"]),
    ("optim", &["error", "params"]),
    ("lora", &["error", "gguf", "models", "optim", "params", "partial", "weights"]),
    ("checkpoint", &["archive", "error", "fetch", "job", "progress", "read", "weights"]),
    (
        "engine",
        &[
            "cancellable",
            "checkpoint",
            "data",
            "disk",
            "error",
            "job",
            "metrics",
            "optim",
            "parallel",
            "params",
            "progress",
            "weights",
        ],
    ),
    // What runs it.
    ("report", &["error", "partial", "progress", "read"]),
    (
        "run",
        &[
            "config",
            "device",
            "error",
            "fetch",
            "input",
            "job",
            "output",
            "parallel",
            "partial",
            "predictor",
            "progress",
            "read",
            "report",
            "trainer",
            "weights",
        ],
    ),
    ("serve", &["archive", "error", "fetch", "input", "output", "partial", "progress", "run"]),
    (
        "cli",
        &[
            "config",
            "device",
            "error",
            "fetch",
            "input",
            "job",
            "parallel",
            "partial",
            "predictor",
            "progress",
            "read",
            "report",
            "run",
            "serve",
            "trainer",
        ],
    ),
    // The program `cog-train`, the feature `cli`.
    (
        "tool",
        &[
            "checkpoint",
            "cli",
            "device",
            "disk",
            "error",
            "fetch",
            "gguf",
            "hub",
            "input",
            "lora",
            "models",
            "progress",
            "run",
            "text",
            "weights",
        ],
    ),
];

/// Modules that hand on what others define, and may import everything.
const FACADES: &[&str] = &["bin", "lib", "prelude", "private"];

/// Modules that every module may import. They import nothing but each other.
const GROUND: &[&str] = &["durable", "json", "message", "table"];

/// Outside crates that only some modules may name.
const CONFINED: &[(&str, &[&str])] = &[
    ("async_trait", &["serve"]),
    ("axum", &["serve"]),
    (
        "candle_core",
        &[
            "checkpoint",
            "data",
            "device",
            "engine",
            "error",
            "job",
            "lib",
            "lora",
            "metrics",
            "models",
            "optim",
            "parallel",
            "params",
            "private",
            "text",
            "tool",
            "weights",
        ],
    ),
    ("candle_nn", &["engine", "lib", "params", "weights"]),
    ("clap", &["cli", "tool"]),
    ("coglet", &["serve"]),
    ("futures_util", &["serve"]),
    ("hyper", &["serve"]),
    ("hyper_util", &["serve"]),
    ("indicatif", &["cli"]),
    ("libloading", &["parallel"]),
    ("mime_guess", &["serve"]),
    ("minijinja", &["text"]),
    ("mpi", &["parallel"]),
    ("serde_saphyr", &["config"]),
    ("signal_hook", &["cli"]),
    ("tokenizers", &["text"]),
    ("tokio", &["serve"]),
    ("tracing", &["serve"]),
    ("tracing_subscriber", &["serve"]),
    ("ureq", &["fetch"]),
];

/// The top-level module of a source file: `optim` for `optim/adamw.rs` and for `optim.rs`.
fn top(file: &str) -> &str {
    file.split('/').next().unwrap_or(file).trim_end_matches(".rs")
}

#[test]
fn imports_go_down() {
    let allowed: BTreeMap<_, _> = MAY_IMPORT.iter().copied().collect();
    let mut wrong = Vec::new();
    for (file, targets) in graph(&sources(".")) {
        let module = top(&file);
        if FACADES.contains(&module) {
            continue;
        }
        let Some(allowed) = allowed.get(module) else {
            wrong.push(format!("{file}: the module `{module}` is not in the table"));
            continue;
        };
        for target in targets {
            let other = top(&target);
            if other != module && !GROUND.contains(&other) && !allowed.contains(&other) {
                wrong.push(format!("{file}: `{module}` must not import `{other}` ({target})"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn layers_of_nn_import_kernels_and_never_the_other_way() {
    for (file, targets) in graph(&sources("nn")) {
        let allowed: &[&str] = match top(&file) {
            "rng" => &["rng"],
            "kernels" => &["kernels", "rng"],
            _ => continue,
        };
        for target in targets {
            assert!(allowed.contains(&top(&target)), "{file} must not import {target}");
        }
    }
}

#[test]
fn no_files_import_each_other() {
    let mut wrong = Vec::new();
    for folder in CRATES {
        let found = cycles(&graph(&sources(folder)));
        wrong.extend(found.iter().map(|files| format!("{folder}: {}", files.join(", "))));
    }
    assert!(wrong.is_empty(), "files that import each other:\n{}", wrong.join("\n"));
}

#[test]
fn outside_crates_stay_where_they_belong() {
    let mut wrong = Vec::new();
    for source in sources(".") {
        for (outside, modules) in CONFINED {
            let module = source.top();
            if source.code.contains(&format!("{outside}::")) && !modules.contains(&module.as_str())
            {
                wrong
                    .push(format!("{}: `{outside}` belongs to {modules:?}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Unsafe code of this package sets the environment and the allocator, before there are threads, handles a signal, and calls NCCL.
#[test]
fn unsafe_code_is_in_the_command_line_and_in_nccl_alone() {
    for source in sources(".") {
        let found = source.code.contains("unsafe {") || source.code.contains("unsafe fn");
        let nccl = ["parallel/nccl.rs", "parallel/nccl/library.rs"];
        let may = source.top() == "cli" || nccl.iter().any(|path| source.path == Path::new(path));
        assert!(!found || may, "{}", source.path.display());
    }
}

/// The reader of imports must see what the tests above are there to refuse.
#[test]
fn imports_are_seen_in_every_spelling() {
    let source = |path: &str, code: &str| Source {
        path: path.into(),
        text: code.to_owned(),
        code: code.to_owned(),
    };
    let found = graph(&[
        source("lib.rs", "mod a;\nmod b;\nmod c;\npub use b::inner::Item;"),
        source("a.rs", "use crate::{\n    b::{self, Other},\n    Item,\n};\nuse serde::Item as I;"),
        source("b/mod.rs", "mod inner;\npub(crate) use inner::{Item, Item as Other};"),
        source("b/inner.rs", "fn f() { super::super::c::g(mycrate::b::h()) }"),
        source("c.rs", "use super::a as first;\nuse self::inside::X;"),
    ]);
    let expected = [
        ("a.rs", vec!["b/inner.rs", "b/mod.rs"]),
        ("b/inner.rs", vec!["c.rs"]),
        ("b/mod.rs", vec![]),
        ("c.rs", vec!["a.rs"]),
        ("lib.rs", vec![]),
    ];
    let expected: Graph = expected
        .into_iter()
        .map(|(file, targets)| (file.to_owned(), targets.into_iter().map(str::to_owned).collect()))
        .collect();
    assert_eq!(found, expected);
    assert_eq!(cycles(&found), [["a.rs", "b/inner.rs", "c.rs"].map(str::to_owned).to_vec()]);
    let names: Vec<String> =
        members("a::{self, b as c, d::{e, f}}").into_iter().map(|it| it.1).collect();
    assert_eq!(names, ["a", "c", "e", "f"]);
}
