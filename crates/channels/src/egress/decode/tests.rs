//! Tests of `egress::decode`.

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use http::HeaderValue;
use proptest::prelude::*;

use super::text::{SEARCHED_AT_ONCE_BYTES, SEARCHES_AT_ONCE_MAX, SNIFFED_BYTES, Search};
use super::*;

const MIB: usize = 1_024 * 1_024;

fn headers(coding: &str, content_type: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [(CONTENT_ENCODING, coding), (CONTENT_TYPE, content_type)] {
        if !value.is_empty() {
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
    }
    headers
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn raw_deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn wanted(kept_max: usize, searched_max: usize, texts: &[&str]) -> Wanted {
    Wanted { kept_max, searched_max, texts: texts.iter().map(|text| (*text).to_owned()).collect() }
}

/// Decodes a body that arrives in parts of this size.
fn decode(headers: &HeaderMap, body: &[u8], part: usize, wanted: Wanted, secrets: Secrets) -> Body {
    let mut decoder = BodyDecoder::new(headers, wanted, secrets);
    for part in body.chunks(part) {
        if decoder.push(part) == Progress::Enough {
            return decoder.finish(false);
        }
    }
    decoder.finish(true)
}

fn text_of(headers: &HeaderMap, body: &[u8]) -> String {
    let in_one = decode(headers, body, usize::MAX, wanted(MIB, MIB, &[]), Secrets::default());
    for part in [1, 2, 7] {
        assert_eq!(
            decode(headers, body, part, wanted(MIB, MIB, &[]), Secrets::default()),
            in_one,
            "in parts of {part}"
        );
    }
    assert!(in_one.is_complete && in_one.is_searched && in_one.fault.is_none(), "{in_one:?}");
    in_one.text
}

#[test]
fn charset_is_that_of_header_mark_document_or_bytes() {
    let (gbk, shift_jis) = (encoding_rs::GBK, encoding_rs::SHIFT_JIS);
    let utf16 = |text: &str, big: bool| -> Vec<u8> {
        let units = std::iter::once(0xfeff).chain(text.encode_utf16());
        units.flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
    };
    let latin = b"Gr\xf6\xdfe".to_vec();
    let far = [&vec![b'x'; 2 * SNIFFED_BYTES][..], &latin].concat();
    for (content_type, body, text) in [
        ("text/html; charset=ISO-8859-1", latin.clone(), "Größe"),
        ("text/html;charset=\"iso-8859-1\"; x=y", latin.clone(), "Größe"),
        ("text/html; CHARSET = 'latin1'", latin.clone(), "Größe"),
        ("text/html; charset=GBK", gbk.encode("系统运行正常").0.into_owned(), "系统运行正常"),
        ("text/plain; charset=utf-16", utf16("grün", false), "grün"),
        ("text/plain; charset=iso-8859-1", utf16("grün", true), "grün"),
        ("text/plain; charset=iso-8859-1", "\u{feff}grün".as_bytes().to_vec(), "grün"),
        ("", "\u{feff}grün".as_bytes().to_vec(), "grün"),
        ("", utf16("grün", false), "grün"),
        (
            "text/html",
            shift_jis.encode("<meta charset=\"shift_jis\">稼働中").0.into_owned(),
            "<meta charset=\"shift_jis\">稼働中",
        ),
        (
            "text/html",
            shift_jis
                .encode("<META http-equiv=Content-Type content='text/html; charset=shift_jis'>稼働中")
                .0
                .into_owned(),
            "<META http-equiv=Content-Type content='text/html; charset=shift_jis'>稼働中",
        ),
        (
            "text/xml",
            [&b"<?xml version='1.0' encoding='ISO-8859-1'?>"[..], &latin].concat(),
            "<?xml version='1.0' encoding='ISO-8859-1'?>Größe",
        ),
        ("text/html", "<meta charset=utf-16>grün".as_bytes().to_vec(), "<meta charset=utf-16>grün"),
        ("text/html", "Größe".as_bytes().to_vec(), "Größe"),
        ("text/html", latin.clone(), "Größe"),
        ("application/json; charset=nonsense", "\"ü\"".as_bytes().to_vec(), "\"ü\""),
        ("", Vec::new(), ""),
    ] {
        assert_eq!(text_of(&headers("", content_type), &body), text, "{content_type}");
    }
    assert!(text_of(&headers("", "text/html"), &far).ends_with("Größe"), "not ASCII only far behind the beginning");
}

#[test]
fn content_codings_are_unpacked() {
    let text = "all systems operational, für alle. ".repeat(3_000);
    let bytes = text.as_bytes();
    for (coding, body) in [
        ("gzip", gzip(bytes)),
        ("x-gzip", gzip(bytes)),
        ("GZIP", gzip(bytes)),
        ("identity", bytes.to_vec()),
        ("deflate", zlib(bytes)),
        ("deflate", raw_deflate(bytes)),
        ("gzip, gzip", gzip(&gzip(bytes))),
        ("deflate, gzip", gzip(&zlib(bytes))),
        ("gzip", [gzip(&bytes[..100]), gzip(&bytes[100..])].concat()),
    ] {
        assert_eq!(text_of(&headers(coding, "text/html"), &body), text, "{coding}");
    }
    for coding in ["gzip", "deflate", "br"] {
        assert_eq!(text_of(&headers(coding, ""), b""), "", "an empty body is empty in every coding");
    }
}

#[test]
fn what_follows_the_end_of_packed_text_is_ignored() {
    let text = "all systems operational".repeat(9);
    let members = [gzip(text.as_bytes()), gzip(b""), gzip(b" and more")].concat();
    for (coding, packed, expected) in [
        ("gzip", gzip(text.as_bytes()), text.clone()),
        ("gzip", members, format!("{text} and more")),
        ("deflate", zlib(text.as_bytes()), text.clone()),
        ("deflate", raw_deflate(text.as_bytes()), text.clone()),
    ] {
        for tail in [&b""[..], b"\n", b"\0", &[0; 700], b"\x1f", b"\x1fx", b"<!-- x -->"] {
            let body = [&packed, tail].concat();
            for part in [1, 7, body.len()] {
                let decoded =
                    decode(&headers(coding, "text/plain"), &body, part, wanted(999, 999, &[]), Secrets::default());
                assert_eq!((decoded.fault, decoded.is_complete), (None, true), "{coding} {tail:?} {part}");
                assert_eq!(decoded.text, expected);
            }
        }
    }
    let mut damaged = gzip(text.as_bytes());
    let sum = damaged.len() - 8;
    damaged[sum] ^= 1;
    damaged.push(b'\n');
    let decoded = decode(&headers("gzip", ""), &damaged, 999, wanted(999, 999, &[]), Secrets::default());
    assert!(matches!(decoded.fault, Some(BodyFault::Malformed(_))), "{decoded:?}");
    let many = gzip(b"").repeat(50_000);
    let decoded =
        decode(&headers("gzip", ""), &many, many.len(), wanted(9_999_999, 9_999_999, &[]), Secrets::default());
    assert!(matches!(decoded.fault, Some(BodyFault::Malformed(_))), "{decoded:?}");
}

#[test]
fn undecodable_body_names_its_coding() {
    let body = gzip(b"a text that is long enough to be cut somewhere in the middle");
    let mut damaged = body.clone();
    let last = damaged.len() - 6;
    damaged[last] ^= 0xff;
    for (coding, body, fault) in [
        ("br", &b"x"[..], BodyFault::UnknownCoding("br".into())),
        ("gzip, zstd", b"x", BodyFault::UnknownCoding("zstd".into())),
        ("gzip, gzip, gzip, gzip", &body, BodyFault::UnknownCoding("gzip, gzip, gzip, gzip".into())),
        ("gzip", b"plain text", BodyFault::Malformed("gzip".into())),
        ("deflate", b"\xff\xff\xff\xff", BodyFault::Malformed("deflate".into())),
        ("deflate", b"x", BodyFault::Malformed("deflate".into())),
        ("gzip", &body[..body.len() / 2], BodyFault::Malformed("gzip".into())),
        ("gzip", &damaged, BodyFault::Malformed("gzip".into())),
    ] {
        let decoded = decode(&headers(coding, ""), body, usize::MAX, wanted(MIB, MIB, &["a"]), Secrets::default());
        assert_eq!(decoded.fault, Some(fault), "{coding}");
        assert!(!decoded.is_complete && !decoded.is_searched);
    }
}

#[test]
fn body_that_unpacks_to_gigabytes_costs_no_more_than_the_caps() {
    let mut bomb = gzip(&vec![b'0'; 64 * MIB]);
    for _ in 0..2 {
        bomb = gzip(&bomb);
    }
    assert!(bomb.len() < 2_000, "{}", bomb.len());
    let mut decoder =
        BodyDecoder::new(&headers("gzip, gzip, gzip", ""), wanted(1_000, 4_000, &["1"]), Secrets::default());
    decoder.push(&bomb);
    let body = decoder.finish(true);
    assert_eq!((body.text.len(), body.searched_bytes), (1_000, 4_000));
    assert!(!body.is_complete && !body.is_searched && body.fault.is_none(), "{:?}", body.fault);
    // Input that decodes to nothing for ever.
    let empty = gzip(b"");
    let mut decoder = BodyDecoder::new(&headers("gzip", ""), wanted(1_000, 4_000, &["1"]), Secrets::default());
    let pushed = (0..1_000).take_while(|_| decoder.push(&empty) == Progress::More).count();
    assert!(pushed * empty.len() <= 4_000 + empty.len(), "{pushed}");
}

#[test]
fn text_of_exactly_the_cap_is_whole() {
    for (length, is_complete, is_searched) in
        [(999, true, true), (1_000, true, true), (1_001, false, true), (2_000, false, true), (2_001, false, false)]
    {
        for part in [1, 64, usize::MAX] {
            let body =
                decode(&HeaderMap::new(), &vec![b'x'; length], part, wanted(1_000, 2_000, &["y"]), Secrets::default());
            let seen = (body.text.len(), body.searched_bytes, body.is_complete, body.is_searched);
            assert_eq!(seen, (length.min(1_000), length.min(2_000) as u64, is_complete, is_searched), "{length}");
        }
    }
    let cut = decode(&HeaderMap::new(), "ééé".as_bytes(), 1, wanted(3, 6, &["x"]), Secrets::default());
    assert_eq!((cut.text.as_str(), cut.is_complete, cut.is_searched), ("é", false, true), "between characters");
}

#[test]
fn reading_stops_when_all_is_found() {
    let body = [&b"needle"[..], &vec![b'x'; 10_000]].concat();
    let mut decoder =
        BodyDecoder::new(&headers("", "text/plain; charset=utf-8"), wanted(10, MIB, &["needle"]), Secrets::default());
    assert_eq!(decoder.push(&body[..6]), Progress::More, "what is kept is not complete");
    assert_eq!(decoder.push(&body[6..]), Progress::More);
    assert_eq!(decoder.push(&body), Progress::Enough);
    assert_eq!(decoder.finish(false).found, ["needle"]);
}

#[test]
fn secrets_are_masked_and_cannot_be_searched_for() {
    let secret = "hunter2-hunter2";
    let text = format!("{} {secret} {}", "x".repeat(5_000), "y".repeat(5_000));
    for part in [1, 3, 4_999, usize::MAX] {
        let guesses = [secret, "hunter2", "2-h", "ter2-hunter2", "yyy", "x •••"];
        let body = decode(&HeaderMap::new(), text.as_bytes(), part, wanted(100, MIB, &guesses), Secrets::new([secret]));
        let mut found = body.found.clone();
        found.sort_unstable();
        assert_eq!(found, ["x •••", "yyy"], "in parts of {part}");
        let body = decode(&HeaderMap::new(), text.as_bytes(), part, wanted(MIB, MIB, &[]), Secrets::new([secret]));
        assert!(body.text.contains("x ••• y") && !body.text.contains("hunter2"));
    }
}

#[test]
fn beginning_of_a_plain_body_is_returned_as_it_is() {
    for (headers, body, text) in [
        (headers("", ""), &b"plain"[..], "plain"),
        (headers("", "text/plain; charset=utf-8"), "grün".as_bytes(), "grün"),
        (headers("", "text/plain; charset=iso-8859-1"), b"gr\xfcn", "grün"),
        (headers("", ""), b"gr\xfcn", "grün"),
        (headers("gzip", ""), &gzip(b"packed"), "packed"),
        (headers("gzip", ""), &gzip(&b"packed ".repeat(100))[..20], "packed"),
        (headers("br", ""), b"\x0b\x02\x80", "(a body with the content coding br)"),
    ] {
        let decoded = String::from_utf8(decode_beginning(&headers, body.to_vec(), 1_000)).unwrap();
        assert!(decoded == text || body.len() == 20 && decoded.len() <= 700, "{decoded:?} is not {text:?}");
    }
    let long = decode_beginning(&headers("gzip", ""), gzip(&vec![b'x'; MIB]), 1_000);
    assert_eq!(long.len(), 1_000);
}

proptest! {
    #[test]
    fn search_finds_what_a_search_of_the_whole_text_finds(
        text in "[abé]{0,200}", texts in proptest::collection::vec("[abé]{1,6}", 1..5), part in 1..50usize,
        kept_max in 0..200usize
    ) {
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        for coding in ["", "gzip"] {
            let sent = if coding.is_empty() { text.as_bytes().to_vec() } else { gzip(text.as_bytes()) };
            let body = decode(&headers(coding, ""), &sent, part, wanted(kept_max, MIB, &texts), Secrets::default());
            for wanted in &texts {
                prop_assert_eq!(body.found.iter().any(|found| found == wanted), text.contains(wanted), "{}", wanted);
            }
            prop_assert!(text.starts_with(&body.text));
        }
    }

    #[test]
    fn any_bytes_decode_without_panic_and_within_the_caps(
        bytes in proptest::collection::vec(any::<u8>(), 0..3_000), coding in "(|gzip|deflate|br|gzip, deflate)",
        charset in "(|utf-8|utf-16le|gbk|iso-2022-jp|x)", part in 1..3_000usize
    ) {
        let content_type = format!("text/html; charset={charset}");
        let body = decode(&headers(&coding, &content_type), &bytes, part, wanted(500, 900, &["a"]), Secrets::default());
        prop_assert!(body.text.len() <= 500 && body.searched_bytes <= 900);
    }
}

#[test]
fn inner_codings_that_unpack_to_nothing_are_bounded() {
    // Empty stored blocks before a last one with a text: input of 10 MiB for one byte.
    let mut late = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    late.extend([0, 0, 0, 0xff, 0xff].repeat(2 * MIB));
    late.extend([1, 1, 0, 0xfe, 0xff, b'x']);
    let mut sum = flate2::Crc::new();
    sum.update(b"x");
    late.extend(sum.sum().to_le_bytes());
    late.extend(1_u32.to_le_bytes());
    for (coding, body, is_found) in [("gzip", late.clone(), true), ("gzip, gzip, gzip", gzip(&gzip(&late)), false)] {
        let wanted = Wanted { kept_max: 100, searched_max: 16 * MIB, texts: vec!["x".into()] };
        let wanted = if is_found { wanted } else { Wanted { searched_max: MIB, ..wanted } };
        let mut decoder = BodyDecoder::new(&headers(coding, ""), wanted, Secrets::default());
        decoder.push(&body);
        let body = decoder.finish(true);
        assert_eq!((body.found == ["x"], body.is_searched), (is_found, is_found), "{coding}");
        assert_eq!(body.fault, None, "what was not seen is not malformed");
    }
}

#[test]
fn long_lists_of_codings_make_no_decoders() {
    let decoded = decode_beginning(&headers(&"gzip,".repeat(50_000), ""), b"x".to_vec(), 100);
    assert!(decoded.starts_with(b"(a body with the content coding gzip, gzip") && decoded.len() < 100);
}

#[test]
fn body_that_exceeds_the_cap_by_its_last_piece_is_not_complete() {
    let text = "x".repeat(MIB + 100);
    let latin = vec![0xe4; MIB / 2 + 100];
    for (headers, body) in
        [(headers("gzip", ""), gzip(text.as_bytes())), (headers("", "text/plain; charset=iso-8859-1"), latin)]
    {
        let wanted = Wanted { kept_max: MIB, searched_max: MIB, texts: vec!["y".into()] };
        let mut decoder = BodyDecoder::new(&headers, wanted, Secrets::default());
        decoder.push(&body);
        let body = decoder.finish(true);
        assert_eq!((body.text.len(), body.is_complete, body.is_searched), (MIB, false, false), "{headers:?}");
    }
}

#[test]
fn many_small_pieces_are_searched_together() {
    let text = format!("{}needle{}", "nee".repeat(SEARCHES_AT_ONCE_MAX), "x".repeat(2 * SEARCHED_AT_ONCE_BYTES));
    for end in [text.len(), text.find("needle").unwrap() + 6] {
        let mut search = Search::new(vec!["needle".into(), "x".repeat(5_000)], 0);
        for byte in text[..end].split_inclusive(|_| true) {
            search.push(byte, &Secrets::default(), false);
        }
        assert!(search.searches < SEARCHES_AT_ONCE_MAX + 20, "{}", search.searches);
        search.push("", &Secrets::default(), true);
        assert_eq!(search.found, ["needle"]);
    }
}
