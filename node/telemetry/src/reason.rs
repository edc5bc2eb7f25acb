//! Why a request or connection failed: exactly one machine-readable reason each, shared by the HTTP
//! and TCP data planes, the access log and the metrics.
//!
//! Codes are part of the product's interface: one may be added, none may be renamed.

use std::{fmt, io};

/// Who is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What the client sent or did.
    Client,
    /// What the configuration allows.
    Configuration,
    /// What the member did, or did not do.
    Member,
    /// This node.
    Node,
}

macro_rules! reasons {
    ($( $(#[$doc:meta])* $Variant:ident, $side:ident, $code:literal; )*) => {
        /// Why a request or connection failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum FailureReason {
            $( $(#[$doc])* $Variant, )*
        }

        impl FailureReason {
            /// Every reason.
            pub const ALL: &[Self] = &[$( Self::$Variant ),*];

            /// The stable code, as in the access log and the metrics.
            pub fn code(self) -> &'static str {
                match self { $( Self::$Variant => $code, )* }
            }

            /// Who is at fault.
            pub fn side(self) -> Side {
                match self { $( Self::$Variant => Side::$side, )* }
            }
        }
    };
}

reasons! {
    /// The path has an escaped slash, backslash or zero, or a backslash: members disagree about what
    /// it is, and the policies' rules could be passed by.
    AmbiguousPath, Client, "ambiguous_path";
    /// The request is no HTTP that we understand.
    BadRequest, Client, "bad_request";
    /// Where the request's body ends can't be told for sure (RFC 9112 §6.3).
    BadRequestFraming, Client, "bad_request_framing";
    /// The client stayed silent in the middle of the request's body.
    BodyTimeout, Client, "body_timeout";
    /// The request's body came more slowly than the virtual server wants it
    /// (`http.body_min_bytes_per_s`).
    BodyTooSlow, Client, "body_too_slow";
    /// The request's body is larger than the virtual server allows.
    BodyTooLarge, Client, "body_too_large";
    /// The connection began under other rules for certificates of clients, and what the client has
    /// shown is not enough for those of now.
    ClientCertificate, Client, "client_certificate";
    /// The client closed its side of the connection while its request was under way, and the virtual
    /// server has such requests end (`http.client_half_close`).
    ClientAbort, Client, "client_abort";
    /// The client closed or reset the connection before the response was complete.
    ClientClosed, Client, "client_closed";
    /// The client took the response more slowly than the virtual server wants it
    /// (`http.response_min_bytes_per_s`).
    ClientTooSlow, Client, "client_too_slow";
    /// The client did not take the response.
    ClientWriteTimeout, Client, "client_write_timeout";
    /// What a client of a TLS passthrough sent is no `ClientHello`, or it did not come in time.
    ClientHello, Client, "client_hello";
    /// The time that the client gave for its request (`grpc-timeout`) passed.
    DeadlineExceeded, Client, "deadline_exceeded";
    /// The request's header did not arrive in time.
    HeaderTimeout, Client, "header_timeout";
    /// The request's header is larger than the virtual server allows.
    HeaderTooLarge, Client, "header_too_large";
    /// An HTTP/2 connection sent a header block in more CONTINUATION frames than any header needs.
    Http2ContinuationFlood, Client, "http2_continuation_flood";
    /// An HTTP/2 connection sent more SETTINGS, PING, PRIORITY or WINDOW_UPDATE frames than it may.
    Http2ControlFlood, Client, "http2_control_flood";
    /// An HTTP/2 connection sent DATA frames without data.
    Http2EmptyData, Client, "http2_empty_data";
    /// A header block of an HTTP/2 connection unpacked to far more than allowed (HPACK bomb).
    Http2HeaderBomb, Client, "http2_header_bomb";
    /// An HTTP/2 connection broke the protocol (RFC 9113 §5.4.1).
    Http2Protocol, Client, "http2_protocol";
    /// An HTTP/2 connection broke off more requests than it may (CVE-2023-44487).
    Http2ResetFlood, Client, "http2_reset_flood";
    /// A request was refused because its HTTP/2 connection has as many under way as it may.
    Http2StreamLimit, Client, "http2_stream_limit";
    /// The client of an HTTP/2 connection did not take what was ready for it.
    Http2WindowStall, Client, "http2_window_stall";
    /// No byte went either way for longer than the virtual server allows.
    IdleTimeout, Client, "idle_timeout";
    /// The method is one that we don't pass on.
    MethodNotAllowed, Client, "method_not_allowed";
    /// A trusted source sent no header of the PROXY protocol, a malformed one, or not in time.
    ProxyProtocol, Client, "proxy_protocol";
    /// The client asks more often than a policy lets it.
    RateLimited, Client, "rate_limited";
    /// The TLS handshake failed.
    TlsHandshake, Client, "tls_handshake";
    /// The token that a policy requires is good, but its claims or scopes don't suffice.
    TokenInsufficient, Client, "jwt_insufficient";
    /// The token that a policy requires is missing, or none that is genuine and valid now.
    TokenRejected, Client, "jwt_rejected";
    /// The request has more header fields than the virtual server allows.
    TooManyHeaders, Client, "too_many_headers";
    /// The request's target is longer than the virtual server allows.
    UriTooLong, Client, "uri_too_long";
    /// The request is in a version of HTTP that we don't speak.
    VersionNotSupported, Client, "version_not_supported";

    /// As many requests are in flight to the pool as its circuit breaker lets through.
    CircuitOpen, Configuration, "circuit_open";
    /// As many requests are in flight to the pool as it can do, by how long its members take.
    ConcurrencyLimit, Configuration, "concurrency_limit";
    /// The virtual server has as many connections as it may.
    ConnectionLimit, Configuration, "connection_limit";
    /// The connection lived for as long as one may.
    LifetimeEnd, Configuration, "lifetime_end";
    /// The member was drained to its deadline or forced offline.
    MemberOffline, Configuration, "member_offline";
    /// The pool has no member that can take the request.
    NoMember, Configuration, "no_member";
    /// The pool's TLS settings can't be used.
    PoolTlsUnusable, Configuration, "pool_tls_unusable";
    /// Only trusted sources, which announce clients by the PROXY protocol, may connect.
    ProxyProtocolUntrusted, Configuration, "proxy_protocol_untrusted";
    /// The client's source has as many connections as it may.
    SourceConnectionLimit, Configuration, "source_connection_limit";
    /// Connections of the client's source come faster than they may.
    SourceRateLimit, Configuration, "source_rate_limit";
    /// All members are at their connection limit, and as many requests wait as may.
    QueueFull, Configuration, "queue_full";
    /// All members were at their connection limit for as long as a request may wait, or all streams of
    /// our HTTP/2 connections to the member were taken for as long as connecting may take.
    QueueTimeout, Configuration, "queue_timeout";
    /// The member is to be asked for WebSockets by HTTP/2 only, and does not say that it can do that
    /// (`SETTINGS_ENABLE_CONNECT_PROTOCOL`, RFC 8441 §3).
    UpstreamNoExtendedConnect, Configuration, "upstream_no_extended_connect";
    /// No route of a TLS passthrough fits the server name that the client asks for.
    UnknownServerName, Configuration, "unknown_server_name";
    /// A policy denies clients of that region.
    PolicyDenied, Configuration, "policy_denied";
    /// The keys that tokens are to be checked with could not be had yet.
    TokenKeysMissing, Configuration, "jwt_keys_missing";
    /// The virtual server was disabled or deleted while the connection was open.
    VirtualServerDisabled, Configuration, "virtual_server_disabled";

    /// The member refused the connection.
    ConnectRefused, Member, "connect_refused";
    /// The member did not accept the connection in time.
    ConnectTimeout, Member, "connect_timeout";
    /// The member can't be reached for another reason.
    ConnectFailed, Member, "connect_failed";
    /// The member stayed silent in the middle of the response's body.
    ResponseBodyTimeout, Member, "response_body_timeout";
    /// The member did not begin to respond in time.
    ResponseTimeout, Member, "response_timeout";
    /// The TLS certificate of the member is of no use for another reason than those below.
    UpstreamTlsCertificate, Member, "upstream_tls_certificate";
    /// The TLS certificate of the member has expired, or is not valid yet.
    UpstreamTlsExpired, Member, "upstream_tls_expired";
    /// The TLS handshake with the member failed for another reason.
    UpstreamTlsHandshake, Member, "upstream_tls_handshake";
    /// The TLS certificate of the member is for other names.
    UpstreamTlsName, Member, "upstream_tls_name";
    /// The member refused us in TLS, such as for want of a certificate that it trusts.
    UpstreamTlsRefused, Member, "upstream_tls_refused";
    /// The TLS certificate of the member is from an authority that is not trusted.
    UpstreamTlsUnknownCa, Member, "upstream_tls_unknown_ca";
    /// The member closed or reset the connection before the response was complete.
    UpstreamClosedEarly, Member, "upstream_closed_early";
    /// The member's response is no HTTP that we understand.
    UpstreamProtocol, Member, "upstream_protocol";
    /// The member's response has a status for which the request is tried again, and then no other
    /// member was left.
    UpstreamStatus, Member, "upstream_status";

    /// A fault of this node.
    Internal, Node, "internal";
    /// This node has reached a limit of its own.
    Overload, Node, "overload";
    /// This node runs short, and virtual servers of higher priority come first.
    Shed, Node, "shed";
    /// This node is shutting down.
    Shutdown, Node, "shutdown";
}

impl FailureReason {
    /// How many reasons there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Whether it counts as a failure of the member.
    pub fn is_members_fault(self) -> bool {
        self.side() == Side::Member
    }

    /// Why a member can't be reached, by the error of `connect`.
    pub fn of_connect(error: &io::Error) -> Self {
        // EMFILE, ENFILE and ENOBUFS have no `ErrorKind` of their own.
        const OUT_OF_DESCRIPTORS_OR_BUFFERS: [i32; 3] = [24, 23, 105];
        if error.raw_os_error().is_some_and(|code| OUT_OF_DESCRIPTORS_OR_BUFFERS.contains(&code)) {
            return Self::Overload;
        }
        match error.kind() {
            // No local port is left: connect(2) says the former, bind(2) the latter.
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => Self::Overload,
            io::ErrorKind::ConnectionRefused => Self::ConnectRefused,
            io::ErrorKind::TimedOut => Self::ConnectTimeout,
            _ => Self::ConnectFailed,
        }
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests;
