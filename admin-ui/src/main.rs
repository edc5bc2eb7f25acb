//! Ballast's web console: a client of the REST API that runs in the browser.
//!
//! What is shown is computed by pure modules (`format`, `form`, `ha`, `i18n`, `rates`, `summary`), which
//! know neither the browser nor the network; everything else is drawing and fetching.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(feature = "app"),
    expect(dead_code, reason = "the pure modules alone are built to be tested")
)]
#![cfg_attr(
    feature = "app",
    allow(unreachable_pub, reason = "the component macro makes its props public")
)]

mod form;
mod format;
mod ha;
mod i18n;
mod rates;
mod summary;

#[cfg(feature = "app")]
mod app;
#[cfg(feature = "app")]
mod components;
#[cfg(feature = "app")]
mod live;
#[cfg(feature = "app")]
mod pages;
#[cfg(feature = "app")]
mod session;

fn main() {
    #[cfg(feature = "app")]
    app::start();
}
