//! Compression, told by the first bytes: gzip, zstd or none.

use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufReader, Chain, Cursor, Read};

/// Compressed bytes read at once, in bytes.
const CHUNK: usize = 256 << 10;

/// How bytes are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
    /// A form that is known by its first bytes and not read here.
    Other(&'static str),
}

impl Compression {
    /// By the first bytes of a file.
    pub(super) fn of(head: &[u8]) -> Compression {
        match head {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
            // A skippable frame, with which estargz-like zstd layers may begin.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Compression::Other("bzip2"),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Other("xz"),
            _ => Compression::None,
        }
    }
}

/// A reader whose first bytes were looked at.
pub(super) type Peeked<R> = Chain<Cursor<Vec<u8>>, R>;

/// Looks at the first bytes of a stream.
pub(super) fn peek<R: Read>(mut from: R) -> io::Result<(Compression, Peeked<R>)> {
    let mut head = Vec::new();
    from.by_ref().take(6).read_to_end(&mut head)?;
    Ok((Compression::of(&head), Cursor::new(head).chain(from)))
}

/// What comes out of a compressed stream; the stream can be had back, to read what follows the end.
pub(super) enum Decoder<R: Read> {
    None(R),
    Gzip(Box<MultiGzDecoder<BufReader<R>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<R>>>),
}

impl<R: Read> Decoder<R> {
    /// Decompresses a stream; a form that is not read here is an error with its name.
    pub(super) fn new(compression: Compression, from: R) -> Result<Decoder<R>, io::Error> {
        match compression {
            Compression::None => Ok(Decoder::None(from)),
            Compression::Gzip => {
                Ok(Decoder::Gzip(Box::new(MultiGzDecoder::new(BufReader::with_capacity(CHUNK, from)))))
            }
            Compression::Zstd => {
                let buffered = BufReader::with_capacity(CHUNK, from);
                Ok(Decoder::Zstd(Box::new(zstd::stream::read::Decoder::with_buffer(buffered)?)))
            }
            Compression::Other(form) => {
                Err(io::Error::other(format!("it is compressed with {form}; gzip and zstd are known here")))
            }
        }
    }

    /// The compressed stream, past what was decompressed; buffered bytes may be lost.
    pub(super) fn into_inner(self) -> R {
        match self {
            Decoder::None(inner) => inner,
            Decoder::Gzip(decoder) => decoder.into_inner().into_inner(),
            Decoder::Zstd(decoder) => decoder.finish().into_inner(),
        }
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Decoder::None(inner) => inner.read(buf),
            Decoder::Gzip(decoder) => decoder.read(buf),
            Decoder::Zstd(decoder) => decoder.read(buf),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn unpack(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let (compression, peeked) = peek(bytes)?;
        let mut out = Vec::new();
        Decoder::new(compression, peeked)?.read_to_end(&mut out)?;
        Ok(out)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn all_forms_come_out_alike_members_joined() {
        let text = b"a layer ".repeat(1000);
        let twice = [text.clone(), text.clone()].concat();
        let zstd = zstd::encode_all(&text[..], 1).unwrap();
        assert_eq!(unpack(&text).unwrap(), text);
        assert_eq!(unpack(&[gzip(&text), gzip(&text)].concat()).unwrap(), twice);
        assert_eq!(unpack(&[zstd.clone(), zstd].concat()).unwrap(), twice);
        assert_eq!(unpack(b"").unwrap(), b"");
        assert_eq!(unpack(b"abc").unwrap(), b"abc");
    }

    #[test]
    fn what_is_cut_short_is_an_error_at_every_length() {
        for whole in
            [gzip(b"a layer of some text"), zstd::encode_all(&b"a layer of some text"[..], 1).unwrap()]
        {
            // With fewer bytes the form cannot be told.
            for len in 4..whole.len() {
                assert!(unpack(&whole[..len]).is_err(), "{len} of {}", whole.len());
            }
        }
        let error = unpack(b"BZh91AY").unwrap_err().to_string();
        assert_eq!(error, "it is compressed with bzip2; gzip and zstd are known here");
    }
}
