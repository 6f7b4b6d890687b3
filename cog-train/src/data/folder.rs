//! Images in folders: a folder for each class.

use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::dataset::{Dataset, missing};
use super::hash::Hash;
use super::image::Image;
use super::problems::Problems;
use crate::error::{Error, plain_io};
use crate::progress::CancelToken;
use crate::read;

/// The most bytes of an image file, as of its pixels.
const MAX_BYTES: u64 = 512 << 20;

/// A folder with a sub-folder for each class, which holds the PNG and JPEG files of the class. A row is an image and the
/// index of its class in [`ImageFolder::classes`]. Rows are in the order of classes and file names; names that begin
/// with a dot are left out.
///
/// ```no_run
/// use cog_train::data::{Dataset, ImageFolder};
///
/// // pets/cat/1.jpg, pets/cat/2.png, pets/dog/1.jpg
/// let pets = ImageFolder::open("pets")?;
/// assert_eq!(pets.classes(), ["cat", "dog"]);
/// let (image, class) = pets.item(2)?;
/// assert_eq!(class, 1);
/// assert_eq!(image.pixels.len(), image.width * image.height * 3);
/// # Ok::<(), cog_train::Error>(())
/// ```
#[derive(Debug)]
pub struct ImageFolder {
    root: PathBuf,
    classes: Vec<String>,
    files: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    class: u32,
    /// Of the file's bytes at the opening.
    digest: [u8; 32],
}

impl ImageFolder {
    /// Opens a folder: reads and decodes every image once.
    ///
    /// # Errors
    ///
    /// [`Error::Data`] with every file that is no PNG or JPEG or cannot be decoded, and everything that is no file in a
    /// class; [`Error::File`] when a folder cannot be read.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(root, &CancelToken::new())
    }

    /// Does the same as [`ImageFolder::open`] until the token is cancelled.
    ///
    /// # Errors
    ///
    /// Those of [`ImageFolder::open`]; [`Error::Cancelled`].
    pub fn open_with(root: impl AsRef<Path>, cancel: &CancelToken) -> Result<Self, Error> {
        let root = root.as_ref().to_owned();
        let mut problems = Problems::default();
        let (mut classes, mut found) = (Vec::new(), Vec::new());
        for (class, path) in listed(&root, cancel)? {
            if !path.is_dir() {
                problems.add(&class, "it is in no class, which is a sub-folder");
                continue;
            }
            let label = u32::try_from(classes.len()).unwrap_or(u32::MAX);
            for (name, path) in listed(&path, cancel)? {
                let name = format!("{class}/{name}");
                if path.is_dir() {
                    problems.add(name, "it is a folder in a class");
                } else {
                    found.push((name, label));
                }
            }
            classes.push(class);
        }
        let looked: Vec<Result<Entry, (String, String)>> = found
            .into_par_iter()
            .map(|(name, class)| {
                if cancel.is_cancelled() {
                    return Err((name, String::new()));
                }
                let bytes = read::file_bytes(&root.join(&name), MAX_BYTES);
                let bytes = bytes.map_err(|error| plain_io(&error));
                let seen = bytes.and_then(|bytes| Image::decode(&bytes).map(|_| digest(&bytes)));
                match seen {
                    Ok(digest) => Ok(Entry { name, class, digest }),
                    Err(reason) => Err((name, reason)),
                }
            })
            .collect();
        cancel.check()?;
        let mut files = Vec::new();
        for one in looked {
            match one {
                Ok(file) => files.push(file),
                Err((name, reason)) => problems.add(name, &reason),
            }
        }
        let location = root.display().to_string();
        problems.finish(&location)?;
        if files.is_empty() {
            let reason =
                "it has no images\nhint: it should have a sub-folder with images for each class";
            return Err(Error::Data { location, reason: reason.to_owned() });
        }
        Ok(Self { root, classes, files })
    }

    /// Returns the names of the classes, sorted. A class without images counts.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        &self.classes
    }
}

impl Dataset for ImageFolder {
    type Item = (Image, u32);

    fn len(&self) -> usize {
        self.files.len()
    }

    fn item(&self, index: usize) -> Result<(Image, u32), Error> {
        let file = self.files.get(index);
        let file =
            file.ok_or_else(|| missing(&self.root.display().to_string(), index, self.files.len()))?;
        let path = self.root.join(&file.name);
        let bytes = read::file(&path, MAX_BYTES)?;
        let fail = |reason| Error::Data { location: self.location(index), reason };
        if digest(&bytes) != file.digest {
            return Err(fail("its content has changed since it was opened".to_owned()));
        }
        Ok((Image::decode(&bytes).map_err(fail)?, file.class))
    }

    fn location(&self, index: usize) -> String {
        let name = self.files.get(index).map_or("", |file| &file.name);
        self.root.join(name).display().to_string()
    }

