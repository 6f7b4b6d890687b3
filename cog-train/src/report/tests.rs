use std::path::Path;

use serde_json::json;

use super::curves::Curves;
use super::{REPORT, write};

fn run(dir: &Path, record: &serde_json::Value, metrics: &str) -> String {
    std::fs::write(dir.join("run.json"), record.to_string()).unwrap();
    std::fs::write(dir.join("metrics.jsonl"), metrics).unwrap();
    write(dir, Some("COG_WEIGHTS=weights ./train predict -i text=...")).unwrap();
    std::fs::read_to_string(dir.join(REPORT)).unwrap()
}

/// Whatever a trainer, its data or its user names something: it is text in the page, and the page asks no other host.
#[test]
fn hostile_texts_stay_texts_and_nothing_is_requested() {
    let dir = tempfile::tempdir().unwrap();
    let hostile = "</pre><script>alert(1)</script><img src=//x onerror='a'>&amp;\u{1}";
    let record = json!({
        "id": hostile, "trainer": hostile, "status": hostile, "error": hostile, "started_at": hostile,
        "device": hostile, "versions": {hostile: hostile},
        "inputs": {hostile: {"value": hostile, "origin": hostile, "files": [{"sha256": hostile}]}},
        "output": {hostile: hostile},
        "metrics": {"confusion_matrix": {"labels": [hostile, "b"], "counts": [[3, 1], [0, 2]]}},
    });
    let metrics =
        json!({"step": 1, "loss": 0.5, "eval_loss": 0.5, hostile: 2.0}).to_string() + "\n";
    let samples = [
        json!({"step": 1, "name": hostile, "text": hostile}),
        json!({"step": 2, "name": hostile, "image": "../../etc/passwd.png"}),
    ];
    let samples = samples.map(|sample| format!("{sample}\n")).concat();
    std::fs::write(dir.path().join("samples.jsonl"), samples).unwrap();
    std::fs::write(dir.path().join("log.txt"), hostile).unwrap();
    let page = run(dir.path(), &record, &metrics);
    assert!(!page.contains("<script") && !page.contains("<img src=//"), "{page}");
    for request in ["http:", "https:", "url(", "@import", "src=\"/", "<link"] {
        assert!(!page.contains(request), "{request}");
    }
    assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains('\u{1}'));
    assert!(page.contains("img-src data:"));
}

#[test]
fn a_report_has_curves_inputs_evaluations_samples_and_the_command() {
    let dir = tempfile::tempdir().unwrap();
    let record = json!({
        "id": "run-1", "trainer": "Trainer", "status": "succeeded", "started_at": "2026-11-28T17:00:00.123Z",
        "seed": {"value": 7, "origin": "drawn"}, "output": {"weights": "weights/model.safetensors"},
        "inputs": {"epochs": {"value": 3, "origin": "given"}},
        "device": "cpu",
        "metrics": {"predict_time": 125.0, "usage": {
            "time": {"data": 25.0, "forward": 30.0, "backward": 60.0, "optimizer": 2.5, "evaluation": 5.0, "checkpoint": 0.0},
            "memory": {"weights": 1 << 20, "gradients": 0, "activations": 3 << 20, "other": 4 << 20, "peak": 8 << 20},
        }},
    });
    let mut metrics = String::new();
    for step in 0..50 {
        let loss = 1.0 / f64::from(step + 1);
        let numbers = json!({"step": step, "loss": loss, "learning_rate": 0.1}).to_string();
        let memory = json!({"step": step, "time/memory_bytes": 1_048_576}).to_string();
        metrics += &[numbers, memory, String::new()].join("\n");
    }
    metrics += "{\"step\":0,\"eval_loss\":1.5,\"eval_accuracy\":0.25}\n{\"step\":49,\"eval_loss\":0.5,\"eval_accuracy\":0.75}\n";
    metrics += "{\"step\":50,\"loss\":\"NaN\"}\n{\"step\":51,\"lo";
    let sample = |step, text| json!({"step": step, "name": "story", "text": text}).to_string();
    let samples = [sample(1, "before"), sample(2, "between"), sample(3, "behind")].join("\n");
    std::fs::write(dir.path().join("samples.jsonl"), samples).unwrap();
    let log: Vec<String> = (0..500).map(|at| format!("line {at}\n")).collect();
    std::fs::write(dir.path().join("log.txt"), log.concat()).unwrap();
    let page = run(dir.path(), &record, &metrics);
    for part in [
        "2026-11-28 17:00:00 UTC",
        "<b>Loss</b>",
        "<b>Learning rate</b>",
        "1.0 MiB",
        "2 min 05 s",
        "<th scope=\"row\">data</th><td>25 s</td><td>20.0 %</td>",
        "<th scope=\"row\">backward</th><td>1 min 00 s</td><td>48.0 %</td>",
        "<th scope=\"row\">other</th><td>2.5 s</td><td>2.0 %</td>",
        "<th scope=\"row\">activations</th><td>3.0 MiB</td><td>37.5 %</td>",
        "<i style=\"width:50.0%\">",
        "0.7500 (step 49)",
        "COG_WEIGHTS=weights ./train predict",
        "weights/model.safetensors",
        "before</pre>",
        "behind</pre>",
        "line 0\n",
        "… 380 lines …",
        "line 499",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("<th scope=\"row\">gradients</th>"), "what there is nothing of");
    assert!(
        !page.contains("between</pre>") && !page.contains("NaN") && !page.contains("line 200\n")
    );
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
}

