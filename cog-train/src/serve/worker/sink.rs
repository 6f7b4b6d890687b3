//! The receiver of what a run reports. Lines go to standard output, where [`Capture`](super::capture::Capture) puts
//! everything into one order.

use std::fmt::Display;
use std::io::Write;
use std::sync::Arc;

use coglet::SlotSender;
use coglet::bridge::protocol::MetricMode;
use serde_json::Value;

use crate::progress::{Record, Report};
use crate::run::Observer;

/// Sends records to the server, if there is one to take them, and writes lines to standard output.
#[derive(Clone, Default)]
pub(super) struct Sink(pub(super) Option<Arc<SlotSender>>);

fn write(text: impl Display) {
    // A failure has nowhere to be reported.
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}

impl Observer for Sink {
    fn note(&self, text: &str) {
        write(text);
    }

    fn warning(&self, text: &str) {
        write(format_args!("warning: {text}"));
    }

    fn report(&self) -> Box<dyn Report> {
        Box::new(self.clone())
    }
}

impl Report for Sink {
    fn line(&mut self, text: &str) {
        write(text);
    }

    /// Numbers are in the run's `metrics.jsonl`.
    fn metric(&mut self, _name: &str, _step: u64, _value: f64) {}

    fn record(&mut self, name: &str, value: &Value, mode: Record) {
        let mode = match mode {
            Record::Replace => MetricMode::Replace,
            Record::Increment => MetricMode::Increment,
            Record::Append => MetricMode::Append,
        };
        if let Some(sender) = &self.0 {
            // The server has gone: the worker ends soon.
            drop(sender.send_metric(name.to_owned(), value.clone(), mode));
        }
    }

    fn progress(&mut self, _unit: &str, _done: u64, _total: u64) {}
}
