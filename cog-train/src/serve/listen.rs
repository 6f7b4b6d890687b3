//! Connections: accepted up to a number, given up when a client sends its head or its body too slowly.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::logs::TARGET;

/// The pause after a connection that the system refuses, for want of descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// The limits on connections and on the heads of their requests.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The time for a request's head, and between two requests of a connection.
    pub(super) head_time: Duration,
    /// The most bytes of a head.
    pub(super) head_bytes: usize,
    /// The most connections at a time. More of them wait.
    pub(super) connections: usize,
    /// Whether a client that sends no more may wait for its answer. Otherwise it has gone, and cancels what it waits for.
    pub(super) half_close: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_time: Duration::from_secs(30),
            head_bytes: 64 << 10,
            connections: 1024,
            half_close: false,
        }
    }
}

/// Serves connections until `stop`, and then those requests that are in progress.
pub(super) async fn listen(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let connections = TaskTracker::new();
    let free = Arc::new(Semaphore::new(limits.connections));
    loop {
        let accepted = async {
            let permit = Arc::clone(&free).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let (router, stop) = (router.clone(), stop.clone());
                connections.spawn(async move {
                    serve(stream, router, limits, stop).await;
                    drop(permit);
                });
            }
            Err(error) => {
                warn!(target: TARGET, "a connection is refused: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// Serves the requests of a connection until its client ends it, or until `stop`.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_buf_size(limits.head_bytes)
        .half_close(limits.half_close)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // The end of a connection by its client is no event of the server's.
    tokio::select! {
        ended = connection.as_mut() => drop(ended),
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            drop(connection.await);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    const LIMITS: Limits = Limits {
        head_time: Duration::from_millis(300),
        head_bytes: 8 << 10,
        connections: 4,
        half_close: false,
    };

    /// A server that answers `/` with a word; its address.
    async fn server() -> (std::net::SocketAddr, CancellationToken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let router = Router::new().route("/", get(|| async { "here" }));
        tokio::spawn(listen(listener, router, LIMITS, stop.clone()));
        (address, stop)
    }

    async fn answer(mut stream: TcpStream) -> String {
        let mut text = String::new();
        drop(stream.read_to_string(&mut text).await);
        text
    }

    async fn ask(address: std::net::SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        answer(stream).await
    }

    #[tokio::test]
    async fn a_head_that_comes_too_slowly_ends_its_connection() {
        let (address, _stop) = server().await;
        let began = Instant::now();
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        let (mut reader, mut writer) = slow.into_split();
        tokio::spawn(async move {
            while writer.write_all(b"X-A: b\r\n").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let mut text = Vec::new();
        drop(reader.read_to_end(&mut text).await);
        let text = String::from_utf8(text).unwrap();
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_connection_without_a_next_request_ends() {
        let (address, _stop) = server().await;
        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let text = tokio::time::timeout(Duration::from_secs(20), answer(idle)).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("here"), "{text}");
    }

    #[tokio::test]
    async fn connections_over_the_limit_wait_for_those_that_end() {
        let (address, _stop) = server().await;
        let mut silent = Vec::new();
        for _ in 0..LIMITS.connections {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        // They are given up, as they send nothing.
        let text = tokio::time::timeout(Duration::from_secs(20), ask(address)).await.unwrap();
        assert!(text.ends_with("here"), "{text}");
    }

    #[tokio::test]
    async fn a_server_that_stops_waits_for_no_idle_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let limits = Limits { head_time: Duration::from_mins(5), ..LIMITS };
        let served = tokio::spawn(listen(listener, Router::new(), limits, stop.clone()));
        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut first = [0; 8];
        idle.read_exact(&mut first).await.unwrap();
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(20), served).await.unwrap().unwrap();
    }
}
