//! Columns of text, aligned as docker aligns them.

use std::io::{self, Write};

/// Blanks between two columns, and the least width of a column.
const GAP: usize = 3;
const LEAST: usize = 10;

/// Writes rows so that the cells of a column begin below each other; the last column is not padded.
pub(crate) fn write_aligned(out: &mut dyn Write, rows: &[Vec<String>]) -> io::Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count() + GAP).max().unwrap_or(0).max(LEAST)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            match column + 1 == row.len() {
                true => writeln!(out, "{cell}")?,
                false => write!(out, "{cell:0$}", widths[column])?,
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_three_more() {
        let rows = [["REPOSITORY", "TAG", "SIZE"], ["a", "a-rather-long-tag", "7.8MB"], ["é", "1", ""]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        let mut out = Vec::new();
        write_aligned(&mut out, &rows).unwrap();
        let expected = "REPOSITORY   TAG                 SIZE\n\
                        a            a-rather-long-tag   7.8MB\n\
                        é            1                   \n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
