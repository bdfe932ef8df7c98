//! Extended headers: what they say of the entry that follows.
//!
//! The records are parsed by the lengths they state, since values may hold newlines: values of
//! xattrs are bytes.

use super::encoding::{base64, percent_decoded, unescaped_keyword};
use super::number::{decimal, time};
use super::{NAME_MAX, Problem};
use crate::types::Timestamp;
use std::collections::BTreeMap;

/// The longest value of an xattr that Linux takes.
const XATTR_MAX: usize = 64 << 10;

/// What the records say; a record without a value takes an earlier one back.
#[derive(Clone, Debug, Default)]
pub(super) struct Pax {
    /// Name.
    pub(super) path: Option<Vec<u8>>,
    /// Target of links.
    pub(super) linkpath: Option<Vec<u8>>,
    /// Bytes of data that follow.
    pub(super) size: Option<u64>,
    /// Owner.
    pub(super) uid: Option<u64>,
    /// Group.
    pub(super) gid: Option<u64>,
    /// Last change of the contents.
    pub(super) mtime: Option<Timestamp>,
    /// Last access.
    pub(super) atime: Option<Timestamp>,
    /// xattrs by name.
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What is said of holes.
    pub(super) sparse: PaxSparse,
}

/// The records `GNU.sparse.*`.
#[derive(Clone, Debug, Default)]
pub(super) struct PaxSparse {
    /// Version; 0 in the forms that have the map in records.
    pub(super) version: (u64, u64),
    /// Name of the file, where `path` is made up.
    pub(super) name: Option<Vec<u8>>,
    /// Size shown.
    pub(super) size: Option<u64>,
    /// Offsets and lengths of the data, of versions 0.0 and 0.1.
    pub(super) map: Option<Vec<(u64, u64)>>,
    /// An offset whose length comes next, of version 0.0.
    offset: Option<u64>,
}

impl Pax {
    /// Takes in the records of one header.
    pub(super) fn add(&mut self, mut records: &[u8]) -> Result<(), Problem> {
        while !records.is_empty() {
            let (record, rest) = split_record(records)?;
            let (key, value) = split_key(record)?;
            self.record(key, value)?;
            records = rest;
        }
        Ok(())
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), Problem> {
        match key {
            b"path" => self.path = text(value, "name")?,
            b"linkpath" => self.linkpath = text(value, "link target")?,
            b"size" => self.size = number(value, "size")?,
            b"uid" => self.uid = number(value, "owner")?,
            b"gid" => self.gid = number(value, "group")?,
            b"mtime" => self.mtime = moment(value, "mtime")?,
            b"atime" => self.atime = moment(value, "atime")?,
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattr(unescaped_keyword(name), value.to_vec())?;
                } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
                    let name = percent_decoded(name).ok_or(Problem::Pax("the name of an xattr"))?;
                    let value = base64(value).ok_or(Problem::Pax("the value of an xattr is no base64"))?;
                    // Those who write this form write the other one as well, and that one needs no decoding.
                    if !self.xattrs.contains_key(&name) {
                        self.xattr(name, value)?;
                    }
                } else if let Some(rest) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.record(rest, value)?;
                }
            }
        }
        Ok(())
    }

    fn xattr(&mut self, name: Vec<u8>, value: Vec<u8>) -> Result<(), Problem> {
        if name.is_empty() || name.contains(&0) {
            return Err(Problem::Pax("an xattr without a name"));
        }
        if name.len() > NAME_MAX || value.len() > XATTR_MAX {
            return Err(Problem::Pax("an xattr longer than Linux takes"));
        }
        self.xattrs.insert(name, value);
        Ok(())
    }
}

impl PaxSparse {
    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), Problem> {
        let parse = |value| decimal(value).ok_or(Problem::Sparse("a record is no number"));
        match key {
            b"major" => self.version.0 = parse(value)?,
            b"minor" => self.version.1 = parse(value)?,
            b"name" => self.name = text(value, "name")?,
            b"size" | b"realsize" => self.size = Some(parse(value)?),
            // How many records follow: they are counted anyway.
            b"numblocks" => self.map = Some(Vec::new()),
            b"offset" => match self.offset.replace(parse(value)?) {
                None => {}
                Some(_) => return Err(Problem::Sparse("an offset without a length")),
            },
            b"numbytes" => {
                let at = self.offset.take().ok_or(Problem::Sparse("a length without an offset"))?;
                self.map.get_or_insert_default().push((at, parse(value)?));
            }
            b"map" => {
                let numbers = value.split(|b| *b == b',').filter(|n| !n.is_empty() || !value.is_empty());
                let numbers = numbers.map(parse).collect::<Result<Vec<_>, _>>()?;
                let (pairs, rest) = numbers.as_chunks::<2>();
                if !rest.is_empty() {
                    return Err(Problem::Sparse("an offset without a length"));
                }
                self.map = Some(pairs.iter().map(|[at, len]| (*at, *len)).collect());
            }
            _ => {}
        }
        Ok(())
    }
}

/// Splits `LENGTH KEY=VALUE\n` off the records: `KEY=VALUE`, and the rest.
fn split_record(records: &[u8]) -> Result<(&[u8], &[u8]), Problem> {
    let space = records.iter().take(20).position(|b| *b == b' ');
    let space = space.ok_or(Problem::Pax("a record without its length"))?;
    let len = decimal(&records[..space]).and_then(|len| usize::try_from(len).ok());
    let len = len.ok_or(Problem::Pax("the length of a record is no number"))?;
    if len > records.len() || len < space + 3 {
        return Err(Problem::Pax("the length of a record is wrong"));
    }
    let (record, rest) = records.split_at(len);
    let body = record[space + 1..].strip_suffix(b"\n");
    Ok((body.ok_or(Problem::Pax("a record does not end where it says"))?, rest))
}

fn split_key(record: &[u8]) -> Result<(&[u8], &[u8]), Problem> {
    let equals = record.iter().position(|b| *b == b'=').filter(|at| *at > 0);
    let equals = equals.ok_or(Problem::Pax("a record without a key"))?;
    Ok((&record[..equals], &record[equals + 1..]))
}

fn text(value: &[u8], what: &'static str) -> Result<Option<Vec<u8>>, Problem> {
    if value.contains(&0) {
        return Err(Problem::Nul(what));
    }
    Ok(Some(value.to_vec()).filter(|value| !value.is_empty()))
}

fn number(value: &[u8], what: &'static str) -> Result<Option<u64>, Problem> {
    match value {
        b"" => Ok(None),
        _ => decimal(value).map(Some).ok_or(Problem::Number(what)),
    }
}

fn moment(value: &[u8], what: &'static str) -> Result<Option<Timestamp>, Problem> {
    match value {
        b"" => Ok(None),
        _ => time(value).map(Some).ok_or(Problem::Number(what)),
    }
}
