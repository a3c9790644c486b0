//! Marks the operands of comparisons and arithmetic in a template, so that the filter [`FILTER`] converts them.
//!
//! minijinja cannot overload operators, and an exact number is an object to it: `output.price > 1` would compare an
//! object with a number, which is not an error but nonsense. So `output.price > 1` becomes
//! `(output.price|operand__) > 1` before it is compiled.

use minijinja::machinery::{Token, tokenize};

/// The filter's name. Templates cannot use it themselves.
pub(super) const FILTER: &str = "operand__";

/// An operand while its tokens are read, at one level of brackets.
#[derive(Default)]
struct Operand {
    /// Where it begins; `None` before its first token.
    start: Option<usize>,
    end: usize,
    /// Whether an operator that compares or computes precedes it.
    after_operator: bool,
    /// Where the part begins that a minus sign negates; filters apply to the negated value and are no part of it.
    negated: Negated,
    tokens: usize,
    is_literal: bool,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum Negated {
    #[default]
    No,
    /// A minus sign was read, and not yet what it negates.
    Pending,
    From(usize),
}

/// The insertions into the source, by offset.
#[derive(Default)]
struct Marks(Vec<(usize, bool)>);

impl Marks {
    fn wrap(&mut self, start: usize, end: usize) {
        self.0.extend([(start, true), (end, false)]);
    }

    fn insert_into(mut self, source: &str) -> String {
        self.0.sort_by_key(|(offset, _)| *offset);
        let mut marked = String::with_capacity(source.len() + self.0.len() * (FILTER.len() + 2));
        let mut from = 0;
        for (offset, opens) in self.0 {
            marked.push_str(source.get(from..offset).unwrap_or_default());
            if opens {
                marked.push('(');
            } else {
                marked.push('|');
                marked.push_str(FILTER);
                marked.push(')');
            }
            from = offset;
        }
        marked.push_str(source.get(from..).unwrap_or_default());
        marked
    }
}

impl Operand {
    fn push(&mut self, start: usize, end: usize, is_literal: bool) {
        self.start.get_or_insert(start);
        if self.negated == Negated::Pending {
            self.negated = Negated::From(start);
        }
        self.end = end;
        self.tokens += 1;
        self.is_literal = is_literal && self.tokens == 1;
    }

    fn negate(&mut self, start: usize) {
        self.start.get_or_insert(start);
        self.negated = Negated::Pending;
    }

    /// Ends the part that a minus sign negates.
    fn end_negated(&mut self, marks: &mut Marks) {
        if let Negated::From(start) = self.negated
            && !self.is_literal
        {
            marks.wrap(start, self.end);
        }
        self.negated = Negated::No;
    }

