use std::net::SocketAddr;

use super::*;
use crate::resource::Spec;
use crate::{Protocol, VirtualServerSpec};

fn faults(protocol: Protocol, force: Option<ForceHttps>, hsts: Option<Hsts>) -> Vec<String> {
    let listen: SocketAddr = "192.0.2.1:80".parse().unwrap();
    let mut spec = VirtualServerSpec::new(protocol, listen, "p");
    if protocol == Protocol::Https {
        spec.certificates = vec!["c".to_owned()];
    }
    (spec.http.force_https, spec.http.hsts) = (force, hsts);
    let mut errors = FieldErrors::default();
    spec.validate(&mut errors);
    errors.into_vec().into_iter().map(|fault| fault.pointer).collect()
}

fn hsts(max_age_s: u64) -> Hsts {
    Hsts { max_age_s, include_subdomains: false, preload: false }
}

#[test]
fn redirects_are_for_plain_text_and_hsts_for_tls() {
    let force = || Some(ForceHttps::default());
    assert_eq!(faults(Protocol::Http, force(), None), [""; 0]);
    assert_eq!(faults(Protocol::Https, None, Some(hsts(1))), [""; 0]);
    assert_eq!(faults(Protocol::Https, force(), None), ["/http/force_https"]);
    assert_eq!(faults(Protocol::Http, None, Some(hsts(1))), ["/http/hsts"]);
    assert_eq!(faults(Protocol::Tcp, force(), None), ["/http/force_https"]);
}

#[test]
fn bounds_are_kept_at_the_limit_and_beyond() {
    for (status, is_good) in [(301, true), (302, true), (307, true), (308, true), (303, false)] {
        let found = faults(Protocol::Http, Some(ForceHttps { status, port: 1 }), None);
        assert_eq!(found.is_empty(), is_good, "{status}");
    }
    let port_0 = Some(ForceHttps { status: 308, port: 0 });
    assert_eq!(faults(Protocol::Http, port_0, None), ["/http/force_https/port"]);
    assert_eq!(faults(Protocol::Https, None, Some(hsts(MAX_AGE_MAX_S))), [""; 0]);
    let beyond = faults(Protocol::Https, None, Some(hsts(MAX_AGE_MAX_S + 1)));
    assert_eq!(beyond, ["/http/hsts/max_age_s"]);
}

#[test]
fn preloading_asks_for_what_browsers_ask_for() {
    let preload =
        |max_age_s, include_subdomains| Hsts { max_age_s, include_subdomains, preload: true };
    let year = PRELOAD_MAX_AGE_MIN_S;
    for (hsts, is_good) in [
        (preload(year, true), true),
        (preload(year - 1, true), false),
        (preload(year, false), false),
    ] {
        let found = faults(Protocol::Https, None, Some(hsts));
        assert_eq!(found.is_empty(), is_good, "{found:?}");
    }
    assert_eq!(preload(year, true).value(), "max-age=31536000; includeSubDomains; preload");
    assert_eq!(hsts(0).value(), "max-age=0");
}
