//! Real webhooks, and what else a receiver may be sent: each case with whether it is to be accepted.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::support::signed::sign_as_standard;
use crate::support::{Receiver, Request, Setup, ahead};

/// A request, the secret that its receiver knows, and the right answer.
#[derive(Clone)]
pub struct Case {
    pub name: String,
    pub secret: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    pub is_genuine: bool,
}

const ID: &str = "webhook-id";
const TIMESTAMP: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";
const WRONG_SECRET: &str = "whsec_00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// What the program sent: a webhook under its first secret, and one while two are good.
struct Sent {
    secret: String,
    rotated: String,
    single: Request,
    double: Request,
}

fn send() -> Sent {
    let receiver = Receiver::good();
    let server = Setup::new().start();
    let api = server.api();
    let channel = json!({"name": "Receiver", "type": "webhook", "config": {"url": receiver.url()}});
    let created = api.post("/channels", channel).expect(201);
    let id = created["channel"]["id"].as_str().unwrap();
    api.make_rule("nightly", id);
    api.fail("nightly", "première");
    receiver.wait_for(1);
    let rotated = api.post(&format!("/channels/{id}/rotate-secret"), json!({})).expect(200);
    api.fail("nightly", "zweiter");
    let [single, double] = receiver.wait_for(2).try_into().unwrap();
    let secret = |answer: &Value| answer["signingSecretOnce"].as_str().unwrap().to_owned();
    Sent { secret: secret(&created), rotated: secret(&rotated), single, double }
}

impl Case {
    fn new(name: &str, secret: &str, request: &Request, is_genuine: bool) -> Self {
        let headers = [ID, TIMESTAMP, SIGNATURE].map(|name| (name.to_owned(), request.header(name).to_owned()));
        let (name, secret, body) = (name.to_owned(), secret.to_owned(), request.body().to_vec());
        Self { name, secret, headers: headers.into(), body, is_genuine }
    }

    fn not(&self, name: &str) -> Self {
        Self { name: name.to_owned(), is_genuine: false, ..self.clone() }
    }

    fn accepted(self) -> Self {
        Self { is_genuine: true, ..self }
    }

    fn with(mut self, header: &str, value: &str) -> Self {
        self.headers.insert(header.to_owned(), value.to_owned());
        self
    }

    /// Signs it as Tidings would, whatever its timestamp and body are.
    fn signed(self) -> Self {
        let signature = sign_as_standard(&self.secret, &self.headers[ID], &self.headers[TIMESTAMP], &self.body);
        self.with(SIGNATURE, &signature)
    }

    /// Its signature, without `v1,`.
    fn mac(&self) -> &str {
        self.headers[SIGNATURE].strip_prefix("v1,").unwrap()
    }
}

/// What every verification has to get right, a library's too.
pub fn basic() -> Vec<Case> {
    basic_of(&send())
}

fn basic_of(sent: &Sent) -> Vec<Case> {
    let genuine = Case::new("as it was sent", &sent.secret, &sent.single, true);
    let now = ahead(Duration::ZERO).unix_seconds();
    let at = |seconds: i64| genuine.not(&format!("{} s away", seconds - now)).with(TIMESTAMP, &seconds.to_string());
    let mut tampered = genuine.not("another body");
    let first_digit = tampered.body.iter_mut().find(|byte| byte.is_ascii_digit()).unwrap();
    *first_digit ^= 1;
    let missing = [ID, TIMESTAMP, SIGNATURE].map(|header| {
        let mut case = genuine.not(&format!("without {header}"));
        case.headers.remove(header);
        case
    });
    let mut cases = vec![
        Case { secret: WRONG_SECRET.to_owned(), ..genuine.not("another secret") },
        tampered,
        at(now - 240).signed().accepted(),
        at(now + 240).signed().accepted(),
        at(now - 600).signed(),
        at(now + 600).signed(),
        genuine.not("another timestamp").with(TIMESTAMP, &(now + 60).to_string()),
        genuine.not("another id").with(ID, "dlv_00000000000000000000000000"),
        Case::new("rotated, by the old secret", &sent.secret, &sent.double, true),
        Case::new("rotated, by the new secret", &sent.rotated, &sent.double, true),
        Case::new("rotated, by another secret", WRONG_SECRET, &sent.double, false),
        Case::new("before the rotation, by the new secret", &sent.rotated, &sent.single, false),
        genuine,
    ];
    cases.extend(missing);
    cases
}

