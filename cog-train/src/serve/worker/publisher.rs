//! The output of a run as the answer's JSON: values as they are, files as data URLs.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine};
use coglet::{PredictResult, SlotSender};
use serde_json::{Map, Value};
use tempfile::TempPath;

use super::media::type_of;
use super::messages::Stage;
use crate::archive::pack;
use crate::error::Error;
use crate::fetch::Upload;
use crate::output::{Output, OutputType};
use crate::progress::CancelToken;
use crate::run::{Published, Publisher};

/// The most bytes of a file inside of an answer: it is held in memory several times.
const INLINE_BYTES: u64 = 64 << 20;

/// Makes the answer of one run.
pub(super) struct AnswerPublisher<'a> {
    id: &'a str,
    upload_url: Option<&'a str>,
    cancel: &'a CancelToken,
    answer: RefCell<Option<Answer>>,
    failed: Cell<bool>,
    /// The names of the files that were sent.
    sent: RefCell<HashMap<String, PathBuf>>,
}

struct Answer {
    value: Value,
    is_list: bool,
}

impl<'a> AnswerPublisher<'a> {
    pub(super) fn new(id: &'a str, upload_url: Option<&'a str>, cancel: &'a CancelToken) -> Self {
        Self {
            id,
            upload_url,
            cancel,
            answer: RefCell::default(),
            failed: Cell::new(false),
            sent: RefCell::default(),
        }
    }

    /// Returns the part of a failed call that failed, once the author's code was reached.
    pub(super) fn stage(&self) -> Stage {
        match (self.failed.get(), self.upload_url) {
            (false, _) => Stage::Author,
            (true, None) => Stage::Output,
            (true, Some(_)) => Stage::Upload,
        }
    }

    /// Sends the answer to the server.
    pub(super) fn send(&self, sender: &SlotSender, seconds: f64) -> PredictResult {
        match self.answer.take() {
            // coglet makes a list of what was sent, whatever the number of items.
            Some(Answer { value: Value::Array(items), is_list: true }) => {
                for item in items {
                    if let Err(error) = sender.send_output(item) {
                        let text = format!("cannot send the output: {error}");
                        return PredictResult::failed(text, seconds);
                    }
                }
                PredictResult::success(Value::Null, seconds, true)
            }
            Some(Answer { value, .. }) => PredictResult::success(value, seconds, false),
            None => PredictResult::success(Value::Null, seconds, false),
        }
    }

    /// Returns the output as JSON, with `shown` for each file.
    fn convert(
        output: &Output,
        shown: &dyn Fn(&Path) -> Result<Value, Error>,
    ) -> Result<Value, Error> {
        Ok(match output {
            Output::Value(value) => value.clone(),
            Output::File(path) => shown(path)?,
            Output::List(items) => Value::Array(
                items.iter().map(|it| Self::convert(it, shown)).collect::<Result<_, _>>()?,
            ),
            Output::Object(fields) => Value::Object(
                fields
                    .iter()
                    .map(|(name, it)| Ok((name.clone(), Self::convert(it, shown)?)))
                    .collect::<Result<_, Error>>()?,
            ),
        })
    }

    /// Returns a name that no other file of the output has: `a/x.bin` and `b/x.bin` are `x.bin` and `1-x.bin`.
    fn free_name(&self, name: &str, path: &Path) -> String {
        let mut sent = self.sent.borrow_mut();
        let mut free = name.to_owned();
        for count in 1.. {
            match sent.get(&free) {
                Some(other) if other != path => free = format!("{count}-{name}"),
                _ => break,
            }
        }
        sent.insert(free.clone(), path.to_owned());
        free
    }

    fn file(&self, path: &Path) -> Result<Value, Error> {
        self.cancel.check()?;
        let archive = archive_of(path, self.cancel)?;
        let sent = archive.as_deref().unwrap_or(path);
        let mut name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if archive.is_some() {
            name.push_str(".tar");
        }
        let media_type = type_of(Path::new(&name));
        match self.upload_url {
            Some(folder) => {
                let slash = if folder.ends_with('/') { "" } else { "/" };
                let url = format!("{folder}{slash}{}", quoted(&self.free_name(&name, path)));
                let upload = Upload { url: &url, path: sent, media_type: &media_type, id: self.id };
                let refuse = |error| match error {
                    Error::Fetch { url, reason } => Error::Output {
                        name: name.clone(),
                        reason: format!("cannot be uploaded to `{url}`: {reason}"),
                    },
                    other => other,
                };
                upload.send(self.cancel).map(Value::from).map_err(refuse)
            }
            None => data_url(sent, path, &media_type).map(Value::from),
        }
    }

