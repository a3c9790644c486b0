//! What templates can do, and what the sandbox prevents.

use proptest::prelude::*;
use serde_json::Value as Json;
use tidings_domain::text::truncate_bytes;

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
    assert!(refusal(&doubling).contains("filters and comparisons read and make more than"));
    let growing = format!("{{% set a = 'aa' %}}{}", "{% set a = a | replace('a', 'aaaaaaaa') %}".repeat(100));
    assert!(refusal(&growing).contains("filters and comparisons read and make more than"));
    let many = format!("{{% for a in [{}] %}}", "1,".repeat(100));
    let loops = format!("{}x{}", many.repeat(4), "{% endfor %}".repeat(4));
    assert_eq!(refusal(&loops).split(": ").last(), Some("it takes more than 50000 steps"));
    let long = "y".repeat(15_000);
    let flood = format!("{{% set a = '{long}' %}}{}", "{{ a }}".repeat(36));
    assert!(refusal(&flood).contains("it produces more than 524288 bytes"));
    let brackets = "{% set a = [[[[[[[[[a]]]]]]]]] %}".repeat(60);
    assert!(refusal(&brackets).contains("more than 500 opening brackets"));
}

/// An event of a use case with this output.
fn event_with_output(output: &str) -> Event {
    let is_success = |event: &Event| event.kind == tidings_domain::event::EventKind::WorkflowCompleted;
    let mut event = sample_events().into_iter().find(is_success).unwrap();
    event.run_mut().output = Some(serde_json::value::RawValue::from_string(output.to_owned()).unwrap());
    event
}

fn rendered_with(source: &str, output: &str) -> Result<String, String> {
    let event = event_with_output(output);
    let message = message::of(&event, Severity::Success, &Zone::UTC);
    let plain = payload::body(&event, || message.clone(), String::new);
    let body = Template::new(source).and_then(|template| template.render(&plain, &message))?;
    Ok(String::from_utf8(body).unwrap())
}

#[test]
fn numbers_keep_their_digits_and_compare_and_compute_as_numbers() {
    let output = r#"{"id": 12345678901234567890123, "max": 18446744073709551615, "min": -9223372036854775808,
        "price": 1.10, "tiny": 0.30000000000000000004, "huge": 1e400, "zero": -0, "none": -0.0, "e": 1E2,
        "long": 123456789012345678901234567890123456789012345678901234567890, "list": [1.10, {"a": 2.50}], "n": 7}"#;
    for (source, body) in [
        (
            "{{ output.id }} {{ output.max }} {{ output.min }}",
            "12345678901234567890123 18446744073709551615 -9223372036854775808",
        ),
        ("{{ output.price }} {{ output.tiny | tojson }} {{ output.huge }}", "1.10 0.30000000000000000004 1e400"),
        ("{{ output.zero }} {{ output.none }} {{ output.e }}", "-0 -0.0 1E2"),
        ("{{ output.long | tojson }}", "123456789012345678901234567890123456789012345678901234567890"),
        ("{{ output.list | tojson }} {{ output.list }}", r#"[1.10,{"a":2.50}] [1.10,{"a":2.50}]"#),
        ("{{ [output.price, 'x', output.id] | join('/') }}", "1.10/x/12345678901234567890123"),
        ("{% for p in output.list %}{{ p }};{% endfor %}", "1.10;{\"a\":2.50};"),
        (
            "{% set p = output.price %}{{ p > 1 }} {{ p == 1.1 }} {{ 2 < p }} {{ p - 1 < 0.2 }} {{ p // 1 }}",
            "true true false true 1.0",
        ),
        ("{{ output.huge > 5 }} {{ output.tiny == 0.3 }} {{ -output.price < 0 }} {{ -output.n }}", "true true true -7"),
        ("{{ output.id > output.max }} {{ output.id - 1 }}", "true 12345678901234567890122"),
        ("{{ 1.1 in output.list }} {{ output.price in [1.1] }} {{ {'a': 2.5} in output.list }}", "true true true"),
        ("{{ output.price == output.list[0] }} {{ output.list == [1.1, {'a': 2.5}] }}", "true true"),
        ("{{ 'y' if output.none else 'n' }}{{ 'y' if output.price else 'n' }}", "ny"),
        (
            "{{ output.price is defined }}{{ output.price | default(3) }}{{ output.missing | default(1.50) }}",
            "true1.101.5",
        ),
        ("{{ output.n / 2 }} {{ output.n % 4 }}", "3.5 3"),
    ] {
        assert_eq!(rendered_with(source, output).as_deref(), Ok(body), "{source}");
    }
}

