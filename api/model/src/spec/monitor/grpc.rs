//! What a probe by gRPC asks.
//!
//! Invariant: what is declared can be sent as it is.

use serde::{Deserialize, Serialize};

use crate::validate::FieldErrors;

/// Longest name of a service, in bytes.
pub const GRPC_SERVICE_MAX_BYTES: usize = 256;

/// A probe by gRPC: `Check` of `grpc.health.v1.Health`, which must answer `SERVING`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct GrpcProbe {
    /// The service that is asked after, up to 256 bytes, as `shop.v1.Carts`. Empty: the server as a
    /// whole.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service: String,
    /// The `:authority` of the request. Absent: the member's address and port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

impl GrpcProbe {
    pub(super) fn validate(&self, errors: &mut FieldErrors) {
        let is_visible = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
        errors.range("service", self.service.len(), 0, GRPC_SERVICE_MAX_BYTES);
        errors.require(is_visible(&self.service), "service", "invalid_service", || {
            "must hold visible ASCII only".to_owned()
        });
        if let Some(host) = &self.host {
            let host_ok = (1..=255).contains(&host.len()) && is_visible(host);
            errors.require(host_ok, "host", "invalid_host", || {
                "must be 1 to 255 visible ASCII characters".to_owned()
            });
        }
    }
}
