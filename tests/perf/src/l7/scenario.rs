//! The rows of the benchmark: what is asked for, how, and what must hold.

/// What a client speaks and which listener it uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Listener {
    /// HTTP/1.1.
    Plain,
    /// HTTP/1.1 over TLS 1.3.
    Tls,
    /// HTTP/2 over TLS 1.3.
    Http2,
    /// HTTP/1.1; the host is looked up among [`HOST_RULE_COUNT`].
    HostRules,
    /// HTTP/1.1; a cookie keeps the client at its member.
    Cookie,
    /// HTTP/1.1; every request is written to a log file.
    Logged,
}

impl Listener {
    pub(super) const ALL: [Self; 6] =
        [Self::Plain, Self::Tls, Self::Http2, Self::HostRules, Self::Cookie, Self::Logged];

    /// Its name in configurations.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Tls => "tls",
            Self::Http2 => "http2",
            Self::HostRules => "rules",
            Self::Cookie => "cookie",
            Self::Logged => "logged",
        }
    }

    pub(super) fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::Http2)
    }
}

/// Rules that choose by host, the one that is asked for the last of them.
pub(super) const HOST_RULE_COUNT: usize = 10_000;

/// The host of that rule.
pub(super) fn rule_host(number: usize) -> String {
    format!("host-{number}.example")
}

/// Who makes the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Generator {
    /// wrk over 64 connections, as fast as answers come.
    Wrk { path: &'static str, closes: bool },
    /// h2load over 8 connections of 16 streams.
    H2load,
    /// Handshakes, each with one request.
    Handshakes { resumed: bool },
}

/// A row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) listener: Listener,
    pub(super) generator: Generator,
    /// CPU per request relative to the better peer, at most.
    pub(super) ratio_limit: f64,
    /// Whether system calls, context switches and the latency at a fixed rate are looked at too.
    pub(super) is_close_up: bool,
}

const KEEP_ALIVE: Generator = Generator::Wrk { path: "/", closes: false };

const fn row(name: &'static str, listener: Listener, generator: Generator) -> Scenario {
    Scenario { name, listener, generator, ratio_limit: 1.0, is_close_up: false }
}

/// All rows.
pub(super) const SCENARIOS: [Scenario; 11] = [
    Scenario {
        ratio_limit: 0.9,
        is_close_up: true,
        ..row("keep-alive", Listener::Plain, KEEP_ALIVE)
    },
    Scenario { ratio_limit: 0.9, ..row("tls-keep-alive", Listener::Tls, KEEP_ALIVE) },
    row("close", Listener::Plain, Generator::Wrk { path: "/", closes: true }),
    row("body-16k", Listener::Plain, Generator::Wrk { path: "/16k", closes: false }),
    row("body-1m", Listener::Plain, Generator::Wrk { path: "/1m", closes: false }),
    row("http2", Listener::Http2, Generator::H2load),
    row("tls-full", Listener::Tls, Generator::Handshakes { resumed: false }),
    row("tls-resumed", Listener::Tls, Generator::Handshakes { resumed: true }),
    row("host-rules", Listener::HostRules, KEEP_ALIVE),
    row("cookie", Listener::Cookie, KEEP_ALIVE),
    row("access-log", Listener::Logged, KEEP_ALIVE),
];
