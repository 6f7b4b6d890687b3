//! The snapshot: its layout, the files that are in it, and the requests that it takes.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cog_train::progress::{Report, Silent};
use cog_train::{CancelToken, Secret};

use crate::fake::{COMMIT, Entry, Plan};
use crate::{content, download, gets, hub, names, repository, tiny};

#[test]
fn a_snapshot_has_the_layout_of_python() {
    let [config, weights, tokenizer] = tiny().map(|(_, entry)| entry);
    let fake = Plan::new(tiny()).start();
    let dir = tempfile::tempdir().unwrap();
    let folder = download(&hub(dir.path(), &fake), "org/tiny", &[]).unwrap();
    let repository = repository(dir.path());
    assert_eq!(folder, repository.join("snapshots").join(COMMIT));
    for (name, entry) in tiny() {
        let link = fs::read_link(folder.join(name)).unwrap();
        assert_eq!(link, Path::new("../../blobs").join(entry.blob()), "{name}");
        assert_eq!(fs::read(folder.join(name)).unwrap(), entry.content, "{name}");
    }
    let mut blobs = [config.blob(), weights.blob(), tokenizer.blob()];
    blobs.sort();
    assert_eq!(names(&repository.join("blobs")), blobs);
    assert_eq!(names(&repository), ["blobs", "refs", "snapshots"]);
    assert_eq!(fs::read_to_string(repository.join("refs/main")).unwrap(), COMMIT);
    let locks = blobs.map(|blob| format!("{blob}.lock"));
    assert_eq!(names(&dir.path().join("hub/.locks/models--org--tiny")), locks);
    assert!(dir.path().join("hub/CACHEDIR.TAG").is_file());

    // The next download only hears that nothing is newer.
    let before = fake.origin.seen().len();
    assert_eq!(download(&hub(dir.path(), &fake), "hf://org/tiny@main", &[]).unwrap(), folder);
    let seen = fake.origin.seen();
    assert_eq!(seen.len(), before + 1);
    assert_eq!(seen[before].path, "/api/models/org/tiny/revision/main");
    assert_eq!(fake.storage.seen().len(), 1);
}

#[test]
fn a_model_is_its_settings_its_tokenizer_and_its_safetensors() {
    let index = r#"{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors", "c": "model-00001-of-00002.safetensors"}}"#;
    let plan = Plan::new([
        (".gitattributes", Entry::small("x")),
        ("1_Pooling/config.json", Entry::small("pooling")),
        ("README.md", Entry::small("readme")),
        ("chat_template.jinja", Entry::small("chat")),
        ("config.json", Entry::small("{}")),
        ("consolidated.safetensors", Entry::large("consolidated")),
        ("merges.txt", Entry::small("merges")),
        ("model-00001-of-00002.safetensors", Entry::large("one")),
        ("model-00002-of-00002.safetensors", Entry::large("two")),
        ("model.safetensors.index.json", Entry::small(index)),
        ("onnx/config.json", Entry::small("onnx")),
        ("pytorch_model-00001-of-00001.bin", Entry::large("pickle")),
        ("pytorch_model.bin.index.json", Entry::small("{} ")),
        ("tokenizer.model", Entry::large("sentencepiece")),
    ]);
    let fake = plan.start();
    let dir = tempfile::tempdir().unwrap();
    let folder = download(&hub(dir.path(), &fake), "org/tiny", &[]).unwrap();
    assert_eq!(
        names(&folder),
        [
            "1_Pooling",
            "chat_template.jinja",
            "config.json",
            "merges.txt",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
            "tokenizer.model",
        ]
    );
    let link = fs::read_link(folder.join("1_Pooling/config.json")).unwrap();
    assert!(link.starts_with("../../../blobs"), "{}", link.display());
    assert_eq!(fs::read(folder.join("1_Pooling/config.json")).unwrap(), b"pooling");
}

