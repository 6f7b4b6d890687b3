//! Interrupted downloads, and content that is not what its tag says.

use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};

use cog_train::progress::Silent;
use cog_train::{CancelToken, Error};

use crate::fake::{Entry, Plan};
use crate::server::{answer, head};
use crate::{content, download, hub, names, reason, repository, tiny};

/// Sends half of a body that was promised whole.
fn half(stream: &mut std::net::TcpStream, etag: &str, body: &[u8]) {
    let lines = [format!("Content-Length: {}", body.len()), format!("ETag: {etag}")];
    head(stream, "200 OK", &lines);
    let _ = stream.write_all(&body[..body.len() / 2]);
}

#[test]
fn a_cut_download_resumes_at_its_last_byte() {
    let plan = Plan::new(tiny()).storage_fault(|request, stream| {
        if request.number == 0 {
            half(stream, "\"store-1\"", &content());
        }
        request.number == 0
    });
    let fake = plan.start();
    let dir = tempfile::tempdir().unwrap();
    let folder = download(&hub(dir.path(), &fake), "org/tiny", &[]).unwrap();
    assert!(fs::read(folder.join("model.safetensors")).unwrap() == content());
    let seen = fake.storage.seen();
    assert_eq!(seen.len(), 2);
    let from = format!("bytes={}-", content().len() / 2);
    assert_eq!(seen[1].header("range"), Some(from.as_str()));
    // The digest decides, and the storage does not know the hub's tag.
    assert_eq!(seen[1].header("if-range"), None);
}

/// The partial file has the name that Python gives it, and may be of another process or another program.
#[test]
fn a_partial_file_is_resumed_when_it_is_the_beginning_and_replaced_when_not() {
    let weights = Entry::large(content());
    let size = content().len();
    let mut wrong = content()[..1000].to_vec();
    wrong[500] ^= 1;
    for (left, ranges) in [
        (content()[..1000].to_vec(), vec![Some("bytes=1000-".to_owned())]),
        (wrong, vec![Some("bytes=1000-".to_owned()), None]),
        (content(), vec![]),
        (vec![7; size], vec![None]),
        (vec![7; size + 1], vec![None]),
        (Vec::new(), vec![None]),
    ] {
        let fake = Plan::new(tiny()).start();
        let dir = tempfile::tempdir().unwrap();
        let blobs = repository(dir.path()).join("blobs");
        fs::create_dir_all(&blobs).unwrap();
        fs::write(blobs.join(format!("{}.incomplete", weights.blob())), &left).unwrap();
        let files = ["model.safetensors"];
        let folder = download(&hub(dir.path(), &fake), "org/tiny", &files).unwrap();
        assert!(fs::read(folder.join("model.safetensors")).unwrap() == content());
        assert_eq!(names(&blobs), [weights.blob()]);
        let seen = fake.storage.seen();
        let sent: Vec<Option<String>> =
            seen.iter().map(|request| request.header("range").map(str::to_owned)).collect();
        assert_eq!(sent, ranges, "{}", left.len());
    }
}

#[test]
fn a_tag_that_is_no_digest_is_a_condition_and_a_weak_one_is_not() {
    for (etag, resumes) in [("\"opaque-7\"", true), ("W/\"opaque-7\"", false)] {
        let entry = Entry { etag: Some(etag.to_owned()), ..Entry::small(content()) };
        let plan = Plan::new([("config.json", entry.clone())]).fault(move |request, stream| {
            let is_first = request.method == "GET"
                && request.path.contains("/resolve-cache/")
                && request.header("range").is_none()
                && request.number < 6;
            if is_first {
                half(stream, etag, &content());
            }
            is_first
        });
        let fake = plan.start();
        let dir = tempfile::tempdir().unwrap();
        let folder = download(&hub(dir.path(), &fake), "org/tiny", &["config.json"]).unwrap();
        assert!(fs::read(folder.join("config.json")).unwrap() == content());
        assert_eq!(names(&repository(dir.path()).join("blobs")), ["opaque-7"]);
        let seen = fake.origin.seen();
        let last = seen.last().unwrap();
        assert_eq!(last.header("range").is_some(), resumes, "{etag}");
        assert_eq!(last.header("if-range"), resumes.then_some("\"opaque-7\""), "{etag}");
    }
}

