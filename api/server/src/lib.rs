//! Ballast's REST API: routes, authentication, problem+json, server-sent events, OpenAPI.
