//! Rows that a command lists: as docker's table, by a template, or as JSON.

use super::table::write_aligned;
use crate::failure::Result;
use crate::template::Template;
use serde_json::{Map, Value};
use std::io::Write;

/// One column: the name it has in templates and JSON, and its heading.
pub(crate) type Column = (&'static str, &'static str);

/// How rows are shown.
pub(crate) enum Format {
    /// These fields as a table with headings.
    Table(Vec<&'static str>),
    /// A template each row.
    Template(Template),
    /// A template whose tabs part columns, with headings.
    TableTemplate(Template),
    /// A JSON object each row.
    Json,
}

impl Format {
    /// What `--format` meant, or the given fields without it.
    pub(crate) fn new(typed: Option<&String>, fields: &[&'static str]) -> Result<Format> {
        Ok(match typed.map(|text| text.trim()) {
            None | Some("" | "table") => Format::Table(fields.to_vec()),
            Some("json") => Format::Json,
            Some(text) => match text.strip_prefix("table ") {
                Some(rest) => Format::TableTemplate(Template::parse(&unescape(rest))?),
                None => Format::Template(Template::parse(&unescape(text))?),
            },
        })
    }

    /// Shows the rows, each an object with a text a field.
    pub(crate) fn write(&self, out: &mut dyn Write, columns: &[Column], rows: &[Value]) -> Result<()> {
        match self {
            Format::Json => {
                for row in rows {
                    writeln!(out, "{row}")?;
                }
            }
            Format::Template(template) => {
                for row in rows {
                    writeln!(out, "{}", template.render(row)?)?;
                }
            }
            Format::TableTemplate(template) => {
                let all = std::iter::once(headings(columns)).chain(rows.iter().cloned());
                let lines: Result<Vec<String>> = all.map(|row| template.render(&row)).collect();
                let cut = |line: &String| line.split('\t').map(str::to_owned).collect();
                write_aligned(out, &lines?.iter().map(cut).collect::<Vec<_>>())?;
            }
            Format::Table(fields) => {
                let all = std::iter::once(headings(columns)).chain(rows.iter().cloned());
                let cells = |row: Value| {
                    let cell = |field: &&str| row[*field].as_str().unwrap_or_default().to_owned();
                    fields.iter().map(cell).collect()
                };
                write_aligned(out, &all.map(cells).collect::<Vec<_>>())?;
            }
        }
        Ok(())
    }
}

fn headings(columns: &[Column]) -> Value {
    let fields = columns.iter().map(|(field, heading)| ((*field).to_owned(), Value::from(*heading)));
    Value::Object(fields.collect::<Map<_, _>>())
}

/// `\t` and `\n` as they are typed in a shell.
fn unescape(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const COLUMNS: [Column; 3] = [("ID", "IMAGE ID"), ("Tag", "TAG"), ("Size", "SIZE")];

    fn shown(format: Option<&str>) -> String {
        let rows = [json!({"ID": "abc", "Tag": "12", "Size": "1MB"})];
        let mut out = Vec::new();
        let format = format.map(str::to_owned);
        Format::new(format.as_ref(), &["Tag", "ID"]).unwrap().write(&mut out, &COLUMNS, &rows).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_format_shows_the_rows_its_way() {
        assert_eq!(shown(None), "TAG       IMAGE ID\n12        abc\n");
        assert_eq!(shown(Some("{{.ID}}:{{.Tag}}")), "abc:12\n");
        assert_eq!(shown(Some("json")), "{\"ID\":\"abc\",\"Size\":\"1MB\",\"Tag\":\"12\"}\n");
        assert_eq!(shown(Some(r"table {{.ID}}\t{{.Size}}")), "IMAGE ID   SIZE\nabc        1MB\n");
    }
}
