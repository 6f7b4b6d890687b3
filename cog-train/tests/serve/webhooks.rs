//! Webhooks.

use serde_json::json;

use crate::hooks::Hooks;
use crate::probe;
use crate::server::Server;

#[test]
fn webhooks_tell_the_training_from_its_start_to_its_end() {
    let here = probe();
    let hooks = Hooks::listen(0);
    let server = Server::ready(&here, &["serve"], &[("WEBHOOK_AUTH_TOKEN", "hook-t0ken")]);
    let body =
        json!({"id": "h", "input": {"epochs": 1, "seed": 5}, "webhook": hooks.url}).to_string();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = [("Content-Type", "application/json"), ("traceparent", trace)];
    let answer = server.send("POST", "/trainings", &headers, &body).expect(200).json();
    let first = hooks.next();
    assert_eq!(first.body["status"], "processing");
    assert_eq!(first.body["metrics"], json!({}));
    assert!(first.body.get("input").is_none());
    // Cog does not wait for one webhook before it sends the next.
    let (mut last, mut output, mut hook) = (None, None, first);
    loop {
        let head = hook.head.to_lowercase();
        assert!(head.contains(&format!("traceparent: {trace}")), "{head}");
        assert!(head.contains("authorization: bearer hook-t0ken"), "{head}");
        assert!(head.contains("user-agent: coglet/0.23.1"), "{head}");
        match hook.body["status"].as_str() {
            Some("processing") if hook.body["output"].is_array() => {
                output = Some(hook.body["output"].clone());
            }
            Some("processing") => {}
            _ => last = Some(hook),
        }
        if output.is_some() && last.is_some() {
            break;
        }
        hook = hooks.next();
    }
    let last = last.unwrap();
    assert_eq!(last.body["status"], "succeeded");
    assert_eq!(
        output,
        Some(json!([last.body["output"]])),
        "a single output is a list of one before the end"
    );
    assert_eq!(last.body["output"], answer["output"]);
    assert_eq!(last.body["logs"], answer["logs"]);
    assert!(!server.log().contains("hook-t0ken"));
}

#[test]
fn the_last_webhook_is_sent_again_and_the_filter_is_kept() {
    let here = probe();
    let hooks = Hooks::listen(2);
    let server = Server::ready(&here, &["serve"], &[]);
    let body = json!({
        "input": {"mode": "fail"}, "webhook": hooks.url, "webhook_events_filter": ["completed"],
    });
    server.post("/trainings", &body.to_string()).expect(200);
    for _ in 0..3 {
        let hook = hooks.next();
        assert_eq!(hook.body["status"], "failed");
        assert!(hook.body["logs"].as_str().unwrap().contains("epochs 3 with adamw"));
    }
    // A webhook that is not an address fails nothing.
    let answer = server.post("/trainings", r#"{"webhook":"not an address"}"#).expect(200).json();
    assert_eq!(answer["status"], "succeeded");
}
