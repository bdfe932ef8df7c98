//! A template's text as pieces, and the inside of `{{…}}` as tokens.

use serde_json::Value;

/// What stands between two braces, or outside.
#[derive(Debug)]
pub(super) enum Piece {
    /// Text to be shown.
    Text(String),
    /// The tokens of an action.
    Action(Vec<Token>),
}

/// A token of an action.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// `.A.B`, or `.` alone.
    Fields(Vec<String>),
    /// `.A.B` right after a closing parenthesis.
    Chain(Vec<String>),
    /// `$name.A.B`; the name of `$` is empty.
    Variable(String, Vec<String>),
    /// A function or keyword.
    Word(String),
    /// A string, number, `true` or `false`.
    Literal(Value),
    /// `|`, `(`, `)`, `,`.
    Sign(char),
    /// `:=`.
    Assign,
}

/// Cuts a template into pieces.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trim_next = false;
    while let Some(open) = rest.find("{{") {
        let (before, inside) = (&rest[..open], &rest[open + 2..]);
        let close = inside.find("}}").ok_or("{{ without }}")?;
        let mut action = &inside[..close];
        let before = if trim_next { before.trim_start() } else { before };
        let trim_before = action.starts_with("- ") || action == "-";
        pieces.push(Piece::Text(if trim_before { before.trim_end() } else { before }.to_owned()));
        action = if trim_before { &action[1..] } else { action };
        trim_next = action.ends_with(" -");
        action = if trim_next { &action[..action.len() - 1] } else { action };
        rest = &inside[close + 2..];
        let action = action.trim();
        match action.starts_with("/*") && action.ends_with("*/") {
            true => {}
            false => pieces.push(Piece::Action(tokens(action)?)),
        }
    }
    pieces.push(Piece::Text(if trim_next { rest.trim_start() } else { rest }.to_owned()));
    Ok(pieces)
}

fn tokens(action: &str) -> Result<Vec<Token>, String> {
    let mut found: Vec<Token> = Vec::new();
    let mut rest = action;
    loop {
        let trimmed = rest.trim_start();
        let spaced = trimmed.len() < rest.len();
        let Some(first) = trimmed.chars().next() else { return Ok(found) };
        let (token, left) = match first {
            '.' => {
                let (fields, left) = fields(trimmed)?;
                let chained = !spaced && found.last() == Some(&Token::Sign(')'));
                (if chained { Token::Chain(fields) } else { Token::Fields(fields) }, left)
            }
            '$' => {
                let (name, left) = word(&trimmed[1..]);
                let (fields, left) = if left.starts_with('.') { fields(left)? } else { (Vec::new(), left) };
                (Token::Variable(name.to_owned(), fields), left)
            }
            '"' | '`' => quoted(trimmed, first)?,
            '|' | '(' | ')' | ',' => (Token::Sign(first), &trimmed[1..]),
            ':' if trimmed.starts_with(":=") => (Token::Assign, &trimmed[2..]),
            '-' | '0'..='9' => number(trimmed)?,
            _ => match word(trimmed) {
                ("", _) => return Err(format!("'{first}' is not understood")),
                ("true", left) => (Token::Literal(Value::Bool(true)), left),
                ("false", left) => (Token::Literal(Value::Bool(false)), left),
                (name, left) => (Token::Word(name.to_owned()), left),
            },
        };
        found.push(token);
        rest = left;
    }
}

/// Letters, digits and underscores at the beginning, and what follows them.
fn word(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len()))
}

/// `.A.B` or `.` at the beginning.
fn fields(text: &str) -> Result<(Vec<String>, &str), String> {
    let mut fields = Vec::new();
    let mut rest = text;
    while let Some(after) = rest.strip_prefix('.') {
        let (name, left) = word(after);
        if name.is_empty() {
            return match fields.is_empty() {
                true => Ok((fields, left)),
                false => Err("a field without a name".to_owned()),
            };
        }
        fields.push(name.to_owned());
        rest = left;
    }
    Ok((fields, rest))
}

fn number(text: &str) -> Result<(Token, &str), String> {
    let end = text[1..].find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |at| at + 1);
    let (digits, left) = text.split_at(end);
    let number: i64 = digits.parse().map_err(|_| format!("{digits} is no number known here"))?;
    Ok((Token::Literal(number.into()), left))
}

/// A string in double quotes, which are those of JSON, or in backquotes.
fn quoted(text: &str, quote: char) -> Result<(Token, &str), String> {
    let mut escaped = false;
    let close = text[1..].find(|c: char| {
        let ends = c == quote && !escaped;
        escaped = quote == '"' && c == '\\' && !escaped;
        ends
    });
    let close = close.ok_or_else(|| format!("{quote} without its other half"))? + 1;
    let whole = &text[..=close];
    let value = match quote {
        '"' => serde_json::from_str(whole).map_err(|_| format!("{whole} is no string known here"))?,
        _ => Value::from(&whole[1..close]),
    };
    Ok((Token::Literal(value), &text[close + 1..]))
}
