use super::*;

fn folder(pooling: &Value, kinds: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let modules = kinds.iter().zip(["", "1_Pooling", "2_Last"]).enumerate();
    let modules: Vec<_> = modules
        .map(|(idx, (kind, path))| json!({"idx": idx, "name": "x", "path": path, "type": kind}))
        .collect();
    fs::create_dir(folder.path().join("1_Pooling")).unwrap();
    fs::write(folder.path().join(MODULES), json!(modules).to_string()).unwrap();
    fs::write(folder.path().join("1_Pooling/config.json"), pooling.to_string()).unwrap();
    folder
}

const KINDS: &[&str] = &[
    "sentence_transformers.models.Transformer",
    "sentence_transformers.models.Pooling",
    "sentence_transformers.base.modules.normalize.Normalize",
];

#[test]
fn old_and_new_spellings_are_read() {
    let mean = Pooling::new(PoolingMode::Mean);
    let cls = Pooling::new(PoolingMode::Cls);
    for (pooling, kinds, expected) in [
        (json!({"word_embedding_dimension": 8, "pooling_mode_cls_token": true}), 2, cls),
        (
            json!({"pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": false}),
            3,
            mean.normalize(true),
        ),
        (
            json!({"embedding_dimension": 8, "pooling_mode": "cls", "include_prompt": true}),
            3,
            cls.normalize(true),
        ),
        (json!({}), 2, mean),
    ] {
        let folder = folder(&pooling, &KINDS[..kinds]);
        assert_eq!(Pooling::open(folder.path()).unwrap(), expected, "{pooling}");
    }
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Pooling::open(folder.path()).unwrap(), mean);
    fs::write(folder.path().join(TEXT), r#"{"max_seq_length": 256, "do_lower_case": false}"#)
        .unwrap();
    assert_eq!(Pooling::open(folder.path()).unwrap().max_length(), Some(256));
}

#[test]
fn what_is_saved_is_read_back_and_equal_files_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let text = path.join(TEXT);
    fs::write(&text, r#"{"max_seq_length": 128, "do_lower_case": false}"#).unwrap();
    let limit = Pooling::open(path).unwrap();
    for mode in [PoolingMode::Mean, PoolingMode::Cls] {
        for normalize in [true, false] {
            let pooling = Pooling { mode, ..limit }.normalize(normalize);
            pooling.save(path, 8).unwrap();
            assert_eq!(Pooling::open(path).unwrap(), pooling);
        }
    }
    let other = r#"[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.base.modules.Transformer"}]"#;
    fs::write(path.join(MODULES), other).unwrap();
    Pooling::open(path).unwrap().save(path, 8).unwrap();
    assert_eq!(fs::read_to_string(path.join(MODULES)).unwrap(), other);
    Pooling::new(PoolingMode::Cls).save(path, 8).unwrap();
    assert_eq!(Pooling::open(path).unwrap().mode(), PoolingMode::Cls);
}

#[test]
fn other_poolings_and_modules_are_refused_by_name() {
    let dense = [KINDS[0], KINDS[1], "sentence_transformers.models.Dense"];
    for (pooling, kinds, message) in [
        (
            json!({"pooling_mode": "max"}),
            KINDS,
            "the pooling is `max`, and `mean` or `cls` are supported",
        ),
        (
            json!({"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true}),
            KINDS,
            "the pooling is `cls` and `mean`",
        ),
        (
            json!({"include_prompt": false}),
            KINDS,
            "`include_prompt` is false, and only true is supported",
        ),
        (json!({}), &dense, "module 2 is `Dense`"),
    ] {
        let folder = folder(&pooling, kinds);
        let error = Pooling::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}
