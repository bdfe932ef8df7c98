//! The part of Go's templates that `--format` takes.
//!
//! Fields (`.Config.Env`), `$`, variables of `range`, literals, pipes, parentheses, `if`, `with` and
//! `range` with `else`, trim marks, comments, and the functions of [`eval::FUNCTIONS`]. What else Go has
//! is refused by name.

mod eval;
mod lex;
mod parse;

use crate::failure::{Failure, Result};
use serde_json::Value;

/// A template, parsed.
#[derive(Debug)]
pub(crate) struct Template {
    nodes: Vec<Node>,
}

/// A piece of a template.
#[derive(Debug)]
enum Node {
    /// Shown as it is.
    Text(String),
    /// The value of a pipe.
    Show(Pipe),
    /// The first branch whose condition holds, else the other nodes.
    If { branches: Vec<(Pipe, Vec<Node>)>, otherwise: Vec<Node> },
    /// The nodes with another dot, if that is not empty.
    With { value: Pipe, nodes: Vec<Node>, otherwise: Vec<Node> },
    /// The nodes for each element.
    Range { names: Vec<String>, over: Pipe, nodes: Vec<Node>, otherwise: Vec<Node> },
}

/// Calls, each of which gets what the one before gave as its last argument.
type Pipe = Vec<Call>;

/// A function with arguments, or a value alone.
#[derive(Debug)]
struct Call {
    function: Option<String>,
    arguments: Vec<Operand>,
}

/// A value: where it starts, and the fields from there.
#[derive(Debug)]
struct Operand {
    start: Start,
    fields: Vec<String>,
}

#[derive(Debug)]
enum Start {
    Dot,
    Variable(String),
    Literal(Value),
    Pipe(Pipe),
}

impl Template {
    /// Parses a template; what is not supported is refused by name.
    pub(crate) fn parse(text: &str) -> Result<Template> {
        let pieces = lex::pieces(text).map_err(|e| refusal(text, &e))?;
        let nodes = parse::nodes(pieces).map_err(|e| refusal(text, &e))?;
        Ok(Template { nodes })
    }

    /// The text for one value.
    pub(crate) fn render(&self, root: &Value) -> Result<String> {
        eval::render(&self.nodes, root).map_err(|e| Failure::failed(format_args!("--format: {e}")))
    }
}

fn refusal(text: &str, problem: &str) -> Failure {
    Failure::usage(format_args!("--format '{text}': {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn render(template: &str) -> String {
        let root = json!({
            "Id": "sha256:abc",
            "RepoTags": ["a:1", "b:2"],
            "Empty": [],
            "Size": 12,
            "Nothing": null,
            "Config": {"Env": ["A=1", "B=2"], "Labels": {"z": "last", "a.b": "first"}, "Cmd": ["sh"]},
        });
        match Template::parse(template).and_then(|parsed| parsed.render(&root)) {
            Ok(text) => text,
            Err(Failure::Usage(line)) => format!("usage: {line}"),
            Err(Failure::Failed(line)) => format!("failed: {line}"),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn values_are_shown_as_go_shows_them() {
        assert_eq!(render("id={{.Id}} {{.Size}}"), "id=sha256:abc 12");
        assert_eq!(render("{{.RepoTags}} {{.Config.Labels}}"), "[a:1 b:2] map[a.b:first z:last]");
        assert_eq!(render("{{json .Config.Cmd}}{{.Id | json}}"), "[\"sh\"]\"sha256:abc\"");
        assert_eq!(render("{{.Nothing}}"), "<no value>");
        assert_eq!(render("{{json .Nothing}}"), "null");
        assert_eq!(render("{{\"x\\ty\"}}{{`a\\t`}}{{true}}{{7}}"), "x\tya\\ttrue7");
    }

    #[test]
    fn functions_work_alone_and_in_pipes() {
        assert_eq!(render("{{index .RepoTags 1}}"), "b:2");
        assert_eq!(render("{{index .Config.Labels \"a.b\"}}|{{index .Config.Labels \"x\"}}"), "first|");
        assert_eq!(render("{{len .Config.Env}}{{.Id | len}}"), "210");
        assert_eq!(render("{{join .RepoTags \", \"}}"), "a:1, b:2");
        assert_eq!(render("{{upper .Id}} {{.Id | upper | lower}}"), "SHA256:ABC sha256:abc");
        assert_eq!(render("{{index (split .Id \":\") 1}}"), "abc");
        assert_eq!(render("{{(index .RepoTags 0)}}{{println .Size}}"), "a:112\n");
        assert_eq!(render("{{if and (eq .Size 12) (ne .Id \"x\") (not .Empty)}}yes{{end}}"), "yes");
    }

    #[test]
    fn blocks_choose_and_repeat() {
        assert_eq!(render("{{range .RepoTags}}<{{.}}>{{end}}"), "<a:1><b:2>");
        assert_eq!(render("{{range $i, $t := .RepoTags}}{{$i}}={{$t}};{{end}}"), "0=a:1;1=b:2;");
        assert_eq!(render("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}} {{end}}"), "a.b=first z=last ");
        assert_eq!(render("{{range .Empty}}x{{else}}none{{end}}"), "none");
        assert_eq!(render("{{if .Empty}}a{{else if .Size}}b{{else}}c{{end}}"), "b");
        assert_eq!(render("{{with .Config}}{{.Cmd}} {{$.Size}}{{end}}"), "[sh] 12");
        assert_eq!(render("a {{- /* words */ -}} b {{- .Size -}} c"), "ab12c");
    }

    #[test]
    fn what_is_not_supported_or_not_there_is_named() {
        assert!(render("{{printf \"%s\" .Id}}").contains("printf is no function known here"));
        assert!(render("{{define \"x\"}}{{end}}").contains("define is not supported"));
        assert!(render("{{.Nope}}").contains("there is no field Nope; there are Config, Empty"));
        assert!(render("{{.Config.Cmd.X}}").contains("X is asked of a list"));
        assert!(render("{{index .RepoTags 5}}").contains("index 5 of a list of 2"));
        assert!(render("{{.Id").contains("{{ without }}"));
        assert!(render("{{if .Id}}x").contains("if without end"));
        assert!(render("{{end}}").contains("end without a block"));
        assert!(render("{{}}").contains("empty"));
        assert!(render("{{.Id \"x\"}}").contains("is no function"));
    }
}
