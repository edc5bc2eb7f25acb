//! Requests that parsers disagree about, from public descriptions: RFC 9112 §11.2 and §9.3, Linhart et
//! al. (2005), Kettle (2019, 2021, 2022, 2024, 2025), and the advisories of proxies and origins.
//!
//! Where two readings are possible the request must be refused; where the standard leaves one, it may
//! pass, and then everybody must see the same. In all of them, whatever could be taken for a second
//! request asks for `/smuggled`.

/// What the proxy must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Answer it itself, and close the connection; no origin hears of it.
    Refused,
    /// Pass it on as exactly one request.
    Passed,
}

/// A request, or what looks like one.
#[derive(Clone, Debug)]
pub struct Vector {
    /// Unique; the target of the request is `/v-NAME`.
    pub name: &'static str,
    /// What the proxy must do with it.
    pub expect: Expect,
    /// What is sent, `{path}` standing for the target.
    raw: &'static str,
}

impl Vector {
    /// What the origin must be asked for, if anything.
    pub fn path(&self) -> String {
        format!("/v-{}", self.name)
    }

    /// The bytes to send.
    pub fn bytes(&self) -> Vec<u8> {
        self.raw.replace("{path}", &self.path()).into_bytes()
    }
}

macro_rules! vectors {
    ($($expect:ident $name:literal $raw:literal;)*) => {
        /// All of them.
        pub const VECTORS: &[Vector] =
            &[$(Vector { name: $name, expect: Expect::$expect, raw: $raw }),*];
    };
}

