//! Restricts templates: which syntax they may use, and what their filters may produce.
//!
//! minijinja's fuel counts steps, not bytes: a single step of `a ~ a`, `a * 9`, a capturing block or an unlimited
//! filter can build a huge string. So a template is parsed before it is compiled, and only syntax that cannot grow a
//! string is allowed: no operators that join or repeat, no blocks that capture, no calls. Filters that produce strings
//! draw on a budget, and so do comparisons, whose cost also depends on the size of their operands.

use std::io::{self, Write};

use minijinja::machinery::ast::{BinOpKind, CallArg, Expr, Stmt};
use minijinja::machinery::{Token, parse, tokenize};
use minijinja::value::{Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value, filters, tests};

use super::{operands, values};

/// What all filters and comparisons of one rendering may read and make together. An output of the largest size can be
/// encoded, searched and compared a few times.
const BUDGET_BYTES: usize = 2 * 1_024 * 1_024;

/// List and object literals per template. Each can nest the values before it one level deeper, and writing or dropping
/// a value recurses into it.
const LITERALS_MAX: usize = 500;

/// The allowed filters, for messages.
const FILTERS: &str = "default, first, join, last, length, lower, replace, tojson, trim, truncate, upper";

/// Tokens per expression or tag, and tags per template. minijinja's parser and compiler recurse into both; the limits
/// keep them within the stack of a runtime worker thread.
const TOKENS_MAX: usize = 250;
const TAGS_MAX: usize = 150;

/// Whether the template uses only what is allowed. The error names what is not, and an alternative.
pub(super) fn check(source: &str) -> Result<(), String> {
    check_depth(source)?;
    let template =
        parse(source, "bodyTemplate", Default::default()).map_err(|error| super::template::describe(&error))?;
    statement(&template)
}

