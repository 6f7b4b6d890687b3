//! Models from hubs that behave, interrupt, refuse or lie, in the layout of Python's `huggingface_hub`.

mod cached;
mod fake;
mod hostile;
mod refused;
mod resume;
#[path = "../hostile/server.rs"]
mod server;
mod snapshot;
mod weights;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cog_train::hub::Hub;
use cog_train::progress::Silent;
use cog_train::{CancelToken, Error};

use crate::fake::{Entry, FakeHub};
use crate::server::Request;

/// A hub with a cache in `dir`.
fn hub(dir: &Path, fake: &FakeHub) -> Hub {
    Hub::new(dir.join("hub"))
        .endpoint(fake.origin.url(""))
        .timeout(Duration::from_secs(5))
        .retries(3, Duration::from_millis(10))
}

fn download(hub: &Hub, name: &str, files: &[&str]) -> Result<PathBuf, Error> {
    let mut model = hub.model(name)?;
    if !files.is_empty() {
        model = model.files(files.iter().copied());
    }
    model.download(&CancelToken::new(), &mut Silent)
}

/// The text of a refusal, without its beginning.
fn reason(said: Result<PathBuf, Error>) -> String {
    match said {
        Err(Error::Fetch { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

/// The folder of the repository `org/tiny` in the cache of `dir`.
fn repository(dir: &Path) -> PathBuf {
    dir.join("hub/models--org--tiny")
}

/// The names of a folder's entries, sorted.
fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The requests for content.
fn gets(seen: &[Request]) -> Vec<&Request> {
    let is_content = |request: &&Request| {
        request.method == "GET"
            && (request.path.contains("/resolve-cache/") || request.path.starts_with("/store/"))
    };
    seen.iter().filter(is_content).collect()
}

/// Content that shows a wrong place.
fn content() -> Vec<u8> {
    (0..300_000_u32).flat_map(u32::to_le_bytes).collect()
}

/// A model with one large file.
fn tiny() -> [(&'static str, Entry); 3] {
    [
        ("config.json", Entry::small("{\"model_type\": \"llama\"}")),
        ("model.safetensors", Entry::large(content())),
        ("tokenizer.json", Entry::small("{}")),
    ]
}
