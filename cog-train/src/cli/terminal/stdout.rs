//! Standard output: the answer, and the pieces of a prediction before it.

use std::io::{self, Write};

use super::{Format, Inner, Terminal, fit};

impl Terminal {
    /// From here on pieces of a prediction are printed on standard output.
    pub(crate) fn stream_output(&self) {
        let mut inner = self.inner();
        inner.streamed = (inner.format == Format::Text).then(String::new);
    }

    /// A piece of the answer, on standard output. A reader that has gone away is no failure.
    pub(crate) fn piece(&self, text: &str) -> io::Result<()> {
        self.inner().write_out(text)
    }

    /// Returns the columns of standard output; `None` where it is no terminal.
    pub(crate) fn answer_columns(&self) -> Option<usize> {
        match &self.inner().stdout {
            Some(file) => fit::columns(file),
            None => fit::columns(&io::stdout()),
        }
    }

    /// The answer, on standard output, as far as it was not streamed. A reader that has gone away is no failure.
    pub(crate) fn result(&self, text: &str) -> io::Result<()> {
        let mut inner = self.inner();
        if inner.is_silent {
            return Ok(());
        }
        inner.progress.clear();
        let streamed = inner.streamed.take().unwrap_or_default();
        let Some(rest) = text.strip_prefix(&streamed) else {
            return inner.write_out(&format!("\n{text}"));
        };
        inner.write_out(rest)
    }
}

impl Inner {
    /// Writes to standard output. A reader that has gone away is no failure.
    pub(super) fn write_out(&mut self, text: &str) -> io::Result<()> {
        let written = match &mut self.stdout {
            Some(file) => file.write_all(text.as_bytes()).and_then(|()| file.flush()),
            None => io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()),
        };
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    /// Ends the line of a prediction that will not be completed.
    pub(super) fn end_streamed_line(&mut self) {
        if self.streamed.take().is_some_and(|text| !text.is_empty() && !text.ends_with('\n')) {
            let _ = self.write_out("\n");
        }
    }
}
