//! The page: one file, compiled in, whose policy lets nothing run but its own script.

use std::sync::LazyLock;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use base64::prelude::{BASE64_STANDARD, Engine};
use sha2::{Digest, Sha256};

use super::answer::HEADERS;

const STYLE: &str = concat!(
    include_str!("page/style.css"),
    include_str!("page/charts.css"),
    include_str!("page/narrow.css")
);

/// One function around all files: they share their names, and nothing else has them.
const SCRIPT: &str = concat!(
    "\"use strict\";(() => {\n",
    include_str!("page/dom.js"),
    include_str!("page/format.js"),
    include_str!("page/server.js"),
    include_str!("page/state.js"),
    include_str!("page/runs.js"),
    include_str!("page/ticks.js"),
    include_str!("page/curves.js"),
    include_str!("page/axes.js"),
    include_str!("page/plot.js"),
    include_str!("page/charts.js"),
    include_str!("page/inputs.js"),
    include_str!("page/log.js"),
    include_str!("page/samples.js"),
    include_str!("page/run.js"),
    include_str!("page/main.js"),
    "})();\n"
);

static PAGE: LazyLock<String> = LazyLock::new(|| {
    let page = include_str!("page/index.html");
    page.replace("/*STYLE*/", STYLE).replace("/*SCRIPT*/", SCRIPT)
});

static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = |text: &str| format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)));
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; img-src blob: data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(SCRIPT),
        hash(STYLE)
    );
    HeaderValue::from_str(&policy).expect("hashes are printable")
});

/// `GET /ui`.
pub(super) async fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, POLICY.clone()),
    ];
    (HEADERS, headers, PAGE.as_str()).into_response()
}
