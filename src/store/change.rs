//! `--change`: Dockerfile instructions that edit the config of an image.
//!
//! They are read as docker reads them: a JSON array is taken as it is, anything else is a line for the shell;
//! words may be quoted and name variables of the image's environment.

use super::words::{expand, split};
use serde_json::{Map, Value, json};
use std::str::FromStr;

/// Why an instruction is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid change {line:?}: {why}")]
pub struct ChangeError {
    /// The instruction.
    pub line: String,
    /// What is wrong with it.
    pub why: String,
}

/// An instruction that edits a config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    line: String,
    instruction: Instruction,
}

/// What it does; words that are yet to be expanded are as they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Instruction {
    Cmd(Command),
    Entrypoint(Command),
    Env(Vec<(String, String)>),
    Expose(Vec<String>),
    Label(Vec<(String, String)>),
    OnBuild(String),
    StopSignal(String),
    User(String),
    Volume(Vec<String>),
    Workdir(String),
}

/// A command of one of the two forms.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Command {
    Exec(Vec<String>),
    Shell(String),
}

impl FromStr for Change {
    type Err = ChangeError;

    fn from_str(line: &str) -> Result<Change, ChangeError> {
        let bad = |why: String| ChangeError { line: line.to_owned(), why };
        let instruction = parse(line.trim()).map_err(bad)?;
        let change = Change { line: line.to_owned(), instruction };
        // What cannot be expanded is told now, before any work is done.
        change.apply(&mut Map::new())?;
        Ok(change)
    }
}

fn parse(line: &str) -> Result<Instruction, String> {
    let (keyword, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let keyword = keyword.to_ascii_uppercase();
    if rest.is_empty() {
        return Err(format!("{keyword} needs an argument"));
    }
    let instruction = match keyword.as_str() {
        "CMD" => Instruction::Cmd(command(rest)?),
        "ENTRYPOINT" => Instruction::Entrypoint(command(rest)?),
        "ENV" => Instruction::Env(pairs(rest)?),
        "EXPOSE" => Instruction::Expose(split(rest)),
        "LABEL" => Instruction::Label(pairs(rest)?),
        "ONBUILD" => Instruction::OnBuild(trigger(rest)?),
        "STOPSIGNAL" => Instruction::StopSignal(one_word(rest)?),
        "USER" => Instruction::User(one_word(rest)?),
        "VOLUME" => Instruction::Volume(match json_array(rest)? {
            Some(list) => list,
            None => split(rest),
        }),
        "WORKDIR" => Instruction::Workdir(rest.to_owned()),
        _ => {
            return Err(format!(
                "{keyword} is no change; CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME \
                 and WORKDIR are"
            ));
        }
    };
    Ok(instruction)
}

/// A JSON array of texts; nothing where it is no JSON array.
fn json_array(text: &str) -> Result<Option<Vec<String>>, String> {
    let Ok(Value::Array(items)) = serde_json::from_str(text) else {
        return Ok(None);
    };
    let text = |item: Value| match item {
        Value::String(text) => Ok(text),
        other => Err(format!("{other} is no text: the array must have texts only")),
    };
    items.into_iter().map(text).collect::<Result<_, _>>().map(Some)
}

fn command(text: &str) -> Result<Command, String> {
    Ok(json_array(text)?.map_or_else(|| Command::Shell(text.to_owned()), Command::Exec))
}

fn one_word(text: &str) -> Result<String, String> {
    match split(text).len() {
        1 => Ok(text.to_owned()),
        count => Err(format!("one word is needed, not {count}")),
    }
}

/// `NAME=VALUE…`, or the old form `NAME VALUE`.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let words = split(text);
    if words.first().is_some_and(|first| !first.contains('=')) {
        let (name, value) = text.split_once(char::is_whitespace).ok_or("NAME=VALUE is needed")?;
        return Ok(vec![(name.to_owned(), value.trim().to_owned())]);
    }
    let pair = |word: String| match word.split_once('=') {
        Some(("", _)) | None => Err(format!("{word:?} is not of the form NAME=VALUE")),
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
    };
    words.into_iter().map(pair).collect()
}

fn trigger(text: &str) -> Result<String, String> {
    let first = text.split_whitespace().next().unwrap_or("").to_ascii_uppercase();
    match first.as_str() {
        "ONBUILD" | "FROM" | "MAINTAINER" => Err(format!("{first} cannot follow ONBUILD")),
        _ => Ok(text.to_owned()),
    }
}

/// Edits the execution part of a config, in the order of the changes.
pub(super) fn apply_all(changes: &[Change], config: &mut Map<String, Value>) -> Result<(), ChangeError> {
    let mut command_is_new = false;
    for change in changes {
        change.apply(config)?;
        match change.instruction {
            Instruction::Cmd(_) => command_is_new = true,
            // The command of the base was meant for the entrypoint of the base.
            Instruction::Entrypoint(_) if !command_is_new => drop(config.remove("Cmd")),
            _ => {}
        }
    }
    Ok(())
}

