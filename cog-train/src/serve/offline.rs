//! The routes without a worker, for whoever tests what they do with any bytes.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, LazyLock};

use axum::Router;
use coglet::{Health, PredictionService};
use serde_json::json;
use tokio::net::UnixStream as Stream;
use tokio::runtime::Runtime;
use tokio::sync::RwLock;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::history::Unkept;
use super::listen::{Limits, serve};
use super::options::Options;
use super::routes;
use super::state::Server;
use crate::input::{InputType, Literal, Path, Spec};
use crate::run::{Kind, Role};

/// Inputs of every kind that reads text.
const TABLE: &[Spec] = &[
    Spec::new("epochs", <u32 as InputType>::TYPE).default(Literal::Int(3)),
    Spec::new("rate", <Option<f64> as InputType>::TYPE),
    Spec::new("data", <Option<Path> as InputType>::TYPE),
    Spec::new("more", <Option<Vec<Path>> as InputType>::TYPE),
    Spec::new("extra", <Option<serde_json::Value> as InputType>::TYPE),
    Spec::new("token", <Option<crate::Secret> as InputType>::TYPE),
];

async fn router() -> Router {
    let service = PredictionService::new_no_pool().with_health(Health::Ready);
    // With it, inputs are checked.
    service.set_schema(json!({})).await;
    let options = Options {
        kind: Kind::Train,
        worker_args: Vec::new(),
        host: "0.0.0.0".to_owned(),
        allow_hosts: Vec::new(),
        port: None,
        upload_url: None,
        await_explicit_shutdown: false,
        allow_local: false,
        device: None,
        config: None,
        grace: None,
    };
    routes::router(Arc::new(Server {
        role: Role::without_code(TABLE),
        options,
        document: json!({}),
        service: Arc::new(service),
        worker: RwLock::default(),
        tasks: TaskTracker::new(),
        unkept: Unkept::default(),
        stopping: CancellationToken::new(),
        giving_up: CancellationToken::new(),
    }))
}

/// Returns the answers to the bytes of a connection.
///
/// # Panics
///
/// When a route panics.
fn answers(sent: &[u8]) -> Vec<u8> {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        coglet::install_crypto_provider();
        Runtime::new().expect("a runtime")
    });
    let (mut client, server) = UnixStream::pair().expect("a pair of sockets");
    server.set_nonblocking(true).expect("a socket that does not block");
    let task = RUNTIME.spawn(async move {
        let stream = Stream::from_std(server).expect("a stream");
        let limits = Limits { half_close: true, ..Limits::default() };
        serve(stream, router().await, limits, CancellationToken::new()).await;
    });
    let mut writer = client.try_clone().expect("a second handle");
    let sent = sent.to_vec();
    // The server may end the connection before it has read everything.
    let written = std::thread::spawn(move || {
        drop(writer.write_all(&sent));
        drop(writer.shutdown(std::net::Shutdown::Write));
    });
    let mut answers = Vec::new();
    drop(client.read_to_end(&mut answers));
    written.join().expect("the writer ends");
    RUNTIME.block_on(task).expect("no route panics");
    answers
}

/// Checks that a connection that sends these bytes gets no answer of a broken server.
///
/// # Panics
///
/// When it does, or a route panics.
pub(crate) fn check(sent: &[u8]) {
    const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
    let answers = answers(sent);
    let answers = answers.strip_prefix(CONTINUE).unwrap_or(&answers);
    let Some(rest) = answers.strip_prefix(b"HTTP/1.") else {
        assert!(answers.is_empty(), "not an answer: {}", String::from_utf8_lossy(answers));
        return;
    };
    let status = rest.get(2..5).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    let status: u16 = status.expect("a status");
    // Without a worker nothing is ready.
    assert!((200..500).contains(&status) || status == 503, "{}", String::from_utf8_lossy(answers));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    /// The seeds of the fuzz target `serve`.
    fn seeds() -> Vec<Vec<u8>> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/serve");
        let mut paths: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        assert!(paths.len() > 5);
        paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
    }

    #[test]
    fn no_seed_of_the_fuzzer_breaks_the_server() {
        for sent in seeds() {
            for cut in 0..=sent.len() {
                check(&sent[..cut]);
            }
        }
        let answered = answers(b"POST /trainings HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        assert!(
            answered.starts_with(b"HTTP/1.1 503 "),
            "its inputs are checked, and no worker is there"
        );
    }

    /// A change of a request: where, how many bytes go, and what comes.
    fn change() -> impl Strategy<Value = (Index, usize, Vec<u8>)> {
        const PARTS: [&str; 16] = [
            "\r\n",
            "\r\n\r\n",
            "\0",
            "\u{feff}",
            "%",
            "%00",
            "/../",
            "{",
            "\"",
            "[[[[",
            ":",
            "Content-Length: 99999999999999999999\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Host: b\r\n",
            "{\"input\":{\"epochs\":-1}}",
            "HTTP/1.0",
        ];
        let part = prop::sample::select(&PARTS[..]).prop_map(|part| part.as_bytes().to_vec());
        let bytes = prop::collection::vec(any::<u8>(), 0..4);
        (any::<Index>(), 0..12_usize, prop_oneof![part, bytes])
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// The fuzz target without a fuzzer. `PROPTEST_CASES` is the number of requests.
        #[test]
        fn no_changed_seed_breaks_the_server(
            seed in prop::sample::select(seeds()),
            changes in prop::collection::vec(change(), 1..8),
        ) {
            let mut sent = seed;
            for (at, gone, come) in changes {
                let at = at.index(sent.len() + 1);
                sent.splice(at..sent.len().min(at + gone), come);
            }
            check(&sent);
        }
    }
}
