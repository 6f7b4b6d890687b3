//! Fetching from servers that behave, interrupt, lie, or stay silent.

#[path = "hostile/server.rs"]
mod server;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cog_train::fetch::Fetcher;
use cog_train::progress::{Report, Silent};
use cog_train::{CancelToken, Error};
use server::{Request, Server, answer, head, sha256};

fn fetcher(dir: &Path) -> Fetcher {
    Fetcher::new(dir.join("cache"))
        .timeout(Duration::from_secs(5))
        .retries(2, Duration::from_millis(10))
}

fn get(fetcher: &Fetcher, url: &str) -> Result<std::path::PathBuf, Error> {
    fetcher.fetch(url, &CancelToken::new(), &mut Silent)
}

/// The reason of a refusal.
fn reason(said: Result<std::path::PathBuf, Error>) -> String {
    match said {
        Err(Error::Fetch { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

fn count(dir: &Path) -> usize {
    fs::read_dir(dir).map_or(0, Iterator::count)
}

/// Content that shows a wrong place.
fn content() -> Vec<u8> {
    (0..600_000_u32).flat_map(u32::to_le_bytes).collect()
}

/// Sends the half of a body that was promised whole.
fn half(stream: &mut std::net::TcpStream, etag: &str, body: &[u8]) {
    let lines = [format!("Content-Length: {}", body.len()), format!("ETag: {etag}")];
    head(stream, "200 OK", &lines);
    let _ = stream.write_all(&body[..body.len() / 2]);
}

/// Answers a request for the rest, as a good server does.
fn rest(request: &Request, stream: &mut std::net::TcpStream, etag: &str, body: &[u8]) {
    let from: usize = request
        .header("range")
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok())
        .expect("a range");
    assert_eq!(request.header("if-range"), Some(etag));
    let range = format!("Content-Range: bytes {from}-{}/{}", body.len() - 1, body.len());
    answer(stream, "206 Partial Content", &[&range, &format!("ETag: {etag}")], &body[from..]);
}

#[test]
fn a_second_fetch_sends_no_request() {
    let server = Server::start(|_, stream| answer(stream, "200 OK", &[], b"hello"));
    let dir = tempfile::tempdir().unwrap();
    let url = server.url("some/my%20data.jsonl?token=secret");
    let path = get(&fetcher(dir.path()), &url).unwrap();
    assert_eq!(path, dir.path().join("cache").join(sha256(b"hello")).join("my data.jsonl"));
    assert_eq!(fs::read(&path).unwrap(), b"hello");
    assert_eq!(get(&fetcher(dir.path()), &url).unwrap(), path);
    assert_eq!(server.seen().len(), 1);
    let seen = &server.seen()[0];
    assert_eq!(seen.method, "GET");
    assert_eq!(seen.path, "/some/my%20data.jsonl?token=secret");
    assert_eq!(seen.header("accept-encoding"), Some("identity"));
    if std::env::var_os("COG_USER_AGENT").is_none() {
        assert_eq!(
            seen.header("user-agent"),
            Some(concat!("cog-train/", env!("CARGO_PKG_VERSION")))
        );
    }

    // What was changed on the disk is not what was fetched.
    fs::write(&path, b"jello").unwrap();
    assert_eq!(fs::read(get(&fetcher(dir.path()), &url).unwrap()).unwrap(), b"hello");
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn an_altered_file_in_the_cache_is_not_what_a_digest_means() {
    let server = Server::start(|_, stream| answer(stream, "200 OK", &[], b"hello"));
    let dir = tempfile::tempdir().unwrap();
    let url = format!("{}#sha256={}", server.url("a.txt"), sha256(b"hello"));
    let path = get(&fetcher(dir.path()), &url).unwrap();
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    // Of the same size and time.
    fs::write(&path, b"jello").unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    assert_eq!(fs::read(get(&fetcher(dir.path()), &url).unwrap()).unwrap(), b"hello");
    assert_eq!(server.seen().len(), 2);

    // Another name for the content, which something else has taken.
    let folder = path.parent().unwrap();
    fs::write(folder.join("b.txt"), b"other").unwrap();
    let other = format!("{}#sha256={}", server.url("b.txt"), sha256(b"hello"));
    let other = get(&fetcher(dir.path()), &other).unwrap();
    assert_eq!((&*other, fs::read(&other).unwrap()), (&*folder.join("b.txt"), b"hello".to_vec()));
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn a_fetch_removes_what_killed_processes_left_and_cannot_be_resumed() {
    let server = Server::start(|_, stream| answer(stream, "200 OK", &[], b"hello"));
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    fs::create_dir(&cache).unwrap();
    // Without locks, as after a kill. The second can be resumed.
    for name in ["aa.part", "bb.part", "bb.tag", ".fetch-1b2c3d4e5f.partial", ".fetch-notes"] {
        fs::write(cache.join(name), "x").unwrap();
    }
    // A download of a living process.
    let living = fs::File::create(cache.join("cc.part")).unwrap();
    living.try_lock().unwrap();
    let path = get(&fetcher(dir.path()), &server.url("a.txt")).unwrap();
    let folder = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
    let mut names: Vec<String> = fs::read_dir(&cache)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_none_or(|extension| extension != "json"))
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .filter(|name| name != folder)
        .collect();
    names.sort();
    assert_eq!(names, [".fetch-notes", "bb.part", "bb.tag", "cc.part"]);
}

#[test]
fn concurrent_fetches_of_one_address_send_one_request() {
    let server = Server::start(|_, stream| {
        std::thread::sleep(Duration::from_millis(300));
        answer(stream, "200 OK", &[], b"hello");
    });
    let dir = tempfile::tempdir().unwrap();
    let url = server.url("a.txt");
    let paths: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| get(&fetcher(dir.path()), &url).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(paths.iter().all(|path| path == &paths[0]));
    assert_eq!(server.seen().len(), 1);
    // The file's folder and the note.
    assert_eq!(count(&dir.path().join("cache")), 2);
}

#[test]
fn an_interrupted_download_resumes_at_its_last_byte() {
    let body = Arc::new(content());
    let sent = Arc::clone(&body);
    let server = Server::start(move |request, stream| match request.number {
        0 => half(stream, "\"one\"", &sent),
        _ => rest(request, stream, "\"one\"", &sent),
    });
    let dir = tempfile::tempdir().unwrap();
    let path = get(&fetcher(dir.path()), &server.url("a.bin")).unwrap();
    assert!(fs::read(path).unwrap() == *body);
    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].header("range"), Some(format!("bytes={}-", body.len() / 2).as_str()));
    assert_eq!(count(&dir.path().join("cache")), 2);
}

#[test]
fn another_fetcher_resumes_an_interrupted_download() {
    let body = Arc::new(content());
    let sent = Arc::clone(&body);
    let server = Server::start(move |request, stream| match request.number {
        0 => half(stream, "\"one\"", &sent),
        1 => answer(stream, "503 Service Unavailable", &[], b""),
        _ => rest(request, stream, "\"one\"", &sent),
    });
    let dir = tempfile::tempdir().unwrap();
    let url = server.url("a.bin");
    let said = reason(get(&fetcher(dir.path()), &url));
    assert_eq!(said, "gave up after 2 attempts: the server answered 503 Service Unavailable");
    let path = get(&fetcher(dir.path()), &url).unwrap();
    assert!(fs::read(path).unwrap() == *body);
    assert!(server.seen()[2].header("range").is_some());
}

#[test]
fn content_that_changed_meanwhile_is_downloaded_again() {
    let (old, new) = (content(), b"quite another".to_vec());
    let sent = new.clone();
    let server = Server::start(move |request, stream| match request.number {
        0 => half(stream, "\"old\"", &old),
        // `If-Range` does not hold, so the whole comes.
        _ => answer(stream, "200 OK", &["ETag: \"new\""], &sent),
    });
    let dir = tempfile::tempdir().unwrap();
    let path = get(&fetcher(dir.path()), &server.url("a.bin")).unwrap();
    assert_eq!(fs::read(path).unwrap(), new);
}

#[test]
fn a_wrong_range_is_never_appended() {
    for lie in ["bytes 7-9/10", "bytes */10", ""] {
        let body = content();
        let sent = body.clone();
        let server = Server::start(move |request, stream| match request.number {
            0 => half(stream, "\"one\"", &sent),
            1 => answer(stream, "206 Partial Content", &[&format!("Content-Range: {lie}")], b"xxx"),
            _ => answer(stream, "200 OK", &[], &sent),
        });
        let dir = tempfile::tempdir().unwrap();
        let path = get(&fetcher(dir.path()), &server.url("a.bin")).unwrap();
        assert!(fs::read(path).unwrap() == body, "{lie}");
        assert_eq!(server.seen()[2].header("range"), None);
    }
}

#[test]
fn a_server_that_refuses_every_range_is_given_up() {
    let server = Server::start(|request, stream| match request.header("range") {
        None => half(stream, "\"one\"", &content()),
        Some(_) => answer(stream, "416 Range Not Satisfiable", &[], b""),
    });
    let dir = tempfile::tempdir().unwrap();
    let said = reason(get(&fetcher(dir.path()), &server.url("a.bin")));
    assert!(said.starts_with("the content changes during the download"), "{said}");
    assert_eq!(count(dir.path()), 0);
}

#[test]
fn a_cut_body_without_a_tag_is_refused_and_nothing_is_kept() {
    let server = Server::start(|_, stream| {
        head(stream, "200 OK", &["Content-Length: 1000".to_owned(), "ETag: W/\"weak\"".to_owned()]);
        let _ = stream.write_all(&[7; 600]);
    });
    let dir = tempfile::tempdir().unwrap();
    let said = reason(get(&fetcher(dir.path()), &server.url("a.bin")));
    assert!(said.starts_with("gave up after 2 attempts: "), "{said}");
    assert!(said.ends_with("the connection ended early"), "{said}");
    assert_eq!(server.seen().len(), 2);
    assert_eq!(server.seen()[1].header("range"), None);
    assert_eq!(count(dir.path()), 0);
}

#[test]
fn transient_errors_are_retried_and_permanent_ones_are_not() {
    for (status, asked) in [
        ("404 Not Found", 1),
        ("403 Forbidden", 1),
        ("204 No Content", 1),
        ("301 Moved Permanently", 1),
        ("429 Too Many Requests", 2),
        ("500 Internal Server Error", 2),
        ("504 Gateway Timeout", 2),
    ] {
        let server = Server::start(move |_, stream| answer(stream, status, &[], b""));
        let dir = tempfile::tempdir().unwrap();
        let said = reason(get(&fetcher(dir.path()), &server.url("a.bin")));
        assert!(said.contains(status) || status.starts_with("301"), "{status}: {said}");
        assert_eq!(server.seen().len(), asked, "{status}: {said}");
        assert_eq!(count(dir.path()), 0, "{status}");
    }
    let server = Server::start(|request, stream| match request.number {
        0 => answer(stream, "503 Service Unavailable", &["Retry-After: 1"], b""),
        _ => answer(stream, "200 OK", &[], b"now"),
    });
    let dir = tempfile::tempdir().unwrap();
    let begin = Instant::now();
    assert!(get(&fetcher(dir.path()), &server.url("a.bin")).is_ok());
    assert!(begin.elapsed() >= Duration::from_secs(1));
}

#[test]
fn the_limit_holds_before_and_during_a_download() {
    let server = Server::start(|request, stream| match request.path.as_str() {
        "/length" => answer(stream, "200 OK", &["ETag: \"one\""], &[7; 101]),
        "/chunked" => {
            head(stream, "200 OK", &["Transfer-Encoding: chunked".to_owned()]);
            while stream.write_all(b"8\r\n12345678\r\n").is_ok() {}
        }
        _ => answer(stream, "200 OK", &[], &[7; 100]),
    });
    let dir = tempfile::tempdir().unwrap();
    let fetcher = fetcher(dir.path()).limit(100);
    assert_eq!(
        reason(get(&fetcher, &server.url("length"))),
        "has 101 bytes, more than the limit of 100"
    );
    assert_eq!(
        reason(get(&fetcher, &server.url("chunked"))),
        "has more bytes than the limit of 100"
    );
    assert_eq!(
        reason(get(&fetcher, &format!("data:,{}", "x".repeat(101)))),
        "has 101 bytes, more than the limit of 100"
    );
    assert_eq!(count(dir.path()), 0);
    assert!(get(&fetcher, &server.url("fits")).is_ok());
}

#[test]
fn a_digest_must_match_and_finds_cached_content() {
    let server = Server::start(|request, stream| {
        let status = if request.path == "/gone" { "404 Not Found" } else { "200 OK" };
        answer(stream, status, &[], b"hello");
    });
    let (good, bad) = (sha256(b"hello"), sha256(b"jello"));
    let dir = tempfile::tempdir().unwrap();
    let fetcher = fetcher(dir.path());
    let said = reason(get(&fetcher, &format!("{}#sha256={bad}", server.url("a.bin"))));
    assert_eq!(said, format!("the content has the SHA-256 digest `{good}` instead of `{bad}`"));
    assert_eq!(count(dir.path()), 0);
    let said = reason(get(&fetcher, &format!("{}#sha256=12", server.url("a.bin"))));
    assert_eq!(said, "`#sha256=12` is not a digest of 64 hexadecimal digits");

    let path =
        get(&fetcher, &format!("{}#sha256={}", server.url("a.bin"), good.to_uppercase())).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"hello");
    let asked = server.seen().len();
    // The content is there already, under another name.
    let other = get(&fetcher, &format!("{}#sha256={good}", server.url("gone"))).unwrap();
    assert_eq!(
        (other.file_name().unwrap(), fs::read(&other).unwrap()),
        ("gone".as_ref(), b"hello".to_vec())
    );
    assert_eq!(server.seen().len(), asked);
    // A digest asked for after the fact, and another one.
    assert!(get(&fetcher, &format!("{}#sha256={bad}", server.url("a.bin"))).is_err());
    assert_eq!(get(&fetcher, &server.url("a.bin")).unwrap(), path);
}

#[test]
fn redirects_are_followed_ten_times_and_only_to_the_web() {
    let server = Server::start(|request, stream| match request.path.as_str() {
        "/loop" => answer(stream, "302 Found", &["Location: /loop"], b""),
        "/file" => answer(stream, "302 Found", &["Location: file:///etc/passwd"], b""),
        "/there" => answer(stream, "302 Found", &["Location: /data?x=1"], b""),
        _ => answer(stream, "200 OK", &[], b"data"),
    });
    let dir = tempfile::tempdir().unwrap();
    let fetcher = fetcher(dir.path());
    assert_eq!(reason(get(&fetcher, &server.url("loop"))), "more than 10 redirects");
    let said = reason(get(&fetcher, &server.url("file")));
    assert_eq!(said, "the server redirects to `file:///etc/passwd`");
    assert_eq!(count(dir.path()), 0);
    let path = get(&fetcher, &server.url("there")).unwrap();
    assert_eq!(server.seen().last().unwrap().path, "/data?x=1");
    assert_eq!(
        (path.file_name().unwrap(), fs::read(&path).unwrap()),
        ("there".as_ref(), b"data".to_vec())
    );
}

#[test]
fn a_compressed_transfer_is_decompressed_and_limited() {
    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }
    let server = Server::start(|request, stream| {
        let gz = &["Content-Encoding: gzip", "ETag: \"one\""][..];
        match request.path.as_str() {
            "/good" => answer(stream, "200 OK", gz, &gzip(b"hello")),
            "/bomb" => answer(stream, "200 OK", gz, &gzip(&vec![0; 1 << 20])),
            "/corrupt" => {
                answer(stream, "200 OK", gz, b"\x1f\x8b\x08\0\0\0\0\0\0\0\xff\xff\xff\xff");
            }
            "/cut" => answer(stream, "200 OK", gz, &gzip(&content())[..9000]),
            _ => answer(stream, "200 OK", &["Content-Encoding: br"], b"x"),
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let fetcher = fetcher(dir.path()).limit(1 << 18);
    assert_eq!(
        reason(get(&fetcher, &server.url("bomb"))),
        "has more bytes than the limit of 262144"
    );
    assert_eq!(
        reason(get(&fetcher, &server.url("br"))),
        "the server compresses the content by `br` instead of `identity`"
    );
    for broken in ["corrupt", "cut"] {
        let said = reason(get(&fetcher, &server.url(broken)));
        assert!(said.contains("gzip") || said.starts_with("gave up"), "{broken}: {said}");
    }
    assert_eq!(count(dir.path()), 0);
    assert_eq!(fs::read(get(&fetcher, &server.url("good")).unwrap()).unwrap(), b"hello");
}

#[test]
fn a_silent_server_is_left_on_cancel_and_on_timeout() {
    let server = Server::start(|request, stream| {
        if request.path == "/body" {
            half(stream, "\"one\"", &content());
        }
        std::thread::sleep(Duration::from_secs(20));
    });
    for path in ["head", "body"] {
        let dir = tempfile::tempdir().unwrap();
        let token = CancelToken::new();
        let copy = token.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(500));
            copy.cancel();
        });
        let begin = Instant::now();
        let fetcher = fetcher(dir.path()).timeout(Duration::from_secs(15));
        let said = fetcher.fetch(&server.url(path), &token, &mut Silent).unwrap_err();
        assert!(matches!(said, Error::Cancelled), "{path}: {said}");
        assert!(begin.elapsed() < Duration::from_millis(1500), "{path}: {:?}", begin.elapsed());
        // What can be resumed stays.
        assert_eq!(count(&dir.path().join("cache")), if path == "body" { 2 } else { 0 }, "{path}");
    }
    let dir = tempfile::tempdir().unwrap();
    let fetcher = fetcher(dir.path()).timeout(Duration::from_millis(250));
    let said = reason(get(&fetcher, &server.url("head")));
    assert_eq!(said, "gave up after 2 attempts: the server was silent for 0.25 seconds");
    assert_eq!(count(dir.path()), 0);
}

