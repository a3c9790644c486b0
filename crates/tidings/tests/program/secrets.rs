//! Secrets are set wherever the API accepts one and used in every operation. Then they are searched for in all output,
//! responses and files.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::support::marked::{assert_hidden, count, echo, files, secret};
use crate::support::receiver::closed_port;
use crate::support::{Api, Receiver, Reply, Setup, tls};

/// The configured secrets.
struct Operator {
    setup: Setup,
    api_key: String,
    /// The encryption key as configured, and its bytes.
    sealing: [String; 2],
    mail_password: String,
    /// A mail server with a trusted certificate.
    mail: SocketAddr,
}

fn operator() -> Operator {
    let api_key = format!("tdg_{}{}", secret("api key"), secret("of the operator"));
    let bytes = format!("{:-<32}", &secret("sealing key")[4..]);
    let sealing = [BASE64.encode(&bytes[..32]), bytes[..32].to_owned()];
    let mail_password = secret("mail of the instance");
    let mail = tls::talkative_mail_server();
    let setup = Setup::new()
        .with("TIDINGS_API_KEY", &api_key)
        .with("TIDINGS_SECRET_KEY", &sealing[0])
        .with("TIDINGS_SMTP_URL", &format!("smtps://user:{mail_password}@{}", mail.address))
        .with("TIDINGS_MAIL_FROM", "tidings@example.com")
        .with("TIDINGS_DRAIN_SECONDS", "1")
        .with("TIDINGS_LOG", "trace")
        .with("SSL_CERT_FILE", "trusted.pem");
    std::fs::write(setup.directory().join("trusted.pem"), &mail.pem).unwrap();
    Operator { setup, api_key, sealing, mail_password, mail: mail.address }
}

/// The secrets of channels.
struct Configured {
    api: Api,
    secrets: Vec<String>,
    channels: Vec<String>,
    events: Vec<String>,
}

impl Configured {
    /// Creates a secret that is searched for at the end.
    fn secret(&mut self, place: &str) -> String {
        let secret = secret(place);
        self.secrets.push(secret.clone());
        secret
    }

    /// Creates, edits, reads and tests a channel, with valid and invalid requests.
    fn exercise(&mut self, name: &str, channel_type: &str, config: Value, wrong: &[Value]) {
        let body = json!({"name": name, "type": channel_type, "config": config, "retryOnFailure": false,
                          "timeoutMs": 1_000});
        let made = self.api.post("/channels", body.clone()).expect(201);
        self.secrets.extend(made["signingSecretOnce"].as_str().map(str::to_owned));
        let id = made["channel"]["id"].as_str().unwrap().to_owned();
        let path = format!("/channels/{id}");
        let shown = self.api.get(&path).expect(200);
        self.api.patch(&path, json!({"config": shown["config"], "name": "as it was shown"})).expect(200);
        self.api.patch(&path, json!({"config": config})).expect(200);
        for config in wrong {
            self.api.patch(&path, json!({"config": config})).expect_problem(422, "invalid");
        }
        let broken = body.to_string().replace("\"name\"", "name");
        let target = format!("{}/channels", self.api.base());
        self.api
            .send("POST", &target, &[("content-type", "application/json")], broken.as_bytes())
            .expect_problem(400, "invalid_json");
        if channel_type == "webhook" {
            let rotated = self.api.post(&format!("{path}/rotate-secret"), json!({"overlapSeconds": 60})).expect(200);
            self.secrets.extend(rotated["signingSecretOnce"].as_str().map(str::to_owned));
        }
        self.channels.push(id);
    }

    /// Sends a test and a failed run through the last channel.
    fn send(&mut self) {
        let channel = self.channels.last().unwrap().clone();
        self.api.post(&format!("/channels/{channel}/test"), json!({})).expect(200);
        self.api.make_rule(&channel, &channel);
        let event = self.api.fail(&channel, "1");
        self.events.push(event);
    }

    /// Reads all resources.
    fn read_everything(&self) {
        self.api.wait_until_settled();
        for event in &self.events {
            let delivery = self.api.delivery(event);
            self.api.get(&format!("/deliveries/{}", delivery["id"].as_str().unwrap())).expect(200);
        }
        for path in
            ["/channels", "/events", "/runs", "/deliveries", "/notification-rules?resourceType=job&resourceId=*"]
        {
            self.api.get(path).expect(200);
        }
        self.api.get_root("/metrics").text();
    }
}

/// A webhook with secrets in its path, its query and a header.
fn webhook(configured: &mut Configured, name: &str, origin: &str) {
    let token = configured.secret(&format!("{name} query"));
    let path = configured.secret(&format!("{name} path"));
    let header = configured.secret(&format!("{name} header"));
    let url = format!("{origin}/hooks/{path}?v=1&token={token}");
    let config = json!({"url": url, "headers": {"Authorization": format!("Bearer {header}"), "X-Api-Key": header}});
    let wrong = [
        json!({"url": url.replace("//127.0.0.1", "//10.0.0.1").replace("nowhere.invalid", "10.0.0.1")}),
        json!({"url": format!("http://[::1/?token={token}")}),
        json!({"url": format!("https://user:{token}@example.com/")}),
        json!({"url": format!("{url}\u{7}")}),
        json!({"url": [url]}),
        json!({"headers": {"Authorization": format!("Bearer {header}\r\nX-Other: 1")}}),
        json!({"headers": {"Authorization": [header]}}),
        json!({"headers": header}),
        json!({"method": "GET", "headers": {"Host": header}}),
    ];
    configured.exercise(name, "webhook", config, &wrong);
    configured.send();
}

