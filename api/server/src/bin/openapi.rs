//! Prints the OpenAPI document, which is committed as `openapi.json` next to this crate's manifest.

use std::io::Write as _;

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(ballast_api::openapi::document_text().as_bytes())
}
