//! The files of an archive by name, whether it is a tar or a directory, and wherever it comes from.
//!
//! A tar must be read at any place, since what names the layers may come after them: one that is compressed,
//! or that comes through a pipe, is put into the work directory first.

use super::compress::{Compression, Decoder, peek};
use crate::store::disk::lossy;
use crate::store::documents::LONGEST_DOCUMENT;
use crate::store::error::{Result, StoreError};
use crate::store::progress::Progress;
use crate::store::work::WorkDir;
use crate::sys::{AsFd, Errno};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where an archive comes from.
#[derive(Debug)]
pub enum LoadSource {
    /// A file or a directory.
    Path(PathBuf),
    /// An open file or pipe, read from where it stands; the text names it in messages.
    File(File, String),
}

impl LoadSource {
    /// The standard input.
    pub fn stdin() -> io::Result<LoadSource> {
        let fd = io::stdin().as_fd().try_clone_to_owned()?;
        Ok(LoadSource::File(File::from(fd), "standard input".to_owned()))
    }
}

/// A part of a file.
#[derive(Clone, Debug)]
pub(super) struct Member {
    file: Arc<File>,
    at: u64,
    left: u64,
}

impl Member {
    pub(super) fn size(&self) -> u64 {
        self.left
    }
}

impl Read for Member {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        let read = self.file.read_at(&mut buf[..want], self.at)?;
        if read == 0 && want > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file ends inside of it"));
        }
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

/// What a tar has at a name.
#[derive(Debug)]
enum Stored {
    File { at: u64, size: u64 },
    Link(Vec<u8>),
}

#[derive(Debug)]
enum Files {
    Tar(Arc<File>, HashMap<Vec<u8>, Stored>),
    Dir(File),
}

/// An archive.
#[derive(Debug)]
pub(super) struct Archive {
    files: Files,
    /// How messages call it.
    pub(super) title: String,
}

impl Archive {
    /// Opens an archive; puts it into the work directory where it cannot be read at any place as it is.
    pub(super) fn open(source: LoadSource, work: &WorkDir, progress: &dyn Progress) -> Result<Archive> {
        let (file, title) = match source {
            LoadSource::Path(path) => {
                let file = File::open(&path).map_err(StoreError::io("open", &path))?;
                (file, path.display().to_string())
            }
            LoadSource::File(file, title) => (file, title),
        };
        let kind = file.metadata().map_err(StoreError::io("read", Path::new(&title)))?.file_type();
        if kind.is_dir() {
            return Ok(Archive { files: Files::Dir(file), title });
        }
        let seekable = seekable_tar(&file).map_err(StoreError::io("read", Path::new(&title)))?;
        let tar = match seekable {
            Some(start) => Tar { file, start },
            None => Tar { file: spool(file, &title, work, progress)?, start: 0 },
        };
        if !begins_with_header(&tar).map_err(StoreError::io("read", Path::new(&title)))? {
            return Err(StoreError::UnknownArchive(title));
        }
        let names = scan(&tar).map_err(|e| broken(&title, "the archive", &e))?;
        Ok(Archive { files: Files::Tar(Arc::new(tar.file), names), title })
    }

    /// A file by its name; nothing where there is none.
    pub(super) fn find(&self, name: &str) -> Result<Option<Member>> {
        match &self.files {
            Files::Tar(file, names) => match resolve(names, name.as_bytes()) {
                None => Ok(None),
                Some((at, size)) => Ok(Some(Member { file: file.clone(), at, left: size })),
            },
            Files::Dir(dir) => open_inside(dir, name).map_err(|e| broken(&self.title, name, &e)),
        }
    }

    /// A file that must be there.
    pub(super) fn member(&self, name: &str) -> Result<Member> {
        self.find(name)?
            .ok_or_else(|| StoreError::Missing { archive: self.title.clone(), name: name.to_owned() })
    }

    /// The bytes of a document.
    pub(super) fn document(&self, name: &str) -> Result<Vec<u8>> {
        let mut member = self.member(name)?;
        if member.size() > LONGEST_DOCUMENT {
            return Err(StoreError::Document {
                what: format!("{}: {name}", self.title),
                reason: format!("{} bytes are too many for a document", member.size()),
            });
        }
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).map_err(|e| broken(&self.title, name, &e))?;
        Ok(bytes)
    }
}

pub(super) fn broken(archive: &str, name: &str, error: &io::Error) -> StoreError {
    // The disk of the reader is not the archive's fault.
    StoreError::Broken { archive: archive.to_owned(), name: name.to_owned(), reason: error.to_string() }
}

/// A tar that can be read at any place.
struct Tar {
    file: File,
    start: u64,
}

/// Where the tar begins in a file that can be read at any place and is not compressed.
fn seekable_tar(mut file: &File) -> io::Result<Option<u64>> {
    let start = match file.stream_position() {
        Ok(start) => start,
        Err(e) if e.raw_os_error() == Some(Errno::SPIPE.raw_os_error()) => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut head = [0; 6];
    let read = file.read_at(&mut head, start)?;
    Ok((Compression::of(&head[..read]) == Compression::None).then_some(start))
}

/// Puts a stream into the work directory, decompressed.
fn spool(from: File, title: &str, work: &WorkDir, progress: &dyn Progress) -> Result<File> {
    let name = work.fresh_name("archive");
    let path = work.dir().path().join(&name);
    let mut to = work.dir().create_file(&name, 0o600)?;
    // Nobody needs its name, and so it is gone when the command dies.
    work.dir().remove_file(name.as_bytes())?;
    let unread = |e: io::Error| broken(title, "the archive", &e);
    let (compression, stream) = peek(from).map_err(unread)?;
    let mut decoder = Decoder::new(compression, stream).map_err(unread)?;
    let mut buffer = vec![0; 1 << 20];
    progress.layer("archive", None);
    loop {
        let read = match decoder.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(unread(e)),
        };
        io::Write::write_all(&mut to, &buffer[..read]).map_err(StoreError::io("write", &path))?;
        progress.advance(read as u64);
    }
    progress.done("read");
    Ok(to)
}

