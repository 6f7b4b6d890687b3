//! The trainings in the server's folder.

use std::path::Path;

use serde::Serialize;

use crate::run::{RUNS, RunRecord, is_locked};

/// The most trainings of a list.
const MOST: usize = 1000;

/// A training in short.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    id: String,
    status: String,
    started_at: Option<String>,
    completed_at: Option<String>,
}

/// Lists the trainings, the newest first. `is_running` says which of them this server trains.
pub(super) async fn list(is_running: impl Fn(&str) -> bool + Send + 'static) -> Vec<Summary> {
    let read = move || read(Path::new(RUNS), is_running);
    tokio::task::spawn_blocking(read).await.unwrap_or_default()
}

fn read(runs: &Path, is_running: impl Fn(&str) -> bool) -> Vec<Summary> {
    let Ok(entries) = std::fs::read_dir(runs) else { return Vec::new() };
    // What is not readable was not written by this program.
    let summary = |entry: std::fs::DirEntry| {
        let (id, dir) = (entry.file_name().into_string().ok()?, entry.path());
        // Asked before the record is read: one that ends in between has its end in the record.
        let is_running = is_running(&id);
        let mut record = RunRecord::read(&dir).ok()?;
        let is_elsewhere = record.get("status") == "running" && is_locked(&dir);
        if !is_running && !is_elsewhere {
            record = RunRecord::read(&dir).ok()?;
        }
        let text = |name| record.get(name).as_str().map(str::to_owned);
        let status = status_of(&record, is_running || is_elsewhere)?;
        let (started_at, completed_at) = (text("started_at"), text("completed_at"));
        Some(Summary { id, status, started_at, completed_at })
    };
    let mut found: Vec<Summary> = entries.flatten().filter_map(summary).collect();
    found.sort_by(|a, b| b.started_at.cmp(&a.started_at).then_with(|| a.id.cmp(&b.id)));
    found.truncate(MOST);
    found
}

/// Returns the status that a record gives, in Cog's words. Of one that says `running` and is not, the process was killed.
pub(super) fn status_of(record: &RunRecord, is_running: bool) -> Option<String> {
    let status = match record.get("status").as_str()? {
        _ if is_running => "processing",
        "running" => "failed",
        status => status,
    };
    Some(status.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_training_that_ends_while_the_list_is_read_is_not_failed() {
        let runs = tempfile::tempdir().unwrap();
        let dir = runs.path().join("a");
        fs::create_dir(&dir).unwrap();
        let write = |status: &str| {
            fs::write(dir.join("run.json"), format!(r#"{{"status":"{status}"}}"#)).unwrap();
        };
        let status = |is_running: &dyn Fn(&str) -> bool| {
            read(runs.path(), is_running).pop().map(|summary| summary.status)
        };
        write("running");
        assert_eq!(status(&|_| false).as_deref(), Some("failed"), "its server has died");
        assert_eq!(status(&|_| true).as_deref(), Some("processing"));
        let ends = |_: &str| {
            write("succeeded");
            false
        };
        assert_eq!(status(&ends).as_deref(), Some("succeeded"));
        assert_eq!(status(&|_| true).as_deref(), Some("processing"), "its answer is not kept yet");
    }
}