#[test]
fn output_of_the_largest_size_is_shown_whole() {
    let numbers = format!("[{}]", (0..40_000).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
    let text = format!("\"{}\"", "é\\u0001\\n\\\"".repeat(20_000));
    let texts = serde_json::to_string(&vec!["x\u{1}"; 25_000]).unwrap();
    for output in [numbers.as_str(), &text, &texts] {
        assert!(output.len() > 200 * 1_024 && output.len() <= 256 * 1_024, "{}", output.len());
        let body = rendered_with(r#"{"text": {{ title | tojson }}, "out": {{ output | tojson }}}"#, output).unwrap();
        let body: Json = serde_json::from_str(&body).unwrap();
        assert_eq!(body["out"], serde_json::from_str::<Json>(output).unwrap());
    }
    assert_eq!(
        rendered_with("{{ output | length }} {{ output[39999] }} {{ 39999 in output }}", &numbers).unwrap(),
        "40000 39999 true"
    );
}

/// Fuel counts steps; what a step compares is charged to the budget.
#[test]
fn work_of_comparisons_is_limited() {
    let text = format!("\"{}\"", "x".repeat(200_000));
    let list = format!("[{}1]", "1,".repeat(100_000));
    let blanks = format!("[{}\"\"]", "\"\",".repeat(80_000));
    let repeat = |expression: &str| {
        format!("{{% for a in [{}] %}}{{% if {expression} %}}{{% endif %}}{{% endfor %}}", "1,".repeat(100))
    };
    for (expression, output) in [
        ("output | length > 1", &text),
        ("output == title", &text),
        ("'y' in output", &text),
        ("2 in output", &list),
        ("[output] == [output]", &list),
        ("output | upper | truncate(1)", &text),
        ("output | truncate(1)", &text),
        ("output | replace('zz', '')", &text),
        ("output | join", &blanks),
    ] {
        let why = rendered_with(&repeat(expression), output).unwrap_err();
        assert!(why.contains("filters and comparisons read and make more than"), "{expression}: {why}");
    }
}

/// Values that nest as deep as templates can make them: an overflow would abort the process.
#[test]
fn deep_values_are_written_compared_and_dropped() {
    let output = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let nest = format!("{{% set a = output %}}{}", "{% set a = [[[a]]] %}".repeat(140));
    assert!(rendered_with(&format!("{nest}{{{{ a | tojson }}}}"), &output).unwrap().starts_with("[[[["));
    assert!(rendered_with(&format!("{nest}{{{{ a }}}}{{{{ [a] == [a] }}}}"), &output).unwrap().ends_with("true"));
    let in_loop =
        format!("{{% set a = 1 %}}{{% for i in [{}] %}}{{% set a = [a] %}}{{% endfor %}}{{{{ a }}}}", "1,".repeat(120));
    assert_eq!(rendered_with(&in_loop, &output).as_deref(), Ok("1"));
}

#[test]
fn operand_filter_cannot_be_used_by_a_template() {
    assert!(refusal("{{ title | operand__ }}").contains("unknown filter"));
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
            " - ",
            "-",
            " > ",
            " == ",
            " and ",
            " not ",
            " is not none",
            ".in",
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
                prop_assert!(!why.is_empty() && !why.contains(NAME) && !why.contains(operands::FILTER), "{why}");
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

    #[test]
    fn marking_operands_keeps_a_template_valid(source in scraps()) {
        if sandbox::check(&source).is_ok() {
            let marked = minijinja::machinery::parse(&operands::mark(&source), NAME, Default::default()).map(|_| ());
            let valid = marked.as_ref().err().is_none_or(|error| error.to_string().contains("recursion limits"));
            prop_assert!(valid, "{:?} of {}", marked, operands::mark(&source));
        }
    }
}
