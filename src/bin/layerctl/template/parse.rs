//! Pieces become a tree.

use super::lex::{Piece, Token};
use super::{Call, Node, Operand, Pipe, Start};
use std::collections::VecDeque;

type Parsed<T> = Result<T, String>;

/// The pieces as nodes.
pub(super) fn nodes(pieces: Vec<Piece>) -> Parsed<Vec<Node>> {
    let mut pieces = VecDeque::from(pieces);
    match block(&mut pieces)? {
        (nodes, None) => Ok(nodes),
        (_, Some(End::End)) => Err("end without a block".to_owned()),
        (_, Some(End::Else(_))) => Err("else without a block".to_owned()),
    }
}

/// What ends a block: `end`, or `else` and what follows it.
enum End {
    End,
    Else(VecDeque<Token>),
}

/// Nodes up to an end.
fn block(pieces: &mut VecDeque<Piece>) -> Parsed<(Vec<Node>, Option<End>)> {
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.pop_front() {
        let tokens = match piece {
            Piece::Text(text) => {
                nodes.push(Node::Text(text));
                continue;
            }
            Piece::Action(tokens) => tokens,
        };
        let mut tokens = VecDeque::from(tokens);
        let keyword = match tokens.front() {
            Some(Token::Word(word)) => word.clone(),
            Some(_) => String::new(),
            None => return Err("an empty {{}}".to_owned()),
        };
        match keyword.as_str() {
            "end" => return Ok((nodes, Some(End::End))),
            "else" => {
                tokens.pop_front();
                return Ok((nodes, Some(End::Else(tokens))));
            }
            "if" | "with" | "range" => {
                tokens.pop_front();
                nodes.push(opened(&keyword, tokens, pieces)?);
            }
            "define" | "template" | "block" | "break" | "continue" => {
                return Err(format!("{keyword} is not supported"));
            }
            _ => nodes.push(Node::Show(whole_pipe(tokens)?)),
        }
    }
    Ok((nodes, None))
}

fn opened(keyword: &str, mut head: VecDeque<Token>, pieces: &mut VecDeque<Piece>) -> Parsed<Node> {
    let names = if keyword == "range" { loop_names(&mut head)? } else { Vec::new() };
    let value = whole_pipe(head)?;
    let (nodes, mut end) = block(pieces)?;
    if keyword != "if" {
        let otherwise = match end {
            Some(End::Else(more)) if more.is_empty() => closed(keyword, pieces)?,
            Some(End::End) => Vec::new(),
            _ => return Err(format!("{keyword} without end")),
        };
        return Ok(match keyword {
            "with" => Node::With { value, nodes, otherwise },
            _ => Node::Range { names, over: value, nodes, otherwise },
        });
    }
    let mut branches = vec![(value, nodes)];
    loop {
        match end {
            Some(End::End) => return Ok(Node::If { branches, otherwise: Vec::new() }),
            Some(End::Else(mut more)) => match more.pop_front() {
                None => return Ok(Node::If { branches, otherwise: closed(keyword, pieces)? }),
                Some(Token::Word(word)) if word == "if" => {
                    let condition = whole_pipe(more)?;
                    let (nodes, next) = block(pieces)?;
                    branches.push((condition, nodes));
                    end = next;
                }
                Some(other) => return Err(format!("{other:?} after else")),
            },
            None => return Err("if without end".to_owned()),
        }
    }
}

/// The nodes after an `else`.
fn closed(keyword: &str, pieces: &mut VecDeque<Piece>) -> Parsed<Vec<Node>> {
    match block(pieces)? {
        (nodes, Some(End::End)) => Ok(nodes),
        _ => Err(format!("{keyword} without end")),
    }
}

/// `$a := `, `$a, $b := ` or nothing.
fn loop_names(head: &mut VecDeque<Token>) -> Parsed<Vec<String>> {
    if !head.contains(&Token::Assign) {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    loop {
        match head.pop_front() {
            Some(Token::Variable(name, fields)) if !name.is_empty() && fields.is_empty() => names.push(name),
            Some(Token::Sign(',')) => {}
            Some(Token::Assign) if (1..=2).contains(&names.len()) => return Ok(names),
            _ => return Err("range takes $VALUE := or $KEY, $VALUE :=".to_owned()),
        }
    }
}

fn whole_pipe(mut tokens: VecDeque<Token>) -> Parsed<Pipe> {
    let pipe = pipe(&mut tokens)?;
    match tokens.front() {
        None => Ok(pipe),
        Some(Token::Assign) => Err("variables are supported in range only".to_owned()),
        Some(_) => Err(") without (".to_owned()),
    }
}

/// Calls parted by `|`, up to the end or a closing parenthesis.
fn pipe(tokens: &mut VecDeque<Token>) -> Parsed<Pipe> {
    let mut calls = vec![call(tokens)?];
    while tokens.front() == Some(&Token::Sign('|')) {
        tokens.pop_front();
        calls.push(call(tokens)?);
    }
    let late = calls.iter().skip(1).find(|call| call.function.is_none());
    match late {
        Some(_) => Err("after | a function must stand".to_owned()),
        None => Ok(calls),
    }
}

fn call(tokens: &mut VecDeque<Token>) -> Parsed<Call> {
    let function = match tokens.front() {
        Some(Token::Word(word)) => {
            let word = word.clone();
            super::eval::known(&word)?;
            tokens.pop_front();
            Some(word)
        }
        _ => None,
    };
    let mut arguments = Vec::new();
    while let Some(token) = tokens.front() {
        if matches!(token, Token::Sign('|' | ')' | ',') | Token::Assign) {
            break;
        }
        arguments.push(operand(tokens)?);
    }
    match (&function, arguments.len()) {
        (None, 0) => Err("an empty command".to_owned()),
        (None, 2..) => Err("what stands first is no function, and takes no arguments".to_owned()),
        _ => Ok(Call { function, arguments }),
    }
}

fn operand(tokens: &mut VecDeque<Token>) -> Parsed<Operand> {
    match tokens.pop_front() {
        Some(Token::Fields(fields)) => Ok(Operand { start: Start::Dot, fields }),
        Some(Token::Variable(name, fields)) => Ok(Operand { start: Start::Variable(name), fields }),
        Some(Token::Literal(value)) => Ok(Operand { start: Start::Literal(value), fields: Vec::new() }),
        Some(Token::Word(word)) => {
            super::eval::known(&word)?;
            Err(format!("the function {word} as an argument needs parentheses"))
        }
        Some(Token::Sign('(')) => {
            let inner = pipe(tokens)?;
            match tokens.pop_front() {
                Some(Token::Sign(')')) => {}
                _ => return Err("( without )".to_owned()),
            }
            let fields = match tokens.front() {
                Some(Token::Chain(fields)) => fields.clone(),
                _ => Vec::new(),
            };
            if !fields.is_empty() {
                tokens.pop_front();
            }
            Ok(Operand { start: Start::Pipe(inner), fields })
        }
        other => Err(format!("{other:?} is not understood here")),
    }
}
