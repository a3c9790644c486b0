//! Splits a batch into its events.
//!
//! Nothing is parsed or validated: braces are counted and strings skipped, which is the least work that splits an array
//! of objects of any length.

use bytes::Bytes;
use memchr::{memchr2, memchr3};

/// The objects of an array, sharing its memory, or the body itself if it is no array. `None` if the array is incomplete
/// or has other elements.
pub fn split(body: Bytes) -> Option<Vec<Bytes>> {
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

/// The end of the object that starts at `start`.
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

/// The closing quotation mark of the string that starts at `start`.
fn end_of_string(body: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        at += memchr2(b'"', b'\\', body.get(at..)?)?;
        if body[at] == b'"' {
            return Some(at);
        }
        // Skip the backslash and the escaped character.
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(body: &'static str) -> Option<Vec<String>> {
        let elements = split(Bytes::from_static(body.as_bytes()))?;
        Some(elements.iter().map(|element| String::from_utf8(element.to_vec()).unwrap()).collect())
    }

    #[test]
    fn split_array_returns_its_objects() {
        let elements = texts(r#"[{"a":{"b":[{}]}}, {"c":"}]{\\\"},"} ,{}]"#).unwrap();
        assert_eq!(elements, [r#"{"a":{"b":[{}]}}"#, r#"{"c":"}]{\\\"},"}"#, "{}"]);
        for element in elements {
            serde_json::from_str::<serde_json::Value>(&element).unwrap();
        }
    }

    #[test]
    fn split_object_returns_it_whole() {
        assert_eq!(texts(r#"{"a":[]}"#).unwrap(), [r#"{"a":[]}"#]);
    }

    #[test]
    fn split_incomplete_array_returns_none() {
        for body in ["[", "[]", "[1]", "[{", "[{}", r#"[{"a"#, r#"[{"a\"#, r#"[{"a\"}]"#] {
            assert_eq!(texts(body), None, "{body}");
        }
    }
}