    /// Ends the operand at an operator or separator, and begins the next one.
    fn finish(&mut self, is_operator: bool, marks: &mut Marks) {
        self.end_negated(marks);
        if let Some(start) = self.start
            && (self.after_operator || is_operator)
            && !self.is_literal
        {
            marks.wrap(start, self.end);
        }
        *self = Self { after_operator: is_operator, ..Self::default() };
    }
}

/// The source with its operands marked. The source must be valid.
pub(super) fn mark(source: &str) -> String {
    let mut marks = Marks::default();
    let mut levels = vec![Operand::default()];
    // After a dot, a pipe or `is`, a word is a name and no keyword.
    let (mut name_follows, mut test_follows, mut is_tag_start, mut in_for_head) = (false, false, false, false);
    for (token, span) in tokenize(source, false, Default::default()).flatten() {
        let (start, end) = (span.start_offset as usize, span.end_offset as usize);
        let is_name = std::mem::take(&mut name_follows);
        let is_test = std::mem::take(&mut test_follows);
        let is_keyword = std::mem::take(&mut is_tag_start);
        let depth = levels.len();
        let Some(operand) = levels.last_mut() else { break };
        match token {
            Token::BracketOpen | Token::ParenOpen | Token::BraceOpen => {
                operand.push(start, end, false);
                levels.push(Operand::default());
            }
            Token::BracketClose | Token::ParenClose | Token::BraceClose => {
                operand.finish(false, &mut marks);
                levels.pop();
                if let Some(outer) = levels.last_mut() {
                    outer.end = end;
                }
            }
            Token::Dot => name_follows = true,
            // `is not none`: the name of the test is still to come.
            Token::Ident("not") if is_test => name_follows = true,
            Token::Pipe => {
                operand.end_negated(&mut marks);
                name_follows = true;
            }
            Token::Ident("is") if !is_name => {
                operand.end_negated(&mut marks);
                (name_follows, test_follows) = (true, true);
            }
            Token::Ident("in") if in_for_head && depth == 1 && !is_name => {
                in_for_head = false;
                operand.finish(false, &mut marks);
            }
            // Before `in` it belongs to the operator; elsewhere no operand precedes it.
            Token::Ident("not") if !is_name => operand.finish(operand.start.is_some(), &mut marks),
            Token::Ident("in") if !is_name => operand.finish(true, &mut marks),
            Token::Ident("and" | "or" | "if" | "else") if !is_name => operand.finish(false, &mut marks),
            Token::Ident(word) if is_keyword => in_for_head = word == "for",
            Token::Minus if operand.start.is_none() || operand.negated == Negated::Pending => operand.negate(start),
            Token::Eq
            | Token::Ne
            | Token::Gt
            | Token::Gte
            | Token::Lt
            | Token::Lte
            | Token::Minus
            | Token::Div
            | Token::FloorDiv
            | Token::Mod => operand.finish(true, &mut marks),
            Token::Ident(_) => operand.push(start, end, false),
            Token::Int(_) | Token::Int128(_) | Token::Float(_) | Token::Str(_) | Token::String(_) => {
                operand.push(start, end, true);
            }
            // The ends of tags, separators, and operators that the sandbox refuses.
            _ => {
                operand.finish(false, &mut marks);
                is_tag_start = matches!(token, Token::BlockStart);
            }
        }
    }
    marks.insert_into(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(source: &str) -> String {
        mark(source).replace(&format!("|{FILTER}"), "#")
    }

    #[test]
    fn mark_wraps_operands_of_operators_only() {
        for (source, expected) in [
            ("a {{ a }} {{ a.b | tojson }}", "a {{ a }} {{ a.b | tojson }}"),
            ("{{ a.b > 1 }}", "{{ (a.b#) > 1 }}"),
            ("{{ 1 < a['x'] and c or d }}", "{{ 1 < (a['x']#) and c or d }}"),
            ("{{ a - b // c[0] % 2 }}", "{{ (a#) - (b#) // (c[0]#) % 2 }}"),
            ("{{ a | first == b | last }}", "{{ (a | first#) == (b | last#) }}"),
            ("{{ -a.b }} {{ -1 }} {{ - -a }}", "{{ -(a.b#) }} {{ -1 }} {{ - -(a#) }}"),
            ("{{ -a.b | tojson }}", "{{ -(a.b#) | tojson }}"),
            ("{{ -a | default(1) > 2 }}", "{{ (-(a#) | default(1)#) > 2 }}"),
            ("{{ (a or b) == [c, d > e] }}", "{{ ((a or b)#) == ([c, (d#) > (e#)]#) }}"),
            ("{{ x if a == b else y }}", "{{ x if (a#) == (b#) else y }}"),
            ("{% for x in y if x in z %}{% endfor %}", "{% for x in y if (x#) in (z#) %}{% endfor %}"),
            ("{% for x, y in z %}{{ x }}{% endfor %}", "{% for x, y in z %}{{ x }}{% endfor %}"),
            (
                "{% if not a in b %}{% elif a not in b %}{% endif %}",
                "{% if not (a#) in (b#) %}{% elif (a#) not in (b#) %}{% endif %}",
            ),
            ("{% if not a %}{% endif %}", "{% if not a %}{% endif %}"),
            ("{% set a = b %}{% set c = b - a %}", "{% set a = b %}{% set c = (b#) - (a#) %}"),
            (
                "{% if a is not none and a.in > b.is %}{% endif %}",
                "{% if a is not none and (a.in#) > (b.is#) %}{% endif %}",
            ),
            ("{{ a | replace(b - 1, 'x') }}", "{{ a | replace((b#) - 1, 'x') }}"),
            ("{{ {'a': b == 1}[c] }}", "{{ {'a': (b#) == 1}[c] }}"),
            ("{{ 'é' ~ a }}{{- a -}} ü {{ a>b }}", "{{ 'é' ~ a }}{{- a -}} ü {{ (a#)>(b#) }}"),
        ] {
            assert_eq!(marked(source), expected, "{source}");
        }
    }
}
