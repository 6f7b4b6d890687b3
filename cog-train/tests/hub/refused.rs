//! Refusals: one clear error each, with the remedy, without the token, and nothing left in the cache.

use cog_train::Secret;

use crate::fake::{Entry, Plan};
use crate::server::answer;
use crate::{content, download, hub, names, reason, repository, tiny};

/// The error of a hub that answers requests whose path has `part` in it like this.
fn refused(part: &'static str, status: &'static str, lines: &'static [&'static str]) -> String {
    let plan = Plan::new(tiny()).fault(move |request, stream| {
        let is_it = request.path.contains(part);
        if is_it {
            answer(stream, status, lines, b"");
        }
        is_it
    });
    let fake = plan.start();
    let dir = tempfile::tempdir().unwrap();
    let hub = hub(dir.path(), &fake).token(Secret::new("hf_secret"));
    let said = download(&hub, "org/tiny", &[]).unwrap_err().to_string();
    assert!(!dir.path().join("hub").exists(), "{status}");
    assert!(!said.contains("hf_secret"), "{said}");
    said.replace(&fake.origin.url(""), "HUB/")
        .replace(fake.origin.url("").trim_end_matches('/'), "HUB")
}

#[test]
fn a_refusal_names_its_reason_and_its_remedy() {
    const LISTING: &str = "/revision/";
    const FILE: &str = "/resolve/";
    for (part, status, lines, says) in [
        (
            FILE,
            "403 Forbidden",
            &["X-Error-Code: GatedRepo", "X-Error-Message: Access to model org/tiny is restricted"]
                [..],
            "its licence is not accepted (403 Forbidden)\n\
             hint: open `HUB/org/tiny`, accept the licence, and set `HF_TOKEN` to a token of the account",
        ),
        (
            LISTING,
            "401 Unauthorized",
            &["X-Error-Code: GatedRepo"],
            "its licence is not accepted (401 Unauthorized)\n\
             hint: open `HUB/org/tiny`, accept the licence, and set `HF_TOKEN` to a token of the account",
        ),
        (
            LISTING,
            "401 Unauthorized",
            &["X-Error-Message: Invalid credentials in Authorization header"],
            "the hub refuses the token (401 Unauthorized)\n\
             hint: set `HF_TOKEN` to a token from `HUB/settings/tokens`",
        ),
        (
            FILE,
            "403 Forbidden",
            &["X-Error-Message: token hf_secret lacks a right"],
            "the hub refuses it (403 Forbidden): token ********** lacks a right\
             \nhint: check that the token in `HF_TOKEN` may read it",
        ),
        (
            LISTING,
            "401 Unauthorized",
            &["X-Error-Code: RepoNotFound"],
            "the hub `HUB` has no such model, or it is private\n\
             hint: check the name, and that the token may read it",
        ),
        // Without a token huggingface.co says this of what is not there.
        (
            LISTING,
            "401 Unauthorized",
            &["X-Error-Code: RepoNotFound", "X-Error-Message: Invalid username or password."],
            "the hub `HUB` has no such model, or it is private\n\
             hint: check the name, and that the token may read it",
        ),
        (
            LISTING,
            "418 I'm a teapot",
            &["X-Error-Message: short and stout"],
            "the hub answered 418 I'm a teapot: short and stout",
        ),
        (
            LISTING,
            "200 OK",
            &[],
            "`HUB` does not answer like a hub\n\
             hint: check `HF_ENDPOINT`, and the proxy or the login page of the network",
        ),
        (
            FILE,
            "200 OK",
            &["ETag: \"x\""],
            "`HUB` does not answer like a hub\n\
             hint: check `HF_ENDPOINT`, and the proxy or the login page of the network",
        ),
    ] {
        let said = refused(part, status, lines);
        assert_eq!(said, format!("cannot fetch `org/tiny@main`: {says}"), "{status} {lines:?}");
    }
}

#[test]
fn wrong_names_are_answered_with_the_nearest() {
    let fake = Plan::new(tiny()).start();
    let dir = tempfile::tempdir().unwrap();
    let hub = hub(dir.path(), &fake);
    let url = fake.origin.url("").trim_end_matches('/').to_owned();
    for (name, files, says) in [
        (
            "org/tyni",
            &[][..],
            format!("the hub `{url}` has no such model, or it is private\nhint: did you mean `org/tiny`?"),
        ),
        (
            "other/model",
            &[],
            format!("the hub `{url}` has no such model, or it is private\nhint: for a private model set `HF_TOKEN`"),
        ),
        (
            "org/tiny@mian",
            &[],
            "the hub has no revision `mian` of it\nhint: did you mean `main`?".to_owned(),
        ),
        (
            "org/tiny@experiment",
            &[],
            "the hub has no revision `experiment` of it\nhint: its branches and tags are `main`, `v1.0`"
                .to_owned(),
        ),
        (
            "org/tiny",
            &["config.jsn"],
            "the repository has no file `config.jsn`\nhint: did you mean `config.json`?".to_owned(),
        ),
        (
            "org/tiny",
            &["*.gguf", "x*"],
            "the repository has no file that fits `*.gguf`, `x*`".to_owned(),
        ),
    ] {
        assert_eq!(reason(download(&hub, name, files)), says, "{name}");
    }
    assert!(!dir.path().join("hub").exists());
}

#[test]
fn a_model_without_safetensors_is_refused_before_the_download() {
    for (name, hint) in [
        ("pytorch_model.bin", "\nhint: it has `pytorch_model.bin`: convert that file"),
        ("tiny.Q8_0.gguf", "\nhint: it has `tiny.Q8_0.gguf`: name that file"),
        ("README.md", ""),
    ] {
        let fake =
            Plan::new([("config.json", Entry::small("{}")), (name, Entry::large(content()))])
                .start();
        let dir = tempfile::tempdir().unwrap();
        let said = reason(download(&hub(dir.path(), &fake), "org/tiny", &[]));
        assert_eq!(said, format!("the repository has no `.safetensors` file{hint}"));
        assert_eq!(fake.origin.seen().len(), 1);
    }
}

#[test]
fn an_index_that_names_a_missing_file_is_refused_before_the_shards() {
    let index = r#"{"weight_map": {"a": "one.safetensors", "b": "../two.safetensors"}}"#;
    let fake = Plan::new([
        ("model.safetensors.index.json", Entry::small(index)),
        ("one.safetensors", Entry::large("one")),
    ])
    .start();
    let dir = tempfile::tempdir().unwrap();
    let said = download(&hub(dir.path(), &fake), "org/tiny", &[]).unwrap_err().to_string();
    assert!(
        said.ends_with("names `../two.safetensors`, which the repository does not have"),
        "{said}"
    );
    assert_eq!(fake.storage.seen().len(), 0);
    assert!(names(&repository(dir.path()).join("refs")).is_empty());
}

#[test]
fn an_endpoint_is_an_address_without_credentials() {
    let dir = tempfile::tempdir().unwrap();
    for (endpoint, shown) in [
        ("huggingface.co", "huggingface.co"),
        ("file:///tmp", "file:///tmp"),
        ("https://", "https:"),
        ("https://user:hunter2@host", "https://host"),
    ] {
        let hub = cog_train::hub::Hub::new(dir.path().join("hub")).endpoint(endpoint);
        let said = download(&hub, "org/tiny", &[]).unwrap_err().to_string();
        assert_eq!(
            said,
            format!(
                "cannot fetch `{shown}`: is not the address of a hub\n\
                 hint: set `HF_ENDPOINT` to `https://` and a host"
            )
        );
    }
}
