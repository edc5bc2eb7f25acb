//! The families of certificates.
//!
//! Invariant: the number of series is bounded, and what ends soonest has one.

use ballast_model::status::{CertificateState, CertificateStatus};

use super::{MetricKind, Metrics};

/// Most certificates with series of their own: those that end first.
const SERIES_MAX_COUNT: usize = 1_000;

/// Writes the families of the certificates in use.
pub fn write_certificates(metrics: &mut Metrics, certificates: &[CertificateStatus]) {
    let mut shown: Vec<_> = certificates.iter().collect();
    shown.sort_by_key(|certificate| certificate.not_after_ms);
    shown.truncate(SERIES_MAX_COUNT);
    let mut family = metrics.family(
        "ballast_certificate_not_after_timestamp_seconds",
        MetricKind::Gauge,
        "Until when a certificate in use is good; of more than 1,000, those that end first.",
    );
    for certificate in &shown {
        family.sample(&[("certificate", &certificate.name)], certificate.not_after_ms / 1_000);
    }
    let mut family = metrics.family(
        "ballast_certificate_staple_until_timestamp_seconds",
        MetricKind::Gauge,
        "Until when the answer of OCSP is good that is stapled to a certificate.",
    );
    for certificate in &shown {
        if let Some(staple) = &certificate.staple {
            family.sample(&[("certificate", &certificate.name)], staple.next_update_ms / 1_000);
        }
    }
    let mut family =
        metrics.family("ballast_certificates", MetricKind::Gauge, "Certificates in use, by state.");
    use CertificateState::{Expired, Expiring, NotYetValid, Valid};
    for state in [Expired, Expiring, NotYetValid, Valid] {
        let count = certificates.iter().filter(|certificate| certificate.state == state).count();
        family.sample(&[("state", state.as_str())], count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(number: u64) -> CertificateStatus {
        CertificateStatus {
            name: format!("c{number}"),
            not_before_ms: 0,
            not_after_ms: number * 1_000,
            state: if number < 10 { CertificateState::Expired } else { CertificateState::Valid },
            must_staple: false,
            staple: None,
            problems: Vec::new(),
        }
    }

    #[test]
    fn those_that_end_first_have_series_and_all_are_counted() {
        let of = |count: u64| {
            let mut metrics = Metrics::default();
            let certificates: Vec<_> = (0..count).rev().map(certificate).collect();
            write_certificates(&mut metrics, &certificates);
            metrics.finish()
        };
        let limit = SERIES_MAX_COUNT as u64;
        let last = format!("{{certificate=\"c{}\"}} {}", limit - 1, limit - 1);
        assert!(of(limit).contains(&last));
        let beyond = of(limit + 1);
        assert!(beyond.contains(&last) && !beyond.contains(&format!("\"c{limit}\"")), "{beyond}");
        assert!(beyond.contains("ballast_certificates{state=\"expired\"} 10\n"));
        assert!(beyond.contains("ballast_certificates{state=\"valid\"} 991\n"));
    }
}
