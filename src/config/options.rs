//! Splitting of `-o`: commas part options, `=` parts name and value, `\` keeps the next character.
//! Commas of a value in double quotes part nothing, as mount(8) has it: labels of SELinux hold commas.

/// One option as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opt {
    /// Its name.
    pub name: String,
    /// Its value, escapes kept; `None` without `=`.
    pub value: Option<Vec<u8>>,
}

impl Opt {
    /// The value without escapes.
    pub fn text(&self) -> Vec<u8> {
        self.value.as_deref().map(unescape).unwrap_or_default()
    }

    /// The value as a list of paths parted by colons, without escapes.
    pub fn list(&self) -> Vec<Vec<u8>> {
        self.value
            .as_deref()
            .map(|value| parts(value, b':').into_iter().map(unescape).collect())
            .unwrap_or_default()
    }
}

/// Splits the argument of `-o`. Empty options, as fstab and scripts leave them, are passed over.
pub fn split(argument: &[u8]) -> Vec<Opt> {
    parts(argument, b',').into_iter().filter(|part| !part.is_empty()).map(option).collect()
}

fn option(part: &[u8]) -> Opt {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match part.iter().position(|b| *b == b'=') {
        Some(at) => Opt { name: text(&part[..at]), value: Some(part[at + 1..].to_vec()) },
        None => Opt { name: text(part), value: None },
    }
}

fn parts(text: &[u8], separator: u8) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < text.len() {
        match text[at] {
            b'\\' => at += 1,
            b'"' if separator == b',' && at > start && text[at - 1] == b'=' => {
                at += quoted(&text[at..]).unwrap_or(0);
            }
            b if b == separator => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    parts.push(&text[start.min(text.len())..]);
    parts
}

/// Where the quote that a value begins with is closed, if what it encloses is all of the value.
fn quoted(value: &[u8]) -> Option<usize> {
    let end = value[1..].iter().position(|b| *b == b'"')? + 1;
    matches!(value.get(end + 1), None | Some(b',')).then_some(end)
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(b) = bytes.next() {
        match b {
            b'\\' => plain.extend(bytes.next().or(Some(b))),
            _ => plain.push(*b),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m3_escapes_keep_separators_in_paths() {
        let options = split(br"ro,lowerdir=/a\:b:/c\,d:/e\\,,upperdir=/u");
        assert_eq!(options.len(), 3);
        assert_eq!(options[0], Opt { name: "ro".into(), value: None });
        assert_eq!(options[1].list(), [b"/a:b".to_vec(), b"/c,d".to_vec(), br"/e\".to_vec()]);
        assert_eq!(options[2].text(), b"/u");
    }

    #[test]
    fn m12_commas_in_quotes_part_nothing() {
        let options = split(br#"context="system_u:object_r:t:s0:c1,c2",ro"#);
        assert_eq!(options.len(), 2);
        assert_eq!(options[0].text(), br#""system_u:object_r:t:s0:c1,c2""#);
        // A quote that nothing ends is itself, or all that follows would be lost.
        assert_eq!(split(br#"lowerdir=/a"b,ro"#).len(), 2);
    }

    #[test]
    fn a_backslash_at_the_end_is_itself() {
        assert_eq!(split(br"lowerdir=/a\")[0].list(), [br"/a\".to_vec()]);
        assert_eq!(split(b""), []);
    }
}
