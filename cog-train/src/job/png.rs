//! PNG files of pixels in memory.

use std::io::Write;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Encodes pixels of 8 bits a channel, row by row from the top; the problem with them when their number does not fit. One
/// channel is grey, three are red, green and blue, four have alpha.
pub(super) fn encode(width: usize, height: usize, pixels: &[u8]) -> Result<Vec<u8>, String> {
    let expected = width.checked_mul(height).filter(|area| *area > 0);
    let channels = expected.and_then(|area| {
        [1, 3, 4].into_iter().find(|count| area.checked_mul(*count) == Some(pixels.len()))
    });
    let (Some(channels), Ok(columns), Ok(rows)) =
        (channels, i32::try_from(width), i32::try_from(height))
    else {
        let bytes = pixels.len();
        return Err(format!("has {bytes} bytes, not {width} x {height} times 1, 3 or 4 of them"));
    };
    let mut head = Vec::new();
    head.extend(columns.to_be_bytes());
    head.extend(rows.to_be_bytes());
    let color = match channels {
        1 => 0,
        3 => 2,
        _ => 6,
    };
    head.extend([8, color, 0, 0, 0]);
    let mut body = ZlibEncoder::new(Vec::new(), Compression::default());
    for row in pixels.chunks_exact(width * channels) {
        // Each row begins with its filter: none.
        body.write_all(&[0])
            .and_then(|()| body.write_all(row))
            .map_err(|error| error.to_string())?;
    }
    let body = body.finish().map_err(|error| error.to_string())?;
    let mut file = SIGNATURE.to_vec();
    chunk(&mut file, *b"IHDR", &head);
    chunk(&mut file, *b"IDAT", &body);
    chunk(&mut file, *b"IEND", &[]);
    Ok(file)
}

fn chunk(file: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) {
    let mut crc = Crc::new();
    crc.update(&kind);
    crc.update(data);
    let length = u32::try_from(data.len()).expect("an image of less than 4 GiB");
    file.extend(length.to_be_bytes());
    file.extend(kind);
    file.extend(data);
    file.extend(crc.sum().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "images")]
    #[test]
    fn a_decoder_gives_the_pixels_back() {
        for channels in [1, 3, 4] {
            let value = |at: u32| u8::try_from(at * 37 % 251).unwrap();
            let pixels: Vec<u8> = (0..7 * 5 * channels).map(value).collect();
            let decoded = image::load_from_memory(&encode(7, 5, &pixels).unwrap()).unwrap();
            assert_eq!((decoded.width(), decoded.height()), (7, 5));
            assert_eq!(u32::from(decoded.color().channel_count()), channels);
            assert_eq!(decoded.as_bytes(), pixels);
        }
    }

    #[test]
    fn pixels_of_another_number_are_refused() {
        for (width, height, bytes) in [(2, 2, 5), (2, 2, 8), (0, 3, 0), (usize::MAX, 2, 6)] {
            let error = encode(width, height, &vec![0; bytes]).unwrap_err();
            assert!(
                error.contains(&format!("has {bytes} bytes, not {width} x {height}")),
                "{error}"
            );
        }
    }
}