#[test]
fn patterns_take_what_there_is_and_leave_pickles_out() {
    let plan = Plan::new([
        ("a b.json", Entry::small("space")),
        ("config.json", Entry::small("{}")),
        ("model.safetensors", Entry::large("weights")),
        ("pytorch_model.bin", Entry::large("pickle")),
        ("sub/config.json", Entry::small("sub")),
    ]);
    let fake = plan.start();
    let taken = |files: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        let folder = download(&hub(dir.path(), &fake), "org/tiny@v1.0", files).unwrap();
        let reference = repository(dir.path()).join("refs/v1.0");
        assert_eq!(fs::read_to_string(reference).unwrap(), COMMIT);
        names(&folder)
    };
    assert_eq!(taken(&["*.json"]), ["a b.json", "config.json"]);
    assert_eq!(taken(&["*/config.json"]), ["sub"]);
    assert_eq!(taken(&["conf?g.json"]), ["config.json"]);
    assert_eq!(taken(&["**"]), ["a b.json", "config.json", "model.safetensors", "sub"]);
    assert_eq!(taken(&["pytorch_model.bin"]), ["pytorch_model.bin"]);
}

#[test]
fn revisions_with_a_slash_are_one_segment_and_a_path_in_the_cache() {
    let fake = Plan::new(tiny()).start();
    let dir = tempfile::tempdir().unwrap();
    download(&hub(dir.path(), &fake), "org/tiny@refs/pr/1", &["config.json"]).unwrap();
    assert_eq!(fake.origin.seen()[0].path, "/api/models/org/tiny/revision/refs%2Fpr%2F1");
    let reference = repository(dir.path()).join("refs/refs/pr/1");
    assert_eq!(fs::read_to_string(reference).unwrap(), COMMIT);
}

#[test]
fn the_token_is_sent_to_the_hub_alone() {
    let fake = Plan { token: Some("hf_secret"), ..Plan::new(tiny()) }.start();
    let dir = tempfile::tempdir().unwrap();
    let hub = hub(dir.path(), &fake).token(Secret::new("hf_secret"));
    assert!(!format!("{hub:?}").contains("hf_secret"));
    download(&hub, "org/tiny", &[]).unwrap();
    let seen = fake.origin.seen();
    assert!(seen.iter().all(|it| it.header("authorization") == Some("Bearer hf_secret")));
    assert_eq!(fake.storage.seen().len(), 1);
    assert!(fake.storage.seen().iter().all(|it| it.header("authorization").is_none()));
}

/// A renamed repository is at another path of the same hub; a mirror sends its clients on without a word of its own.
#[test]
fn redirects_keep_the_token_at_the_same_origin_and_lose_it_elsewhere() {
    let renamed =
        Plan { token: Some("hf_secret"), ..Plan::new(tiny()) }.fault(|request, stream| {
            let Some(rest) = request.path.split_once("org/old") else { return false };
            let to = format!("Location: {}org/tiny{}", rest.0, rest.1);
            crate::server::answer(stream, "307 Temporary Redirect", &[&to], b"");
            true
        });
    let fake = renamed.start();
    let dir = tempfile::tempdir().unwrap();
    let hub_with_token = hub(dir.path(), &fake).token(Secret::new("hf_secret"));
    let folder = download(&hub_with_token, "org/old", &[]).unwrap();
    assert!(folder.starts_with(dir.path().join("hub/models--org--old")), "{}", folder.display());
    assert_eq!(names(&folder), ["config.json", "model.safetensors", "tokenizer.json"]);

    let behind = Plan::new(tiny()).start();
    let target = behind.origin.url("");
    let mirror = Plan::new([]).fault(move |request, stream| {
        let to = format!("Location: {}{}", target.trim_end_matches('/'), request.path);
        crate::server::answer(stream, "308 Permanent Redirect", &[&to], b"");
        true
    });
    let mirror = mirror.start();
    let dir = tempfile::tempdir().unwrap();
    let hub = hub(dir.path(), &mirror).token(Secret::new("hf_secret"));
    download(&hub, "org/tiny", &[]).unwrap();
    assert!(behind.origin.seen().iter().all(|it| it.header("authorization").is_none()));
    assert!(mirror.origin.seen().iter().all(|it| it.header("authorization").is_some()));
}