#[test]
fn content_that_is_not_its_digest_is_refused_and_not_kept() {
    let bad = |entry: Entry| {
        let mut sent = entry.content.clone();
        sent[1] ^= 1;
        Entry { sent: Some(sent), ..entry }
    };
    for (name, entry, kind) in [
        ("model.safetensors", bad(Entry::large(content())), "SHA-256 digest"),
        ("config.json", bad(Entry::small("{\"a\": 1}")), "git object id"),
    ] {
        let wanted = entry.blob();
        let fake = Plan::new([(name, entry)]).start();
        let dir = tempfile::tempdir().unwrap();
        let said = reason(download(&hub(dir.path(), &fake), "org/tiny", &[name]));
        assert!(said.starts_with(&format!("`{name}`: the content has the {kind} `")), "{said}");
        assert!(said.ends_with(&format!("` instead of `{wanted}`")), "{said}");
        let repository = repository(dir.path());
        assert!(names(&repository.join("blobs")).is_empty());
        assert!(names(&repository.join("refs")).is_empty());
    }
}

/// Some mirrors answer with the digest of the content itself.
#[test]
fn a_tag_may_be_the_sha1_digest_of_the_content() {
    let etag = "\"aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d\"".to_owned();
    let entry = Entry { etag: Some(etag), ..Entry::small("hello") };
    let fake = Plan::new([("config.json", entry)]).start();
    let dir = tempfile::tempdir().unwrap();
    assert!(download(&hub(dir.path(), &fake), "org/tiny", &["config.json"]).is_ok());
}

#[test]
fn content_of_another_size_is_refused() {
    let size = content().len() as u64;
    for promised in [size - 1, size + 1] {
        let entry = Entry { size: Some(promised), ..Entry::large(content()) };
        let fake = Plan::new([("model.safetensors", entry)]).start();
        let dir = tempfile::tempdir().unwrap();
        let said = reason(download(&hub(dir.path(), &fake), "org/tiny", &["model.safetensors"]));
        assert_eq!(
            said,
            format!("`model.safetensors`: the server sends {size} bytes instead of {promised}")
        );
        assert!(names(&repository(dir.path()).join("blobs")).is_empty());
    }
}

#[test]
fn a_refused_range_restarts_the_download() {
    let plan = Plan::new(tiny()).storage_fault(|request, stream| {
        if request.header("range").is_some() {
            answer(stream, "416 Range Not Satisfiable", &[], b"");
        }
        request.header("range").is_some()
    });
    let fake = plan.start();
    let dir = tempfile::tempdir().unwrap();
    let blobs = repository(dir.path()).join("blobs");
    fs::create_dir_all(&blobs).unwrap();
    let partial = format!("{}.incomplete", Entry::large(content()).blob());
    fs::write(blobs.join(partial), &content()[..1000]).unwrap();
    let folder = download(&hub(dir.path(), &fake), "org/tiny", &[]).unwrap();
    assert!(fs::read(folder.join("model.safetensors")).unwrap() == content());
    assert_eq!(fake.storage.seen().len(), 2);
}

#[test]
fn a_busy_hub_is_retried_after_the_pause_that_it_wants() {
    let plan = Plan::new(tiny())
        .fault(|request, stream| {
            if request.number == 0 {
                answer(stream, "429 Too Many Requests", &["Retry-After: 1"], b"");
            }
            request.number == 0
        })
        .storage_fault(|request, stream| {
            if request.number == 0 {
                answer(stream, "503 Service Unavailable", &[], b"");
            }
            request.number == 0
        });
    let fake = plan.start();
    let dir = tempfile::tempdir().unwrap();
    let begin = Instant::now();
    download(&hub(dir.path(), &fake), "org/tiny", &[]).unwrap();
    assert!(begin.elapsed() >= Duration::from_secs(1));
    assert_eq!(fake.storage.seen().len(), 2);
}