vectors! {
    // CL.TE, TE.CL: both framings in one message.
    Refused "cl-te" "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 37\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "te-cl" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n2b\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n0123456\r\n0\r\n\r\n";
    Refused "cl-te-zero" "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";

    // TE.TE: a coding that one side reads and the other does not.
    Refused "te-x" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "te-space-before-colon" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "te-tab-before-colon" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "te-vertical-tab" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\u{b}chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "te-form-feed" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \u{c}chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "te-folded" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "te-twice" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n";
    Refused "te-chunked-twice" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    Refused "te-list-chunked-twice" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n";
    Refused "te-identity-chunked" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n";
    Refused "te-chunked-not-last" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n";
    Refused "te-gzip-chunked" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
    Refused "te-quoted" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n";
    Refused "te-parameter" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n";
    Refused "te-empty" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "te-comma" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ,chunked,\r\nContent-Length: 4\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "te-null" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\u{0}\r\n\r\n0\r\n\r\n";
    Refused "te-leading-cr" "POST {path} HTTP/1.1\r\nHost: a\r\nX: y\rTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "te-after-bare-lf" "POST {path} HTTP/1.1\r\nHost: a\r\nX: y\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "te-not-ascii" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chun\u{212a}ed\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "te-10" "POST {path} HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Passed "te-tab" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tchunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    Passed "te-upper-case" "POST {path} HTTP/1.1\r\nHost: a\r\nTRANSFER-ENCODING: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    Passed "te-underscore" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n";

    // Content-Length that is read in more than one way.
    Refused "cl-twice" "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef";
    Refused "cl-same-twice" "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nabcde";
    Refused "cl-list" "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nabcde";
    Refused "cl-plus" "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nabcde";
    Refused "cl-minus" "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "cl-minus-zero" "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: -0\r\n\r\n";
    Refused "cl-space-inside" "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5\r\n\r\nabcde";
    Refused "cl-hex" "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nabcde";
    Refused "cl-underscore-inside" "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0_5\r\n\r\nabcde";
    Refused "cl-fraction" "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5.0\r\n\r\nabcde";
    Refused "cl-exponent" "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5e0\r\n\r\nabcde";
    Refused "cl-empty" "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "cl-overflow" "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551621\r\n\r\nabcde";
    Refused "cl-space-before-colon" "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "cl-null-inside" "POST {path} HTTP/1.1\r\nHost: a\r\nContent-\u{0}Length: 34\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "cl-folded" "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n 35\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "cl-arabic-digit" "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: \u{665}\r\n\r\nabcde";
    Passed "cl-spaces-around" "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length:  \t 5 \t\r\n\r\nabcde";
    Passed "cl-get" "GET {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 35\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Passed "cl-zero" "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    Passed "cl-body" "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 35\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Passed "cl-delete" "DELETE {path}?x HTTP/1.1\r\nHost: a\r\nContent-Length: 35\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

    // CL.0, 0.CL: a request with content where none is usual, for parsers that look for none there.
    Passed "cl-options" "OPTIONS {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 35\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "cl-masked" "GET {path} HTTP/1.1\r\nHost: a\r\n Content-Length: 35\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "cl-leading-line" "GET {path} HTTP/1.1\r\nHost: a\r\nX: y\r\n\tContent-Length: 35\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

    // Hop by hop: a client may not choose which fields of the framing are dropped on the way.
    Passed "connection-names-cl" "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: Content-Length\r\nContent-Length: 35\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Passed "connection-names-te" "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n23\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n\r\n0\r\n\r\n";
    Passed "connection-names-host" "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Host\r\n\r\n";

    // Chunks.
    Refused "chunk-size-space" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n 3\r\nabc\r\n0\r\n\r\n";
    Refused "chunk-size-plus" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n";
    Refused "chunk-size-minus" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n";
    Refused "chunk-size-0x" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n";
    Refused "chunk-size-underscore" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0_3\r\nabc\r\n0\r\n\r\n";
    Refused "chunk-size-empty" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\nabc\r\n0\r\n\r\n";
    Refused "chunk-size-overflow" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n";
    Refused "chunk-size-bare-lf" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n";
    Refused "chunk-size-bare-cr" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\rXabc\r\n0\r\n\r\n";
    Refused "chunk-data-bare-lf" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\n0\r\n\r\n";
    Refused "chunk-data-too-long" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n";
    Refused "chunk-extension-bare-lf" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a\nabc\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "chunk-extension-bare-cr" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a\rb\r\nabc\r\n0\r\n\r\n";
    Refused "chunk-end-bare-lf" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\n\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "chunk-trailer-bare-lf" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\r\n";
    Refused "chunk-end-lf-cr-lf" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "chunk-end-cr-only" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\rXGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "chunk-data-spill" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcXX0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "chunk-extension-null" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\u{0}\r\nabc\r\n0\r\n\r\n";
    Refused "chunk-trailer-folded" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n z\r\n\r\n";
    Refused "chunk-trailer-no-colon" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Passed "chunk-trailer-length" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nContent-Length: 35\r\nTransfer-Encoding: chunked\r\nHost: b\r\n\r\n";
    Passed "chunk-extension" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\"b;c\"\r\nabc\r\n0;last\r\n\r\n";
    Passed "chunk-leading-zeros" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0003\r\nabc\r\n000\r\n\r\n";
    Passed "chunk-holds-request" "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n23\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n\r\n0\r\n\r\n";
    Passed "te-0" "GET {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n23\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n\r\n0\r\n\r\n";

    // Lines and names.
    Refused "bare-lf" "GET {path} HTTP/1.1\nHost: a\n\n";
    Refused "bare-lf-once" "GET {path} HTTP/1.1\r\nHost: a\nX: y\r\n\r\n";
    Refused "bare-lf-end" "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 35\n\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "bare-cr" "GET {path} HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n";
    Refused "cr-cr-lf" "GET {path} HTTP/1.1\r\nHost: a\r\r\nX: y\r\n\r\n";
    Refused "null-in-value" "GET {path} HTTP/1.1\r\nHost: a\r\nX: a\u{0}b\r\n\r\n";
    Refused "null-in-target" "GET {path}\u{0} HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "folded" "GET {path} HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n";
    Refused "folded-first" "GET {path} HTTP/1.1\r\n Host: a\r\n\r\n";
    Refused "space-in-name" "GET {path} HTTP/1.1\r\nHost: a\r\nX y: z\r\n\r\n";
    Refused "no-colon" "GET {path} HTTP/1.1\r\nHost: a\r\nX\r\n\r\n";
    Refused "no-name" "GET {path} HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n";
    Refused "name-not-ascii" "GET {path} HTTP/1.1\r\nHost: a\r\nC\u{f6}ntent-Length: 5\r\n\r\n";
    Refused "double-space" "GET  {path} HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "tab-in-line" "GET\t{path} HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "space-in-target" "GET {path} /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "space-after-version" "GET {path} HTTP/1.1 \r\nHost: a\r\n\r\n";
    Refused "leading-space" " GET {path} HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "version-0.9" "GET {path}\r\n";
    Refused "version-1.2" "GET {path} HTTP/1.2\r\nHost: a\r\n\r\n";
    Refused "version-2.0" "GET {path} HTTP/2.0\r\nHost: a\r\n\r\n";
    Refused "version-11" "GET {path} HTTP/11\r\nHost: a\r\n\r\n";
    Refused "version-lower-case" "GET {path} http/1.1\r\nHost: a\r\n\r\n";
    Refused "version-01.1" "GET {path} HTTP/01.1\r\nHost: a\r\n\r\n";
    Refused "method-not-a-token" "GE(T {path} HTTP/1.1\r\nHost: a\r\n\r\n";
    Passed "empty-line-before" "\r\nGET {path} HTTP/1.1\r\nHost: a\r\n\r\n";

    // Where the request is for.
    Refused "no-host" "GET {path} HTTP/1.1\r\nX: y\r\n\r\n";
    Refused "host-twice" "GET {path} HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
    Refused "host-same-twice" "GET {path} HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n";
    Refused "host-with-path" "GET {path} HTTP/1.1\r\nHost: a/smuggled\r\n\r\n";
    Refused "host-with-user" "GET {path} HTTP/1.1\r\nHost: u@a\r\n\r\n";
    Refused "host-with-space" "GET {path} HTTP/1.1\r\nHost: a b\r\n\r\n";
    Refused "host-port-beyond" "GET {path} HTTP/1.1\r\nHost: a:65536\r\n\r\n";
    Refused "host-literal-name" "GET {path} HTTP/1.1\r\nHost: [a]\r\n\r\n";
    Refused "host-literal-broken" "GET {path} HTTP/1.1\r\nHost: [::zz]\r\n\r\n";
    Refused "host-list" "GET {path} HTTP/1.1\r\nHost: a, b\r\n\r\n";
    Refused "absolute-form-other-host" "GET http://b{path} HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "relative-target" "GET v-relative HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "fragment" "GET {path}#x HTTP/1.1\r\nHost: a\r\n\r\n";

    // Upgrades that nobody agreed to, and what stands behind them.
    Passed "upgrade-refused" "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    Passed "upgrade-h2c" "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    Refused "connect" "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "expect-list" "POST {path} HTTP/1.1\r\nHost: a\r\nExpect: y 100-continue\r\nContent-Length: 35\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Passed "upgrade-with-content" "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 35\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Refused "expect-unknown" "POST {path} HTTP/1.1\r\nHost: a\r\nExpect: 200-maybe\r\nContent-Length: 35\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    Passed "expect-at-once" "POST {path} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 35\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
}
