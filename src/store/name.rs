//! Image names as docker writes them: what is valid, and the short familiar form.
//!
//! `debian`, `debian:12`, `docker.io/library/debian:12` are one and the same; the cache keeps the
//! familiar form with its tag, `debian:12`.

use super::digest::BlobDigest;
use std::fmt;
use std::str::FromStr;

/// Why a text is no image name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid image name {name:?}: {why}")]
pub struct NameError {
    /// The text.
    pub name: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// The name of an image: a repository and a tag.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    repository: String,
    tag: String,
}

/// A name as it is typed: the tag or a digest may be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The familiar repository.
    pub repository: String,
    /// The tag, where there is one.
    pub tag: Option<String>,
    /// The digest, where there is one.
    pub digest: Option<BlobDigest>,
}

/// Longest repository with its domain, as the reference grammar has it.
const LONGEST_REPOSITORY: usize = 255;
/// Longest tag, as the reference grammar has it.
const LONGEST_TAG: usize = 128;

impl Name {
    /// The familiar repository: `debian`, `localhost/x`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The whole name, with the registry that the familiar one leaves out.
    pub fn full(&self) -> String {
        match self.repository.split_once('/') {
            Some((first, _)) if is_domain(first) => self.to_string(),
            Some(_) => format!("docker.io/{self}"),
            None => format!("docker.io/library/{self}"),
        }
    }

    /// The tag.
    pub fn tag(&self) -> &str {
        &self.tag
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.repository, self.tag)
    }
}

impl FromStr for Name {
    type Err = NameError;

    /// A name with a tag; `latest` where none is given. A digest is refused: it cannot be chosen.
    fn from_str(text: &str) -> Result<Name, NameError> {
        let reference: Reference = text.parse()?;
        match reference.digest {
            Some(_) => Err(NameError {
                name: text.to_owned(),
                why: "a digest cannot be given to an image, only a tag",
            }),
            None => Ok(reference.name()),
        }
    }
}

impl Reference {
    /// The name with its tag; `latest` where none is given.
    pub fn name(&self) -> Name {
        let tag = self.tag.clone().unwrap_or_else(|| "latest".to_owned());
        Name { repository: self.repository.clone(), tag }
    }
}

impl FromStr for Reference {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Reference, NameError> {
        let bad = |why| NameError { name: text.to_owned(), why };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest.parse().map_err(|_| bad("after @ comes a digest: sha256:HEX"))?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        // A colon after the last slash begins the tag; one before it, a port.
        let tag_at = rest.rfind(':').filter(|colon| !rest[*colon..].contains('/'));
        let (repository, tag) = match tag_at {
            Some(colon) => (&rest[..colon], Some(&rest[colon + 1..])),
            None => (rest, None),
        };
        if let Some(tag) = tag {
            check_tag(tag).map_err(bad)?;
        }
        let repository = familiar(repository).map_err(bad)?;
        Ok(Reference { repository, tag: tag.map(str::to_owned), digest })
    }
}

/// Checks a repository and strips what docker does not show of it.
fn familiar(repository: &str) -> Result<String, &'static str> {
    if repository.is_empty() {
        return Err("the repository is empty");
    }
    if repository.len() == 64 && repository.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err("64 hexadecimal digits are an id, not a name");
    }
    let (domain, path) = match repository.split_once('/') {
        Some((first, rest)) if is_domain(first) => (Some(first), rest),
        _ => (None, repository),
    };
    if let Some(domain) = domain {
        check_domain(domain)?;
    }
    for component in path.split('/') {
        check_component(component)?;
    }
    let hub = matches!(domain, None | Some("docker.io" | "index.docker.io"));
    let short = match (hub, path.strip_prefix("library/")) {
        (true, Some(official)) if !official.contains('/') => official,
        (true, _) => path,
        (false, _) => repository,
    };
    if repository.len() > LONGEST_REPOSITORY {
        return Err("a repository has at most 255 characters");
    }
    Ok(short.to_owned())
}

/// Whether the first part of a repository is a host and not part of the path.
fn is_domain(first: &str) -> bool {
    first == "localhost"
        || first.contains(['.', ':', '['])
        || first.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn check_domain(domain: &str) -> Result<(), &'static str> {
    const WHY: &str = "the part before the first / is no host name";
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (domain, None),
    };
    if port.is_some_and(|port| port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit())) {
        return Err(WHY);
    }
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let valid = !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
        return if valid { Ok(()) } else { Err(WHY) };
    }
    let part = |part: &str| {
        let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
        edge(part.bytes().next())
            && edge(part.bytes().last())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if host.split('.').all(part) { Ok(()) } else { Err(WHY) }
}

