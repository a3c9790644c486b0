//! Prints the OpenAPI description; `cargo xtask openapi` writes it to `docs/openapi.json`.

fn main() {
    print!("{}", tidings_web::api::description_text());
}
