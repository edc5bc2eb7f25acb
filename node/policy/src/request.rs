//! What a policy sees of a request.

use std::net::IpAddr;

pub use ballast_model::spec::policy::Scheme;

/// A request as the data plane holds it: slices of its buffers, nothing copied.
pub trait RequestView {
    /// The method, as `GET`.
    fn method(&self) -> &[u8];
    /// Whether the client speaks TLS.
    fn scheme(&self) -> Scheme;
    /// The host and port that it asks for: of the target, of `:authority` or of `Host`, as it came;
    /// empty where there is none.
    fn authority(&self) -> &[u8];
    /// The path, as it came, without the query.
    fn path(&self) -> &[u8];
    /// The query without its `?`.
    fn query(&self) -> Option<&[u8]>;
    /// The client's address.
    fn source(&self) -> IpAddr;
    /// The identifier of the request.
    fn request_id(&self) -> &[u8];
    /// Names, in any case, and values, without blanks around them, of the header's fields.
    fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])>;
}

/// A request made of slices.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// See [`RequestView::method`].
    pub method: &'a [u8],
    /// See [`RequestView::scheme`].
    pub scheme: Scheme,
    /// See [`RequestView::authority`].
    pub authority: &'a [u8],
    /// See [`RequestView::path`].
    pub path: &'a [u8],
    /// See [`RequestView::query`].
    pub query: Option<&'a [u8]>,
    /// See [`RequestView::source`].
    pub source: IpAddr,
    /// See [`RequestView::request_id`].
    pub request_id: &'a [u8],
    /// See [`RequestView::headers`].
    pub headers: &'a [(&'a [u8], &'a [u8])],
}

impl RequestView for Request<'_> {
    fn method(&self) -> &[u8] {
        self.method
    }

    fn scheme(&self) -> Scheme {
        self.scheme
    }

    fn authority(&self) -> &[u8] {
        self.authority
    }

    fn path(&self) -> &[u8] {
        self.path
    }

    fn query(&self) -> Option<&[u8]> {
        self.query
    }

    fn source(&self) -> IpAddr {
        self.source
    }

    fn request_id(&self) -> &[u8] {
        self.request_id
    }

    fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.headers.iter().copied()
    }
}

/// A request whose host and path have been made comparable.
#[derive(Debug)]
pub(crate) struct Subject<'r, R> {
    pub(crate) request: &'r R,
    /// In lower case, without port and final dot.
    pub(crate) host: &'r [u8],
    /// See [`normalize`](crate::normalize).
    pub(crate) path: &'r [u8],
}

impl<R> Clone for Subject<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Subject<'_, R> {}

impl<R: RequestView> Subject<'_, R> {
    /// The values of the fields of that name.
    pub(crate) fn header(&self, name: &[u8]) -> impl Iterator<Item = &[u8]> {
        let fields = self.request.headers();
        fields.filter(move |(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The values of the cookies of that name (RFC 6265 §5.4), from all `Cookie` fields.
    pub(crate) fn cookie(&self, name: &[u8]) -> impl Iterator<Item = &[u8]> {
        let pairs = self.header(b"cookie").flat_map(|value| value.split(|b| *b == b';'));
        pairs.filter_map(move |pair| {
            let (other, value) = split_once(pair.trim_ascii(), b'=')?;
            (other == name).then_some(value)
        })
    }
}

/// What stands before and after the first `separator`.
pub(crate) fn split_once(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|b| *b == separator)?;
    Some((&text[..at], &text[at + 1..]))
}
