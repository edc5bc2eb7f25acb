//! The keys of a node's file that say where spans of requests go.

use std::path::PathBuf;

use hyper::Uri;
use serde::Deserialize;

/// As written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TracingSection {
    otlp_endpoint: String,
    otlp_headers_file: Option<PathBuf>,
    otlp_ca_file: Option<PathBuf>,
}

/// A collector of OpenTelemetry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OtlpConfig {
    /// The URL that spans are posted to.
    pub endpoint: String,
    /// Header fields that it wants, such as a token, one a line.
    pub headers_file: Option<PathBuf>,
    /// Whom its certificate is verified against; none: the system's authorities.
    pub ca_file: Option<PathBuf>,
}

impl TracingSection {
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let is_off = self.otlp_endpoint.is_empty();
        let url: Option<Uri> = self.otlp_endpoint.parse().ok();
        let is_url = url.is_some_and(|url| {
            matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some()
        });
        if !is_off && !is_url {
            faults.push("tracing.otlp_endpoint: must be a URL of http or https".to_owned());
        }
        if is_off && (self.otlp_headers_file.is_some() || self.otlp_ca_file.is_some()) {
            faults.push("tracing.otlp_endpoint: must be set where its files are".to_owned());
        }
        faults
    }

    pub(super) fn resolve(self) -> Option<OtlpConfig> {
        (!self.otlp_endpoint.is_empty()).then_some(OtlpConfig {
            endpoint: self.otlp_endpoint,
            headers_file: self.otlp_headers_file,
            ca_file: self.otlp_ca_file,
        })
    }
}
