//! Images in memory, decoded from PNG and JPEG.

use std::io::Cursor;

use ::image::{ImageFormat, ImageReader};

use super::jpeg;
use crate::error::plain_io;

/// An image of 8 bits a channel.
///
/// [`ImageFolder`](super::ImageFolder) has them as rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
    /// 3: red, green, blue.
    pub channels: usize,
    /// Row by row from the top, a pixel's channels together: `height * width * channels` bytes.
    pub pixels: Vec<u8>,
}

impl Image {
    /// Decodes a PNG or a JPEG. Grey becomes three equal channels, 16 bits become 8, CMYK becomes RGB, transparency is
    /// dropped, and an animation is its first image. Pixels are as they are stored: an orientation in the file's metadata
    /// is not applied.
    ///
    /// # Errors
    ///
    /// The reason that the bytes are no complete image. A file that ends early, or whose compressed data is damaged, is
    /// refused as a whole.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        if bytes.is_empty() {
            return Err("it is empty".to_owned());
        }
        let image = if bytes.starts_with(jpeg::START) {
            jpeg::decode(bytes)?
        } else {
            let reader = ImageReader::new(Cursor::new(bytes));
            let reader = reader.with_guessed_format().map_err(|error| plain_io(&error))?;
            if reader.format() != Some(ImageFormat::Png) {
                return Err("it is neither PNG nor JPEG".to_owned());
            }
            reader.decode().map_err(|error| error.to_string())?.into_rgb8()
        };
        Ok(Self {
            width: image.width() as usize,
            height: image.height() as usize,
            channels: 3,
            pixels: image.into_raw(),
        })
    }
}

#[cfg(test)]
mod tests;