#[test]
fn a_cancelled_download_stops_at_once_and_is_resumed() {
    let plan = Plan::new(tiny()).storage_fault(|request, stream| {
        if request.number == 0 {
            half(stream, "\"store-1\"", &content());
            std::thread::sleep(Duration::from_secs(20));
        }
        request.number == 0
    });
    let fake = plan.start();
    let dir = tempfile::tempdir().unwrap();
    let hub = hub(dir.path(), &fake).timeout(Duration::from_secs(15));
    let token = CancelToken::new();
    let copy = token.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(700));
        copy.cancel();
    });
    let begin = Instant::now();
    let model = hub.model("org/tiny").unwrap();
    let said = model.download(&token, &mut Silent).unwrap_err();
    assert!(matches!(said, Error::Cancelled), "{said}");
    assert!(begin.elapsed() < Duration::from_millis(1700), "{:?}", begin.elapsed());
    let partial = format!("{}.incomplete", Entry::large(content()).blob());
    let blobs = repository(dir.path()).join("blobs");
    assert!(names(&blobs).contains(&partial), "{:?}", names(&blobs));
    // A half-downloaded snapshot is not what the branch stands for.
    assert!(names(&repository(dir.path()).join("refs")).is_empty());

    let folder = model.download(&CancelToken::new(), &mut Silent).unwrap();
    assert!(fs::read(folder.join("model.safetensors")).unwrap() == content());
    assert!(fake.storage.seen()[1].header("range").is_some());
    assert!(!names(&blobs).contains(&partial));
}

/// Another process holds the content's lock, and downloads it or not.
#[test]
fn a_download_waits_for_the_lock_and_can_be_cancelled_meanwhile() {
    let weights = Entry::large(content());
    let fake = Plan::new(tiny()).start();
    let dir = tempfile::tempdir().unwrap();
    let hub = hub(dir.path(), &fake);
    let model = hub.model("org/tiny").unwrap().files(["model.safetensors"]);
    let locks = dir.path().join("hub/.locks/models--org--tiny");
    fs::create_dir_all(&locks).unwrap();
    let lock = fs::File::create(locks.join(format!("{}.lock", weights.blob()))).unwrap();
    lock.lock().unwrap();
    let token = CancelToken::new();
    let copy = token.clone();
    let waiting = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        copy.cancel();
    });
    assert!(matches!(model.download(&token, &mut Silent), Err(Error::Cancelled)));
    waiting.join().unwrap();

    let blobs = repository(dir.path()).join("blobs");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| model.download(&CancelToken::new(), &mut Silent).unwrap());
        std::thread::sleep(Duration::from_millis(300));
        fs::write(blobs.join(weights.blob()), &weights.content).unwrap();
        drop(lock);
        let folder = waiting.join().unwrap();
        assert!(fs::read(folder.join("model.safetensors")).unwrap() == weights.content);
    });
    assert_eq!(fake.storage.seen().len(), 0);
}

#[test]
fn a_disk_without_room_is_noticed_before_the_download() {
    let mut files = tiny();
    files[1].1.size = Some(1 << 60);
    let fake = Plan::new(files).start();
    let dir = tempfile::tempdir().unwrap();
    let said = download(&hub(dir.path(), &fake), "org/tiny", &[]).unwrap_err();
    assert!(matches!(said, Error::DiskSpace { .. }), "{said:?}");
    let said = said.to_string();
    let start = "the download of `org/tiny@main` needs 1048576 TiB on the disk of `";
    assert!(said.starts_with(start), "{said}");
    assert!(said.ends_with("\nhint: name a folder on another disk with `HF_HOME`"), "{said}");
    assert_eq!(fake.storage.seen().len(), 0);
    assert!(!dir.path().join("hub").exists());
}
