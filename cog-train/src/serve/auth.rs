//! The bearer token of the whole API.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::answer::error;

/// The variable that holds the token.
pub(super) const VARIABLE: &str = "COG_TRAIN_TOKEN";

/// The token that every request must have, if there is one.
#[derive(Clone, Default)]
pub(super) struct Token(Option<Arc<[u8; 32]>>);

impl Token {
    /// The token of `COG_TRAIN_TOKEN`; an empty one is none.
    pub(super) fn from_env() -> Self {
        Self::new(&std::env::var(VARIABLE).unwrap_or_default())
    }

    fn new(token: &str) -> Self {
        Self((!token.is_empty()).then(|| Arc::new(digest(token))))
    }

    /// Compares digests byte by byte: the time that it takes says nothing of the token.
    fn allows(&self, given: Option<&str>) -> bool {
        let Some(wanted) = &self.0 else { return true };
        // The name of the scheme has any case, as RFC 9110 says.
        let Some((scheme, given)) = given.and_then(|it| it.split_once(' ')) else { return false };
        if !scheme.eq_ignore_ascii_case("bearer") {
            return false;
        }
        let given = digest(given);
        wanted.iter().zip(given).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// Refuses requests without the token.
pub(super) async fn check(State(token): State<Token>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|it| it.to_str().ok());
    if token.allows(given) {
        return next.run(request).await;
    }
    let refused = error(StatusCode::UNAUTHORIZED, "the request has no valid bearer token");
    ([(header::WWW_AUTHENTICATE, "Bearer")], refused).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_token_is_allowed() {
        let token = Token::new("s3cret");
        for given in ["Bearer s3cret", "bearer s3cret", "BEARER s3cret"] {
            assert!(token.allows(Some(given)), "{given}");
        }
        for given in [
            None,
            Some(""),
            Some("s3cret"),
            Some("Bearer "),
            Some("Bearer s3cre"),
            Some("Bearer s3cret "),
            Some("Basic s3cret"),
        ] {
            assert!(!token.allows(given), "{given:?}");
        }
        assert!(Token::new("").allows(None), "without a token everybody is allowed");
    }
}
