//! What a template may hold, and the filters it may use.
//!
//! Fuel counts steps, not bytes: one step of `a ~ a`, `a * 9`, a capturing block or a careless filter can build a
//! huge string. So a template is parsed before it is compiled, and only what cannot grow a string is let in: no
//! operators that join or repeat, no blocks that capture, no calls. Filters that make strings pay from a budget.

use std::io::{self, Write};

use minijinja::machinery::ast::{BinOpKind, CallArg, Expr, Stmt};
use minijinja::machinery::{Token, parse, tokenize};
use minijinja::value::{Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value, filters, tests};

/// How many bytes all filters of one rendering may make together.
const BUDGET_BYTES: usize = 256 * 1_024;

/// The names that may stand behind `|`.
const FILTERS: &str = "default, first, join, last, length, lower, replace, tojson, trim, truncate, upper";

/// How many tokens an expression or a block's tag may have, and how many tags a template: parser and compiler recurse
/// into both, and the stack they do it on is a sender's.
const TOKENS_MAX: usize = 250;
const TAGS_MAX: usize = 150;

/// Whether the template holds only what is let in; the error says what does not, and what to use instead.
pub(super) fn check(source: &str) -> Result<(), String> {
    check_depth(source)?;
    let template =
        parse(source, "bodyTemplate", Default::default()).map_err(|error| super::template::describe(&error))?;
    statement(&template)
}

fn check_depth(source: &str) -> Result<(), String> {
    let (mut tokens, mut tags) = (0, 0);
    for token in tokenize(source, false, Default::default()) {
        let (token, _) = token.map_err(|error| super::template::describe(&error))?;
        match token {
            Token::TemplateData(_) | Token::VariableStart => tokens = 0,
            Token::BlockStart => (tokens, tags) = (0, tags + 1),
            _ => tokens += 1,
        }
        if tokens > TOKENS_MAX {
            return Err(format!("must not have more than {TOKENS_MAX} words and signs between one pair of braces"));
        }
        if tags > TAGS_MAX {
            return Err(format!("must not have more than {TAGS_MAX} tags of the form {{% … %}}"));
        }
    }
    Ok(())
}

