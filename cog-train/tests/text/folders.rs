//! Folders: which files count, and what is said of those that are not right.

use std::path::Path;

use cog_train::serde_json::{Value, json};
use cog_train::text::{Chat, ChatTemplate, Ending, Tokenizer};

use crate::golden::fixtures;

/// A copy of a fixture's folder with `files` written over it.
pub(crate) fn folder(name: &str, files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixtures().join(name)).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    for (file, content) in files {
        let path = dir.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    dir
}

fn bytes() -> Tokenizer {
    Tokenizer::open(fixtures().join("bytes")).unwrap()
}

fn refused(dir: &Path) -> String {
    Tokenizer::open(dir).unwrap_err().to_string()
}

#[test]
fn a_vocabulary_larger_than_the_embedding_is_refused_with_its_last_token() {
    let tokenizer = Tokenizer::open(fixtures().join("pieces")).unwrap();
    let pad = tokenizer.special().pad.unwrap();
    assert_eq!(pad as usize + 1, tokenizer.vocab_size()); // `<pad>` was appended
    assert!(tokenizer.check_embedding(tokenizer.vocab_size()).is_ok());
    let message = tokenizer.check_embedding(pad as usize).unwrap_err().to_string();
    let expected =
        format!("`<pad>` has the id {pad}, and the model's embedding has {pad} rows\nhint: ");
    assert!(message.contains(&expected), "{message}");
    // Whoever opens the folder of a model is told, also of one for texts and images.
    for config in [
        format!("{{\"vocab_size\": {pad}}}"),
        format!("{{\"text_config\": {{\"vocab_size\": {pad}}}}}"),
    ] {
        let dir = folder("pieces", &[("config.json", &config)]);
        assert!(refused(dir.path()).contains(&expected), "{config}");
    }
    let dir = folder("pieces", &[("config.json", &format!("{{\"vocab_size\": {}}}", pad + 1))]);
    assert!(Tokenizer::open(dir.path()).is_ok());
}

