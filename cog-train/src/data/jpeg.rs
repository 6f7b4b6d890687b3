//! JPEG files, decoded strictly: what is missing is an error and not grey.

use std::collections::BTreeMap;
use std::ops::Range;

use ::image::RgbImage;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// The first two bytes of a JPEG.
pub(super) const START: &[u8] = &[0xff, 0xd8];

/// The most bytes of an image's pixels, as of PNG.
const MOST_BYTES: usize = 512 << 20;
const END_OF_IMAGE: u8 = 0xd9;
const START_OF_SCAN: u8 = 0xda;
const PROGRESSIVE: u8 = 0xc2;
/// The bytes behind the last scan: ones, with the zero that follows each byte 0xff of a scan. No code word is all ones,
/// so a decoder that needs more than the scan holds fails. Behind an end marker it would take zeros, which are grey.
const PAST_THE_SCAN: [u8; 512] = {
    let mut ones = [0; 512];
    let mut at = 0;
    while at < ones.len() {
        ones[at] = 0xff;
        at += 2;
    }
    ones
};

/// Decodes a JPEG into three channels of 8 bits. A scan that lacks a code word is refused; one that lacks no more than bits
/// of its last value may not be.
pub(super) fn decode(bytes: &[u8]) -> Result<RgbImage, String> {
    let stream = stream(bytes)?;
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX));
    let fail = |error| format!("it cannot be decoded as JPEG: {error}");
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&stream[..]), options);
    decoder.decode_headers().map_err(fail)?;
    let (width, height) = decoder.dimensions().ok_or("it has no size")?;
    if width * height * 3 > MOST_BYTES {
        return Err(format!("its {width} x {height} pixels are more than {MOST_BYTES} bytes"));
    }
    let grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let space = if grey { ColorSpace::Luma } else { ColorSpace::RGB };
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    let mut pixels = decoder.decode().map_err(|error| {
        format!("it cannot be decoded as JPEG: its pixels end early or are damaged: {error}")
    })?;
    if grey {
        pixels = pixels.into_iter().flat_map(|value| [value; 3]).collect();
    }
    let size = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
    RgbImage::from_raw(size(width), size(height), pixels)
        .ok_or_else(|| "it cannot be decoded as JPEG: pixels are missing".to_owned())
}

/// Returns the image's segments and scans from its start to its end marker, without the stray bytes between segments that
/// some cameras write, and without what follows the image. [`PAST_THE_SCAN`] follows the last scan.
fn stream(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let early = || format!("it ends early: {} bytes and no end of the image", bytes.len());
    let mut stream = START.to_vec();
    let (mut at, mut scans_end) = (START.len(), None);
    let mut coefficients = Coefficients::default();
    loop {
        let marker = marker(bytes, at).ok_or_else(early)?;
        let code = bytes[marker.end - 1];
        stream.extend([0xff, code]);
        if code == END_OF_IMAGE {
            let end: usize = scans_end.ok_or("it has no pixels")?;
            if !coefficients.are_complete() {
                return Err("it ends early: a scan is missing".to_owned());
            }
            stream.splice(end..end, PAST_THE_SCAN);
            return Ok(stream);
        }
        at = marker.end;
        // Restart markers and a marker of no meaning stand alone.
        if matches!(code, 0x01 | 0xd0..=0xd8) {
            continue;
        }
        let length = bytes.get(at..at + 2).ok_or_else(early)?;
        let end = at + usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
        let segment = bytes.get(at..end).ok_or_else(early)?;
        stream.extend(segment);
        at = end;
        coefficients.follow(code, &segment[2..]);
        if code == START_OF_SCAN {
            let end = scan_end(bytes, at).ok_or_else(early)?;
            stream.extend(&bytes[at..end]);
            scans_end = Some(stream.len());
            at = end;
        }
    }
}

/// The coefficients of each component that the scans so far hold to their last bit.
#[derive(Default)]
struct Coefficients {
    progressive: bool,
    /// By the component's id; bit n is coefficient n.
    complete: BTreeMap<u8, u64>,
}

impl Coefficients {
    /// Takes the content of a segment into account. Segments that cannot be read are left to the decoder.
    fn follow(&mut self, code: u8, segment: &[u8]) {
        match (code, segment) {
            (0xc0..=PROGRESSIVE, [_, _, _, _, _, _, components @ ..]) => {
                self.progressive = code == PROGRESSIVE;
                self.complete = components.chunks_exact(3).map(|part| (part[0], 0)).collect();
            }
            (START_OF_SCAN, [_, components @ .., first, last, bits]) => {
                let scan = if !self.progressive {
                    u64::MAX
                } else if *bits % 16 == 0 && *last < 64 && first <= last {
                    (u64::MAX >> (63 - last)) & (u64::MAX << first)
                } else {
                    0
                };
                for part in components.chunks_exact(2) {
                    self.complete.entry(part[0]).and_modify(|complete| *complete |= scan);
                }
            }
            _ => {}
        }
    }

    fn are_complete(&self) -> bool {
        self.complete.values().all(|complete| *complete == u64::MAX)
    }
}

/// Returns the next marker at or behind `at`: a byte 0xff, any number of them as filling, and a code.
fn marker(bytes: &[u8], mut at: usize) -> Option<Range<usize>> {
    loop {
        let start = at + bytes.get(at..)?.iter().position(|byte| *byte == 0xff)?;
        let code = start + bytes[start..].iter().position(|byte| *byte != 0xff)?;
        if bytes[code] != 0 {
            return Some(start..code + 1);
        }
        at = code + 1;
    }
}

/// Returns where the scan that begins at `at` ends: at the first marker that is no restart.
fn scan_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let marker = marker(bytes, at)?;
        if !matches!(bytes[marker.end - 1], 0xd0..=0xd7) {
            return Some(marker.start);
        }
        at = marker.end;
    }
}
