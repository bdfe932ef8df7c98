//! Tars written byte by byte, so that they can be as odd or as wrong as a test wants.

/// One entry of a tar; what is not said is empty or usual.
pub struct Entry<'a> {
    pub name: &'a [u8],
    pub kind: u8,
    pub mode: u32,
    pub owner: (u32, u32),
    pub mtime: u64,
    pub link: &'a [u8],
    pub device: (u32, u32),
    /// Records of an extended header before it.
    pub pax: &'a [(&'a str, &'a [u8])],
    pub data: &'a [u8],
    /// A size that is not that of the data.
    pub size: Option<u64>,
}

/// An entry with a kind and nothing else.
pub fn entry(name: &str, kind: u8) -> Entry<'_> {
    let mode = if kind == b'5' { 0o755 } else { 0o644 };
    let (link, pax, data) = (&[][..], &[][..], &[][..]);
    let mtime = 1_709_528_767;
    Entry {
        name: name.as_bytes(),
        kind,
        mode,
        owner: (0, 0),
        mtime,
        link,
        device: (0, 0),
        pax,
        data,
        size: None,
    }
}

/// A directory.
pub fn dir(name: &str) -> Entry<'_> {
    entry(name, b'5')
}

/// A regular file.
pub fn file<'a>(name: &'a str, data: &'a str) -> Entry<'a> {
    Entry { data: data.as_bytes(), ..entry(name, b'0') }
}

/// A hard link.
pub fn hard_link<'a>(name: &'a str, target: &'a str) -> Entry<'a> {
    Entry { link: target.as_bytes(), ..entry(name, b'1') }
}

/// A symbolic link.
pub fn symlink<'a>(name: &'a str, target: &'a str) -> Entry<'a> {
    Entry { link: target.as_bytes(), mode: 0o777, ..entry(name, b'2') }
}

/// A tar of these entries with its two blocks of zeros at the end.
pub fn tar(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        append(&mut bytes, entry);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// Appends one entry.
pub fn append(tar: &mut Vec<u8>, entry: &Entry<'_>) {
    if !entry.pax.is_empty() {
        let records: Vec<u8> = entry.pax.iter().flat_map(|(key, value)| record(key, value)).collect();
        block(tar, &Entry { data: &records, ..self::entry("pax", b'x') });
    }
    block(tar, entry);
}

fn block(tar: &mut Vec<u8>, entry: &Entry<'_>) {
    let mut header = [0_u8; 512];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, entry.name);
    put(100, format!("{:07o}", entry.mode).as_bytes());
    put(108, format!("{:07o}", entry.owner.0).as_bytes());
    put(116, format!("{:07o}", entry.owner.1).as_bytes());
    put(124, format!("{:011o}", entry.size.unwrap_or(entry.data.len() as u64)).as_bytes());
    put(136, format!("{:011o}", entry.mtime).as_bytes());
    put(148, b"        ");
    put(156, &[entry.kind]);
    put(157, entry.link);
    put(257, b"ustar\x0000");
    put(329, format!("{:07o}", entry.device.0).as_bytes());
    put(337, format!("{:07o}", entry.device.1).as_bytes());
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.extend(header);
    tar.extend(entry.data);
    tar.resize(tar.len().next_multiple_of(512), 0);
}

/// `LENGTH KEY=VALUE\n`, in which the length counts itself.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}
