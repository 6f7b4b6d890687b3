//! The cache without the hub: offline, unreachable, or because the hub could say nothing new.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use cog_train::CancelToken;
use cog_train::hub::Hub;
use cog_train::progress::Report;
use serde_json::json;

use crate::fake::{COMMIT, Entry, Plan};
use crate::{download, hub, names, reason, repository, tiny};

/// A cache as Python's `snapshot_download` leaves it, with a listing.
fn by_python(dir: &Path, listed: &[&str], there: &[(&str, &str)]) {
    let repository = repository(dir);
    let snapshot = repository.join("snapshots").join(COMMIT);
    for folder in ["blobs", "refs", "trees"] {
        fs::create_dir_all(repository.join(folder)).unwrap();
    }
    fs::create_dir_all(&snapshot).unwrap();
    fs::write(repository.join("refs/main"), COMMIT).unwrap();
    for (name, content) in there {
        fs::write(snapshot.join(name), content).unwrap();
    }
    let entry = json!({"size": 1, "blob_id": "0"});
    let files: serde_json::Map<_, _> =
        listed.iter().map(|name| ((*name).to_owned(), entry.clone())).collect();
    let tree = json!({"format_version": 1, "files": files}).to_string();
    fs::write(repository.join("trees").join(format!("{COMMIT}.json")), tree).unwrap();
}

#[test]
fn offline_returns_the_snapshot_and_sends_nothing() {
    let fake = Plan::new(tiny()).start();
    let dir = tempfile::tempdir().unwrap();
    let hub = hub(dir.path(), &fake);
    let folder = download(&hub, "org/tiny", &[]).unwrap();
    let before = fake.origin.seen().len();
    let offline = hub.offline(true);
    assert_eq!(download(&offline, "org/tiny", &[]).unwrap(), folder);
    assert_eq!(download(&offline, "org/tiny", &["*.json"]).unwrap(), folder);
    assert_eq!(download(&offline, &format!("org/tiny@{COMMIT}"), &[]).unwrap(), folder);
    assert_eq!(fake.origin.seen().len(), before);
}

#[test]
fn offline_says_what_the_cache_lacks() {
    let fake = Plan::new(tiny()).start();
    let dir = tempfile::tempdir().unwrap();
    let hub = hub(dir.path(), &fake);
    let offline = hub.clone().offline(true);
    let cache = dir.path().join("hub").display().to_string();
    let says = |what: &str, hint: &str| {
        format!(
            "the cache `{cache}` has {what} of it, and `HF_HUB_OFFLINE` turns downloads off{hint}"
        )
    };
    assert_eq!(reason(download(&offline, "org/tiny", &[])), says("no copy", ""));
    download(&hub, "org/tiny", &["config.json"]).unwrap();
    assert_eq!(
        reason(download(&offline, "org/tinny", &[])),
        says("no copy", "\nhint: it has `org/tiny`")
    );
    assert_eq!(reason(download(&offline, "org/tiny@v1.0", &[])), says("no copy", ""));
    assert_eq!(reason(download(&offline, "org/tiny", &[])), says("no `.safetensors` file", ""));
    let files = ["config.json", "vocab.txt"];
    assert_eq!(reason(download(&offline, "org/tiny", &files)), says("no file `vocab.txt`", ""));
}

#[test]
fn a_snapshot_without_all_its_shards_is_no_copy() {
    let index = r#"{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}"#;
    let dir = tempfile::tempdir().unwrap();
    by_python(
        dir.path(),
        &[],
        &[("model.safetensors.index.json", index), ("one.safetensors", "1")],
    );
    // Before Python kept listings.
    fs::remove_dir_all(repository(dir.path()).join("trees")).unwrap();
    let offline = Hub::new(dir.path().join("hub")).offline(true);
    let said = reason(download(&offline, "org/tiny", &[]));
    assert!(
        said.contains("no complete copy (`model.safetensors.index.json` names `two.safetensors`"),
        "{said}"
    );
    let snapshot = repository(dir.path()).join("snapshots").join(COMMIT);
    fs::write(snapshot.join("two.safetensors"), "2").unwrap();
    assert_eq!(download(&offline, "org/tiny", &[]).unwrap(), snapshot);
}

#[test]
fn a_listing_of_python_says_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let listed = ["config.json", "model.safetensors", "tokenizer.json", "README.md"];
    let there = [("config.json", "{}"), ("model.safetensors", "1")];
    by_python(dir.path(), &listed, &there);
    let offline = Hub::new(dir.path().join("hub")).offline(true);
    let said = reason(download(&offline, "org/tiny", &[]));
    assert!(said.contains("has no file `tokenizer.json` of it"), "{said}");
    assert!(download(&offline, "org/tiny", &["config.json", "model.*"]).is_ok());
}

