//! A model's name, resolved to what is on the disk.

use std::path::{Path, PathBuf};

use super::Hub;
use crate::error::Error;
use crate::progress::{CancelToken, Report};

/// Returns the path of a model by its name: a folder or file that exists is itself, and `org/name[@revision]` is the folder that
/// [`Hub::from_env`] downloads it into.
///
/// In a trainer the last two arguments are `&job.cancel_token()` and the job.
///
/// ```
/// use cog_train::CancelToken;
/// use cog_train::hub::resolve;
/// use cog_train::progress::Silent;
///
/// # let dir = tempfile::tempdir()?;
/// # let folder = dir.path().to_str().unwrap();
/// assert_eq!(resolve(folder, &CancelToken::new(), &mut Silent)?, dir.path());
/// let error = resolve("../no/such/folder", &CancelToken::new(), &mut Silent).unwrap_err().to_string();
/// assert!(error.ends_with("and a local one a folder that exists"), "{error}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Error::Fetch`] before anything is downloaded when it is no name of a model; those of [`Hub::from_env`] and
/// [`ModelFiles::download`](super::ModelFiles::download).
pub fn resolve(
    name: &str,
    cancel: &CancelToken,
    report: &mut dyn Report,
) -> Result<PathBuf, Error> {
    let path = Path::new(name);
    if path.exists() {
        return Ok(path.to_owned());
    }
    // A name that is none needs no home for the cache either.
    name.parse::<super::Repo>()?;
    Hub::from_env()?.model(name)?.download(cancel, report)
}