impl Change {
    /// Edits the execution part of a config.
    fn apply(&self, config: &mut Map<String, Value>) -> Result<(), ChangeError> {
        self.edit(config).map_err(|why| ChangeError { line: self.line.clone(), why })
    }

    fn edit(&self, config: &mut Map<String, Value>) -> Result<(), String> {
        let environment = environment(config);
        let value = |name: &str| {
            environment.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.clone())
        };
        let fill = |word: &str| expand(word, &value);
        match &self.instruction {
            Instruction::Cmd(command) => set(config, "Cmd", command.words(config)),
            Instruction::Entrypoint(command) => set(config, "Entrypoint", command.words(config)),
            Instruction::Env(pairs) => {
                for (name, text) in pairs {
                    set_variable(config, &fill(name)?, &fill(text)?);
                }
            }
            Instruction::Expose(ports) => {
                for port in ports {
                    for key in expose(&fill(port)?)? {
                        insert(config, "ExposedPorts", &key, json!({}));
                    }
                }
            }
            Instruction::Label(pairs) => {
                for (name, text) in pairs {
                    insert(config, "Labels", &fill(name)?, json!(fill(text)?));
                }
            }
            Instruction::OnBuild(text) => edit_list(config, "OnBuild", |items| items.push(json!(text))),
            Instruction::StopSignal(signal) => {
                set(config, "StopSignal", json!(check_signal(fill(signal)?)?));
            }
            Instruction::User(user) => set(config, "User", json!(fill(user)?)),
            Instruction::Volume(paths) => {
                for path in paths {
                    let path = fill(path)?;
                    if path.trim().is_empty() {
                        return Err("a volume needs a path".to_owned());
                    }
                    insert(config, "Volumes", path.trim(), json!({}));
                }
            }
            Instruction::Workdir(path) => {
                let current = config.get("WorkingDir").and_then(Value::as_str).unwrap_or("");
                let path = join_path(current, &fill(path)?);
                set(config, "WorkingDir", json!(path));
            }
        }
        Ok(())
    }
}

impl Command {
    /// The words to run; a line is given to the shell that the image names, else to `/bin/sh -c`.
    fn words(&self, config: &Map<String, Value>) -> Value {
        match self {
            Command::Exec(words) => json!(words),
            Command::Shell(line) => {
                let shell = config.get("Shell").and_then(Value::as_array).filter(|shell| !shell.is_empty());
                let mut words = shell.cloned().unwrap_or_else(|| vec![json!("/bin/sh"), json!("-c")]);
                words.push(json!(line));
                Value::Array(words)
            }
        }
    }
}

fn set(config: &mut Map<String, Value>, key: &str, value: Value) {
    config.insert(key.to_owned(), value);
}

/// The object of that key; what is none (null, missing) becomes one.
fn insert(config: &mut Map<String, Value>, key: &str, name: &str, value: Value) {
    let object = config.entry(key).or_insert_with(|| json!({}));
    if !object.is_object() {
        *object = json!({});
    }
    object[name] = value;
}

/// Edits the list of that key; what is none becomes one.
fn edit_list(config: &mut Map<String, Value>, key: &str, edit: impl FnOnce(&mut Vec<Value>)) {
    let mut items = match config.remove(key) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    };
    edit(&mut items);
    set(config, key, Value::Array(items));
}

fn environment(config: &Map<String, Value>) -> Vec<(String, String)> {
    let items = config.get("Env").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let pair = |item: &Value| item.as_str()?.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
    items.iter().filter_map(pair).collect()
}

fn set_variable(config: &mut Map<String, Value>, name: &str, value: &str) {
    let text = json!(format!("{name}={value}"));
    let same =
        |item: &Value| item.as_str().and_then(|item| item.split_once('=')).is_some_and(|(k, _)| k == name);
    edit_list(config, "Env", |items| match items.iter().position(same) {
        Some(at) => items[at] = text,
        None => items.push(text),
    });
}

