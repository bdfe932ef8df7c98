//! Files with holes: which ranges of the archive are which ranges of the file.

use super::Problem;
use super::number::{decimal, field};
use super::source::{BLOCK, Block, Source};
use crate::layer::Extent;

/// The sparse map being read, checked piece by piece: the archive is not believed in what it says of
/// sizes.
pub(super) struct SparseMap {
    extents: Vec<Extent>,
    /// Where the next piece may begin in the file.
    from: u64,
    /// Bytes of data so far.
    stored: u64,
}

impl SparseMap {
    pub(super) fn new() -> Self {
        SparseMap { extents: Vec::new(), from: 0, stored: 0 }
    }

    /// Adds a piece of data. Pieces without length say where the file ends and give nothing.
    pub(super) fn add(&mut self, at: u64, len: u64) -> Result<(), Problem> {
        let end = at.checked_add(len).filter(|end| i64::try_from(*end).is_ok());
        let end = end.ok_or(Problem::Sparse("a piece ends beyond all sizes"))?;
        if at < self.from {
            return Err(Problem::Sparse("its pieces overlap or are not in order"));
        }
        match self.extents.last_mut() {
            _ if len == 0 => {}
            Some(last) if last.at + last.len == at => last.len += len,
            _ => self.extents.push(Extent { at, len, stored: self.stored }),
        }
        self.from = end;
        self.stored += len;
        Ok(())
    }

    /// The pieces, now with their places in the archive: the data begins at `start`.
    pub(super) fn finish(mut self, size: u64, data: u64, start: u64) -> Result<Vec<Extent>, Problem> {
        if self.from > size {
            return Err(Problem::Sparse("its pieces exceed the size of the file"));
        }
        if self.stored != data {
            return Err(Problem::Sparse("its pieces are not as long as the data that follows"));
        }
        for extent in &mut self.extents {
            extent.stored += start;
        }
        self.extents.shrink_to_fit();
        Ok(self.extents)
    }
}

/// The map and the shown size of a file in the old GNU form: four pieces in the header, the others
/// in blocks of their own before the data.
pub(super) fn old_gnu(header: &Block, source: &mut Source<'_>) -> Result<(SparseMap, u64), Problem> {
    const FIRST: usize = 386;
    const FIRST_PIECES: usize = 4;
    const CONTINUES: usize = 482;
    const MORE_PIECES: usize = 21;
    const MORE_CONTINUES: usize = 504;
    let mut map = SparseMap::new();
    add_pieces(&mut map, &header[FIRST..], FIRST_PIECES)?;
    let mut continues = header[CONTINUES] != 0;
    while continues {
        let block = source.block("a sparse map")?.ok_or(Problem::Truncated("a sparse map"))?;
        add_pieces(&mut map, &block, MORE_PIECES)?;
        continues = block[MORE_CONTINUES] != 0;
    }
    let size = field(&header[483..495]).and_then(|size| u64::try_from(size).ok());
    Ok((map, size.ok_or(Problem::Number("size"))?))
}

fn add_pieces(map: &mut SparseMap, raw: &[u8], count: usize) -> Result<(), Problem> {
    let number = |raw| {
        let value = field(raw).and_then(|value| u64::try_from(value).ok());
        value.ok_or(Problem::Sparse("a piece is no number"))
    };
    for piece in raw.chunks_exact(24).take(count).take_while(|piece| piece[0] != 0) {
        map.add(number(&piece[..12])?, number(&piece[12..])?)?;
    }
    Ok(())
}

/// The map of a file of version 1.0, which begins its data: decimal numbers, a line each, up to the
/// end of a block. Answers the length of the map as well.
pub(super) fn pax_1_0(data: u64, source: &mut Source<'_>) -> Result<(SparseMap, u64), Problem> {
    let mut lines = Lines { source, left: data, block: [0; BLOCK], at: BLOCK };
    let mut map = SparseMap::new();
    let count = lines.number()?;
    for _ in 0..count {
        let at = lines.number()?;
        map.add(at, lines.number()?)?;
    }
    Ok((map, data - lines.left))
}

/// Reads the lines of a map block by block.
struct Lines<'a, 'r> {
    source: &'a mut Source<'r>,
    left: u64,
    block: Block,
    at: usize,
}

impl Lines<'_, '_> {
    fn number(&mut self) -> Result<u64, Problem> {
        let bad = Problem::Sparse("a line is no number");
        // The longest number has 20 digits.
        let mut digits = [0; 20];
        for len in 0..=digits.len() {
            let byte = self.byte()?;
            if byte == b'\n' {
                return decimal(&digits[..len]).ok_or(bad);
            }
            match digits.get_mut(len) {
                Some(digit) => *digit = byte,
                None => break,
            }
        }
        Err(bad)
    }

    fn byte(&mut self) -> Result<u8, Problem> {
        if self.at == BLOCK {
            let left = self.left.checked_sub(BLOCK as u64);
            self.left = left.ok_or(Problem::Sparse("it is longer than the data"))?;
            self.block = self.source.block("a sparse map")?.ok_or(Problem::Truncated("a sparse map"))?;
            self.at = 0;
        }
        self.at += 1;
        Ok(self.block[self.at - 1])
    }
}