    /// Of the names of classes and files and of the files' bytes.
    fn digest(&self) -> Result<String, Error> {
        let mut hash = Hash::default();
        self.classes.iter().for_each(|class| hash.piece(class.as_bytes()));
        for file in &self.files {
            hash.piece(file.name.as_bytes());
            hash.bytes(&file.digest);
        }
        Ok(hash.hex())
    }
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    let mut hash = Hash::default();
    hash.bytes(bytes);
    hash.end()
}

/// Returns the entries of a folder, sorted by name; names must be UTF-8, for they are classes and are shown.
fn listed(folder: &Path, cancel: &CancelToken) -> Result<Vec<(String, PathBuf)>, Error> {
    cancel.check()?;
    let entries: Vec<DirEntry> =
        fs::read_dir(folder).and_then(Iterator::collect).map_err(Error::file("read", folder))?;
    let mut listed = Vec::new();
    for entry in entries {
        let name = entry.file_name().into_string().map_err(|name| Error::Data {
            location: folder.display().to_string(),
            reason: format!("the name `{}` is not UTF-8", name.display()),
        })?;
        if !name.starts_with('.') {
            listed.push((name, entry.path()));
        }
    }
    listed.sort();
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use ::image::ImageFormat;

    use super::*;

    fn png(width: u32, height: u32, first: [u8; 3]) -> Vec<u8> {
        let mut image = ::image::RgbImage::new(width, height);
        image.put_pixel(0, 0, ::image::Rgb(first));
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn pets() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for class in ["dog", "cat", ".hidden"] {
            fs::create_dir(dir.path().join(class)).unwrap();
        }
        let write = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
        write("dog/b.png", &png(3, 2, [1, 2, 3]));
        write("dog/a.png", &png(1, 1, [9, 9, 9]));
        write("dog/.DS_Store", b"x");
        let mut jpeg = Cursor::new(Vec::new());
        ::image::GrayImage::from_pixel(8, 4, ::image::Luma([200]))
            .write_to(&mut jpeg, ImageFormat::Jpeg)
            .unwrap();
        write("cat/c.jpg", &jpeg.into_inner());
        dir
    }

    #[test]
    fn classes_are_sorted_folders_and_pixels_are_rgb() {
        let dir = pets();
        let pets = ImageFolder::open(dir.path()).unwrap();
        assert_eq!(pets.classes(), ["cat", "dog"]);
        assert_eq!(pets.len(), 3);
        let (cat, class) = pets.item(0).unwrap();
        assert_eq!((cat.width, cat.height, cat.channels, class), (8, 4, 3, 0));
        assert_eq!(cat.pixels.len(), 96);
        assert!(cat.pixels.iter().all(|value| value.abs_diff(200) < 3));
        let (dog, class) = pets.item(2).unwrap();
        assert_eq!((dog.width, dog.height, class, &dog.pixels[..4]), (3, 2, 1, &[1, 2, 3, 0][..]));
        assert!(pets.location(2).ends_with("dog/b.png"));
        assert!(pets.item(3).is_err());
    }

    #[test]
    fn a_changed_or_missing_image_is_an_error_and_another_digest() {
        let dir = pets();
        let pets = ImageFolder::open(dir.path()).unwrap();
        fs::write(dir.path().join("dog/a.png"), png(1, 1, [8, 9, 9])).unwrap();
        let error = pets.item(1).unwrap_err().to_string();
        assert!(
            error.ends_with("dog/a.png`: its content has changed since it was opened"),
            "{error}"
        );
        assert_ne!(
            pets.digest().unwrap(),
            ImageFolder::open(dir.path()).unwrap().digest().unwrap()
        );
        fs::remove_file(dir.path().join("dog/a.png")).unwrap();
        assert!(matches!(pets.item(1), Err(Error::File { .. })));
    }

    #[test]
    fn everything_that_is_no_image_is_reported_at_once() {
        let dir = pets();
        let write = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
        write("readme.txt", b"x");
        write("dog/notes.txt", b"text");
        write("dog/cut.png", &png(30, 30, [1, 1, 1])[..60]);
        fs::create_dir(dir.path().join("cat/more")).unwrap();
        let error = ImageFolder::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("4 rows cannot be used"), "{error}");
        for line in [
            "  cat/more: it is a folder in a class\n",
            "  readme.txt: it is in no class, which is a sub-folder\n",
            "  dog/cut.png: ",
            "\n  dog/notes.txt: it is neither PNG nor JPEG",
        ] {
            assert!(error.contains(line), "{line} not in {error}");
        }
        let empty = tempfile::tempdir().unwrap();
        assert!(
            ImageFolder::open(empty.path())
                .unwrap_err()
                .to_string()
                .contains("it has no images\nhint: ")
        );
        let cancel = CancelToken::new();
        cancel.cancel();
        assert!(matches!(ImageFolder::open_with(dir.path(), &cancel), Err(Error::Cancelled)));
    }
}
