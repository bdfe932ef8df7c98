//! Archives built in memory, for tests and fuzzers.

use ::tar::Header;

/// An archive in the making.
#[derive(Clone, Default)]
pub(in crate::store) struct TarBuilder {
    pub(in crate::store) bytes: Vec<u8>,
}

impl TarBuilder {
    pub(in crate::store) fn new() -> Self {
        Self::default()
    }

    /// A header whose fields are then changed.
    pub(in crate::store) fn header(kind: u8, name: &str) -> Header {
        let mut header = Header::new_ustar();
        // By hand: the crate writes '0' for NUL.
        header.as_mut_bytes()[156] = kind;
        set_field(&mut header.as_old_mut().name, name);
        header.set_mode(if kind == b'5' { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        header.set_mtime(1_000);
        header
    }

    /// Adds a header, its checksum made right, and its data.
    pub(in crate::store) fn raw(mut self, mut header: Header, data: &[u8]) -> Self {
        header.set_cksum();
        self.bytes.extend_from_slice(header.as_bytes());
        self.data(data)
    }

    /// Adds data and the zeros after it.
    pub(in crate::store) fn data(mut self, data: &[u8]) -> Self {
        self.bytes.extend_from_slice(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    pub(in crate::store) fn file(self, name: &str, data: &str) -> Self {
        self.kind(b'0', name, data.as_bytes())
    }

    pub(in crate::store) fn kind(self, kind: u8, name: &str, data: &[u8]) -> Self {
        let mut header = Self::header(kind, name);
        header.set_size(data.len() as u64);
        self.raw(header, data)
    }

    pub(in crate::store) fn dir(self, name: &str) -> Self {
        self.raw(Self::header(b'5', name), b"")
    }

    pub(in crate::store) fn link(self, kind: u8, name: &str, target: &str) -> Self {
        let mut header = Self::header(kind, name);
        set_field(&mut header.as_old_mut().linkname, target);
        self.raw(header, b"")
    }

    pub(in crate::store) fn symlink(self, name: &str, target: &str) -> Self {
        self.link(b'2', name, target)
    }

    pub(in crate::store) fn hard(self, name: &str, target: &str) -> Self {
        self.link(b'1', name, target)
    }

    /// An extended header (`x` or `g`) of these records.
    pub(in crate::store) fn pax(self, kind: u8, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let len = (1..9).map(|digits| digits + rest).find(|len| len.to_string().len() + rest == *len);
            data.extend_from_slice(format!("{} {key}=", len.unwrap_or(0)).as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.kind(kind, "pax", &data)
    }

    /// A sparse file in the old GNU form: its pieces, by place and length.
    pub(in crate::store) fn old_sparse(
        mut self,
        name: &str,
        size: u64,
        pieces: &[(u64, u64)],
        data: &[u8],
    ) -> Self {
        const IN_HEADER: usize = 4;
        const IN_BLOCK: usize = 21;
        let mut header = Header::new_gnu();
        set_field(&mut header.as_old_mut().name, name);
        (header.as_mut_bytes()[156], header.as_mut_bytes()[482]) = (b'S', u8::from(pieces.len() > IN_HEADER));
        header.set_mode(0o644);
        header.set_size(data.len() as u64);
        put_pieces(&mut header.as_mut_bytes()[386..], &pieces[..pieces.len().min(IN_HEADER)]);
        set_field(&mut header.as_mut_bytes()[483..495], &format!("{size:011o}"));
        self = self.raw(header, b"");
        let mut more = pieces.get(IN_HEADER..).unwrap_or_default().chunks(IN_BLOCK).peekable();
        while let Some(some) = more.next() {
            let mut block = [0; 512];
            put_pieces(&mut block, some);
            block[504] = u8::from(more.peek().is_some());
            self = self.data(&block);
        }
        self.data(data)
    }

    /// Ends the archive.
    pub(in crate::store) fn end(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&[0; 1024]);
        self.bytes
    }
}

/// Sets a field of text; what does not fit is cut.
fn set_field(field: &mut [u8], text: &str) {
    field.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
}

fn put_pieces(to: &mut [u8], pieces: &[(u64, u64)]) {
    for (place, (at, len)) in to.chunks_exact_mut(24).zip(pieces) {
        set_field(place, &format!("{at:011o}\0{len:011o}"));
    }
}
