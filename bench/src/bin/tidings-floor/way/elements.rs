//! Where one event of a batch ends and the next begins.
//!
//! Nothing is parsed and nothing checked: brackets are counted, and strings are skipped, which may hold brackets of their
//! own. That is the least that tells the elements of any array of objects from each other, whatever their lengths.

use bytes::Bytes;
use memchr::{memchr2, memchr3};

/// The objects of an array, which share its memory; any other body as it is. `None` for an array of something else, or
/// one without an end.
pub fn of(body: Bytes) -> Option<Vec<Bytes>> {
    if body.first() != Some(&b'[') {
        return Some(vec![body]);
    }
    let mut elements = Vec::new();
    let mut at = 1;
    loop {
        match *body.get(at)? {
            b']' => return (!elements.is_empty()).then_some(elements),
            b'{' => {
                let end = end_of_object(&body, at)?;
                elements.push(body.slice(at..end));
                at = end;
            }
            b',' | b' ' | b'\t' | b'\r' | b'\n' => at += 1,
            _ => return None,
        }
    }
}

/// Where the object that begins at `start` is over.
fn end_of_object(body: &[u8], start: usize) -> Option<usize> {
    let (mut at, mut depth) = (start, 0_usize);
    loop {
        at += memchr3(b'{', b'}', b'"', body.get(at..)?)?;
        match body[at] {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => at = end_of_string(body, at)?,
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

/// The closing quotation mark of the string that begins at `start`.
fn end_of_string(body: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        at += memchr2(b'"', b'\\', body.get(at..)?)?;
        if body[at] == b'"' {
            return Some(at);
        }
        // Whatever is escaped is no end.
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(body: &'static str) -> Option<Vec<String>> {
        let elements = of(Bytes::from_static(body.as_bytes()))?;
        Some(elements.iter().map(|element| String::from_utf8(element.to_vec()).unwrap()).collect())
    }

    #[test]
    fn elements_are_told_from_each_other() {
        let elements = texts(r#"[{"a":{"b":[{}]}}, {"c":"}]{\\\"},"} ,{}]"#).unwrap();
        assert_eq!(elements, [r#"{"a":{"b":[{}]}}"#, r#"{"c":"}]{\\\"},"}"#, "{}"]);
        for element in elements {
            serde_json::from_str::<serde_json::Value>(&element).unwrap();
        }
    }

    #[test]
    fn what_is_no_array_is_one_event() {
        assert_eq!(texts(r#"{"a":[]}"#).unwrap(), [r#"{"a":[]}"#]);
    }

    #[test]
    fn what_has_no_end_is_refused() {
        for body in ["[", "[]", "[1]", "[{", "[{}", r#"[{"a"#, r#"[{"a\"#, r#"[{"a\"}]"#] {
            assert_eq!(texts(body), None, "{body}");
        }
    }
}