#[test]
fn stop_tokens_are_the_eos_and_those_of_the_generation_config() {
    let stop = |config: &str| {
        let dir = folder("bytes", &[("generation_config.json", config)]);
        Tokenizer::open(dir.path()).map(|it| it.special().stop.clone())
    };
    let eos = bytes().special().eos.unwrap();
    assert_eq!(bytes().special().stop, [eos, 4]);
    assert_eq!(stop(r#"{"eos_token_id": 0}"#).unwrap(), [0, eos]);
    assert_eq!(stop(r#"{"eos_token_id": [3, 3, 2]}"#).unwrap(), [2, 3]);
    assert_eq!(stop(r#"{"eos_token_id": null}"#).unwrap(), [eos]);
    let message = stop(r#"{"eos_token_id": "x"}"#).unwrap_err().to_string();
    assert!(message.contains("generation_config.json`: `eos_token_id` is neither"), "{message}");
}

#[test]
fn the_older_map_of_special_tokens_counts_where_no_tokens_are_listed() {
    let map =
        r#"{"eos_token": {"content": "<|eot_id|>", "lstrip": false}, "cls_token": "<|user|>"}"#;
    let dir = folder("bytes", &[("special_tokens_map.json", map)]);
    let tokenizer = Tokenizer::open(dir.path()).unwrap();
    assert_eq!(tokenizer.special().eos, tokenizer.id("<|eot_id|>"));
    assert_eq!(tokenizer.special().bos, tokenizer.id("<|begin_of_text|>"));
    // `pieces` lists its tokens in the newer file.
    let dir = folder("pieces", &[("special_tokens_map.json", r#"{"eos_token": "<unk>"}"#)]);
    let tokenizer = Tokenizer::open(dir.path()).unwrap();
    assert_eq!(tokenizer.special().eos, tokenizer.id("</s>"));
}

#[test]
fn files_that_are_missing_or_broken_are_named() {
    let empty = tempfile::tempdir().unwrap();
    assert!(refused(empty.path()).contains("there is no `tokenizer.json`\nhint: "));
    let broken = folder("bytes", &[("tokenizer.json", "{\"version\": \"1.0\"}")]);
    assert!(refused(broken.path()).contains("tokenizer.json`: not a tokenizer: "));
    let broken = folder("bytes", &[("tokenizer_config.json", "[1]")]);
    assert!(refused(broken.path()).contains("tokenizer_config.json`: not a JSON object: "));
    let broken =
        folder("bytes", &[("tokenizer_config.json", r#"{"added_tokens_decoder": {"0": 1}}"#)]);
    assert!(refused(broken.path()).contains("`added_tokens_decoder` is not an object of tokens"));
}

#[test]
fn padding_and_truncation_of_the_file_are_dropped() {
    let text = std::fs::read_to_string(fixtures().join("bytes/tokenizer.json")).unwrap();
    let mut json: Value = cog_train::serde_json::from_str(&text).unwrap();
    json["truncation"] =
        json!({"max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right"});
    json["padding"] = json!({"strategy": {"Fixed": 50}, "direction": "Right", "pad_to_multiple_of": null,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "<|endoftext|>"});
    let dir = folder("bytes", &[("tokenizer.json", &json.to_string())]);
    let text = "The capital of France is Paris.";
    let changed = Tokenizer::open(dir.path()).unwrap();
    assert_eq!(changed.encode(text).unwrap(), bytes().encode(text).unwrap());
}

#[test]
fn templates_of_files_hide_those_of_the_config() {
    let chat = Chat::of([("user", "hi")]);
    let render = |files: &[(&str, &str)], chat: &Chat| {
        let dir = folder("bytes", files);
        let tokenizer = Tokenizer::open(dir.path()).unwrap();
        let template = ChatTemplate::open(dir.path(), &tokenizer)?;
        template.render(chat, Ending::Closed).map(|rendered| rendered.text)
    };
    let one = ("tokenizer_config.json", r#"{"chat_template": "config", "eos_token": "<|end|>"}"#);
    let named = (
        "tokenizer_config.json",
        r#"{"chat_template": [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools"}]}"#,
    );
    let file = ("chat_template.jinja", "file {{ messages[0].content }}\r\n");
    let rag = ("additional_chat_templates/tool_use.jinja", "tools of a file");
    let with_tools = chat.clone().tools(vec![json!({})]);
    assert_eq!(render(&[one], &chat).unwrap(), "config");
    assert_eq!(render(&[one, file], &chat).unwrap(), "file hi");
    assert_eq!(render(&[named], &chat).unwrap(), "plain");
    assert_eq!(render(&[named], &with_tools).unwrap(), "tools");
    assert_eq!(render(&[named, rag], &with_tools).unwrap(), "tools of a file");
    assert_eq!(render(&[one, rag], &chat).unwrap(), "config");
    let message = render(&[rag], &chat).unwrap_err().to_string();
    assert!(message.contains("there is none named `default`, but `tool_use`"), "{message}");
    let message = render(&[], &chat).unwrap_err().to_string();
    assert!(message.contains("there is none: neither `chat_template.jinja` nor"), "{message}");
}

#[test]
fn faults_of_templates_and_chats_are_named_with_their_line() {
    let render = |source: &str, chat: &Chat, ending| {
        let template = ChatTemplate::new(source, &bytes())?;
        template.render(chat, ending).map(|rendered| rendered.text)
    };
    let chat = Chat::of([("user", " hi ")]);
    for (source, expected) in [
        ("\n{% if %}", "not a template: line 2: syntax error: "),
        ("\n\n{{ messages.absent.key }}", "line 3: "),
        ("{{ raise_exception('no ' ~ 1) }}", "it raised: no 1"),
        ("{{ raise_exception('\x1b[31mno') }}", r"it raised: \u{1b}[31mno"),
        ("{{ messages | tojson(size=2) }}", "line 1: too many arguments: "),
        (
            "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{{ c }}{% endfor %}{% endfor %}{% endfor %}",
            "line 1: engine ran out of fuel",
        ),
    ] {
        let message = render(source, &chat, Ending::Closed).unwrap_err().to_string();
        assert!(message.contains(expected), "{source}: {message}");
    }
    let message = render("", &Chat::default(), Ending::Closed).unwrap_err().to_string();
    assert!(message.contains("the conversation has no messages"), "{message}");
    let text = Chat::new(vec![json!("hi")]);
    let message = render("", &text, Ending::Closed).unwrap_err().to_string();
    assert!(message.contains("message 1 is not an object"), "{message}");
    for (source, ending, expected) in [
        ("{{ messages[0].role }}", Ending::Continue, "it does not use `content`"),
        (
            "{{ messages[0].content[:2] }}",
            Ending::Continue,
            "does not render the last message as it is",
        ),
        (
            "{{ messages[0].thinking }}",
            Ending::ContinueReasoning,
            "the last message has no text in `reasoning_content`",
        ),
    ] {
        let message = render(source, &chat, ending).unwrap_err().to_string();
        assert!(message.contains(expected), "{source}: {message}");
    }
    // A template that strips, and one that does not.
    let continued = |source| render(source, &chat, Ending::Continue).unwrap();
    assert_eq!(continued("<{{ messages[0].content }}>"), "< hi ");
    assert_eq!(continued("<{{ messages[0].content | trim }}>"), "< hi".replace("< ", "<"));
}

/// Each source ends with an error or a text, in little time and memory, and never by the stack.
#[test]
fn a_hostile_template_takes_neither_the_memory_nor_the_stack() {
    let chat = Chat::of([("user", "hi")]);
    let render = |source: &str| {
        let template = ChatTemplate::new(source, &bytes()).map_err(|error| error.to_string())?;
        let rendered = template.render(&chat, Ending::Closed);
        rendered.map(|it| it.text).map_err(|error| error.to_string())
    };
    let grown = |first: &str, next: &str, turns: usize, last: &str| {
        format!(
            "{{% set ns = namespace(s={first}) %}}{{% for i in range({turns}) %}}{{% set ns.s = {next} %}}{{% endfor %}}{last}"
        )
    };
    let fuel = "engine ran out of fuel";
    for (source, expected) in [
        (grown("'a'", "ns.s ~ ns.s", 60, ""), fuel),
        (grown("[1]", "[ns.s, ns.s]", 60, "{{ ns.s }}"), fuel),
        (grown("[1]", "[ns.s, ns.s]", 60, "{{ ns.s | tojson }}"), fuel),
        (grown("[1]", "{'a': ns.s, 'b': ns.s}", 60, "{{ ns.s | string }}"), fuel),
        (grown("[1]", "[ns.s]", 90_000, "{{ ns.s }}"), "nested more than 500 deep"),
        (grown("[1]", "[ns.s]", 90_000, "{{ ns.s | tojson }}"), "nested more than 500 deep"),
        (grown("[1]", "{'a': ns.s}", 90_000, "{{ ns.s }}"), "nested more than 500 deep"),
        ("{{ [1] * 1000000000000 }}".to_owned(), "repeated sequence is too large"),
        ("{{ range(99999) | join(range(99999) | join) }}".to_owned(), fuel),
        (" ".repeat(1 << 19), "it has 524288 bytes, and at most 262144 are possible"),
    ] {
        let message = render(&source).expect_err(&source);
        assert!(message.contains(expected), "{source:.99}: {message}");
    }
    // Dropped without being shown; and the parser's own depth.
    assert_eq!(render(&grown("[1]", "[ns.s]", 90_000, "x")).unwrap(), "x");
    assert_eq!(render(&format!("{{{{ 1{} }}}}", " + 1".repeat(50_000))).unwrap(), "50001");
}

#[test]
fn a_name_in_a_broken_tokenizer_reaches_no_terminal_unescaped() {
    let folder = folder("bytes", &[]);
    let file = folder.path().join("tokenizer.json");
    let source = std::fs::read_to_string(&file).unwrap();
    let mut json: Value = cog_train::serde_json::from_str(&source).unwrap();
    json["model"]["merges"] = json!([["zz\u{1b}[31m", "y"]]);
    std::fs::write(&file, json.to_string()).unwrap();
    let message = Tokenizer::open(folder.path()).unwrap_err().to_string();
    assert!(message.contains(r"Token `zz\u{1b}[31m` out of vocabulary"), "{message}");
}

#[test]
fn a_folder_without_a_template_is_that_of_a_base_model() {
    let tokenizer = bytes();
    let plain = folder("bytes", &[]);
    assert!(ChatTemplate::find(plain.path(), &tokenizer).unwrap().is_none());
    assert!(ChatTemplate::open(plain.path(), &tokenizer).is_err());
    let broken = folder("bytes", &[("chat_template.jinja", "{% for %}")]);
    assert!(ChatTemplate::find(broken.path(), &tokenizer).is_err());
}

#[test]
fn a_saved_tokenizer_has_its_ids_and_its_templates() {
    let files = [
        ("chat_template.jinja", "{{ messages[0].content }}"),
        ("additional_chat_templates/tool_use.jinja", "{{ tools }}"),
        ("model.safetensors", "none of its files"),
    ];
    let (from, to) = (folder("bytes", &files), tempfile::tempdir().unwrap());
    let tokenizer = Tokenizer::open(from.path()).unwrap();
    let to = to.path().join("adapter");
    tokenizer.save(&to).unwrap();
    let saved = Tokenizer::open(&to).unwrap();
    assert_eq!(saved.special(), tokenizer.special());
    let chat = Chat::of([("user", "Is it 東京?")]);
    let ids = |folder: &Path, tokenizer: &Tokenizer| {
        let template = ChatTemplate::open(folder, tokenizer).unwrap();
        template.encode(&chat, Ending::Closed, tokenizer).unwrap().ids
    };
    assert_eq!(ids(&to, &saved), ids(from.path(), &tokenizer));
    assert!(to.join(files[1].0).is_file() && !to.join(files[2].0).exists());
    // Beside a model that was saved into the same folder.
    saved.save(&to).unwrap();
    assert_eq!(Tokenizer::open(&to).unwrap().vocab_size(), tokenizer.vocab_size());
}