/// Numbers behind a Hebrew name would be shown in reverse order, and a date beside it.
#[test]
fn texts_from_right_to_left_leave_what_is_beside_them() {
    let dir = tempfile::tempdir().unwrap();
    let record =
        json!({"id": "שלום", "status": "succeeded", "started_at": "2026-11-28T17:00:00.5Z"});
    std::fs::write(dir.path().join("log.txt"), "שלילי   12   8  0.600\nplain   1   2\n").unwrap();
    let sample = json!({"step": 1, "name": "דוגמה", "text": "שלום"}).to_string();
    std::fs::write(dir.path().join("samples.jsonl"), sample).unwrap();
    let page = run(dir.path(), &record, "");
    for part in [
        "<bdi>שלום</bdi> · 2026-11-28 17:00:00 UTC",
        "<h3><bdi>דוגמה</bdi></h3>",
        "<pre dir=\"auto\">שלום</pre>",
        "<pre class=\"log\">שלילי   \u{200e}12   \u{200e}8  \u{200e}0.600\nplain   1   2</pre>",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
}

/// Work on a GPU goes on while the host prepares the next: the two passes are known together.
#[test]
fn the_passes_of_a_gpu_are_one_category() {
    let dir = tempfile::tempdir().unwrap();
    let record = json!({
        "id": "run-1", "status": "succeeded", "device": "cuda { gpu_id: 0 }",
        "metrics": {"predict_time": 4.0, "usage": {"time": {"forward": 1.0, "backward": 2.0}, "memory": {}}},
    });
    let page = run(dir.path(), &record, "");
    assert!(page.contains("forward and backward</th><td>3.0 s</td><td>75.0 %</td>"), "{page}");
    assert!(!page.contains(">forward</th>") && !page.contains("Memory at the most"), "{page}");
}

#[test]
fn a_run_without_metrics_has_a_report_of_its_error() {
    let dir = tempfile::tempdir().unwrap();
    let record = json!({"id": "run-1", "status": "failed", "error": "no such file"});
    let page = run(dir.path(), &record, "");
    assert!(page.contains("no such file") && !page.contains("<svg"), "{page}");
}

/// The extremes of a curve survive, in a bounded number of points.
#[test]
fn a_long_curve_keeps_its_extremes_in_few_points() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.jsonl");
    let value = |step: u32| match step {
        12_345 => 9.0,
        54_321 => -9.0,
        _ => f64::from(step % 7),
    };
    let lines: Vec<String> = (0..100_000)
        .map(|step| format!("{{\"step\":{step},\"loss\":{}}}\n", value(step)))
        .collect();
    std::fs::write(&path, lines.concat()).unwrap();
    let curves = Curves::read(&path).unwrap();
    let loss = curves.get("loss").unwrap();
    assert!((100..=400).contains(&loss.buckets.len()), "{}", loss.buckets.len());
    assert_eq!(
        (loss.points, loss.highest, loss.lowest),
        (100_000, (12_345.0, 9.0), (54_321.0, -9.0))
    );
    let most = loss.buckets.iter().map(|it| it.most).fold(f64::MIN, f64::max);
    let least = loss.buckets.iter().map(|it| it.least).fold(f64::MAX, f64::min);
    assert_eq!((most, least), (9.0, -9.0));
    let mean = (0..100_000).map(value).sum::<f64>() / 100_000.0;
    assert!((loss.mean() - mean).abs() < 1e-9);
}
