use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;

use super::environment;
use super::listing::Listing;
use super::pattern::Pattern;
use super::repo::Repo;
use super::select::{Lack, Selection, Wanted, is_safe, select};
use super::*;

#[test]
fn names_of_models_are_parsed() {
    for (text, id, revision) in [
        ("org/name", "org/name", "main"),
        ("org/name@v1.0", "org/name", "v1.0"),
        ("org/name@refs/pr/3", "org/name", "refs/pr/3"),
        ("org/name@feature/x", "org/name", "feature/x"),
        ("gpt2", "gpt2", "main"),
        ("hf://org/name", "org/name", "main"),
        ("hf://models/org/name@abc", "org/name", "abc"),
        ("hf://org/name@refs/pr/3", "org/name", "refs/pr/3"),
        ("hf://org/name@feature%2Fx", "org/name", "feature/x"),
        ("Org-1/Qwen2.5-0.5B_a", "Org-1/Qwen2.5-0.5B_a", "main"),
    ] {
        let repo: Repo = text.parse().unwrap();
        assert_eq!((repo.id(), repo.revision()), (id, revision), "{text}");
        assert_eq!(repo.to_string(), format!("{id}@{revision}"));
    }
}

#[test]
fn names_that_no_model_has_are_refused() {
    let long = format!("org/{}", "n".repeat(97));
    for (text, says) in [
        ("", "a part of it is empty"),
        ("org/", "a part of it is empty"),
        ("/etc/passwd", "more than one `/`"),
        ("/etc", "a part of it is empty"),
        ("org/name/more", "more than one `/`"),
        ("../name", "begins or ends with `-` or `.`"),
        ("org/.name", "begins or ends with `-` or `.`"),
        ("org/na me", "a character other than"),
        ("org/na\\me", "a character other than"),
        ("org/n\u{e4}me", "a character other than"),
        ("org/a--b", "`--` or `..`"),
        ("org/a..b", "`--` or `..`"),
        ("org/name.git", "ends with `.git`"),
        (&long, "too long"),
        ("hf://datasets/org/name", "`datasets/` does not hold models"),
        ("hf://org/name@main/config.json", "names a file of a repository"),
        ("org/name@", "`` is not a branch, a tag or a commit"),
        ("org/name@../../x", "is not a branch, a tag or a commit"),
        ("org/name@/x", "is not a branch, a tag or a commit"),
        ("org/name@a//b", "is not a branch, a tag or a commit"),
        ("org/name@.x", "is not a branch, a tag or a commit"),
        ("org/name@a b", "is not a branch, a tag or a commit"),
        ("org/name@a\\b", "is not a branch, a tag or a commit"),
        ("org/name@a\nb", "is not a branch, a tag or a commit"),
        ("org/name@main#sha256=00", "is not a branch, a tag or a commit"),
        ("hf://org/name@..%2F..%2Fx", "is not a branch, a tag or a commit"),
    ] {
        let said = text.parse::<Repo>().unwrap_err().to_string();
        assert!(said.contains(says), "{text}: {said}");
        assert!(!said.contains('\u{0}') && said.lines().count() <= 2, "{said}");
    }
}

/// The hub of an environment.
fn environment(variables: &[(&str, &str)]) -> Result<Hub, Error> {
    let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
    environment::hub(&|name| variables.get(name).map(OsString::from))
}

#[test]
fn the_environment_is_read_as_python_reads_it() {
    let cache = |variables: &[(&str, &str)]| environment(variables).unwrap().cache;
    let home = ("HOME", "/home/me");
    for (variables, folder) in [
        (&[home][..], "/home/me/.cache/huggingface/hub"),
        (&[home, ("XDG_CACHE_HOME", "/xdg")], "/xdg/huggingface/hub"),
        (&[home, ("HF_HOME", "/hf"), ("XDG_CACHE_HOME", "/xdg")], "/hf/hub"),
        (&[home, ("HF_HOME", "~/hf")], "/home/me/hf/hub"),
        (&[home, ("HF_HOME", "$DISK/hf"), ("DISK", "/disk")], "/disk/hf/hub"),
        (&[home, ("HF_HOME", "/a${DISK}b$NONE/$"), ("DISK", "/disk")], "/a/diskb$NONE/$/hub"),
        (&[("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/c")], "/c"),
        (&[("HF_HOME", "/hf"), ("HUGGINGFACE_HUB_CACHE", "/old")], "/old"),
        (&[("HF_HOME", "/hf"), ("HF_HUB_CACHE", "")], "/hf/hub"),
    ] {
        assert_eq!(cache(variables), Path::new(folder), "{variables:?}");
    }
    let said = environment(&[]).unwrap_err().to_string();
    assert_eq!(said, "there is no folder to keep downloads in\nhint: set `HF_HOME` to a path");

    let endpoint = |value| environment(&[home, ("HF_ENDPOINT", value)]).unwrap().endpoint;
    assert_eq!(endpoint("https://mirror.example/"), "https://mirror.example");
    assert_eq!(endpoint(""), "https://huggingface.co");

    for (variables, offline) in [
        (&[][..], false),
        (&[("HF_HUB_OFFLINE", "1")], true),
        (&[("HF_HUB_OFFLINE", "yes")], true),
        (&[("TRANSFORMERS_OFFLINE", "True")], true),
        (&[("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")], false),
        (&[("HF_HUB_OFFLINE", "2")], false),
    ] {
        let all: Vec<_> = [&[home], variables].concat();
        assert_eq!(environment(&all).unwrap().offline, offline, "{variables:?}");
    }
}

