//! `IMAGE[@N]:PATH`: what a person names inside an image.

use crate::failure::{Failure, Result};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// An image, or one of its layers alone, and a path in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The image, by name or id.
    pub(crate) image: String,
    /// The layer, 1 for the lowest.
    pub(crate) layer: Option<usize>,
    /// The path from the root, beginning with `/`; none if no path was typed.
    pub(crate) path: Option<Vec<u8>>,
}

impl Target {
    /// The path begins at the first `:/`, which no name of an image has in it; a layer's number is
    /// what follows the last `@`, if it is a number.
    pub(crate) fn parse(typed: &OsStr) -> Result<Target> {
        let bytes = typed.as_bytes();
        let (name, path) = match bytes.windows(2).position(|pair| pair == b":/") {
            Some(at) => (&bytes[..at], Some(bytes[at + 1..].to_vec())),
            None => (bytes, None),
        };
        let name = std::str::from_utf8(name)
            .map_err(|_| Failure::usage(format_args!("{}: no name of an image", typed.display())))?;
        let (image, layer) = match name.rsplit_once('@') {
            Some((image, digits)) if is_number(digits) => (image, Some(layer_number(digits, name)?)),
            _ => (name, None),
        };
        if image.is_empty() {
            return Err(Failure::usage(format_args!("{}: no image is named", typed.display())));
        }
        Ok(Target { image: image.to_owned(), layer, path })
    }

    /// Image and layer as they were typed.
    pub(crate) fn title(&self) -> String {
        match self.layer {
            Some(number) => format!("{}@{number}", self.image),
            None => self.image.clone(),
        }
    }

    /// The path, or the root.
    pub(crate) fn path_or_root(&self) -> &[u8] {
        self.path.as_deref().unwrap_or(b"/")
    }

    /// The path, which must have been typed.
    pub(crate) fn needed_path(&self) -> Result<&[u8]> {
        self.path
            .as_deref()
            .ok_or_else(|| Failure::usage(format_args!("{0}: no path is named: write {0}:/PATH", self.image)))
    }

    /// Refuses a path where only an image can be named.
    pub(crate) fn without_path(self) -> Result<Target> {
        match &self.path {
            None => Ok(self),
            Some(path) => Err(Failure::usage(format_args!(
                "{}:{}: a whole image is meant here, without a path",
                self.image,
                OsStr::from_bytes(path).display()
            ))),
        }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn layer_number(digits: &str, name: &str) -> Result<usize> {
    match digits.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(Failure::usage(format_args!("{name}: layers are counted from 1, the lowest"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(typed: &str) -> (String, Option<usize>, Option<String>) {
        let target = Target::parse(OsStr::new(typed)).unwrap();
        (target.image, target.layer, target.path.map(|path| String::from_utf8(path).unwrap()))
    }

    #[test]
    fn names_with_ports_tags_digests_and_layers_are_told_apart() {
        let own = |image: &str, layer, path: Option<&str>| (image.to_owned(), layer, path.map(str::to_owned));
        assert_eq!(parsed("debian:12"), own("debian:12", None, None));
        assert_eq!(parsed("debian:12:/etc/a:/b"), own("debian:12", None, Some("/etc/a:/b")));
        assert_eq!(parsed("host:5000/x:/"), own("host:5000/x", None, Some("/")));
        assert_eq!(parsed("debian@2:/etc"), own("debian", Some(2), Some("/etc")));
        assert_eq!(parsed("debian@sha256:12ab"), own("debian@sha256:12ab", None, None));
        assert_eq!(parsed("debian@sha256:12@3"), own("debian@sha256:12", Some(3), None));
    }

    #[test]
    fn what_names_no_image_is_refused() {
        for typed in ["", ":/etc", "@1", "debian@0", "debian@99999999999999999999999"] {
            assert!(matches!(Target::parse(OsStr::new(typed)), Err(Failure::Usage(_))), "{typed}");
        }
        assert!(matches!(Target::parse(OsStr::from_bytes(b"a\xff")), Err(Failure::Usage(_))));
    }
}
