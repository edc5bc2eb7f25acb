//! The console: files that were put into the program when it was built, compressed in advance.
//!
//! Whatever is no file and not below `/api` answers the console's page, which reads the path itself.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::failure::Failure;

/// A file of the console.
struct Asset {
    /// Without a leading slash.
    path: &'static str,
    content_type: &'static str,
    /// Whether its name changes with its content.
    is_immutable: bool,
    etag: &'static str,
    plain: &'static [u8],
    gzip: &'static [u8],
    brotli: &'static [u8],
}

// `ASSETS: &[Asset]`, sorted by path; empty where the console was not built.
include!(concat!(env!("OUT_DIR"), "/console_assets.rs"));

/// Nothing from elsewhere, no inline script; WebAssembly may be compiled.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; \
    style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; \
    manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
    <title>Ballast</title><h1>The console is not part of this build</h1>\
    <p>The REST API is at <code>/api/v1</code>. To build the console, run \
    <code>cargo xtask setup</code> and <code>cargo xtask build</code>, then start the node again.</p>\
    </html>";

/// Answers what no route of the API does.
pub(crate) async fn serve_or_not_found(request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/');
    let is_console = !matches!(path.split('/').next(), Some("api" | "peer"));
    if !is_console {
        return Failure::not_found(format!("path {}", request.uri().path())).into_response();
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let detail = format!("{} is not among the methods in Allow", request.method());
        let failure =
            Failure::new(405, "method_not_allowed", "The path has no such method", detail);
        return ([(header::ALLOW, "GET, HEAD")], failure).into_response();
    }
    with_page_headers(answer(path, request.headers()))
}

fn answer(path: &str, headers: &HeaderMap) -> Response {
    if let Some(asset) = find(path) {
        return serve(asset, headers);
    }
    // A file that is missing is missing: answering the page for it would only confuse.
    let last = path.rsplit('/').next().unwrap_or("");
    if last.contains('.') && find("index.html").is_some() {
        return Failure::not_found(format!("file /{path}")).into_response();
    }
    match find("index.html") {
        Some(page) => serve(page, headers),
        None => {
            let content_type = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
            (StatusCode::OK, content_type, NOT_BUILT).into_response()
        }
    }
}

fn find(path: &str) -> Option<&'static Asset> {
    ASSETS.binary_search_by(|asset| asset.path.cmp(path)).ok().map(|i| &ASSETS[i])
}

fn serve(asset: &'static Asset, headers: &HeaderMap) -> Response {
    let cache = match asset.is_immutable {
        true => "public, max-age=31536000, immutable",
        false => "no-cache",
    };
    let common = [
        (header::ETAG, asset.etag),
        (header::CACHE_CONTROL, cache),
        (header::VARY, "accept-encoding"),
    ];
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == asset.etag)) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let (encoding, bytes) = choose(asset, headers);
    let mut response =
        (common, [(header::CONTENT_TYPE, asset.content_type)], bytes).into_response();
    if let Some(encoding) = encoding {
        let value = HeaderValue::from_static(encoding);
        response.headers_mut().insert(header::CONTENT_ENCODING, value);
    }
    response
}

fn choose(asset: &Asset, headers: &HeaderMap) -> (Option<&'static str>, &'static [u8]) {
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let accepts = |name: &str| {
        accepted.unwrap_or("").split(',').any(|item| {
            let mut parts = item.split(';').map(str::trim);
            let is_named = parts.next().is_some_and(|coding| coding.eq_ignore_ascii_case(name));
            is_named && !parts.any(|q| matches!(q, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        })
    };
    if !asset.brotli.is_empty() && accepts("br") {
        (Some("br"), asset.brotli)
    } else if !asset.gzip.is_empty() && accepts("gzip") {
        (Some("gzip"), asset.gzip)
    } else {
        (None, asset.plain)
    }
}

fn with_page_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        ("content-security-policy", CONTENT_SECURITY_POLICY),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("referrer-policy", "same-origin"),
        ("x-frame-options", "DENY"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}