fn other_channels(configured: &mut Configured, origin: &str, mail: SocketAddr) {
    let token = configured.secret("slack hook");
    let url = format!("{origin}/services/T0/B0/{token}");
    let wrong = [json!({"webhookUrl": format!("ftp://x/{token}")}), json!({"webhookUrl": url, "botToken": token})];
    configured.exercise("slack", "slack", json!({"webhookUrl": url}), &wrong);
    configured.send();

    let token = format!("xoxb-{}", configured.secret("bot token"));
    let wrong =
        [json!({"botToken": token[5..]}), json!({"botToken": format!("{token} ")}), json!({"botToken": [token]})];
    configured.exercise("bot", "slack", json!({"botToken": token, "channel": "C1"}), &wrong);

    let token = configured.secret("discord hook");
    let url = format!("{origin}/api/webhooks/1/{token}");
    let wrong = [json!({"webhookUrl": format!("{url}#\u{0}")}), json!({"webhookUrl": url, "username": "clyde"})];
    configured.exercise("discord", "discord", json!({"webhookUrl": url}), &wrong);
    configured.send();

    let password = configured.secret("mail of the channel");
    let smtp = json!({"host": "127.0.0.1", "port": mail.port(), "tls": "tls", "username": "user",
                      "password": password, "from": "a@example.com"});
    let with = |key: &str, value: Value| {
        let mut smtp = smtp.clone();
        smtp[key] = value;
        json!({"recipients": ["ops@example.com"], "smtp": smtp})
    };
    let wrong = [
        with("tls", json!("none")),
        with("host", json!("10.0.0.1")),
        with("password", json!([password])),
        with("password", json!(format!("{password}\r\n"))),
    ];
    configured.exercise("mail", "email", with("port", smtp["port"].clone()), &wrong);
    configured.send();
    configured.exercise("mail of the instance", "email", json!({"recipients": ["ops@example.com"]}), &[]);
    configured.send();
}

#[test]
fn secret_search_finds_encoded_forms() {
    let secret = secret("somewhere");
    for hidden in
        [secret.clone(), hex::encode(&secret), BASE64.encode(format!("user\0{secret}\0")), BASE64.encode(&secret)]
    {
        assert_eq!(count(&secret, format!("\u{1}x{hidden}y").as_bytes()), 1, "{hidden}");
    }
    assert_eq!(count(&secret, b"mark"), 0);
}

#[test]
fn no_secret_is_logged_returned_or_stored_in_plain_text() {
    let operator = operator();
    let echoes = [echo(500), echo(200), echo(307)];
    let server = operator.setup.start();
    let api = Api::new(server.address, &operator.api_key);
    let mut configured = Configured { api, secrets: Vec::new(), channels: Vec::new(), events: Vec::new() };
    let at = |address| format!("http://{address}");
    for (name, receiver) in ["fails", "succeeds", "redirects"].into_iter().zip(&echoes) {
        webhook(&mut configured, name, &at(receiver.address()));
    }
    let hanging = Receiver::start(|_, _| Reply::Hang);
    webhook(&mut configured, "hangs", &at(hanging.address()));
    webhook(&mut configured, "refuses", &at(closed_port()));
    webhook(&mut configured, "distrusted", &format!("https://{}", tls::receiver().address));
    webhook(&mut configured, "nameless", "https://nowhere.invalid");
    other_channels(&mut configured, &at(echoes[0].address()), operator.mail);
    configured.read_everything();
    let wrong_key = Api::new(server.address, &format!("{}x", operator.api_key));
    wrong_key.get("/runs").expect_problem(401, "unauthenticated");

    let is_sent =
        echoes[0].requests().iter().any(|request| request.header("authorization").contains(&secret("fails header")));
    assert!(is_sent, "receivers get their own secrets");
    let mut finished = vec![server.kill()];
    let mut kept = files(&operator.setup);
    let server = operator.setup.start();
    let again = configured.api.clone().at(server.address);
    assert_eq!(again.get("/channels").expect(200)["data"].as_array().map(Vec::len), Some(configured.channels.len()));
    again.fail(&configured.channels[0], "2");
    again.wait_until_settled();
    finished.push(server.stop());
    let other = BASE64.encode([7; 32]);
    let setup = operator.setup.with("TIDINGS_SECRET_KEY", &other);
    finished.push(setup.run(&["serve"]));
    finished.push(setup.run(&["check-config"]));

    kept.extend(files(&setup));
    let mut received = configured.api.received();
    received.extend(wrong_key.received());
    let operators = [&operator.api_key, &operator.sealing[0], &operator.sealing[1], &operator.mail_password];
    for secret in configured.secrets.iter().chain(operators) {
        let times = usize::from(secret.starts_with("whsec_"));
        assert_hidden(secret, &finished, &kept, &received, times);
    }
    assert!(count("is wrong", &received) > 0, "the mail server echoed the password");
    assert!(finished[0].stderr.contains("TRACE"), "it logged at trace level");
    assert!(
        kept.iter().any(|(name, bytes)| name.ends_with("-wal") && count("ops@example.com", bytes) > 0),
        "the database files were searched"
    );
}
