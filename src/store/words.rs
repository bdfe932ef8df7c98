//! Words of Dockerfile instructions: split at blanks, quotes taken off, variables filled in.

use std::iter::Peekable;
use std::str::Chars;

/// Splits at blanks outside of quotes; quotes and backslashes stay.
pub(super) fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
        word.push(c);
        // What follows a backslash is no quote and no blank; in single quotes it is a sign like others.
        if c == '\\' && quote != Some('\'') {
            word.extend(chars.next());
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Takes the quotes off a word and fills in `$NAME`, `${NAME}`, `${NAME:-word}` and `${NAME:+word}`.
pub(super) fn expand(word: &str, value: &dyn Fn(&str) -> Option<String>) -> Result<String, &'static str> {
    let mut chars = word.chars().peekable();
    let out = expand_until(&mut chars, None, value)?;
    Ok(out)
}

fn expand_until(
    chars: &mut Peekable<Chars<'_>>,
    end: Option<char>,
    value: &dyn Fn(&str) -> Option<String>,
) -> Result<String, &'static str> {
    let mut out = String::new();
    while let Some(c) = chars.next() {
        match c {
            c if end == Some(c) => return Ok(out),
            '\'' => loop {
                match chars.next() {
                    Some('\'') => break,
                    Some(c) => out.push(c),
                    None => return Err("a quote is not closed"),
                }
            },
            '"' => double_quoted(chars, &mut out, value)?,
            '\\' => out.extend(chars.next()),
            '$' => variable(chars, &mut out, value)?,
            c => out.push(c),
        }
    }
    match end {
        Some(_) => Err("${ is not closed"),
        None => Ok(out),
    }
}

fn double_quoted(
    chars: &mut Peekable<Chars<'_>>,
    out: &mut String,
    value: &dyn Fn(&str) -> Option<String>,
) -> Result<(), &'static str> {
    while let Some(c) = chars.next() {
        match c {
            '"' => return Ok(()),
            '\\' => match chars.next() {
                Some(c @ ('"' | '$' | '\\')) => out.push(c),
                // Before any other sign a backslash is one.
                other => {
                    out.push('\\');
                    out.extend(other);
                }
            },
            '$' => variable(chars, out, value)?,
            c => out.push(c),
        }
    }
    Err("a quote is not closed")
}

/// What follows a dollar sign.
fn variable(
    chars: &mut Peekable<Chars<'_>>,
    out: &mut String,
    value: &dyn Fn(&str) -> Option<String>,
) -> Result<(), &'static str> {
    let braced = chars.next_if_eq(&'{').is_some();
    let mut name = String::new();
    while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
        name.push(c);
    }
    if !braced {
        match name.is_empty() {
            true => out.push('$'),
            false => out.extend(value(&name)),
        }
        return Ok(());
    }
    if name.is_empty() {
        return Err("${ needs the name of a variable");
    }
    match chars.next() {
        Some('}') => out.extend(value(&name)),
        Some(':') => {
            let how = chars.next();
            let other = expand_until(chars, Some('}'), value)?;
            let set = value(&name).filter(|text| !text.is_empty());
            match how {
                Some('-') => out.push_str(&set.unwrap_or(other)),
                Some('+') => out.push_str(set.map_or("", |_| &other)),
                _ => return Err("after ${NAME: comes - or +"),
            }
        }
        _ => return Err("${ is not closed"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_outside_of_quotes() {
        assert_eq!(split(r#"a="b c" d='e f' g\ h  i"#), [r#"a="b c""#, "d='e f'", r"g\ h", "i"]);
        assert_eq!(split(r#"a="\" b" c"#), [r#"a="\" b""#, "c"]);
        assert_eq!(split("  "), [""; 0]);
    }

    #[test]
    fn words_are_expanded_as_docker_does() {
        let value = |name: &str| match name {
            "A" => Some("1".to_owned()),
            "E" => Some(String::new()),
            _ => None,
        };
        for (word, expanded) in [
            ("plain", "plain"),
            ("$A-${A}b$", "1-1b$"),
            ("'$A'", "$A"),
            (r#""$A \$A \" \n""#, r#"1 $A " \n"#),
            (r"\$A\\", r"$A\"),
            ("${X:-d$A}${E:-e}${A:-f}", "d1e1"),
            ("${A:+y}${X:+n}${E:+n}", "y"),
            ("$X", ""),
            (r#"a"b"'c'"#, "abc"),
        ] {
            assert_eq!(expand(word, &value).as_deref(), Ok(expanded), "{word}");
        }
        for bad in ["'", "\"", "${A", "${}", "${A:x}", "${A:-b"] {
            assert!(expand(bad, &value).is_err(), "{bad}");
        }
    }
}
