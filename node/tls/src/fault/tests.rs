use rustls::{AlertDescription, InvalidMessage};

use super::*;

fn wrapped(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[test]
fn what_has_to_be_mended_differently_is_told_apart() {
    let certificate = |error| wrapped(Error::InvalidCertificate(error));
    let cases = [
        (certificate(CertificateError::Expired), TlsFault::Expired),
        (certificate(CertificateError::NotValidYet), TlsFault::Expired),
        (certificate(CertificateError::NotValidForName), TlsFault::NameMismatch),
        (certificate(CertificateError::UnknownIssuer), TlsFault::UnknownCa),
        (certificate(CertificateError::Revoked), TlsFault::Certificate),
        (wrapped(Error::NoCertificatesPresented), TlsFault::Certificate),
        (wrapped(Error::AlertReceived(AlertDescription::UnknownCA)), TlsFault::Refused),
        (wrapped(InvalidMessage::InvalidContentType.into()), TlsFault::Handshake),
    ];
    for (error, fault) in cases {
        assert_eq!(TlsFault::of(&error), Some(fault), "{error}");
    }
}

#[test]
fn errors_of_the_connection_below_are_none_of_tls() {
    assert_eq!(TlsFault::of(&io::ErrorKind::ConnectionReset.into()), None);
    assert_eq!(TlsFault::of(&io::Error::other("something else")), None);
}

#[test]
fn an_alert_is_named() {
    let error = wrapped(Error::AlertReceived(AlertDescription::CertificateRequired));
    assert_eq!(describe(&error), "the member refused: alert CertificateRequired");
}

#[test]
fn an_alert_about_our_certificate_is_told_from_others() {
    let alert = |alert| refuses_certificate(&wrapped(Error::AlertReceived(alert)));
    assert!(alert(AlertDescription::CertificateRequired) && alert(AlertDescription::UnknownCA));
    assert!(!alert(AlertDescription::InternalError) && !alert(AlertDescription::CloseNotify));
    let theirs = wrapped(Error::InvalidCertificate(CertificateError::UnknownIssuer));
    assert!(!refuses_certificate(&theirs));
}
