//! The value of a template.

use super::{Call, Node, Operand, Start};
use serde_json::Value;

type Evaluated<T> = Result<T, String>;

/// The functions known here.
pub(super) const FUNCTIONS: [&str; 15] = [
    "json", "index", "len", "join", "split", "lower", "upper", "title", "print", "println", "eq", "ne",
    "and", "or", "not",
];

/// Refuses a function that is not known.
pub(super) fn known(function: &str) -> Evaluated<()> {
    match FUNCTIONS.contains(&function) {
        true => Ok(()),
        false => Err(format!("{function} is no function known here; known are {}", FUNCTIONS.join(", "))),
    }
}

/// The text of nodes.
pub(super) fn render(nodes: &[Node], root: &Value) -> Evaluated<String> {
    let mut out = String::new();
    let mut scope = Scope { variables: vec![(String::new(), root.clone())] };
    scope.show(nodes, root, &mut out)?;
    Ok(out)
}

/// The variables in force, the innermost last; that without a name is the root.
struct Scope {
    variables: Vec<(String, Value)>,
}

impl Scope {
    fn show(&mut self, nodes: &[Node], dot: &Value, out: &mut String) -> Evaluated<()> {
        for node in nodes {
            match node {
                Node::Text(text) => out.push_str(text),
                Node::Show(pipe) => out.push_str(&text_of(&self.pipe(pipe, dot)?)),
                Node::If { branches, otherwise } => {
                    let mut chosen = otherwise;
                    for (condition, nodes) in branches {
                        if is_true(&self.pipe(condition, dot)?) {
                            chosen = nodes;
                            break;
                        }
                    }
                    self.show(chosen, dot, out)?;
                }
                Node::With { value, nodes, otherwise } => {
                    let value = self.pipe(value, dot)?;
                    match is_true(&value) {
                        true => self.show(nodes, &value, out)?,
                        false => self.show(otherwise, dot, out)?,
                    }
                }
                Node::Range { names, over, nodes, otherwise } => {
                    let pairs = elements(self.pipe(over, dot)?)?;
                    if pairs.is_empty() {
                        self.show(otherwise, dot, out)?;
                    }
                    for (key, value) in pairs {
                        let depth = self.variables.len();
                        match names.as_slice() {
                            [name] => self.variables.push((name.clone(), value.clone())),
                            [first, second] => {
                                self.variables.push((first.clone(), key));
                                self.variables.push((second.clone(), value.clone()));
                            }
                            _ => {}
                        }
                        self.show(nodes, &value, out)?;
                        self.variables.truncate(depth);
                    }
                }
            }
        }
        Ok(())
    }

    fn pipe(&self, calls: &[Call], dot: &Value) -> Evaluated<Value> {
        let mut last = None;
        for call in calls {
            let mut arguments = Vec::new();
            for operand in &call.arguments {
                arguments.push(self.operand(operand, dot)?);
            }
            arguments.extend(last);
            last = Some(match &call.function {
                Some(function) => apply(function, arguments)?,
                None => arguments.pop().unwrap_or(Value::Null),
            });
        }
        Ok(last.unwrap_or(Value::Null))
    }

    fn operand(&self, operand: &Operand, dot: &Value) -> Evaluated<Value> {
        let mut value = match &operand.start {
            Start::Dot => dot.clone(),
            Start::Literal(value) => value.clone(),
            Start::Pipe(pipe) => self.pipe(pipe, dot)?,
            Start::Variable(name) => {
                let found = self.variables.iter().rev().find(|(own, _)| own == name);
                found
                    .map(|(_, value)| value.clone())
                    .ok_or_else(|| format!("there is no variable ${name}"))?
            }
        };
        for field in &operand.fields {
            value = member(value, field)?;
        }
        Ok(value)
    }
}

fn member(value: Value, field: &str) -> Evaluated<Value> {
    match value {
        Value::Object(mut map) => match map.remove(field) {
            Some(value) => Ok(value),
            None => {
                let names: Vec<&String> = map.keys().collect();
                let names = names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
                Err(format!("there is no field {field}; there are {names}"))
            }
        },
        other => Err(format!("the field {field} is asked of {}", kind(&other))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

/// Keys and values, maps in the order of their keys as Go does it.
fn elements(value: Value) -> Evaluated<Vec<(Value, Value)>> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(list) => Ok(list.into_iter().enumerate().map(|(i, v)| (i.into(), v)).collect()),
        Value::Object(map) => {
            let mut pairs: Vec<(String, Value)> = map.into_iter().collect();
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            Ok(pairs.into_iter().map(|(key, value)| (key.into(), value)).collect())
        }
        other => Err(format!("range over {}", kind(&other))),
    }
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(yes) => *yes,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// As Go prints a value.
fn text_of(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(text_of).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let mut pairs: Vec<String> = map.iter().map(|(key, v)| format!("{key}:{}", text_of(v))).collect();
            pairs.sort();
            format!("map[{}]", pairs.join(" "))
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

fn apply(function: &str, arguments: Vec<Value>) -> Evaluated<Value> {
    let wrong = || format!("{function} does not take {} arguments of this kind", arguments.len());
    Ok(match (function, arguments.as_slice()) {
        ("json", [value]) => Value::from(value.to_string()),
        ("index", [value, keys @ ..]) => {
            keys.iter().try_fold(value.clone(), |value, key| element(&value, key))?
        }
        ("len", [value]) => match value {
            Value::String(text) => text.len().into(),
            Value::Array(list) => list.len().into(),
            Value::Object(map) => map.len().into(),
            Value::Null => 0.into(),
            _ => return Err(wrong()),
        },
        ("join", [Value::Array(list), Value::String(between)]) => {
            Value::from(list.iter().map(text_of).collect::<Vec<_>>().join(between))
        }
        ("split", [Value::String(text), Value::String(at)]) => text.split(at.as_str()).collect(),
        ("lower", [Value::String(text)]) => text.to_lowercase().into(),
        ("upper", [Value::String(text)]) => text.to_uppercase().into(),
        ("title", [Value::String(text)]) => {
            let (first, rest) = text.split_at(text.chars().next().map_or(0, char::len_utf8));
            format!("{}{rest}", first.to_uppercase()).into()
        }
        ("print", values) => values.iter().map(text_of).collect::<Vec<_>>().concat().into(),
        ("println", values) => {
            format!("{}\n", values.iter().map(text_of).collect::<Vec<_>>().join(" ")).into()
        }
        ("eq", [first, rest @ ..]) if !rest.is_empty() => rest.contains(first).into(),
        ("ne", [first, second]) => (first != second).into(),
        ("and", [.., last]) => arguments.iter().find(|value| !is_true(value)).unwrap_or(last).clone(),
        ("or", [.., last]) => arguments.iter().find(|value| is_true(value)).unwrap_or(last).clone(),
        ("not", [value]) => (!is_true(value)).into(),
        _ => return Err(wrong()),
    })
}

fn element(value: &Value, key: &Value) -> Evaluated<Value> {
    match (value, key) {
        (Value::Array(list), Value::Number(number)) => {
            let found = number.as_u64().and_then(|at| usize::try_from(at).ok()).and_then(|at| list.get(at));
            found.cloned().ok_or_else(|| format!("index {number} of a list of {}", list.len()))
        }
        // As of a Go map: what is not there is empty.
        (Value::Object(map), Value::String(key)) => Ok(map.get(key).cloned().unwrap_or_else(|| "".into())),
        (Value::Null, Value::String(_)) => Ok("".into()),
        (value, key) => Err(format!("index of {} by {}", kind(value), kind(key))),
    }
}