#[test]
fn a_commit_that_is_complete_takes_no_request() {
    let fake = Plan::new(tiny()).start();
    let dir = tempfile::tempdir().unwrap();
    let hub = hub(dir.path(), &fake);
    let pinned = format!("org/tiny@{COMMIT}");
    let folder = download(&hub, &pinned, &["config.json"]).unwrap();
    // It stands for itself.
    assert!(names(&repository(dir.path()).join("refs")).is_empty());
    let before = fake.origin.seen().len();
    assert_eq!(download(&hub, &pinned, &["config.json"]).unwrap(), folder);
    assert_eq!(fake.origin.seen().len(), before);
    // Without a listing nobody knows what else fits.
    download(&hub, &pinned, &["*.json"]).unwrap();
    assert!(fake.origin.seen().len() > before);
    let before = fake.origin.seen().len();
    by_python(dir.path(), &["config.json", "tokenizer.json"], &[]);
    assert_eq!(download(&hub, &pinned, &["*.json"]).unwrap(), folder);
    assert_eq!(fake.origin.seen().len(), before);
}

#[test]
fn without_the_hub_the_cached_copy_is_used_with_a_note() {
    #[derive(Default)]
    struct Notes(Vec<String>);
    impl Report for Notes {
        fn line(&mut self, text: &str) {
            self.0.push(text.to_owned());
        }
        fn metric(&mut self, _: &str, _: u64, _: f64) {}
        fn progress(&mut self, _: &str, _: u64, _: u64) {}
    }
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let fake = Plan::new(tiny()).start();
    let dir = tempfile::tempdir().unwrap();
    let hub = hub(dir.path(), &fake);
    let gone = hub.clone().endpoint(&closed);
    let cache = dir.path().join("hub").display().to_string();
    assert_eq!(
        reason(download(&gone, "org/tiny", &[])),
        format!(
            "the cache `{cache}` has no copy of it, and the hub `{closed}` is not available: \
             gave up after 3 attempts: connection refused\n\
             hint: connect to the network, or give the path of a copy"
        )
    );
    assert!(!dir.path().join("hub").exists());

    let folder = download(&hub, "org/tiny", &[]).unwrap();
    let mut notes = Notes::default();
    let again = gone.model("org/tiny").unwrap().download(&CancelToken::new(), &mut notes);
    assert_eq!(again.unwrap(), folder);
    assert_eq!(
        notes.0,
        [format!(
            "`org/tiny@main`: the hub `{closed}` is not available: gave up after 1 attempt: connection refused; \
             the cached copy is used"
        )]
    );
}

#[test]
fn a_file_that_a_commit_does_not_have_is_recorded_for_python() {
    let fake = Plan::new(tiny()).start();
    let dir = tempfile::tempdir().unwrap();
    let hub = hub(dir.path(), &fake);
    download(&hub, "org/tiny", &["config.json"]).unwrap();
    reason(download(&hub, "org/tiny", &["config.json", "sub/vocab.txt"]));
    let record = repository(dir.path()).join(".no_exist").join(COMMIT).join("sub/vocab.txt");
    assert_eq!(fs::read(record).unwrap(), b"");
}

/// A blob may be a link into the store that all repositories of a cache share.
#[test]
fn content_in_the_shared_store_of_python_is_not_downloaded() {
    let [_, (_, weights), _] = tiny();
    let fake = Plan::new(tiny()).start();
    let dir = tempfile::tempdir().unwrap();
    let (store, blobs) = (dir.path().join("hub/blobs/ab"), repository(dir.path()).join("blobs"));
    fs::create_dir_all(&store).unwrap();
    fs::create_dir_all(&blobs).unwrap();
    fs::write(store.join("abcd"), &weights.content).unwrap();
    std::os::unix::fs::symlink("../../blobs/ab/abcd", blobs.join(weights.blob())).unwrap();
    let folder = download(&hub(dir.path(), &fake), "org/tiny", &[]).unwrap();
    assert!(fs::read(folder.join("model.safetensors")).unwrap() == weights.content);
    assert_eq!(fake.storage.seen().len(), 0);
}

/// A blob of another size was cut, or is of something else.
#[test]
fn content_of_another_size_in_the_cache_is_replaced() {
    let weights = Entry::large(crate::content());
    let fake = Plan::new(tiny()).start();
    let dir = tempfile::tempdir().unwrap();
    let blobs = repository(dir.path()).join("blobs");
    fs::create_dir_all(&blobs).unwrap();
    fs::write(blobs.join(weights.blob()), "cut").unwrap();
    let folder = download(&hub(dir.path(), &fake), "org/tiny", &[]).unwrap();
    assert!(fs::read(folder.join("model.safetensors")).unwrap() == weights.content);
}
