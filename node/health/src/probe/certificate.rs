//! The TLS handshake of a probe, and how long the member's certificate still lasts.
//!
//! Invariant: where the pool has no TLS settings nobody is trusted or mistrusted, but a certificate
//! that is out of date fails all the same.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use ballast_model::{PoolTls, TlsProbe};
use ballast_tls::{Alpn, MemberTls, Security, SystemRoots};
use rustls_pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, timeout};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Fault, elapsed, shake_hands};

const DAY_S: i64 = 24 * 60 * 60;

/// Makes the handshake and looks at the certificate; a sentence if both are good.
pub(super) async fn exchange(
    stream: TcpStream,
    security: &Security,
    address: SocketAddr,
    settings: &TlsProbe,
    begin: Instant,
) -> Result<String, Fault> {
    let unverified;
    let tls = match security.tls() {
        Some(tls) => &**tls,
        None => {
            unverified = unverified_tls().map_err(Fault::Answer)?;
            &unverified
        }
    };
    let name = match &settings.server_name {
        None => tls.server_name(address.ip()),
        Some(name) => ServerName::try_from(name.clone()).map_err(|_| {
            Fault::Answer(format!("{name:?} is no name that a certificate may hold"))
        })?,
    };
    let mut stream = shake_hands(stream, tls, name, Alpn::None).await?;
    let took = elapsed(begin);
    let session = stream.get_ref().1;
    let version = session.protocol_version().and_then(|version| version.as_str());
    let version = version.unwrap_or("TLS").replace("TLSv1_", "TLS 1.");
    let leaf = session.peer_certificates().and_then(|chain| chain.first());
    let leaf = leaf.map(|leaf| leaf.as_ref().to_vec()).unwrap_or_default();
    // So that the member's log does not complain (RFC 8446 §6.1); not waited for.
    let _best_effort = timeout(Duration::ZERO, stream.shutdown()).await;
    let not_after_s = not_after_s(&leaf).ok_or_else(|| {
        Fault::Answer(format!("the certificate of {address} can't be read after {took}"))
    })?;
    judge(not_after_s, now_s(), settings, &format!("{version} after {took}"))
}

/// Judges how long a certificate lasts.
fn judge(not_after_s: i64, now_s: i64, settings: &TlsProbe, shaken: &str) -> Result<String, Fault> {
    let left_s = not_after_s.saturating_sub(now_s);
    let date = date(not_after_s);
    if left_s < 0 {
        return Err(Fault::Answer(format!("{shaken}, but the certificate expired on {date}")));
    }
    let is_within = |days: Option<u32>| days.is_some_and(|days| left_s < i64::from(days) * DAY_S);
    let days = left_s / DAY_S;
    if is_within(settings.fail_days) {
        let limit = settings.fail_days.unwrap_or_default();
        return Err(Fault::Answer(format!(
            "{shaken}, but the certificate expires in {days} days, on {date}; expected {limit} or more"
        )));
    }
    Ok(if is_within(settings.warn_days) {
        format!("{shaken}; warning: the certificate expires in {days} days, on {date}")
    } else {
        format!("{shaken}; the certificate lasts until {date}")
    })
}

/// TLS that takes any certificate: its holder proves to have the key, and that is all.
fn unverified_tls() -> Result<MemberTls, String> {
    let settings = PoolTls { verify: false, ..PoolTls::default() };
    let made = MemberTls::new(&settings, None, &mut SystemRoots::default());
    made.map_err(|error| error.to_string())
}

fn not_after_s(certificate: &[u8]) -> Option<i64> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(parsed.validity().not_after.timestamp())
}

fn now_s() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
}

/// The day, in UTC, as `2026-12-01`: days to dates as by Howard Hinnant ("chrono-compatible low-level
/// date algorithms", `civil_from_days`).
fn date(unix_s: i64) -> String {
    let days = unix_s.div_euclid(DAY_S) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests;
