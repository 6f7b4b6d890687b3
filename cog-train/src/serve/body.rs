//! The bodies of requests: read whole before their handler is called, within limits.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::error;

/// The bytes of a permit. A body is counted in them.
const UNIT: usize = 64 << 10;

/// The limits on bodies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The most bytes of one; as with Cog.
    pub(super) bytes: usize,
    /// The most bytes of all that are in memory at a time.
    pub(super) all_bytes: usize,
    /// The time in which one arrives.
    pub(super) time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 100 << 20, all_bytes: 512 << 20, time: Duration::from_mins(5) }
    }
}

/// The reader of bodies.
#[derive(Clone)]
pub(super) struct Bodies {
    limits: Limits,
    free: Arc<Semaphore>,
}

/// A body, and its share of the memory for bodies.
struct Held {
    bytes: Vec<u8>,
    share: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The reason for which a body is refused.
enum Refused {
    TooLong,
    /// The others take all memory that there is for bodies.
    NoRoom,
    TooLate,
    Broken(axum::Error),
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        const FAILED: &str = "Failed to buffer the request body";
        match self {
            Self::TooLong => {
                let text = format!("{FAILED}: length limit exceeded");
                (StatusCode::PAYLOAD_TOO_LARGE, text).into_response()
            }
            Self::NoRoom => {
                let text = "too many large requests at a time: repeat it later";
                let answer = error(StatusCode::SERVICE_UNAVAILABLE, text);
                ([(header::RETRY_AFTER, "1")], answer).into_response()
            }
            Self::TooLate => StatusCode::REQUEST_TIMEOUT.into_response(),
            Self::Broken(error) => {
                (StatusCode::BAD_REQUEST, format!("{FAILED}: {error}")).into_response()
            }
        }
    }
}

impl Bodies {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, free: Arc::new(Semaphore::new(limits.all_bytes / UNIT)) }
    }

    async fn read(&self, body: Body) -> Result<Held, Refused> {
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        let mut held = Held { bytes: Vec::new(), share: None };
        self.reserve(&mut held, announced)?;
        held.bytes.reserve_exact(announced);
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(Refused::Broken)?;
            let length = held.bytes.len() + chunk.len();
            self.reserve(&mut held, length)?;
            held.bytes.extend_from_slice(&chunk);
        }
        Ok(held)
    }

    /// Makes the share of a body large enough for this length. The first unit is free.
    fn reserve(&self, held: &mut Held, length: usize) -> Result<(), Refused> {
        if length > self.limits.bytes {
            return Err(Refused::TooLong);
        }
        let has = held.share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let wanted = u32::try_from((length / UNIT).saturating_sub(has)).unwrap_or(u32::MAX);
        if wanted == 0 {
            return Ok(());
        }
        let more = Arc::clone(&self.free).try_acquire_many_owned(wanted);
        let more = more.map_err(|_| Refused::NoRoom)?;
        match &mut held.share {
            Some(share) => share.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

/// Reads the body of a request before its handler is called.
pub(super) async fn read(State(bodies): State<Bodies>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    match tokio::time::timeout(bodies.limits.time, bodies.read(body)).await {
        // The share ends with the last reader of the bytes.
        Ok(Ok(whole)) => {
            next.run(Request::from_parts(head, Body::from(Bytes::from_owner(whole)))).await
        }
        Ok(Err(refused)) => refused.into_response(),
        Err(_) => Refused::TooLate.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;

    const LIMITS: Limits =
        Limits { bytes: 4 * UNIT, all_bytes: 6 * UNIT, time: Duration::from_millis(200) };

    fn chunked(count: usize) -> Body {
        let chunk = Bytes::from(vec![b'x'; UNIT]);
        let chunks = stream::repeat(Ok::<_, Infallible>(chunk)).take(count);
        Body::from_stream(chunks)
    }

    fn refused(read: Result<Held, Refused>) -> StatusCode {
        read.err().expect("a refusal").into_response().status()
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_before_it_is_kept() {
        let bodies = Bodies::new(LIMITS);
        let held = bodies.read(Body::from(vec![b'x'; 4 * UNIT])).await.ok().unwrap();
        assert_eq!(held.as_ref().len(), 4 * UNIT);
        drop(held);
        let announced = bodies.read(Body::from(vec![0; 4 * UNIT + 1])).await;
        assert_eq!(refused(announced), StatusCode::PAYLOAD_TOO_LARGE);
        // One whose length is not announced, and which never ends.
        let endless = bodies.read(chunked(usize::MAX)).await;
        assert_eq!(refused(endless), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(bodies.free.available_permits(), 6, "no share is left behind");
    }

    #[tokio::test]
    async fn all_bodies_together_have_a_limit_too() {
        let bodies = Bodies::new(LIMITS);
        let first = bodies.read(chunked(4)).await.ok().unwrap();
        assert_eq!(refused(bodies.read(chunked(3)).await), StatusCode::SERVICE_UNAVAILABLE);
        assert!(bodies.read(Body::from("small")).await.is_ok(), "small ones have room always");
        drop(first);
        assert!(bodies.read(chunked(3)).await.is_ok());
        assert_eq!(bodies.free.available_permits(), 6);
    }
}
