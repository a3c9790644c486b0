//! docs/API.md covers every route and problem code.

use tidings_web::problem::Code;

const API: &str = include_str!("../../../../docs/API.md");

#[test]
fn every_route_is_documented() {
    for (method, path) in tidings_web::api::routes().into_iter().chain(tidings_web::api::instance_routes()) {
        let path = if path.is_empty() { "/api/workspaces/{workspace}" } else { path };
        let heading = format!("`{method} {}`", path.replace("{use_case}", "{useCase}"));
        assert!(API.contains(&heading), "docs/API.md lacks {heading}");
    }
}

#[test]
fn every_problem_code_is_documented_with_its_status() {
    for code in Code::ALL {
        let row = format!("| `{}` | {} |", code.as_str(), code.status().as_u16());
        assert!(API.contains(&row), "docs/API.md lacks {row}");
    }
}
