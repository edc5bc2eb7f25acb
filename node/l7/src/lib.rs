//! HTTP data plane.