fn statements(all: &[Stmt<'_>]) -> Result<(), String> {
    all.iter().try_for_each(statement)
}

fn statement(statement: &Stmt<'_>) -> Result<(), String> {
    match statement {
        Stmt::Template(template) => statements(&template.children),
        Stmt::EmitRaw(_) => Ok(()),
        Stmt::EmitExpr(emit) => expression(&emit.expr),
        Stmt::ForLoop(each) if each.recursive => Err("must not use recursive loops".into()),
        Stmt::ForLoop(each) => {
            expression(&each.target)?;
            expression(&each.iter)?;
            each.filter_expr.iter().try_for_each(expression)?;
            statements(&each.body)?;
            statements(&each.else_body)
        }
        Stmt::IfCond(branch) => {
            expression(&branch.expr)?;
            statements(&branch.true_body)?;
            statements(&branch.false_body)
        }
        Stmt::WithBlock(with) => {
            with.assignments.iter().try_for_each(|(_, value)| expression(value))?;
            statements(&with.body)
        }
        Stmt::Set(set) => expression(&set.expr),
        _ => Err("may use the blocks for, if, with and set (not as a block) only".into()),
    }
}

fn expressions(all: &[Expr<'_>]) -> Result<(), String> {
    all.iter().try_for_each(expression)
}

fn arguments(all: &[CallArg<'_>]) -> Result<(), String> {
    all.iter().try_for_each(|argument| match argument {
        CallArg::Pos(value) | CallArg::Kwarg(_, value) => expression(value),
        CallArg::PosSplat(_) | CallArg::KwargSplat(_) => Err("must not unpack arguments".into()),
    })
}

fn expression(expr: &Expr<'_>) -> Result<(), String> {
    match expr {
        Expr::Var(_) | Expr::Const(_) => Ok(()),
        Expr::UnaryOp(operation) => expression(&operation.expr),
        Expr::BinOp(operation) => {
            operator(&operation.op)?;
            expression(&operation.left)?;
            expression(&operation.right)
        }
        Expr::Compare(compare) => {
            expression(&compare.expr)?;
            compare.ops.iter().try_for_each(|operation| expression(&operation.expr))
        }
        Expr::IfExpr(choice) => {
            expression(&choice.test_expr)?;
            expression(&choice.true_expr)?;
            choice.false_expr.iter().try_for_each(expression)
        }
        Expr::Filter(filter) => {
            filter.expr.iter().try_for_each(expression)?;
            arguments(&filter.args)
        }
        Expr::Test(test) => {
            expression(&test.expr)?;
            arguments(&test.args)
        }
        Expr::GetAttr(attribute) => expression(&attribute.expr),
        Expr::GetItem(item) => {
            expression(&item.expr)?;
            expression(&item.subscript_expr)
        }
        Expr::List(list) => expressions(&list.items),
        Expr::Tuple(tuple) => expressions(&tuple.items),
        Expr::Map(map) => {
            expressions(&map.keys)?;
            expressions(&map.values)
        }
        Expr::Slice(_) => Err("must not use slices; the filter truncate shortens".into()),
        Expr::Call(_) => Err(format!("must not call functions or methods; the filters are {FILTERS}")),
    }
}

fn operator(kind: &BinOpKind) -> Result<(), String> {
    use BinOpKind::{Add, Concat, Div, Eq, FloorDiv, Gt, Gte, In, Lt, Lte, Mul, Ne, Pow, Rem, ScAnd, ScOr, Sub};
    match kind {
        Eq | Ne | Lt | Lte | Gt | Gte | In | ScAnd | ScOr | Sub | Div | FloorDiv | Rem => Ok(()),
        Concat | Add => Err("must not use ~ or +; [a, b] | join joins".into()),
        Mul | Pow => Err("must not use * or **".into()),
    }
}

/// Adds the filters and tests that templates may use.
pub(super) fn add_filters(environment: &mut Environment<'_>) {
    environment.add_filter("default", filters::default);
    environment.add_filter("first", filters::first);
    environment.add_filter("join", join);
    environment.add_filter("last", filters::last);
    environment.add_filter("length", filters::length);
    environment.add_filter("lower", |state: &mut State, text: &str| spend(state, text.to_lowercase()));
    environment.add_filter("replace", replace);
    environment.add_filter("tojson", to_json);
    environment.add_filter("trim", |state: &mut State, text: &str| spend(state, text.trim().to_owned()));
    environment.add_filter("truncate", |state: &mut State, text: &str, chars_max: usize| {
        spend(state, tidings_domain::text::truncate_chars(text, chars_max))
    });
    environment.add_filter("upper", |state: &mut State, text: &str| spend(state, text.to_uppercase()));
    environment.add_test("defined", tests::is_defined);
    environment.add_test("none", tests::is_none);
}

/// What the filters of one rendering have made, in bytes.
#[derive(Default)]
struct Spent(usize);

fn left(state: &mut State<'_, '_>) -> usize {
    BUDGET_BYTES.saturating_sub(state.get_or_insert_extension(Spent::default()).0)
}

fn too_much() -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("its filters make more than {BUDGET_BYTES} bytes"))
}

fn spend(state: &mut State<'_, '_>, text: String) -> Result<String, Error> {
    if text.len() > left(state) {
        return Err(too_much());
    }
    state.get_or_insert_extension(Spent::default()).0 += text.len();
    Ok(text)
}

fn join(state: &mut State<'_, '_>, values: &Value, separator: Option<&str>) -> Result<String, Error> {
    let room = left(state);
    let mut text = String::new();
    for (index, value) in values.try_iter()?.enumerate() {
        if index > 0 {
            text.push_str(separator.unwrap_or_default());
        }
        match value.as_str() {
            Some(part) => text.push_str(part),
            None if matches!(value.kind(), ValueKind::None | ValueKind::Undefined) => {}
            None => text.push_str(&json(&value, room)?),
        }
        if text.len() > room {
            return Err(too_much());
        }
    }
    spend(state, text)
}

fn replace(state: &mut State<'_, '_>, text: &str, from: &str, to: &str) -> Result<String, Error> {
    let longer = text.matches(from).count().saturating_mul(to.len().saturating_sub(from.len()));
    if text.len().saturating_add(longer) > left(state) {
        return Err(too_much());
    }
    spend(state, text.replace(from, to))
}

fn to_json(state: &mut State<'_, '_>, value: &Value, _unused: Rest<Value>) -> Result<String, Error> {
    let room = left(state);
    spend(state, json(value, room)?)
}

/// The value as JSON; undefined is `null`.
fn json(value: &Value, bytes_max: usize) -> Result<String, Error> {
    if value.is_undefined() {
        return Ok("null".into());
    }
    let mut room = Room { bytes: Vec::new(), bytes_max };
    serde_json::to_writer(&mut room, value).map_err(|_| too_much())?;
    String::from_utf8(room.bytes).map_err(|_| too_much())
}

/// Bytes up to a cap.
struct Room {
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
