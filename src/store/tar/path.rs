//! Names of entries, cleaned.

use super::{NAME_MAX, PATH_MAX, Problem};

/// The components of a path from the layer's root: no empty ones, no `.`, and `..` resolved by the
/// names alone, as extractors do before they look at what is there.
pub(super) fn clean<'a>(path: &'a [u8], what: &'static str) -> Result<Vec<&'a [u8]>, Problem> {
    if path.len() > PATH_MAX {
        return Err(Problem::TooLong { what, len: path.len() as u64, most: PATH_MAX as u64 });
    }
    if path.contains(&0) {
        return Err(Problem::Nul(what));
    }
    let mut components = Vec::new();
    for component in path.split(|b| *b == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                components.pop().ok_or(Problem::Leaves(what))?;
            }
            name if name.len() > NAME_MAX => return Err(Problem::NameTooLong(what)),
            name => components.push(name),
        }
    }
    Ok(components)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(path: &str) -> Option<String> {
        let components = clean(path.as_bytes(), "name").ok()?;
        Some(String::from_utf8(components.join(&b'/')).unwrap())
    }

    #[test]
    fn paths_are_cleaned() {
        for (path, expected) in [
            ("a/b", "a/b"),
            ("./a//b/", "a/b"),
            ("/a/./b", "a/b"),
            ("a/../b", "b"),
            ("a/b/..", "a"),
            (".", ""),
            ("/", ""),
            ("a/..", ""),
            ("...", "..."),
        ] {
            assert_eq!(cleaned(path).as_deref(), Some(expected), "{path}");
        }
    }

    #[test]
    fn paths_that_leave_or_cannot_be_are_refused() {
        let long = "a".repeat(256);
        for bad in ["..", "../a", "a/../../b", "/..", "a\0b", &long, &format!("x/{long}/y")] {
            assert_eq!(cleaned(bad), None, "{bad}");
        }
        assert_eq!(cleaned(&long[1..]).unwrap(), long[1..]);
        assert!(matches!(clean(&[b'a'; PATH_MAX + 1], "name"), Err(Problem::TooLong { .. })));
    }
}
