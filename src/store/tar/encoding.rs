//! How bytes are written as text in pax records.

/// Base64 with or without padding; `None` if it is none.
pub(super) fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|b| *b != b'=').map_or(0, |last| last + 1);
    if text.len() - end > 2 || end % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(end / 4 * 3 + 2);
    for chunk in text[..end].chunks(4) {
        let mut bits: u32 = 0;
        for digit in chunk {
            bits = bits << 6 | base64_digit(*digit)?;
        }
        bits <<= 6 * (4 - chunk.len());
        bytes.extend_from_slice(&bits.to_be_bytes()[1..chunk.len()]);
    }
    Some(bytes)
}

fn base64_digit(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(value.into())
}

/// Text with each `%XX` replaced by its byte; `None` if one is cut or no hex.
pub(super) fn percent_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let (hex, after) = after.split_at_checked(2)?;
            let digit = |c: u8| char::from(c).to_digit(16);
            bytes.push(u8::try_from(digit(hex[0])? << 4 | digit(hex[1])?).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    Some(bytes)
}

/// The name of an xattr as GNU tar puts it into a key: only `=` and `%` are escaped.
pub(super) fn unescaped_keyword(key: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(key.len());
    let mut rest = key;
    while let Some(first) = rest.first() {
        let (byte, len) = match rest {
            [b'%', b'3', b'D', ..] => (b'=', 3),
            [b'%', b'2', b'5', ..] => (b'%', 3),
            _ => (*first, 1),
        };
        name.push(byte);
        rest = &rest[len..];
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_decoded_with_and_without_padding() {
        for (text, bytes) in [("", ""), ("Zg", "f"), ("Zg==", "f"), ("Zm8", "fo"), ("Zm9v", "foo")] {
            assert_eq!(base64(text.as_bytes()).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
        assert_eq!(base64(b"//79+w==").unwrap(), [0xff, 0xfe, 0xfd, 0xfb]);
        for bad in ["Z", "Zg===", "Z g=", "Zm9v!", "===="] {
            assert_eq!(base64(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn names_of_xattrs_are_unescaped_as_their_writers_escape_them() {
        assert_eq!(percent_decoded(b"user.%c3%A4%3d").unwrap(), "user.ä=".as_bytes());
        assert_eq!(percent_decoded(b"user.%c"), None);
        assert_eq!(percent_decoded(b"user.%zz"), None);
        assert_eq!(unescaped_keyword(b"user.a%3Db%253D%c3"), b"user.a=b%3D%c3");
    }
}
