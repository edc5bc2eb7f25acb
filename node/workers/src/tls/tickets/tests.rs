use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use proptest::prelude::*;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConnection,
    SupportedProtocolVersion,
};

use super::*;
use crate::tls::{Certificate, TlsSettings};

/// "Seals" by writing the bytes as text.
fn seal(secret: &[u8]) -> Result<Sealed, Infallible> {
    let ciphertext = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Sealed { key_id: 1, nonce: String::new(), ciphertext })
}

fn open(sealed: &Sealed) -> Result<Vec<u8>, String> {
    let digits = sealed.ciphertext.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.map(byte).collect::<Option<_>>().ok_or_else(|| "it is garbled".to_owned())
}

fn unseal() -> Unseal {
    Arc::new(open)
}

/// `keys` with a new one in front, made at `now_ms`.
fn rotated(keys: &[TicketKey], now_ms: u64) -> Vec<TicketKey> {
    match rotation(keys, now_ms, seal).unwrap() {
        CommandBody::RotateTicketKey { key, after } => {
            assert_eq!(after.as_ref(), keys.first().map(|newest| &newest.id));
            [vec![key], keys.to_vec()].concat()
        }
        other => panic!("{other:?}"),
    }
}

fn ring(keys: &[TicketKey]) -> Arc<TicketKeys> {
    let ring = TicketKeys::default();
    ring.set(keys, &unseal());
    Arc::new(ring)
}

fn tickets(keys: &[TicketKey], uid: &str) -> Tickets {
    Tickets::new(ring(keys), uid.as_bytes())
}

/// A client that keeps its sessions, and the certificate that it trusts.
struct Client {
    certificate: Arc<Certificate>,
    config: Arc<ClientConfig>,
}

impl Client {
    fn new(version: &'static SupportedProtocolVersion) -> Self {
        let issued = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap();
        let spec = ballast_model::CertificateSpec {
            chain_pem: issued.cert.pem(),
            private_key_pem: Some(issued.signing_key.serialize_pem()),
            ..Default::default()
        };
        let mut roots = RootCertStore::empty();
        roots.add(issued.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(8);
        let certificate = Arc::new(Certificate::read(&spec, &unseal()).unwrap());
        Self { certificate, config: Arc::new(config) }
    }

    fn server(&self, keys: &Arc<TicketKeys>, uid: &str) -> TlsSettings {
        let settings =
            TlsSettings::new(keys, uid, true, &ballast_model::ServerTls::default()).unwrap();
        settings.set_certificates(&[Arc::clone(&self.certificate)]);
        settings
    }

    /// Shakes hands with `server`, and takes the tickets that it gives.
    fn connect(&self, server: &TlsSettings) -> HandshakeKind {
        let name = ServerName::try_from("a.test").unwrap();
        let mut client = ClientConnection::new(Arc::clone(&self.config), name).unwrap();
        let mut server = ServerConnection::new(Arc::clone(server.config())).unwrap();
        while client.wants_write() || server.wants_write() {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).unwrap();
            }
            take(&mut server, &bytes);
            bytes.clear();
            while server.wants_write() {
                server.write_tls(&mut bytes).unwrap();
            }
            take(&mut client, &bytes);
        }
        assert!(!client.is_handshaking() && !server.is_handshaking());
        let kind = server.handshake_kind().unwrap();
        assert_eq!(client.handshake_kind(), Some(kind));
        kind
    }
}

fn take<D>(
    connection: &mut impl std::ops::DerefMut<Target = rustls::ConnectionCommon<D>>,
    bytes: &[u8],
) {
    let mut bytes = bytes;
    while !bytes.is_empty() {
        connection.read_tls(&mut bytes).unwrap();
        connection.process_new_packets().unwrap();
    }
}

fn each_version(check: impl Fn(Client)) {
    check(Client::new(&rustls::version::TLS12));
    check(Client::new(&rustls::version::TLS13));
}

#[test]
fn nodes_with_the_same_keys_resume_each_others_sessions() {
    each_version(|client| {
        let keys = rotated(&[], 0);
        let (one, other) = (client.server(&ring(&keys), "vs"), client.server(&ring(&keys), "vs"));
        assert_eq!(client.connect(&one), HandshakeKind::Full);
        assert_eq!(client.connect(&other), HandshakeKind::Resumed);
        assert_eq!(client.connect(&one), HandshakeKind::Resumed);
    });
}

#[test]
fn a_session_is_good_at_its_own_virtual_server_only() {
    each_version(|client| {
        let keys = ring(&rotated(&[], 0));
        assert_eq!(client.connect(&client.server(&keys, "vs")), HandshakeKind::Full);
        assert_eq!(client.connect(&client.server(&keys, "other")), HandshakeKind::Full);
    });
}

#[test]
fn a_session_outlives_rotations_while_its_key_is_kept() {
    each_version(|client| {
        let first = rotated(&[], 0);
        let keys = ring(&first);
        let server = client.server(&keys, "vs");
        assert_eq!(client.connect(&server), HandshakeKind::Full);
        let second = rotated(&first, 1);
        keys.set(&second, &unseal());
        assert_eq!(client.connect(&server), HandshakeKind::Resumed);
        // Tickets are made with the newest key, so that the oldest can go.
        let third = rotated(&second, 2);
        keys.set(&third[..2], &unseal());
        assert_eq!(client.connect(&server), HandshakeKind::Resumed);
        keys.set(&rotated(&[], 3), &unseal());
        assert_eq!(client.connect(&server), HandshakeKind::Full);
    });
}

