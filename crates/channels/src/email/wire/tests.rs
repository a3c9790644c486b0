//! Replies as servers write them, whole, split, malformed and endless.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

async fn read(bytes: &[u8]) -> Result<Reply, SmtpError> {
    let (near, mut far) = tokio::io::duplex(1 << 20);
    far.write_all(bytes).await.unwrap();
    drop(far);
    Wire::new(near, Instant::now() + Duration::from_secs(5)).reply("EHLO").await
}

#[tokio::test]
async fn reply_tolerates_sloppy_servers() {
    for (bytes, message) in [
        (&b"250 ok\r\n"[..], "250 ok"),
        (b"250\r\n", "250"),
        (b"250 \n", "250"),
        (b"250-a\r\n250-b\r\n250 c\r\n250 next", "250 a b c"),
        (b"550 gr\xfc\xdfe\x1b[31m\r\n", "550 gr\u{fffd}\u{fffd}e"),
    ] {
        assert_eq!(read(bytes).await.unwrap().describe(), message);
    }
    let long = [b"550 ".as_slice(), "ä".repeat(1_000).as_bytes(), b"\r\n"].concat();
    assert_eq!(read(&long).await.unwrap().describe().chars().count(), 4 + TEXT_CHARS_MAX);
}

#[tokio::test]
async fn reply_masks_echoed_secrets() {
    let (near, mut far) = tokio::io::duplex(1 << 10);
    far.write_all(b"535-no: hunter2\r\n535 aHVudGVyMg==\r\n").await.unwrap();
    let mut wire = Wire::new(near, Instant::now() + Duration::from_secs(5));
    wire.hide(Secret::new("hunter2"));
    wire.hide(Secret::new("aHVudGVyMg=="));
    assert_eq!(wire.reply("AUTH").await.unwrap().describe(), "535 no: [hidden] [hidden]");
}

#[tokio::test]
async fn reply_malformed_or_oversized_is_a_protocol_error() {
    let endless = b"250-more\r\n".repeat(LINES_MAX + 1);
    for (bytes, message) in [
        (&b""[..], "closed the connection"),
        (b"250 no end", "closed the connection"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "is not an SMTP reply"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is not an SMTP reply"),
        (b"2500 x\r\n", "is not an SMTP reply"),
        (b"150 x\r\n", "is not an SMTP reply"),
        (b"\xff\xfe\xfd\r\n", "is not an SMTP reply"),
        (b"\r\n", "is not an SMTP reply"),
        (&[b'x'; 1 << 19], "longer than"),
        (&endless, "more than 100 lines"),
    ] {
        let error = read(bytes).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Protocol);
        assert!(error.message.contains(message), "{}", error.message);
    }
}

#[tokio::test]
async fn reply_trickled_by_the_server_ends_at_the_deadline() {
    let (near, mut far) = tokio::io::duplex(1_024);
    tokio::spawn(async move {
        while far.write_all(b"2").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let error = Wire::new(near, Instant::now() + Duration::from_millis(100)).reply("EHLO").await.unwrap_err();
    assert_eq!(error, SmtpError::timeout("EHLO"));
}

/// Replies as servers may write them, with the code and lines that they mean.
fn replies() -> impl Strategy<Value = (Vec<u8>, u16, Vec<String>)> {
    let text = "[ -~]{0,60}".prop_map(|text: String| text.trim().to_owned());
    let lines = proptest::collection::vec(text, 1..20);
    (200_u16..600, lines, proptest::bool::ANY).prop_map(|(code, lines, is_sloppy)| {
        let end = if is_sloppy { "\n" } else { "\r\n" };
        let last = lines.len() - 1;
        let line = |(at, text): (usize, &String)| {
            let separator = match (at == last, text.is_empty() && is_sloppy) {
                (true, true) => "",
                (true, false) => " ",
                (false, _) => "-",
            };
            format!("{code}{separator}{text}{end}")
        };
        (lines.iter().enumerate().map(line).collect::<String>().into_bytes(), code, lines)
    })
}

/// Sends the chunks one after the other and reads replies until an error.
async fn read_chunks(chunks: Vec<Vec<u8>>) -> (Vec<Reply>, SmtpError) {
    let (near, mut far) = tokio::io::duplex(1 << 20);
    let sending = tokio::spawn(async move {
        for chunk in chunks {
            if far.write_all(&chunk).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    });
    let mut wire = Wire::new(near, Instant::now() + Duration::from_secs(20));
    let mut replies = Vec::new();
    let error = loop {
        match wire.reply("EHLO").await {
            Ok(reply) => replies.push(reply),
            Err(error) => break error,
        }
    };
    sending.await.unwrap();
    (replies, error)
}

fn run<T>(task: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(task)
}

fn split(bytes: &[u8], sizes: &[usize]) -> Vec<Vec<u8>> {
    let mut rest = bytes;
    let mut chunks = Vec::new();
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (chunk, more) = rest.split_at((*size).min(rest.len()));
        chunks.push(chunk.to_vec());
        rest = more;
    }
    chunks
}

proptest! {
    #[test]
    fn replies_are_the_same_however_they_are_split(
        sent in proptest::collection::vec(replies(), 1..5),
        sizes in proptest::collection::vec(1_usize..40, 1..8),
    ) {
        let bytes: Vec<u8> = sent.iter().flat_map(|(bytes, ..)| bytes.clone()).collect();
        let (read, error) = run(read_chunks(split(&bytes, &sizes)));
        prop_assert!(error.message.contains("closed the connection"), "{error:?}");
        prop_assert_eq!(read.len(), sent.len());
        for (reply, (_, code, lines)) in read.iter().zip(&sent) {
            prop_assert_eq!(reply.code, *code);
            prop_assert_eq!(reply.lines.len(), lines.len());
        }
    }

    #[test]
    fn any_bytes_end_in_an_error_with_bounded_text(
        bytes in proptest::collection::vec(prop_oneof![4 => proptest::sample::select(b"250- \r\n4x".to_vec()), 1 => any::<u8>()], 0..600),
        sizes in proptest::collection::vec(1_usize..90, 1..5),
    ) {
        let (replies, error) = run(read_chunks(split(&bytes, &sizes)));
        prop_assert_eq!(error.class, ErrorClass::Protocol);
        for reply in replies {
            prop_assert!((200..600).contains(&reply.code));
            let shown = reply.describe();
            prop_assert!(shown.chars().count() <= 4 + TEXT_CHARS_MAX && !shown.chars().any(char::is_control), "{shown:?}");
        }
    }
}