/// Counts tokens without parsing: the parser itself would already recurse.
fn check_depth(source: &str) -> Result<(), String> {
    let (mut tokens, mut tags, mut literals) = (0, 0, 0);
    for token in tokenize(source, false, Default::default()) {
        let (token, _) = token.map_err(|error| super::template::describe(&error))?;
        match token {
            Token::TemplateData(_) | Token::VariableStart => tokens = 0,
            Token::BlockStart => (tokens, tags) = (0, tags + 1),
            Token::BracketOpen | Token::BraceOpen | Token::ParenOpen => (tokens, literals) = (tokens + 1, literals + 1),
            _ => tokens += 1,
        }
        if literals > LITERALS_MAX {
            return Err(format!("must not have more than {LITERALS_MAX} opening brackets within tags and braces"));
        }
        if tokens > TOKENS_MAX {
            return Err(format!("must not have more than {TOKENS_MAX} tokens between one pair of braces"));
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
        // An allowlist: a statement that a later minijinja adds is refused until it is reviewed.
        _ => Err("must not use blocks other than for, if, with and set (without endset)".into()),
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
        Expr::Filter(filter) if filter.name == operands::FILTER => Err("must not use unknown filters".into()),
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
        Expr::Slice(_) => Err("must not use slices; use the filter truncate".into()),
        Expr::Call(_) => Err(format!("must not call functions or methods; the filters are {FILTERS}")),
    }
}

fn operator(kind: &BinOpKind) -> Result<(), String> {
    use BinOpKind::{Add, Concat, Div, Eq, FloorDiv, Gt, Gte, In, Lt, Lte, Mul, Ne, Pow, Rem, ScAnd, ScOr, Sub};
    match kind {
        Eq | Ne | Lt | Lte | Gt | Gte | In | ScAnd | ScOr | Sub | Div | FloorDiv | Rem => Ok(()),
        Concat | Add => Err("must not use ~ or +; use [a, b] | join".into()),
        Mul | Pow => Err("must not use * or **".into()),
    }
}

/// Adds the allowed filters and tests. Filters that only select (`default`, `first`, `last`) produce nothing and need
/// no budget.
pub(super) fn add_filters(environment: &mut Environment<'_>) {
    environment.add_filter("default", filters::default);
    environment.add_filter("first", filters::first);
    environment.add_filter("join", join);
    environment.add_filter("last", filters::last);
    environment.add_filter("length", |state: &mut State, value: &Value| {
        spend(state, value.as_str().map_or(0, str::len))?;
        filters::length(value)
    });
    environment.add_filter("lower", |state: &mut State, text: &str| convert(state, text, str::to_lowercase));
    environment.add_filter("replace", replace);
    environment.add_filter("tojson", to_json);
    environment.add_filter("trim", |state: &mut State, text: &str| convert(state, text, |text| text.trim().to_owned()));
    environment.add_filter("truncate", |state: &mut State, text: &str, chars_max: usize| {
        convert(state, text, |text| tidings_domain::text::truncate_chars(text, chars_max))
    });
    environment.add_filter("upper", |state: &mut State, text: &str| convert(state, text, str::to_uppercase));
    environment.add_filter(operands::FILTER, operand);
    environment.add_test("defined", tests::is_defined);
    environment.add_test("none", tests::is_none);
}

/// Bytes that the filters and comparisons of one rendering have read and made so far.
#[derive(Default)]
struct WorkBudget(usize);

fn remaining(state: &mut State<'_, '_>) -> usize {
    BUDGET_BYTES.saturating_sub(state.get_or_insert_extension(WorkBudget::default()).0)
}

fn over_budget() -> Error {
    let message = format!("its filters and comparisons read and make more than {BUDGET_BYTES} bytes");
    Error::new(ErrorKind::InvalidOperation, message)
}

fn spend(state: &mut State<'_, '_>, bytes: usize) -> Result<(), Error> {
    if bytes > remaining(state) {
        return Err(over_budget());
    }
    state.get_or_insert_extension(WorkBudget::default()).0 += bytes;
    Ok(())
}

/// Charges a filter's result to the budget.
fn charge(state: &mut State<'_, '_>, text: String) -> Result<String, Error> {
    spend(state, text.len())?;
    Ok(text)
}

fn convert(state: &mut State<'_, '_>, text: &str, conversion: impl FnOnce(&str) -> String) -> Result<String, Error> {
    // Before it is read: fuel counts this step like one over a short text.
    spend(state, text.len())?;
    charge(state, conversion(text))
}

/// An operand of a comparison or of arithmetic: charged with what it may cost to compare it.
fn operand(state: &mut State<'_, '_>, value: Value) -> Result<Value, Error> {
    let budget = remaining(state);
    spend(state, values::weight(&value, budget))?;
    Ok(values::numeric(value))
}

fn join(state: &mut State<'_, '_>, values: &Value, separator: Option<&str>) -> Result<String, Error> {
    let budget = remaining(state);
    let mut text = String::new();
    let mut items = 0;
    for (index, value) in values.try_iter()?.enumerate() {
        // Items without a text cost a step, too.
        items += 1;
        if index > 0 {
            text.push_str(separator.unwrap_or_default());
        }
        match value.as_str() {
            Some(part) => text.push_str(part),
            None if matches!(value.kind(), ValueKind::None | ValueKind::Undefined) => {}
            None => text.push_str(&json(&value, budget)?),
        }
        // Checked per part, so that an oversized result is never built.
        if text.len() + items > budget {
            return Err(over_budget());
        }
    }
    spend(state, items)?;
    charge(state, text)
}

fn replace(state: &mut State<'_, '_>, text: &str, from: &str, to: &str) -> Result<String, Error> {
    spend(state, text.len())?;
    // The result's size is computed beforehand: a one-byte `from` and a long `to` multiply the text.
    let longer = text.matches(from).count().saturating_mul(to.len().saturating_sub(from.len()));
    if text.len().saturating_add(longer) > remaining(state) {
        return Err(over_budget());
    }
    charge(state, text.replace(from, to))
}

fn to_json(state: &mut State<'_, '_>, value: &Value, _unused: Rest<Value>) -> Result<String, Error> {
    let budget = remaining(state);
    charge(state, json(value, budget)?)
}

/// The value as JSON, at most `bytes_max` bytes; undefined becomes `null`.
pub(super) fn json(value: &Value, bytes_max: usize) -> Result<String, Error> {
    let mut output = BoundedWriter { bytes: Vec::new(), bytes_max, is_full: false };
    match values::write_json(value, &mut output) {
        _ if output.is_full => Err(over_budget()),
        Ok(()) => String::from_utf8(output.bytes).map_err(|_| over_budget()),
        Err(why) => Err(Error::new(ErrorKind::BadSerialization, why)),
    }
}

/// Collects bytes and fails a write that would exceed the limit.
pub(super) struct BoundedWriter {
    pub(super) bytes: Vec<u8>,
    pub(super) bytes_max: usize,
    /// Whether a write was refused.
    pub(super) is_full: bool,
}

impl Write for BoundedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.bytes_max {
            self.is_full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
