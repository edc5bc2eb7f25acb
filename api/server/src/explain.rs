//! `POST /explain`: why a described request would get what it gets, by this node's live engine.

use axum::http::StatusCode;
use ballast_model::explain::ExplainRequest;
use ballast_model::{FieldErrors, Problem};

use crate::call::Call;
use crate::failure::{self, Answer, Failure};

/// Longest text of a described request, in bytes; and most header fields and cookies.
const TEXT_MAX_BYTES: usize = 16 * 1024;
const FIELD_MAX_COUNT: usize = 256;
/// Header fields and cookies together, in bytes: their rules run where snapshots are applied.
const DESCRIBED_MAX_BYTES: usize = 64 * 1024;

pub(crate) async fn explain(call: &Call) -> Answer {
    let request: ExplainRequest = call.json()?;
    let mut errors = FieldErrors::default();
    errors.range("path", request.path.len(), 1, TEXT_MAX_BYTES);
    errors.require(request.path.starts_with('/'), "path", "invalid_path", || {
        "must start with '/'".to_owned()
    });
    errors.range("host", request.host.len(), 0, TEXT_MAX_BYTES);
    errors.range("method", request.method.len(), 1, 64);
    errors.range("headers", request.headers.len(), 0, FIELD_MAX_COUNT);
    errors.range("cookies", request.cookies.len(), 0, FIELD_MAX_COUNT);
    let fields = request.headers.iter().chain(&request.cookies);
    let described_bytes: usize = fields.map(|(name, value)| name.len() + value.len()).sum();
    errors.require(described_bytes <= DESCRIBED_MAX_BYTES, "headers", "out_of_range", || {
        format!("and cookies have {described_bytes} bytes; {DESCRIBED_MAX_BYTES} are allowed")
    });
    let known = call.app.snapshot();
    match known.state.config.virtual_servers.get(&request.virtual_server) {
        None => errors.push(
            "virtual_server",
            "unknown_reference",
            format!("there is no virtual server {:?}", request.virtual_server),
        ),
        Some(server) => {
            let protocol = server.spec.protocol;
            errors.require(protocol.is_http(), "virtual_server", "not_allowed", || {
                format!("speaks {}; requests are those of http and https", protocol.as_str())
            });
        }
    }
    if !errors.is_empty() {
        return Err(Problem::invalid(errors.into_vec()).into());
    }
    match call.app.node.explain(request).await {
        Ok(report) => failure::json(StatusCode::OK, &report),
        Err(why) => Err(Failure::new(409, "not_able", "This node can't tell", why)),
    }
}
