//! Why TLS with a member failed, told apart as far as whoever has to mend it needs.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// Why TLS with a member failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsFault {
    /// Its certificate has expired, or is not valid yet.
    Expired,
    /// Its certificate is for other names.
    NameMismatch,
    /// Its certificate is from an authority that is not trusted.
    UnknownCa,
    /// Its certificate is of no use for another reason.
    Certificate,
    /// It refused us: our certificate is missing or not trusted, or nothing is common to both sides.
    Refused,
    /// It speaks no TLS, or none that we do.
    Handshake,
}

impl TlsFault {
    /// The fault in an error of a stream; none where it is one of the connection below.
    pub fn of(error: &io::Error) -> Option<Self> {
        rustls_error(error).map(Self::of_rustls)
    }

    fn of_rustls(error: &Error) -> Self {
        use CertificateError as C;
        match error {
            Error::InvalidCertificate(certificate) => match certificate {
                C::Expired | C::ExpiredContext { .. } | C::NotValidYet => Self::Expired,
                C::NotValidYetContext { .. } => Self::Expired,
                C::NotValidForName | C::NotValidForNameContext { .. } => Self::NameMismatch,
                C::UnknownIssuer => Self::UnknownCa,
                _ => Self::Certificate,
            },
            Error::NoCertificatesPresented => Self::Certificate,
            Error::AlertReceived(_) => Self::Refused,
            _ => Self::Handshake,
        }
    }
}

/// What the error says, in words.
pub fn describe(error: &io::Error) -> String {
    match rustls_error(error) {
        // As OpenSSL and rustls name them; it helps to find them in the member's log.
        Some(Error::AlertReceived(alert)) => format!("the member refused: alert {alert:?}"),
        Some(error) => error.to_string(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the member closed the connection during the handshake".to_owned()
        }
        None => error.to_string(),
    }
}

/// Whether the member does not take our certificate, or wants one. By TLS 1.3 it says so behind the
/// handshake, but before it looks at anything that was sent (RFC 8446 §4.4.2.4).
pub fn refuses_certificate(error: &io::Error) -> bool {
    use AlertDescription as A;
    matches!(
        rustls_error(error),
        Some(Error::AlertReceived(
            A::NoCertificate
                | A::BadCertificate
                | A::UnsupportedCertificate
                | A::CertificateRevoked
                | A::CertificateExpired
                | A::CertificateUnknown
                | A::UnknownCA
                | A::AccessDenied
                | A::CertificateRequired
        ))
    )
}

fn rustls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

#[cfg(test)]
mod tests;
