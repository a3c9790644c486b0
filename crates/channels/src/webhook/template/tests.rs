//! What templates can do, and what the sandbox prevents.

use proptest::prelude::*;

use super::*;

fn refusal(source: &str) -> String {
    let tried = Template::new(source).and_then(|template| template.try_samples(false));
    tried.expect_err(&truncate_bytes(source, 100))
}

fn rendered(source: &str) -> String {
    let event = sample_events().swap_remove(0);
    let message = message::of(&event, Severity::Warning, &Zone::UTC);
    let plain = payload::body(&event, || message.clone(), String::new);
    let body = Template::new(source).and_then(|template| template.render(&plain, &message)).unwrap();
    String::from_utf8(body).unwrap()
}

#[test]
fn render_sees_default_body_and_message() {
    for (source, body) in [
        ("{{ resourceType }} {{ resourceId }} {{ trigger }}", "flow sample failure"),
        ("{{ title }}|{{ severity }}", "Sample \"quoted\" \\ name failed|warning"),
        ("{{ errorMessage | tojson }}", r#""relation \"orders\" does not exist\nline 2""#),
        ("{{ workspaceId.x.y }}{{ missing }}{{ triggerType }}", ""),
        ("{{ triggerType | tojson }} {{ missing | tojson }} {{ missing | default('d') }}", "null null d"),
        ("{{ durationMs }} {{ durationMs > 1000 }} {{ durationMs // 1000 }}", "1842 true 1"),
        ("{{ ['a', 1, none, 'b'] | join('-') }}", "a-1--b"),
        ("{{ 'aXbX' | replace('X', 'é') | upper }}{{ ' x ' | trim }}{{ 'long' | truncate(3) }}", "AÉBÉxlo…"),
        ("{% if rowCount is defined and trigger != 'success' %}y{% else %}n{% endif %}", "y"),
        ("{% for c in [1, 2] %}{{ c }}{{ ',' if not loop.last }}{% endfor %}", "1,2"),
        ("{% set a = title | length %}{{ a }}{# no #}{% raw %}{{{% endraw %}", "29{{"),
        ("{{ {'a': title, 'b': [rowCount]} | tojson }}", r#"{"a":"Sample \"quoted\" \\ name failed","b":[124]}"#),
    ] {
        assert_eq!(rendered(source), body, "{source}");
    }
}

#[test]
fn render_sees_incident() {
    let event = sample_events().into_iter().find(|event| event.incident().is_some()).unwrap();
    let message = message::of(&event, Severity::Critical, &Zone::UTC);
    let plain = payload::body(&event, || message.clone(), String::new);
    for (source, body) in [
        (
            "{{ event }} {{ severity }} {{ incident.status }} {{ incident.cause }}",
            "incident_opened critical active endpoint_down",
        ),
        ("{{ endpoint.url }} {{ tags | tojson }}", r#"https://example.com/health ["\"prod\""]"#),
        ("{{ detail | tojson }}", r#""\"status\" is \"down\"\nline 2""#),
        ("{% for f in fields %}{% if f.label == 'region \"1\"' %}{{ f.value }}{% endif %}{% endfor %}", "eu\nwest"),
    ] {
        let made = Template::new(source).and_then(|template| template.render(&plain, &message)).unwrap();
        assert_eq!(String::from_utf8(made).unwrap(), body, "{source}");
    }
    let careless = Template::new(r#"{"text": "{{ detail }}"}"#).unwrap();
    assert!(careless.try_samples(true).unwrap_err().contains("incident_opened"), "incidents are tried, too");
}

#[test]
fn try_samples_invalid_json_suggests_tojson() {
    let ours = r#"{"text": {{ title | tojson }}}"#;
    assert_eq!(Template::new(ours).unwrap().try_samples(true), Ok(()));
    let careless = Template::new(r#"{"text": "{{ title }}"}"#).unwrap();
    assert!(careless.try_samples(true).unwrap_err().contains("| tojson"));
    assert_eq!(careless.try_samples(false), Ok(()));
}

#[test]
fn errors_name_line_and_cause() {
    for (source, message) in [
        ("a\n{{ title", "line 2"),
        ("{{ title | nope }}", "unknown filter"),
        ("{% include 'x' %}", "unknown statement"),
        ("{% macro a() %}{% endmacro %}", "unknown statement"),
        ("{{ [1] | upper }}", "fails for"),
    ] {
        let why = refusal(source);
        assert!(why.contains(message), "{source}: {why}");
    }
}

#[test]
fn syntax_that_could_grow_a_string_is_refused() {
    for source in [
        "{{ 'x' * 100000000 }}",
        "{{ 10 ** 100 }}",
        "{% set a = title ~ title %}",
        "{% set a = title + title %}",
        "{% for a in [title ~ title] %}{% endfor %}",
        "{% if title ~ title %}{% endif %}",
        "{{ title[::2] }}",
        "{{ (title ~ title) | upper }}",
        "{{ title | truncate(2 * 2) }}",
        "{{ [title ~ 'x'] }}{{ {'a': title ~ 'x'} }}",
        "{{ {'a': 1}.items() }}",
        "{{ range(1000000) }}",
        "{{ title.upper() }}",
        "{% set a %}{{ title }}{% endset %}",
        "{% filter upper %}{{ title }}{% endfilter %}",
        "{% autoescape true %}{% endautoescape %}",
        "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "{{ '%1000000000s' | format(1) }}",
        "{{ title | indent(1000000000) }}",
        "{{ x | join(*title) }}",
    ] {
        refusal(source);
    }
    assert!(Template::new(&"x".repeat(TEMPLATE_BYTES_MAX + 1)).is_err());
}

#[test]
fn filters_steps_and_output_are_limited() {
    let doubling = format!("{{% set a = title %}}{}", "{% set a = [a, a] | join %}".repeat(100));
    assert!(refusal(&doubling).contains("filters produce more than"));
    let growing = format!("{{% set a = 'aa' %}}{}", "{% set a = a | replace('a', 'aaaaaaaa') %}".repeat(100));
    assert!(refusal(&growing).contains("filters produce more than"));
    let many = format!("{{% for a in [{}] %}}", "1,".repeat(100));
    let loops = format!("{}x{}", many.repeat(4), "{% endfor %}".repeat(4));
    assert_eq!(refusal(&loops).split(": ").last(), Some("it takes more than 10000 steps"));
    let long = "y".repeat(15_000);
    let flood = format!("{{% set a = '{long}' %}}{}", "{{ a }}".repeat(5));
    assert!(refusal(&flood).contains("it produces more than 65536 bytes"));
}

#[test]
fn render_large_strings_of_the_event_are_cut() {
    let mut event = sample_events().swap_remove(0);
    event.run_mut().error_message = Some("é".repeat(1_000_000));
    let message = message::of(&event, Severity::Warning, &Zone::UTC);
    let plain = payload::body(&event, || message.clone(), String::new);
    let template = Template::new("{{ errorMessage }}").unwrap();
    let body = template.render(&plain, &message).unwrap();
    assert!(body.len() <= INPUT_BYTES_MAX && body.ends_with("…".as_bytes()));
}

/// Chains and nestings as long as a template may be, and around the limits: an overflow would abort the process.
#[test]
fn deep_templates_compile_or_fail_with_a_limit() {
    let fill = |times: usize, open: &str, middle: &str, close: &str| {
        let times = times.min((TEMPLATE_BYTES_MAX - 100) / (open.len() + close.len()));
        format!("{}{middle}{}", open.repeat(times), close.repeat(times))
    };
    for times in [usize::MAX, 240, 120, 80, 70] {
        let inside = |open, middle, close| format!("{{{{ {} }}}}", fill(times, open, middle, close));
        for source in [
            format!("{{{{ title{} }}}}", fill(times, "|trim", "", "")),
            format!("{{{{ a{} }}}}", fill(times, ".b", "", "")),
            format!("{{{{ a{} }}}}", fill(times, "[0]", "", "")),
            format!("{{{{ a{} }}}}", fill(times, " or a", "", "")),
            format!("{{{{ 1{} }}}}", fill(times, "-1", "", "")),
            inside("(", "1", ")"),
            inside("[", "1", "]"),
            inside("-", "1", ""),
            inside("not ", "1", ""),
            inside("a if b else ", "1", ""),
            fill(times, "{% if a %}", "x", "{% endif %}"),
            fill(times, "{% for a in [1] %}", "x", "{% endfor %}"),
            format!("{{% if a %}}{}{{% endif %}}", fill(times, "{% elif a %}", "", "")),
        ] {
            let outcome = Template::new(&source).and_then(|template| template.try_samples(false));
            if let Err(why) = &outcome {
                let limits = ["tokens between one pair of braces", "tags of the form", "maximum recursion limits"];
                assert!(limits.iter().any(|limit| why.contains(limit)), "{why}: {}", truncate_bytes(&source, 100));
            }
            assert!(times != usize::MAX || outcome.is_err(), "{}", truncate_bytes(&source, 100));
        }
    }
}

/// Random sequences of template syntax.
fn scraps() -> impl Strategy<Value = String> {
    let scrap = prop_oneof![
        "\\PC{0,8}",
        proptest::sample::select(vec![
            "{{ ",
            " }}",
            "{% ",
            " %}",
            "{#",
            "#}",
            "title",
            "errorMessage",
            "set a = ",
            "for x in ",
            "if ",
            "else",
            "endfor",
            "endif",
            "with ",
            "endwith",
            "raw",
            "endraw",
            "|join",
            "|tojson",
            "|replace(a, a)",
            "|truncate(9)",
            "|first",
            "|default",
            "[",
            "]",
            "(",
            ")",
            "{",
            "}",
            ":",
            ",",
            "'",
            "\"",
            "\\",
            ".",
            " in ",
            " is none",
            "-",
            " // ",
            " % ",
            "0",
            "1e308",
            "99999999999999999999999",
            "none",
            "true",
            "loop.index",
        ])
        .prop_map(str::to_owned),
    ];
    proptest::collection::vec(scrap, 0..40).prop_map(|scraps| scraps.concat())
}

proptest! {
    #[test]
    fn random_templates_make_bounded_json_or_fail_with_a_described_error(source in scraps()) {
        let template = match Template::new(&source) {
            Ok(template) => template,
            Err(why) => {
                prop_assert!(!why.is_empty() && !why.contains(NAME), "{why}");
                return Ok(());
            }
        };
        if let Err(why) = template.try_samples(true) {
            prop_assert!(why.starts_with("fails for ") || why.starts_with("does not produce JSON for "), "{why}");
            return Ok(());
        }
        for event in sample_events() {
            let message = message::of(&event, Severity::Warning, &Zone::UTC);
            let plain = payload::body(&event, || message.clone(), String::new);
            let body = template.render(&plain, &message).map_err(TestCaseError::fail)?;
            prop_assert!(body.len() <= OUTPUT_BYTES_MAX);
            prop_assert!(serde_json::from_slice::<Json>(&body).is_ok(), "{:?}", String::from_utf8_lossy(&body));
        }
    }
}