/// `PORT`, `PORT/PROTOCOL` or `FIRST-LAST/PROTOCOL` as the keys that configs have.
fn expose(port: &str) -> Result<Vec<String>, String> {
    let bad = || format!("{port:?} is no port: PORT, PORT/tcp or FIRST-LAST/udp");
    let (range, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let number = |text: &str| text.parse::<u16>().map_err(|_| bad());
    let (first, last) = (number(first)?, number(last)?);
    if first > last || !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(bad());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

fn check_signal(signal: String) -> Result<String, String> {
    let number = signal.parse::<u8>().is_ok_and(|number| (1..=64).contains(&number));
    let name = signal.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let word = !name.is_empty()
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-'));
    if number || word { Ok(signal) } else { Err(format!("{signal:?} is no signal")) }
}

/// A path taken from a directory, without `.`, `..` and doubled slashes.
fn join_path(from: &str, path: &str) -> String {
    let from = if path.starts_with('/') { "" } else { from };
    let mut parts: Vec<&str> = Vec::new();
    for part in from.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The config after changes, as text with sorted keys.
    fn after(base: Value, lines: &[&str]) -> String {
        let changes: Vec<Change> = lines.iter().map(|line| line.parse().unwrap()).collect();
        let mut config = base.as_object().unwrap().clone();
        apply_all(&changes, &mut config).unwrap();
        Value::Object(config).to_string()
    }

    #[test]
    fn each_instruction_edits_its_field() {
        for (line, expected) in [
            (r#"CMD ["a", "b c"]"#, r#"{"Cmd":["a","b c"]}"#),
            ("cmd echo $HOME", r#"{"Cmd":["/bin/sh","-c","echo $HOME"]}"#),
            ("CMD []", r#"{"Cmd":[]}"#),
            (r#"CMD ["a" b]"#, r#"{"Cmd":["/bin/sh","-c","[\"a\" b]"]}"#),
            ("ENTRYPOINT top -b", r#"{"Entrypoint":["/bin/sh","-c","top -b"]}"#),
            (r#"ENV A=1 B="2 3" C=4\ 5"#, r#"{"Env":["A=1","B=2 3","C=4 5"]}"#),
            ("ENV A some  text", r#"{"Env":["A=some  text"]}"#),
            ("ENV A=b=c", r#"{"Env":["A=b=c"]}"#),
            (
                "EXPOSE 80 53/UDP 8000-8001",
                r#"{"ExposedPorts":{"53/udp":{},"80/tcp":{},"8000/tcp":{},"8001/tcp":{}}}"#,
            ),
            (r#"LABEL a="b c" d=e"#, r#"{"Labels":{"a":"b c","d":"e"}}"#),
            ("ONBUILD RUN make  all", r#"{"OnBuild":["RUN make  all"]}"#),
            ("STOPSIGNAL SIGRTMIN+3", r#"{"StopSignal":"SIGRTMIN+3"}"#),
            ("USER 1000:100", r#"{"User":"1000:100"}"#),
            (r#"VOLUME ["/a b", "/c"]"#, r#"{"Volumes":{"/a b":{},"/c":{}}}"#),
            ("VOLUME /a /b", r#"{"Volumes":{"/a":{},"/b":{}}}"#),
            ("WORKDIR a/../b//c", r#"{"WorkingDir":"/b/c"}"#),
        ] {
            assert_eq!(after(json!({}), &[line]), expected, "{line}");
        }
    }

    #[test]
    fn changes_build_on_the_base_and_on_each_other() {
        let base =
            json!({"Env": ["P=/bin", "Q=1"], "Cmd": ["sh"], "WorkingDir": "/w", "Labels": null, "X": 1});
        assert_eq!(
            after(base.clone(), &["ENV P=$P:/x", "ENV R=${P}", "WORKDIR sub", "LABEL r=$R", "CMD new"]),
            r#"{"Cmd":["/bin/sh","-c","new"],"Env":["P=/bin:/x","Q=1","R=/bin:/x"],"Labels":{"r":"/bin:/x"},"WorkingDir":"/w/sub","X":1}"#
        );
        assert_eq!(
            after(json!({"Cmd": ["sh"]}), &[r#"ENTRYPOINT ["e"]"#]),
            r#"{"Entrypoint":["e"]}"#,
            "a new entrypoint drops the old command"
        );
        assert_eq!(
            after(json!({"Cmd": ["sh"]}), &[r#"CMD ["c"]"#, r#"ENTRYPOINT ["e"]"#]),
            r#"{"Cmd":["c"],"Entrypoint":["e"]}"#
        );
        assert_eq!(
            after(json!({"Shell": ["/bin/bash", "-lc"]}), &["CMD x"]),
            r#"{"Cmd":["/bin/bash","-lc","x"],"Shell":["/bin/bash","-lc"]}"#
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_one_line() {
        for bad in [
            "",
            "CMD",
            "RUN x",
            "FROM a",
            "ENV A",
            "ENV A=1 B",
            "ENV =1",
            "EXPOSE x",
            "EXPOSE 99999",
            "EXPOSE 2-1",
            "EXPOSE 1/icmp",
            "ONBUILD ONBUILD RUN x",
            "ONBUILD from x",
            "STOPSIGNAL a b",
            "STOPSIGNAL $X",
            "USER a b",
            "CMD [1]",
            "VOLUME [\" \"]",
            "ENV A='x",
            "LABEL a=${x",
        ] {
            let error = bad.parse::<Change>().unwrap_err().to_string();
            assert!(error.starts_with("invalid change") && !error.contains('\n'), "{bad}: {error}");
        }
    }
}
