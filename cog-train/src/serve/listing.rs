//! The trainings in the server's folder.

use serde::Serialize;

use crate::run::{RUNS, RunRecord, is_locked};

/// The most trainings of a list.
const MOST: usize = 1000;

/// A training in short.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) id: String,
    status: String,
    started_at: Option<String>,
    completed_at: Option<String>,
}

impl Summary {
    /// Replaces the status of a record that nobody has ended.
    pub(super) fn settle(&mut self, is_running: bool) {
        if is_running {
            "processing".clone_into(&mut self.status);
        } else if self.status == "running" {
            "failed".clone_into(&mut self.status);
        }
    }
}

/// Lists the trainings, the newest first.
pub(super) async fn list() -> Vec<Summary> {
    tokio::task::spawn_blocking(read).await.unwrap_or_default()
}

fn read() -> Vec<Summary> {
    let Ok(entries) = std::fs::read_dir(RUNS) else { return Vec::new() };
    // What is not readable was not written by this program.
    let summary = |entry: std::fs::DirEntry| {
        let record = RunRecord::read(&entry.path()).ok()?;
        let text = |name| record.get(name).as_str().map(str::to_owned);
        let mut status = text("status")?;
        // A second server's.
        if status == "running" && is_locked(&entry.path()) {
            "processing".clone_into(&mut status);
        }
        Some(Summary {
            id: entry.file_name().into_string().ok()?,
            status,
            started_at: text("started_at"),
            completed_at: text("completed_at"),
        })
    };
    let mut found: Vec<Summary> = entries.flatten().filter_map(summary).collect();
    found.sort_by(|a, b| b.started_at.cmp(&a.started_at).then_with(|| a.id.cmp(&b.id)));
    found.truncate(MOST);
    found
}