#[test]
fn the_token_is_that_of_the_environment_and_else_that_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let home = ("HF_HOME", dir.path().to_str().unwrap());
    let other = dir.path().join("other");
    let path = ("HF_TOKEN_PATH", other.to_str().unwrap());
    let token = |variables: &[(&str, &str)]| {
        let token = environment(variables).unwrap().token;
        token.map(|token| token.expose().to_owned())
    };
    assert_eq!(token(&[home]), None);
    fs::write(dir.path().join("token"), " hf_file\r\n").unwrap();
    fs::write(&other, "hf_other").unwrap();
    assert_eq!(token(&[home]).as_deref(), Some("hf_file"));
    assert_eq!(token(&[home, path]).as_deref(), Some("hf_other"));
    assert_eq!(token(&[home, ("HF_TOKEN", "hf_env\n")]).as_deref(), Some("hf_env"));
    assert_eq!(token(&[home, ("HUGGING_FACE_HUB_TOKEN", "hf_old")]).as_deref(), Some("hf_old"));
    assert_eq!(token(&[home, ("HF_TOKEN", " ")]).as_deref(), Some("hf_file"));
    let off = ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1");
    assert_eq!(token(&[home, ("HF_TOKEN", "hf_env"), off]), None);
    let said = environment(&[home, ("HF_TOKEN", "hf_a\u{1b}b")]).unwrap_err().to_string();
    assert_eq!(said, "the token in `HF_TOKEN` has a character that no token has");
}

#[test]
fn a_star_stays_in_its_folder_and_two_do_not() {
    for (pattern, name, fits) in [
        ("config.json", "config.json", true),
        ("config.json", "configXjson", false),
        ("*.json", "a.json", true),
        ("*.json", ".json", true),
        ("*.json", "a/b.json", false),
        ("*.json", "a.json.bak", false),
        ("**.json", "a/b.json", true),
        ("**/b.json", "a/c/b.json", true),
        ("*/b.json", "a/b.json", true),
        ("?.json", "\u{e4}.json", true),
        ("?.json", "/.json", false),
        ("model-*-of-*.safetensors", "model-00001-of-00002.safetensors", true),
        ("[a].(b)+*", "[a].(b)+x", true),
    ] {
        assert_eq!(Pattern::new(pattern).fits(name), fits, "{pattern} {name}");
    }
    // Linear in the name, whatever the pattern.
    let name = "a".repeat(20_000);
    assert!(!Pattern::new("**a**a**a**a**a**a**a**a**b").fits(&name));
}

#[test]
fn one_file_of_weights_is_preferred_to_an_index_and_an_index_to_all() {
    let chosen = |files: &[&str]| {
        let files: Vec<String> = files.iter().map(|&name| name.to_owned()).collect();
        select(&files, &Wanted::Model)
    };
    let selection = |names: &[&str], sharded| {
        Ok(Selection { names: names.iter().map(|&name| name.to_owned()).collect(), sharded })
    };
    let index = "model.safetensors.index.json";
    assert_eq!(
        chosen(&["model.safetensors", index, "x.safetensors", "y.bin"]),
        selection(&["model.safetensors"], false)
    );
    assert_eq!(chosen(&["a.safetensors", index]), selection(&[index], true));
    assert_eq!(
        chosen(&["adapter_config.json", "b.safetensors", "a.safetensors", "sub/c.safetensors"]),
        selection(&["a.safetensors", "adapter_config.json", "b.safetensors"], false)
    );
    assert_eq!(
        chosen(&["config.json"]),
        Err(Lack { what: "no `.safetensors` file".to_owned(), hint: None })
    );
}

#[test]
fn safe_names_are_paths_below_a_folder() {
    for name in ["a", "a/b.json", ".gitattributes", "a b", "..a", "a..", "\u{4e2d}/x"] {
        assert!(is_safe(name), "{name}");
    }
    for name in ["", "/a", "a/", "a//b", ".", "..", "a/..", "./a", "a\\b", "C:a", "a/C:b", "a\0b"] {
        assert!(!is_safe(name), "{name}");
    }
    assert!(!is_safe(&"n".repeat(256)));
}

#[test]
fn a_listing_without_a_commit_is_none() {
    let sha = "0123456789abcdef0123456789abcdef01234567";
    let text =
        format!(r#"{{"sha": "{sha}", "siblings": [{{"rfilename": "a", "x": 1}}], "id": "x"}}"#);
    let listing = Listing { commit: sha.to_owned(), files: vec!["a".to_owned()] };
    assert_eq!(Listing::parse(text.as_bytes()), Some(listing));
    for text in ["", "<html>", "[]", r#"{"sha": "main"}"#, r#"{"sha": null}"#, "{}"] {
        assert_eq!(Listing::parse(text.as_bytes()), None, "{text}");
    }
}
