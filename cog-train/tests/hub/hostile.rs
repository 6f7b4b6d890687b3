//! Names from a server and links in the cache that lead elsewhere: nothing is written or read there.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use cog_train::Error;

use crate::fake::{COMMIT, Entry, Plan};
use crate::server::answer;
use crate::{content, download, hub, names, reason, repository, tiny};

#[test]
fn names_that_lead_out_of_the_snapshot_are_refused() {
    let names = [
        "../x.json",
        "a/../../x.json",
        "/etc/x.json",
        "a//x.json",
        "./x.json",
        "a\\x.json",
        "C:/x.json",
        "a\nx.json",
    ];
    for name in names {
        let fake = Plan::new([(name, Entry::small("{}"))]).start();
        let dir = tempfile::tempdir().unwrap();
        let said = reason(download(&hub(dir.path(), &fake), "org/tiny", &["**.json"]));
        assert!(said.ends_with("` is not a safe name of a file"), "{name}: {said}");
        assert_eq!(fake.origin.seen().len(), 1);
        assert!(!dir.path().join("hub").exists(), "{name}");
    }
}

#[test]
fn commits_and_tags_that_are_paths_are_refused() {
    for commit in ["../../../x", "main", "", &COMMIT[1..], &COMMIT.to_uppercase()] {
        let fake = Plan { commit: commit.to_owned(), ..Plan::new(tiny()) }.start();
        let dir = tempfile::tempdir().unwrap();
        let said = reason(download(&hub(dir.path(), &fake), "org/tiny", &[]));
        assert!(said.contains("does not answer like a hub"), "{commit}: {said}");
        assert!(!dir.path().join("hub").exists());
    }
    for etag in ["\"../../x\"", "\"a/b\"", "\"\"", "\"..\"", "\".incomplete\"", "W/\"a\\b\""] {
        let entry = Entry { etag: Some(etag.to_owned()), ..Entry::small("{}") };
        let fake = Plan::new([("config.json", entry)]).start();
        let dir = tempfile::tempdir().unwrap();
        let said = reason(download(&hub(dir.path(), &fake), "org/tiny", &["config.json"]));
        assert!(said.contains("does not answer like a hub"), "{etag}: {said}");
        assert!(!dir.path().join("hub").exists());
    }
}

#[test]
fn a_file_of_another_commit_is_refused() {
    let plan = Plan::new(tiny()).fault(|request, stream| {
        if request.method == "HEAD" {
            let lines = [&*format!("X-Repo-Commit: {}", "f".repeat(40)), "ETag: \"abc\""];
            answer(stream, "200 OK", &lines, b"");
        }
        request.method == "HEAD"
    });
    let fake = plan.start();
    let dir = tempfile::tempdir().unwrap();
    let said = reason(download(&hub(dir.path(), &fake), "org/tiny", &["config.json"]));
    let other = "f".repeat(40);
    assert_eq!(
        said,
        format!("the hub answers with `config.json` of commit `{other}` instead of `{COMMIT}`")
    );
}

/// Each link is one that a process with a part in a shared cache could plant.
#[test]
fn links_out_of_the_cache_are_refused() {
    let weights = Entry::large(content()).blob();
    let snapshot = format!("snapshots/{COMMIT}");
    for link in [
        "blobs".to_owned(),
        "snapshots".to_owned(),
        snapshot.clone(),
        format!("{snapshot}/config.json"),
        "refs".to_owned(),
        format!("blobs/{weights}"),
        format!("blobs/{weights}.incomplete"),
    ] {
        let fake = Plan::new(tiny()).start();
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        let path = repository(dir.path()).join(&link);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let is_file = link.contains("config") || link.starts_with("blobs/");
        if is_file {
            fs::write(outside.join("victim"), "mine").unwrap();
            symlink(outside.join("victim"), &path).unwrap();
        } else {
            symlink(&outside, &path).unwrap();
        }
        let said = download(&hub(dir.path(), &fake), "org/tiny", &[]).unwrap_err();
        assert!(matches!(said, Error::File { .. }), "{link}: {said}");
        if is_file {
            assert_eq!(fs::read(outside.join("victim")).unwrap(), b"mine", "{link}");
        } else {
            assert!(names(&outside).is_empty(), "{link}");
        }
    }
}

#[test]
fn a_repository_may_lie_on_another_disk() {
    let fake = Plan::new(tiny()).start();
    let dir = tempfile::tempdir().unwrap();
    let (cache, disk) = (dir.path().join("hub"), dir.path().join("disk"));
    fs::create_dir(&cache).unwrap();
    fs::create_dir(&disk).unwrap();
    symlink(&disk, repository(dir.path())).unwrap();
    let folder = download(&hub(dir.path(), &fake), "org/tiny", &[]).unwrap();
    assert_eq!(names(&folder), ["config.json", "model.safetensors", "tokenizer.json"]);
    assert_eq!(names(&disk), ["blobs", "refs", "snapshots"]);
    assert!(download(&hub(dir.path(), &fake).offline(true), "org/tiny", &[]).is_ok());
}

/// A repository may hold a file and, in another commit's listing, a folder of the same name.
#[test]
fn a_file_that_is_also_a_folder_is_an_error() {
    let plan = Plan::new([("a.json", Entry::small("1")), ("a.json/b.json", Entry::small("2"))]);
    let fake = plan.start();
    let dir = tempfile::tempdir().unwrap();
    let said = download(&hub(dir.path(), &fake), "org/tiny", &["**.json"]).unwrap_err();
    assert!(matches!(said, Error::File { .. }), "{said}");
    assert!(!Path::new("b.json").exists());
}