#[test]
fn content_that_another_revision_has_is_linked_and_not_downloaded() {
    let dir = tempfile::tempdir().unwrap();
    let first = Plan::new(tiny()).start();
    download(&hub(dir.path(), &first), "org/tiny", &[]).unwrap();
    let commit = "f".repeat(40);
    let mut files = tiny();
    files[0].1 = Entry::small("{\"model_type\": \"gpt2\"}");
    let second = Plan { commit: commit.clone(), ..Plan::new(files) }.start();
    let folder = download(&hub(dir.path(), &second), "org/tiny", &[]).unwrap();
    assert!(folder.ends_with(&commit));
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), content());
    assert_eq!(second.storage.seen().len(), 0);
    assert_eq!(gets(&second.origin.seen()).len(), 1);
    assert_eq!(fs::read_to_string(repository(dir.path()).join("refs/main")).unwrap(), commit);
}

#[test]
fn concurrent_downloads_send_one_request_for_each_content() {
    let mut files = tiny();
    // The same content under a second name.
    files[2].1 = files[0].1.clone();
    let fake = Plan { delay: Duration::from_millis(200), ..Plan::new(files) }.start();
    let dir = tempfile::tempdir().unwrap();
    let hub = hub(dir.path(), &fake);
    let folders: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| download(&hub, "org/tiny", &[]).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(folders.iter().all(|folder| folder == &folders[0]));
    assert_eq!(gets(&fake.origin.seen()).len(), 1);
    assert_eq!(fake.storage.seen().len(), 1);
}

#[test]
fn shards_are_downloaded_at_once_and_at_most_eight() {
    let shards: Vec<String> = (0..12).map(|at| format!("model-{at}.safetensors")).collect();
    let mut plan = Plan { delay: Duration::from_millis(150), ..Plan::new([]) };
    for shard in &shards {
        plan.files.insert(shard.clone(), Entry::large(shard.as_bytes()));
    }
    let fake = plan.start();
    let dir = tempfile::tempdir().unwrap();
    let folder = download(&hub(dir.path(), &fake), "org/tiny", &["*.safetensors"]).unwrap();
    assert_eq!(names(&folder).len(), 12);
    let most = fake.most.load(Ordering::SeqCst);
    assert!((2..=8).contains(&most), "{most}");
}

#[test]
fn progress_counts_all_files_and_ends_complete() {
    #[derive(Default)]
    struct Reports(Vec<(u64, u64)>);
    impl Report for Reports {
        fn line(&mut self, _: &str) {}
        fn metric(&mut self, _: &str, _: u64, _: f64) {}
        fn progress(&mut self, unit: &str, done: u64, total: u64) {
            assert_eq!(unit, "bytes");
            self.0.push((done, total));
        }
    }
    let index = r#"{"weight_map": {"a": "one.safetensors"}}"#;
    let fake = Plan::new([
        ("config.json", Entry::small("{}")),
        ("model.safetensors.index.json", Entry::small(index)),
        ("one.safetensors", Entry::large(content())),
    ])
    .start();
    let dir = tempfile::tempdir().unwrap();
    let mut reports = Reports::default();
    let hub = hub(dir.path(), &fake);
    hub.model("org/tiny").unwrap().download(&CancelToken::new(), &mut reports).unwrap();
    let before = (index.len() + 2) as u64;
    let size = content().len() as u64 + before;
    assert_eq!(reports.0[0], (0, before));
    assert_eq!(*reports.0.last().unwrap(), (size, size));
    assert!(reports.0.is_sorted(), "{:?}", reports.0);
}

#[test]
fn a_local_folder_of_the_name_is_preferred() {
    let fake = Plan::new(tiny()).start();
    let dir = tempfile::tempdir().unwrap();
    let local = dir.path().join("org/tiny");
    fs::create_dir_all(&local).unwrap();
    let hub = hub(dir.path(), &fake);
    let model = hub.model(local.to_str().unwrap()).unwrap();
    assert_eq!(model.download(&CancelToken::new(), &mut Silent).unwrap(), local);
    assert_eq!(fake.origin.seen().len(), 0);
}