#[test]
fn without_a_key_there_are_no_tickets() {
    each_version(|client| {
        let keys = ring(&[]);
        let server = client.server(&keys, "vs");
        assert_eq!(client.connect(&server), HandshakeKind::Full);
        assert_eq!(client.connect(&server), HandshakeKind::Full);
        keys.set(&rotated(&[], 0), &unseal());
        assert_eq!(client.connect(&server), HandshakeKind::Full);
        assert_eq!(client.connect(&server), HandshakeKind::Resumed);
    });
}

#[test]
fn a_key_is_unsealed_once() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let unseal: Unseal = Arc::new(move |sealed| {
        counted.fetch_add(1, SeqCst);
        open(sealed)
    });
    let ring = TicketKeys::default();
    let first = rotated(&[], 0);
    ring.set(&first, &unseal);
    ring.set(&first, &unseal);
    assert_eq!(count.load(SeqCst), 1);
    ring.set(&rotated(&first, 1), &unseal);
    assert_eq!(count.load(SeqCst), 2);
}

#[test]
fn a_key_that_cannot_be_read_is_left_out() {
    let good = rotated(&[], 0);
    let sealed = |text: &str| Sealed { key_id: 1, nonce: String::new(), ciphertext: text.into() };
    let garbled = TicketKey { secret_sealed: sealed("??"), ..good[0].clone() };
    let short = TicketKey { secret_sealed: sealed("00ff"), ..good[0].clone() };
    let nameless = TicketKey { id: "+1".repeat(16), ..good[0].clone() };
    let all = [garbled, short, nameless, good[0].clone()];
    assert!(!tickets(&all[..3], "vs").enabled());
    let ticket = tickets(&all, "vs").encrypt(b"state").unwrap();
    assert_eq!(tickets(&good, "vs").decrypt(&ticket).unwrap(), b"state");
}

#[test]
fn rotation_is_due_without_a_key_and_after_eight_hours() {
    assert!(rotation_due(&[], 0));
    let made_at = 1_000_000_000;
    let keys = rotated(&[], made_at);
    assert!(!rotation_due(&keys, made_at));
    assert!(!rotation_due(&keys, made_at - 1_000), "a clock that is a little behind");
    assert!(!rotation_due(&keys, made_at + ROTATION_INTERVAL_MS - 1));
    assert!(rotation_due(&keys, made_at + ROTATION_INTERVAL_MS));
    assert!(rotation_due(&keys, made_at - ROTATION_INTERVAL_MS), "it was made in the future");
    assert!(!rotation_due(
        &rotated(&keys, made_at + ROTATION_INTERVAL_MS),
        made_at + ROTATION_INTERVAL_MS
    ));
}

#[test]
fn keys_are_never_made_twice() {
    let keys = rotated(&rotated(&[], 0), 0);
    assert_ne!(keys[0].id, keys[1].id);
    assert_ne!(keys[0].secret_sealed.ciphertext, keys[1].secret_sealed.ciphertext);
    assert_eq!(keys[0].id.len(), 32);
    assert_eq!(open(&keys[0].secret_sealed).unwrap().len(), SECRET_BYTES);
}

#[test]
fn states_beyond_the_bound_get_no_ticket() {
    let tickets = tickets(&rotated(&[], 0), "vs");
    assert!(tickets.encrypt(&vec![0; STATE_MAX_BYTES + 1]).is_none());
    let longest = tickets.encrypt(&vec![7; STATE_MAX_BYTES]).unwrap();
    assert_eq!(tickets.decrypt(&longest).unwrap(), vec![7; STATE_MAX_BYTES]);
}

proptest! {
    #[test]
    fn what_was_made_is_read_and_nothing_else(
        state in prop::collection::vec(any::<u8>(), 0..600),
        at: prop::sample::Index,
        flip in 1..=255_u8,
        cut: prop::sample::Index,
    ) {
        let tickets = tickets(&rotated(&rotated(&[], 0), 1), "vs");
        let ticket = tickets.encrypt(&state).unwrap();
        prop_assert_eq!(tickets.decrypt(&ticket), Some(state));
        let mut changed = ticket.clone();
        changed[at.index(ticket.len())] ^= flip;
        prop_assert_eq!(tickets.decrypt(&changed), None);
        prop_assert_eq!(tickets.decrypt(&ticket[..cut.index(ticket.len())]), None);
    }

    #[test]
    fn garbage_is_survived(rest in prop::collection::vec(any::<u8>(), 0..200), has_id: bool) {
        let keys = rotated(&[], 0);
        let mut ticket = if has_id { parse_id(&keys[0].id).unwrap().to_vec() } else { vec![] };
        ticket.extend(rest);
        prop_assert_eq!(tickets(&keys, "vs").decrypt(&ticket), None);
    }
}