    fn publish(&self, output: &Output) -> Result<Value, Error> {
        let value = Self::convert(output, &|path| self.file(path))?;
        let is_list = matches!(output, Output::List(_) | Output::Value(Value::Array(_)));
        // `run.json` records addresses and paths, and not the content of files.
        let recorded = match self.upload_url {
            Some(_) => value.clone(),
            None => Self::convert(output, &|path| Ok(Value::from(path.display().to_string())))?,
        };
        self.answer.replace(Some(Answer { value, is_list }));
        Ok(recorded)
    }
}

impl Publisher for AnswerPublisher<'_> {
    fn prepare(&self, _output: &OutputType, _runs: &Path) -> Result<(), Error> {
        Ok(())
    }

    fn write(
        &self,
        output: &Output,
        _run_dir: &Path,
        _metrics: &Map<String, Value>,
    ) -> Result<Published, Error> {
        let published = self.publish(output);
        self.failed.set(published.is_err());
        Ok(Published { value: published?, paths: Vec::new() })
    }

    fn parent(&self) -> PathBuf {
        ".".into()
    }
}

/// Returns a file's name as a part of an address.
fn quoted(name: &str) -> String {
    let mut quoted = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            quoted.push(char::from(byte));
        } else {
            write!(quoted, "%{byte:02X}").expect("a string takes everything");
        }
    }
    quoted
}

/// Packs a folder into an archive beside it, which goes when it is dropped; `None` for a file.
fn archive_of(path: &Path, cancel: &CancelToken) -> Result<Option<TempPath>, Error> {
    if !path.is_dir() {
        return Ok(None);
    }
    let beside = path.parent().unwrap_or(path);
    let archive = tempfile::Builder::new().prefix(".archive.").tempfile_in(beside);
    let archive = archive.map_err(Error::file("create a file in", beside))?.into_temp_path();
    pack(path, &archive, cancel)?;
    Ok(Some(archive))
}

/// Returns a file's content as an address. Messages name it as `shown`.
fn data_url(path: &Path, shown: &Path, media_type: &str) -> Result<String, Error> {
    let refuse = |reason: String| Error::Output {
        name: shown.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        reason,
    };
    let Ok(found) = std::fs::metadata(path) else {
        return Err(refuse(format!("the file `{}` is not there", shown.display())));
    };
    if found.len() > INLINE_BYTES {
        return Err(refuse(format!(
            "`{}` has {} bytes, more than the {INLINE_BYTES} that an answer can hold\nhint: start the server with \
             `--upload-url`; the file stays where it is",
            shown.display(),
            found.len(),
        )));
    }
    let mut url = format!("data:{media_type};base64,");
    let mut file = File::open(path).map_err(Error::file("read", path))?;
    // A multiple of three bytes is base64 without padding.
    let mut buffer = vec![0; 3 << 16];
    loop {
        let mut count = 0;
        while count < buffer.len() {
            match file.read(&mut buffer[count..]).map_err(Error::file("read", path))? {
                0 => break,
                more => count += more,
            }
        }
        if count == 0 {
            return Ok(url);
        }
        BASE64_STANDARD.encode_string(&buffer[..count], &mut url);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_one_name_do_not_replace_each_other() {
        let cancel = CancelToken::new();
        let publisher = AnswerPublisher::new("a", None, &cancel);
        let name = |path: &str| publisher.free_name("x.bin", Path::new(path));
        assert_eq!(
            [name("a/x.bin"), name("b/x.bin"), name("a/x.bin"), name("c/x.bin"), name("b/x.bin")],
            ["x.bin", "1-x.bin", "x.bin", "2-x.bin", "1-x.bin"]
        );
    }
}