#[test]
fn a_cached_file_is_revalidated_on_request() {
    let version = Arc::new(AtomicUsize::new(1));
    let now = Arc::clone(&version);
    let server = Server::start(move |request, stream| {
        let now = now.load(Ordering::SeqCst);
        let etag = format!("ETag: \"v{now}\"");
        if request.header("if-none-match") == Some(&format!("\"v{now}\"")) {
            head(stream, "304 Not Modified", &[etag]);
        } else {
            answer(stream, "200 OK", &[&etag], format!("content {now}").as_bytes());
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let fetcher = fetcher(dir.path()).revalidate(true);
    let read = || fs::read_to_string(get(&fetcher, &server.url("a.txt")).unwrap()).unwrap();
    assert_eq!((read(), read()), ("content 1".to_owned(), "content 1".to_owned()));
    assert_eq!(server.seen()[1].header("if-none-match"), Some("\"v1\""));
    version.store(2, Ordering::SeqCst);
    assert_eq!(read(), "content 2");
    assert_eq!(server.seen().len(), 3);
    // A digest fixes the content, so no request is sent.
    let url = format!("{}#sha256={}", server.url("a.txt"), sha256(b"content 2"));
    get(&fetcher, &url).unwrap();
    assert_eq!(server.seen().len(), 3);
}

#[test]
fn no_message_shows_a_credential() {
    let server = Server::start(|request, stream| {
        assert!(request.header("authorization").is_some());
        answer(stream, "401 Unauthorized", &[], b"");
    });
    let dir = tempfile::tempdir().unwrap();
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    for password in ["hunter2/x", "hunter2?x", "hunter2#x", "12/hunter2"] {
        let url = format!("http://user:{password}@{}/a", server.address);
        let said = get(&fetcher(dir.path()), &url).unwrap_err();
        let shown = format!("{said} {said:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("user"), "{shown}");
    }
    for address in [server.address.as_str(), &closed, "host.invalid", "not a host", "[::"] {
        let url = format!("http://user:hunter2@{address}/a/b?token=hunter2&x=1#hunter2");
        let said = get(&fetcher(dir.path()), &url).unwrap_err();
        assert!(matches!(said, Error::Fetch { .. }), "{said:?}");
        assert!(!format!("{said} {said:?}").contains("hunter2"), "{said:?}");
        assert!(said.to_string().contains("/a/b"), "{said}");
    }
    assert_eq!(count(dir.path()), 0);
}

#[test]
fn servers_that_do_not_speak_http_are_refused() {
    let server = Server::start(|request, stream| {
        let _ = match request.path.as_str() {
            "/nonsense" => stream.write_all(b"220 ftp.example.com ready\r\n"),
            "/lengths" => stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
            ),
            "/chunks" => stream
                .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n"),
            "/headers" => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
                stream.write_all(&b"X: y\r\n".repeat(40_000))
            }
            _ => Ok(()),
        };
    });
    let dir = tempfile::tempdir().unwrap();
    for (path, says) in [
        ("nonsense", "the server does not speak HTTP: "),
        ("lengths", "the server does not speak HTTP: conflicting content-length"),
        ("chunks", "the server does not speak HTTP: chunk length"),
        ("headers", "the server does not speak HTTP: "),
        ("nothing", "gave up after 2 attempts: the connection ended early"),
    ] {
        let said = reason(get(&fetcher(dir.path()), &server.url(path)));
        assert!(said.starts_with(says), "{path}: {said}");
        assert_eq!(count(dir.path()), 0, "{path}");
    }
}

#[test]
fn progress_is_reported_and_ends_complete() {
    #[derive(Default)]
    struct Reports(Vec<(u64, u64)>);
    impl Report for Reports {
        fn line(&mut self, _: &str) {}
        fn metric(&mut self, _: &str, _: u64, _: f64) {}
        fn progress(&mut self, what: &str, done: u64, total: u64) {
            assert_eq!(what, "bytes");
            self.0.push((done, total));
        }
    }
    let server = Server::start(|_, stream| answer(stream, "200 OK", &[], &content()));
    let dir = tempfile::tempdir().unwrap();
    let mut reports = Reports::default();
    fetcher(dir.path()).fetch(&server.url("a"), &CancelToken::new(), &mut reports).unwrap();
    let size = content().len() as u64;
    assert_eq!((reports.0[0], *reports.0.last().unwrap()), ((0, size), (size, size)));
    assert!(reports.0.is_sorted());
}

#[test]
fn a_file_address_returns_its_own_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("my file.txt");
    fs::write(&path, "hello").unwrap();
    let url = format!("file://{}", path.display()).replace(' ', "%20");
    let fetcher = fetcher(dir.path());
    assert_eq!(get(&fetcher, &url).unwrap(), path);
    assert_eq!(get(&fetcher, &url.replace("file://", "FILE://localhost")).unwrap(), path);
    assert_eq!(get(&fetcher, &format!("{url}#sha256={}", sha256(b"hello"))).unwrap(), path);
    assert!(get(&fetcher, &format!("{url}#sha256={}", sha256(b"jello"))).is_err());
    assert_eq!(reason(get(&fetcher, &format!("file://{}", dir.path().display()))), "is not a file");
    assert!(reason(get(&fetcher, "file://host/a")).starts_with("is a file of another machine"));
    assert!(matches!(
        get(&fetcher, "file:///no/such/file"),
        Err(Error::File { action: "read", .. })
    ));
    assert_eq!(count(dir.path()), 1);
}

#[test]
fn data_addresses_are_decoded_and_named_by_media_type() {
    let dir = tempfile::tempdir().unwrap();
    let fetcher = fetcher(dir.path());
    for (url, name, content) in [
        ("data:,a%20b", "file.txt", "a b"),
        ("data:text/plain;charset=utf-8,a", "file.txt", "a"),
        ("data:text/plain;base64,aGVsbG8=", "file.txt", "hello"),
        ("data:application/octet-stream;base64,aGVsbG8", "file.bin", "hello"),
        ("data:application/json;base64,eyJhIjogMX0%3D", "file.json", "{\"a\": 1}"),
        ("data:application/jsonl,{}", "file.jsonl", "{}"),
        ("data:IMAGE/PNG,x", "file.png", "x"),
        ("data:application/x-unknown,x", "file", "x"),
        ("data:;base64,", "file.txt", ""),
    ] {
        let path = get(&fetcher, url).unwrap();
        assert_eq!(path.file_name().unwrap(), name, "{url}");
        assert_eq!(fs::read_to_string(path).unwrap(), content, "{url}");
    }
    for (url, says) in [
        ("data:text/plain", "has no comma"),
        ("data:;base64,a", "its base64 is not valid"),
        ("data:;base64,a=b=", "its base64 is not valid"),
        ("data:;base64,????", "its base64 is not valid"),
    ] {
        assert_eq!(reason(get(&fetcher, url)), says, "{url}");
    }
    assert!(reason(get(&fetcher, "s3://bucket/x")).starts_with("not an address"));
    let long =
        get(&fetcher, &format!("data:;base64,{}!", "QUJD".repeat(1000))).unwrap_err().to_string();
    assert!(long.len() < 200, "{long}");
}
