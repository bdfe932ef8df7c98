//! Numbers as archives write them.

use crate::types::Timestamp;

/// A number of a header's field: octal text, or base-256 with the first bit set. An empty field is 0.
pub(super) fn field(raw: &[u8]) -> Option<i64> {
    match raw.first() {
        Some(first) if first & 0x80 != 0 => base256(raw),
        _ => octal(raw),
    }
}

/// Big-endian two's complement, the first bit standing for the form only.
fn base256(raw: &[u8]) -> Option<i64> {
    let negative = raw[0] & 0x40 != 0;
    let flip = if negative { 0xff } else { 0 };
    let mut value: u64 = 0;
    for (at, byte) in raw.iter().enumerate() {
        let byte = if at == 0 { (byte ^ flip) & 0x7f } else { byte ^ flip };
        if value >> 56 != 0 {
            return None;
        }
        value = value << 8 | u64::from(byte);
    }
    let value = i64::try_from(value).ok()?;
    Some(if negative { !value } else { value })
}

fn octal(raw: &[u8]) -> Option<i64> {
    let padding = |b: &u8| matches!(b, b' ' | 0);
    let start = raw.iter().position(|b| !padding(b)).unwrap_or(raw.len());
    let digits = raw[start..].split(padding).next().unwrap_or_default();
    digits.iter().try_fold(0i64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

/// A decimal number of a pax record or a sparse map.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// A time of a pax record: seconds with a sign and a fraction, rounded down to the nanosecond.
pub(super) fn time(text: &[u8]) -> Option<Timestamp> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = match text.iter().position(|b| *b == b'.') {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &b""[..]),
    };
    if !fraction.iter().all(u8::is_ascii_digit) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let secs = if whole.is_empty() { 0 } else { i64::try_from(decimal(whole)?).ok()? };
    let digit = |at: usize| u32::from(fraction.get(at).map_or(0, |d| d - b'0'));
    let nanos = (0..9).fold(0, |nanos, at| nanos * 10 + digit(at));
    let rest = fraction.get(9..).is_some_and(|rest| rest.iter().any(|d| *d != b'0'));
    Some(match negative {
        false => Timestamp { secs, nanos },
        true => match nanos + u32::from(rest) {
            0 => Timestamp { secs: -secs, nanos: 0 },
            below => Timestamp { secs: (-secs).checked_sub(1)?, nanos: 1_000_000_000 - below },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_octal_or_base_256() {
        let cases: [(&[u8], Option<i64>); 13] = [
            (b"0000644\0", Some(0o644)),
            (b" 644 \0\0\0", Some(0o644)),
            (b"\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"77777777777\0", Some(0o77_777_777_777)),
            (b"0000648\0", None),
            (b"-1\0", None),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0", Some(i64::MIN)),
            (b"\x80\0\0\x01\0\0\0\0\0\0\0\0", None),
        ];
        for (raw, expected) in cases {
            assert_eq!(field(raw), expected, "{raw:?}");
        }
    }

    #[test]
    fn times_have_signs_and_fractions() {
        let t = |secs, nanos| Some(Timestamp { secs, nanos });
        let cases: [(&[u8], Option<Timestamp>); 14] = [
            (b"0", t(0, 0)),
            (b"1350244992.023960108", t(1_350_244_992, 23_960_108)),
            (b"1.5", t(1, 500_000_000)),
            (b"1.", t(1, 0)),
            (b".5", t(0, 500_000_000)),
            (b"1.0000000009", t(1, 0)),
            (b"-1", t(-1, 0)),
            (b"-1.5", t(-2, 500_000_000)),
            (b"-0.000000001", t(-1, 999_999_999)),
            (b"-0.9999999991", t(-1, 0)),
            (b"", None),
            (b"-", None),
            (b"1.x", None),
            (b"9223372036854775808", None),
        ];
        for (text, expected) in cases {
            assert_eq!(time(text), expected, "{:?}", String::from_utf8_lossy(text));
        }
    }
}
