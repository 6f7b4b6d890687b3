//! One image to classify: a PGM file, text (P2) or bytes (P5), or the bare bytes.

use cog_train::prelude::*;

use crate::idx::SIDE;

/// Pixels from 0 to 255.
pub fn parse(file: &[u8]) -> Result<Vec<u8>> {
    if file.len() == SIDE * SIDE {
        return Ok(file.to_vec());
    }
    let mut rest = file;
    let kind = word(&mut rest);
    ensure!(
        matches!(kind, b"P2" | b"P5"),
        "it is neither a PGM image nor {} bare bytes\nhint: `magick DIGIT.png -colorspace gray -resize {SIDE}x{SIDE}! DIGIT.pgm` makes one",
        SIDE * SIDE
    );
    let (width, height, white) = (number(&mut rest)?, number(&mut rest)?, number(&mut rest)?);
    ensure!(
        (width, height) == (SIDE, SIDE),
        "it is {width} by {height} pixels, not {SIDE} by {SIDE}"
    );
    ensure!((1..=255).contains(&white), "its greatest value is {white}, and at most 255 is read");
    let pixels: Vec<usize> = if kind == b"P5" {
        rest.iter().map(|pixel| usize::from(*pixel)).collect()
    } else {
        (0..SIDE * SIDE).map(|_| number(&mut rest)).collect::<Result<_>>()?
    };
    ensure!(
        pixels.len() == SIDE * SIDE,
        "{} pixels are expected, and it has {}",
        SIDE * SIDE,
        pixels.len()
    );
    pixels.into_iter().map(|pixel| Ok(u8::try_from(pixel.min(white) * 255 / white)?)).collect()
}

fn number(rest: &mut &[u8]) -> Result<usize> {
    let word = String::from_utf8_lossy(word(rest));
    word.parse().with_context(|| format!("`{word}` stands where a number is expected"))
}

/// The next word, and the one white character after it. Comments go from `#` to the end of the line.
fn word<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    loop {
        *rest = rest.trim_ascii_start();
        let Some(comment) = rest.strip_prefix(b"#") else { break };
        let end = comment.iter().position(|byte| *byte == b'\n').unwrap_or(comment.len());
        *rest = &comment[end..];
    }
    let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    *rest = after.get(1..).unwrap_or_default();
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_text_and_bare_bytes_are_the_same_image() {
        let pixels: Vec<u8> = (0..=255).cycle().take(SIDE * SIDE).collect();
        let words: Vec<String> = pixels.iter().map(u8::to_string).collect();
        let text = format!("P2\n# drawn by hand\n{SIDE} {SIDE}\n255\n{}", words.join("\n"));
        let bytes = [b"P5 28 28 255\n", &pixels[..]].concat();
        for file in [bytes, text.into_bytes(), pixels.clone()] {
            assert_eq!(parse(&file).unwrap(), pixels);
        }
        let dim = format!("P2 {SIDE} {SIDE} 5 {}", "1 ".repeat(SIDE * SIDE));
        assert_eq!(parse(dim.as_bytes()).unwrap(), [51; SIDE * SIDE]);
    }

    #[test]
    fn other_files_are_refused() {
        for (file, words) in [
            (&b"\x89PNG\r\n"[..], "neither a PGM image"),
            (b"", "neither a PGM image"),
            (b"P5 10 12 255\n", "it is 10 by 12 pixels, not 28 by 28"),
            (b"P5 28 28 65535\n", "its greatest value is 65535"),
            (b"P5 28 28 255\nabc", "784 pixels are expected, and it has 3"),
            (b"P2 28 28 255\n1 2 x", "`x` stands where a number is expected"),
        ] {
            let error = parse(file).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