/// All cases: also unusual bodies and malformed headers.
pub fn all() -> Vec<Case> {
    let sent = send();
    let mut cases = basic_of(&sent);
    let genuine = Case::new("as it was sent", &sent.secret, &sent.single, true);
    for (name, body) in [("an empty body", &b""[..]), ("a body that is no text", b"\xff\0\xfe\r\n")] {
        let case = Case { body: body.to_vec(), ..genuine.not(name) };
        cases.extend([case.clone(), case.signed().accepted()]);
    }
    let mut longer = genuine.not("a body with a newline at its end");
    longer.body.push(b'\n');
    cases.push(longer);

    for header in [ID, TIMESTAMP, SIGNATURE] {
        cases.push(genuine.not(&format!("{header} is empty")).with(header, ""));
        cases.push(genuine.not(&format!("{header} is not ASCII")).with(header, "é"));
    }
    let now = genuine.headers[TIMESTAMP].clone();
    let malformed =
        ["", "now", "NaN", "Infinity", "1e10", "-1", "0x7fffffff", "٣", "²", "99999999999999999999", "a[0]"];
    let malformed = malformed.map(str::to_owned).into_iter();
    for timestamp in malformed.chain([format!("{now}.0"), format!("{now}x"), "9".repeat(5_000)]) {
        // Signed, so that nothing but the timestamp speaks against it.
        cases.push(genuine.not(&format!("timestamp {timestamp:.30}")).with(TIMESTAMP, &timestamp).signed());
    }
    let mac = genuine.mac().to_owned();
    let hex = hex::encode(BASE64.decode(&mac).unwrap());
    for signature in [
        mac.clone(),
        format!("v2,{mac}"),
        format!("V1,{mac}"),
        format!("v1 {mac}"),
        format!("v1,{mac},"),
        format!("v1,{mac}é"),
        format!("v1,{}", &mac[..43]),
        format!("v1,{}", mac.to_lowercase()),
        format!("v1,{hex}"),
        format!("v1,{mac},v1,{mac}"),
    ] {
        cases.push(genuine.not(&format!("signature {signature}")).with(SIGNATURE, &signature));
    }
    for signature in ["v1", "v1,", ",", " ", "*", "v1,*", "v1,\u{fffd}", "%s%n", "$(exit 7)", "-n", "v1,AAAA v1,BBBB"] {
        cases.push(genuine.not(&format!("signature {signature}")).with(SIGNATURE, signature));
    }
    for signature in [format!("v1,AAAA v1,{mac}"), format!("v1,{mac} v1,AAAA"), format!("v1a,AAAA * v1,{mac}")] {
        cases.push(genuine.not(&format!("signature {signature}")).with(SIGNATURE, &signature).accepted());
    }
    cases
}

/// The cases as the drivers read them, in JSON. Bodies are in base64.
pub fn to_json(cases: &[Case]) -> Value {
    let case = |case: &Case| json!({"secret": case.secret, "headers": case.headers, "body": BASE64.encode(&case.body)});
    cases.iter().map(case).collect()
}

/// Compares what a driver printed, `true` or `false` for each case, with what is right.
#[track_caller]
pub fn assert_answers(cases: &[Case], printed: &str) {
    let answers: Vec<&str> = printed.lines().collect();
    assert_eq!(answers.len(), cases.len(), "one answer for each case: {printed}");
    let wrong: Vec<_> = cases
        .iter()
        .zip(answers)
        .filter(|(case, answer)| *answer != case.is_genuine.to_string())
        .map(|(case, answer)| format!("{}: {answer}", case.name))
        .collect();
    assert!(wrong.is_empty(), "wrong answers: {wrong:#?}");
}
