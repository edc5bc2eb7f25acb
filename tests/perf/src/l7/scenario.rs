//! The rows of the benchmark: what is asked for, how, and what must hold.

/// What a client speaks and which listener it uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Listener {
    /// HTTP/1.1.
    Plain,
    /// HTTP/1.1; the load is the member too.
    Timed,
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
    /// HTTP/1.1; a client's member is found by a field of its requests.
    ByHeader,
    /// HTTP/1.1; a client's member is found by its address.
    BySource,
    /// HTTP/1.1, set up for large content.
    Bulk,
    /// A stream of bytes.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Listener {
    pub(super) const ALL: [Self; 12] = [
        Self::Plain,
        Self::Timed,
        Self::Tls,
        Self::Http2,
        Self::HostRules,
        Self::Cookie,
        Self::Logged,
        Self::ByHeader,
        Self::BySource,
        Self::Bulk,
        Self::Tcp,
        Self::Udp,
    ];

    /// Its name in configurations.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Timed => "timed",
            Self::Tls => "tls",
            Self::Http2 => "http2",
            Self::HostRules => "rules",
            Self::Cookie => "cookie",
            Self::Logged => "logged",
            Self::ByHeader => "header",
            Self::BySource => "source",
            Self::Bulk => "bulk",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
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

/// Clients that requests of [`Generator::Users`] tell apart.
pub(super) const USER_COUNT: usize = 10_000;

/// The field that names them.
pub(super) const USER_FIELD: &str = "X-User";

/// Who makes the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Generator {
    /// wrk over 64 connections, as fast as answers come.
    Wrk { path: &'static str, closes: bool },
    /// h2load over 8 connections of 16 streams.
    H2load,
    /// Handshakes, each with one request.
    Handshakes { resumed: bool },
    /// wrk over 64 connections; each request names the next of [`USER_COUNT`] clients.
    Users,
    /// wrk over 8 connections, for content whose end need not be reached.
    Large { path: &'static str },
    /// Datagrams from 8 sockets, 8 under way from each.
    Datagrams,
}

/// What is compared: CPU time per unit of work, and how that is told in figures people know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cost {
    /// Per request.
    Request,
    /// Per 10⁹ bytes of content.
    Gigabyte,
    /// The same, told as Gbit/s of content for a CPU's whole time.
    Bandwidth,
    /// Per datagram that was passed on, told as datagrams for a second of a CPU's time.
    Datagram,
}

impl Cost {
    /// The metric that is compared; less is better.
    pub(super) fn metric(self) -> &'static str {
        match self {
            Self::Request => "cpu_us_per_request",
            Self::Gigabyte | Self::Bandwidth => "cpu_ms_per_gb",
            Self::Datagram => "cpu_us_per_datagram",
        }
    }

    /// The metric that is shown, and its unit.
    pub(super) fn shown(self) -> (&'static str, &'static str) {
        match self {
            Self::Request => ("cpu_us_per_request", "µs CPU per request"),
            Self::Gigabyte => ("cpu_ms_per_gb", "ms CPU per GB"),
            Self::Bandwidth => ("gbit_per_cpu_s", "Gbit/s per core"),
            Self::Datagram => ("datagrams_per_cpu_s", "datagrams per CPU second"),
        }
    }
}

/// A row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) listener: Listener,
    pub(super) generator: Generator,
    pub(super) cost: Cost,
    /// The cost relative to the better peer, at most; none for rows that are measured and no more.
    pub(super) ratio_limit: Option<f64>,
    /// Whether system calls, context switches and the latency at a fixed rate are looked at too.
    pub(super) is_close_up: bool,
}

const KEEP_ALIVE: Generator = Generator::Wrk { path: "/", closes: false };

const fn row(name: &'static str, listener: Listener, generator: Generator) -> Scenario {
    let (cost, ratio_limit) = (Cost::Request, Some(1.0));
    Scenario { name, listener, generator, cost, ratio_limit, is_close_up: false }
}

const fn measured(
    name: &'static str,
    listener: Listener,
    generator: Generator,
    cost: Cost,
) -> Scenario {
    Scenario { cost, ratio_limit: None, ..row(name, listener, generator) }
}

/// All rows.
pub(super) const SCENARIOS: [Scenario; 16] = [
    Scenario {
        ratio_limit: Some(0.9),
        is_close_up: true,
        ..row("keep-alive", Listener::Plain, KEEP_ALIVE)
    },
    Scenario { ratio_limit: Some(0.9), ..row("tls-keep-alive", Listener::Tls, KEEP_ALIVE) },
    row("close", Listener::Plain, Generator::Wrk { path: "/", closes: true }),
    row("body-16k", Listener::Plain, Generator::Wrk { path: "/16k", closes: false }),
    row("body-1m", Listener::Plain, Generator::Wrk { path: "/1m", closes: false }),
    row("http2", Listener::Http2, Generator::H2load),
    row("tls-full", Listener::Tls, Generator::Handshakes { resumed: false }),
    row("tls-resumed", Listener::Tls, Generator::Handshakes { resumed: true }),
    row("host-rules", Listener::HostRules, KEEP_ALIVE),
    row("cookie", Listener::Cookie, KEEP_ALIVE),
    row("access-log", Listener::Logged, KEEP_ALIVE),
    measured("learned", Listener::ByHeader, Generator::Users, Cost::Request),
    measured("learned-source", Listener::BySource, KEEP_ALIVE, Cost::Request),
    measured("bandwidth", Listener::Bulk, Generator::Large { path: "/64m" }, Cost::Bandwidth),
    measured("tcp", Listener::Tcp, Generator::Large { path: "/64m" }, Cost::Gigabyte),
    measured("udp", Listener::Udp, Generator::Datagrams, Cost::Datagram),
];
