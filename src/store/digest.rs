//! Digests: which bytes a blob has, and which tar a layer is.
//!
//! 1. *The digest of a blob and the digest of the tar in it are easily mixed up:* they are equal for
//!    an uncompressed layer and differ for any other. [`BlobDigest`] and [`DiffId`] do not convert
//!    into each other without saying so.
//! 2. *Hashing is most of what an import does.* [`Hasher`] uses the processor's own instructions
//!    where it has them; which ones is found out at run time.

use sha2::{Digest, Sha256};
use std::fmt::{self, Write as _};
use std::str::FromStr;

const ALGORITHM: &str = "sha256:";

/// Text that is no digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no digest: it must be sha256: and 64 lower-case hex digits")]
pub struct BadDigest(String);

fn parse_hex(hex: &str) -> Option<[u8; 32]> {
    let raw: &[u8; 64] = hex.as_bytes().try_into().ok()?;
    let nibble = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(raw.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(bytes)
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        // Writing to a String cannot fail.
        write!(hex, "{byte:02x}").unwrap_or_default();
        hex
    })
}

macro_rules! digest_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 32]);

        impl $name {
            /// From its 32 bytes.
            pub fn from_bytes(bytes: [u8; 32]) -> Self {
                $name(bytes)
            }

            /// Its 32 bytes.
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Its 64 lower-case hex digits, without the algorithm.
            pub fn hex(&self) -> String {
                to_hex(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{ALGORITHM}{}", self.hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = BadDigest;

            fn from_str(text: &str) -> Result<Self, BadDigest> {
                let hex = text.strip_prefix(ALGORITHM).and_then(parse_hex);
                hex.map($name).ok_or_else(|| BadDigest(text.to_owned()))
            }
        }
    };
}

digest_type! {
    /// The digest of a blob as it is stored or sent, compressed or not.
    BlobDigest
}

digest_type! {
    /// The digest of a layer's uncompressed tar.
    DiffId
}

impl BlobDigest {
    /// The tar that is stored uncompressed as this blob.
    pub fn as_uncompressed(self) -> DiffId {
        DiffId(self.0)
    }
}

impl DiffId {
    /// The blob that is this tar, uncompressed.
    pub fn as_blob(self) -> BlobDigest {
        BlobDigest(self.0)
    }
}

/// Hashes a stream.
#[derive(Clone, Debug, Default)]
pub struct Hasher {
    state: Sha256,
}

impl Hasher {
    /// Begins with nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what comes next.
    pub fn update(&mut self, data: &[u8]) {
        self.state.update(data);
    }

    /// The digest of all as a blob.
    pub fn finish_blob(self) -> BlobDigest {
        BlobDigest(self.state.finalize().into())
    }

    /// The digest of all as an uncompressed tar.
    pub fn finish_diff(self) -> DiffId {
        DiffId(self.state.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn digests_are_those_of_the_standard() {
        assert_eq!(Hasher::new().finish_blob().to_string(), EMPTY);
        let mut hasher = Hasher::new();
        hasher.update(b"a");
        hasher.update(b"bc");
        assert_eq!(hasher.finish_diff().to_string(), ABC);
    }

    #[test]
    fn digests_read_back_and_nothing_else_does() {
        assert_eq!(ABC.parse::<DiffId>().unwrap().to_string(), ABC);
        assert_eq!(ABC.parse::<BlobDigest>().unwrap().as_uncompressed().as_blob().hex(), ABC[7..]);
        let upper = ABC.to_uppercase();
        for bad in ["", "sha256:", &ABC[7..], &ABC[..70], &upper, &ABC.replace("ba", "é"), "md5:00"] {
            assert_eq!(bad.parse::<DiffId>().unwrap_err(), BadDigest(bad.to_owned()));
        }
    }
}