/// One part of the path: lower case letters and digits, set apart by `.`, `_`, `__` or dashes.
fn check_component(component: &str) -> Result<(), &'static str> {
    if component.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("repository name must be lowercase");
    }
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return Err("two slashes in a row, or one at an end");
    };
    if !bytes.iter().all(|b| alphanumeric(*b) || matches!(b, b'.' | b'_' | b'-')) {
        return Err("a repository has lower case letters, digits and . _ - / only");
    }
    let separators = bytes.split(|b| alphanumeric(*b)).filter(|run| !run.is_empty());
    let fits = |run: &[u8]| matches!(run, b"." | b"_" | b"__") || run.iter().all(|b| *b == b'-');
    if !alphanumeric(*first) || !alphanumeric(*last) || !separators.into_iter().all(fits) {
        return Err("the signs . _ - stand between letters or digits");
    }
    Ok(())
}

fn check_tag(tag: &str) -> Result<(), &'static str> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let Some(first) = tag.bytes().next() else {
        return Err("the tag is empty");
    };
    if tag.len() > LONGEST_TAG {
        return Err("a tag has at most 128 characters");
    }
    if !word(first) || !tag.bytes().all(|b| word(b) || matches!(b, b'.' | b'-')) {
        return Err("a tag has letters, digits and . _ - only, and begins with none of . -");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_familiar() {
        for (typed, familiar) in [
            ("debian", "debian:latest"),
            ("debian:12", "debian:12"),
            ("docker.io/library/debian:12", "debian:12"),
            ("index.docker.io/library/debian", "debian:latest"),
            ("library/debian", "debian:latest"),
            ("docker.io/user/app:v1.0-rc_2", "user/app:v1.0-rc_2"),
            ("user/app", "user/app:latest"),
            ("localhost/x", "localhost/x:latest"),
            ("localhost:5000/x:1", "localhost:5000/x:1"),
            ("example.com/library/debian", "example.com/library/debian:latest"),
            ("Example.com/a", "Example.com/a:latest"),
            ("[::1]:5000/a:T", "[::1]:5000/a:T"),
            ("a__b/c--d.e_f", "a__b/c--d.e_f:latest"),
            ("localhost", "localhost:latest"),
        ] {
            assert_eq!(typed.parse::<Name>().unwrap().to_string(), familiar, "{typed}");
        }
    }

    #[test]
    fn full_names_lead_back_to_the_familiar_ones() {
        for (name, full) in [
            ("debian:12", "docker.io/library/debian:12"),
            ("a/b", "docker.io/a/b:latest"),
            ("localhost/x", "localhost/x:latest"),
            ("h:1/x:2", "h:1/x:2"),
        ] {
            let name: Name = name.parse().unwrap();
            assert_eq!(name.full(), full);
            assert_eq!(full.parse::<Name>().unwrap(), name);
        }
    }

    #[test]
    fn what_docker_refuses_is_refused() {
        let hex = "0123456789abcdef".repeat(4);
        let long = "a".repeat(256);
        let long_tag = format!("a:{}", "t".repeat(129));
        for bad in [
            "",
            ":tag",
            "Debian",
            "a/Debian",
            "a//b",
            "/a",
            "a/",
            "a.",
            "-a",
            "a..b",
            "a___b",
            "a._b",
            "a b",
            "ä",
            "a:",
            "a:-t",
            "a:.t",
            "a:t/",
            "a:t:u",
            "a:tä",
            "ex_ample.com/a",
            "a.com:/b",
            "a.com:x/b",
            ".com/a",
            &hex,
            &long,
            &long_tag,
            "a@sha256:12",
            "a@b",
            "a\n",
            "a:t\n",
            "../a",
            "a/../b",
        ] {
            let error = bad.parse::<Name>().unwrap_err().to_string();
            assert!(error.starts_with("invalid image name") && !error.contains('\n'), "{bad:?}: {error}");
        }
        assert!("a@sha256:".parse::<Reference>().is_err());
    }

    #[test]
    fn references_keep_tag_and_digest_apart() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let both: Reference = format!("docker.io/library/a:1@{digest}").parse().unwrap();
        assert_eq!((both.repository.as_str(), both.tag.as_deref()), ("a", Some("1")));
        assert_eq!(both.digest.unwrap().to_string(), digest);
        let none: Reference = format!("a@{digest}").parse().unwrap();
        assert_eq!((none.tag, none.digest.is_some()), (None, true));
        assert!(format!("a@{digest}").parse::<Name>().is_err());
    }
}