/// Whether the first block is the header of an entry.
fn begins_with_header(tar: &Tar) -> io::Result<bool> {
    const CHECKSUM: Range<usize> = 148..156;
    let mut header = ::tar::Header::new_old();
    let block = header.as_mut_bytes();
    match tar.file.read_exact_at(block, tar.start) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        done => done?,
    }
    let counted = |(at, byte): (usize, &u8)| u32::from(if CHECKSUM.contains(&at) { b' ' } else { *byte });
    let sum: u32 = header.as_bytes().iter().enumerate().map(counted).sum();
    Ok(header.cksum().is_ok_and(|stored| stored == sum))
}

/// Finds where in a tar each file is, without reading the files.
fn scan(tar: &Tar) -> io::Result<HashMap<Vec<u8>, Stored>> {
    let len = tar.file.metadata()?.len();
    let mut reader = &tar.file;
    reader.seek(io::SeekFrom::Start(tar.start))?;
    let mut archive = ::tar::Archive::new(reader);
    let mut names = HashMap::new();
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let name = plain_name(&entry.path_bytes());
        let kind = entry.header().entry_type();
        if kind.is_symlink() || kind.is_hard_link() {
            let target = entry.link_name_bytes().unwrap_or_default();
            let target = match kind.is_symlink() {
                true => beside(&name, &target),
                false => plain_name(&target),
            };
            names.insert(name, Stored::Link(target));
        } else if kind.is_file() || kind.is_contiguous() {
            let (at, size) = (tar.start + entry.raw_file_position(), entry.size());
            if at.checked_add(size).is_none_or(|end| end > len) {
                let text = format!("it ends inside {}", lossy(&name));
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
            names.insert(name, Stored::File { at, size });
        }
    }
    Ok(names)
}

/// A name without `./`, doubled and closing slashes.
fn plain_name(name: &[u8]) -> Vec<u8> {
    let parts = name.split(|b| *b == b'/').filter(|part| !matches!(*part, b"" | b"."));
    parts.collect::<Vec<_>>().join(&b'/')
}

/// The name that a symlink means: its target, taken from where it is.
fn beside(name: &[u8], target: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = name.split(|b| *b == b'/').collect();
    parts.pop();
    if target.first() == Some(&b'/') {
        parts.clear();
    }
    for part in target.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join(&b'/')
}

/// Follows links to a file.
fn resolve(names: &HashMap<Vec<u8>, Stored>, name: &[u8]) -> Option<(u64, u64)> {
    let mut name = plain_name(name);
    // docker writes one link; a loop ends here, too.
    for _ in 0..16 {
        match names.get(&name)? {
            Stored::File { at, size } => return Some((*at, *size)),
            Stored::Link(target) => name = target.clone(),
        }
    }
    None
}

/// Opens a file of a directory, never one outside of it.
fn open_inside(dir: &File, name: &str) -> io::Result<Option<Member>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let opened = match rustix::fs::openat2(dir, name, flags, Mode::empty(), resolve) {
        // Before Linux 5.6, or forbidden by a seccomp filter: then no symlink at the end, and no `..`.
        Err(Errno::NOSYS | Errno::PERM) if !name.split('/').any(|part| part == "..") => {
            rustix::fs::openat(dir, name, flags | OFlags::NOFOLLOW, Mode::empty())
        }
        opened => opened,
    };
    let file = match opened {
        Ok(fd) => File::from(fd),
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(None);
    }
    Ok(Some(Member { file: Arc::new(file), at: 0, left: metadata.len() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_inside_the_archive_only() {
        assert_eq!(beside(b"a/layer.tar", b"../b/layer.tar"), b"b/layer.tar");
        assert_eq!(beside(b"a/x", b"../../../etc/passwd"), b"etc/passwd");
        assert_eq!(beside(b"a/x", b"/b"), b"b");
        assert_eq!(plain_name(b"./a//b/"), b"a/b");
        let names = HashMap::from([
            (b"a".to_vec(), Stored::Link(b"b".to_vec())),
            (b"b".to_vec(), Stored::File { at: 512, size: 3 }),
            (b"c".to_vec(), Stored::Link(b"c".to_vec())),
        ]);
        assert_eq!(resolve(&names, b"./a"), Some((512, 3)));
        assert_eq!(resolve(&names, b"c"), None);
    }

    #[test]
    fn a_directory_is_not_left() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("in")).unwrap();
        std::fs::write(dir.path().join("secret"), "s").unwrap();
        std::os::unix::fs::symlink("../secret", dir.path().join("in/out")).unwrap();
        let inside = File::open(dir.path().join("in")).unwrap();
        assert!(open_inside(&inside, "../secret").is_err());
        assert!(open_inside(&inside, "out").is_err());
        assert!(open_inside(&inside, "none").unwrap().is_none());
    }
}
