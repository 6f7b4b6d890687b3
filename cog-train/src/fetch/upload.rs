//! Uploads: a file is sent by `PUT`, streamed from the disk.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use ureq::http::header;
use ureq::{Agent, SendBody};

use super::Fetcher;
use super::address::{Address, Scheme};
use super::answer::{Failure, failure};
use super::request::{explain, next_address, resolve};
use super::retry::retry;
use crate::error::Error;
use crate::progress::CancelToken;

const REDIRECTS: u32 = 10;

/// A file and where it goes.
pub(crate) struct Upload<'a> {
    pub(crate) url: &'a str,
    pub(crate) path: &'a Path,
    pub(crate) media_type: &'a str,
    /// The id of the training or prediction that made the file.
    pub(crate) id: &'a str,
}

impl Upload<'_> {
    /// Sends the file and returns its address: the `Location` of the answer, else the address that took it, without a query.
    ///
    /// An overloaded server and a broken connection are retried. The memory that it takes does not depend on the file.
    ///
    /// # Errors
    ///
    /// [`Error::Fetch`] when the server refuses the file; [`Error::File`] when it cannot be read; [`Error::Cancelled`].
    pub(crate) fn send(&self, cancel: &CancelToken) -> Result<String, Error> {
        let address = Address::parse(self.url)?;
        if address.scheme != Scheme::Http {
            return Err(address.error("files are uploaded to `http://` and `https://` alone"));
        }
        let fetcher = Fetcher::new(".");
        retry(&fetcher, &address, cancel, |agent| self.attempt(&fetcher, agent, &address, cancel))
    }

    fn attempt(
        &self,
        fetcher: &Fetcher,
        agent: &Agent,
        address: &Address,
        cancel: &CancelToken,
    ) -> Result<String, Failure> {
        let mut url = address.url.clone();
        for _ in 0..=REDIRECTS {
            let file = File::open(self.path).map_err(Error::file("read", self.path))?;
            let length = file.metadata().map_err(Error::file("read", self.path))?.len();
            let mut body = Watched { file, cancel };
            let sent = agent
                .put(&url)
                .header(header::CONTENT_TYPE, self.media_type)
                .header(header::CONTENT_LENGTH, length)
                .header("X-Prediction-Id", self.id)
                .send(SendBody::from_reader(&mut body));
            cancel.check()?;
            let answer =
                sent.map_err(|error| failure(explain(&error, fetcher.timeout), address))?;
            let location = answer.headers().get(header::LOCATION).and_then(|it| it.to_str().ok());
            match (answer.status().as_u16(), location) {
                (200..=299, location) => {
                    let taken = location.map_or_else(|| url.clone(), |it| resolve(&url, it));
                    return Ok(taken.split('?').next().unwrap_or_default().to_owned());
                }
                (301 | 302 | 307 | 308, Some(target)) => {
                    url = next_address(&url, target)
                        .map_err(|reason| Failure::Fatal(address.error(reason)))?;
                }
                (429 | 500 | 502 | 503 | 504, _) => {
                    return Err(Failure::retry(format!("the server answered {}", answer.status())));
                }
                _ => {
                    let reason = format!("the server answered {}", answer.status());
                    return Err(Failure::Fatal(address.error(reason)));
                }
            }
        }
        Err(Failure::Fatal(address.error(format!("more than {REDIRECTS} redirects"))))
    }
}

/// A file that ends early when the run is cancelled.
struct Watched<'a> {
    file: File,
    cancel: &'a CancelToken,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.cancel.check().map_err(io::Error::other)?;
        self.file.read(buffer)
    }
}
