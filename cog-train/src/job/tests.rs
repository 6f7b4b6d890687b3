use super::*;
use serde_json::json;

#[test]
fn records_nest_add_append_and_delete() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = Job::for_test(dir.path());
    job.record("loss", 1.5, Record::Replace);
    job.record("loss", 0.5, Record::Replace);
    job.record("tokens", 3, Record::Increment);
    job.record("tokens", 4, Record::Increment);
    job.record("eval.loss", 2.0, Record::Append);
    job.record("eval.loss", 1.0, Record::Append);
    job.record("gone", 1, Record::Replace);
    job.record("gone", Value::Null, Record::Replace);
    assert_eq!(
        Value::Object(job.records().clone()),
        json!({"loss": 0.5, "tokens": 7, "eval": {"loss": [2.0, 1.0]}})
    );
}

#[test]
fn bad_records_are_named_and_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = Job::for_test(dir.path());
    job.record("text", "a", Record::Replace);
    for name in ["predict_time", "cog.x", "a.b.c.d.e", "a..b", "text.inner", &"x".repeat(129)] {
        job.record(name, 1, Record::Replace);
    }
    job.record("text", 1, Record::Increment);
    assert_eq!(Value::Object(job.records().clone()), json!({"text": "a"}));
    let log = std::fs::read_to_string(dir.path().join("log.txt")).unwrap();
    assert_eq!(log.lines().count(), 7, "{log}");
    assert!(log.contains("the record `cog.x` is reserved"), "{log}");
}

#[test]
fn records_too_deep_for_a_reader_of_json_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = Job::for_test(dir.path());
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    job.record("a.b", nested(98), Record::Replace);
    job.record("c.d", nested(99), Record::Replace);
    assert_eq!(Value::Object(job.records().clone()), json!({"a": {"b": nested(98)}}));
    let log = std::fs::read_to_string(dir.path().join("log.txt")).unwrap();
    assert!(log.contains("the record `c.d` is nested more than 100 levels deep"), "{log}");
}

#[test]
fn names_of_metrics_are_masked() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = Job::for_test(dir.path());
    job.mask = Mask::new(["hunter2".to_owned()]);
    job.metric("eval_hunter2", 1, 0.5);
    job.step(2, &Map::from_iter([("hunter2".to_owned(), json!(0.25))]));
    let metrics = std::fs::read_to_string(dir.path().join("metrics.jsonl")).unwrap();
    assert_eq!(metrics, "{\"step\":1,\"eval_**********\":0.5}\n{\"step\":2,\"**********\":0.25}\n");
}

#[test]
fn metrics_are_one_object_a_line_and_never_invalid_json() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = Job::for_test(dir.path());
    job.metric("loss", 1, 2.5);
    job.metric("loss", 2, f64::NAN);
    job.metric("loss", 3, f64::NEG_INFINITY);
    let text = std::fs::read_to_string(dir.path().join("metrics.jsonl")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        lines,
        [
            json!({"step": 1, "loss": 2.5}),
            json!({"step": 2, "loss": "NaN"}),
            json!({"step": 3, "loss": "-Infinity"})
        ]
    );
}
