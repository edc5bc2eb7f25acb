use super::*;
use crate::wire::{
    Advertisement, ChecksumForm, Datagram, MULTICAST_V4, Received, Signature, decode, encode,
};

const SENDER: NodeId = 7;
const OWN: NodeId = 8;

fn key(id: KeyId) -> SigningKey {
    SigningKey::new(id, &[id as u8; KEY_BYTES])
}

fn signer() -> Signer {
    Signer::new(key(1), SENDER, 3)
}

fn verifier() -> Verifier {
    let mut verifier = Verifier::new(OWN);
    verifier.accept_keys([key(1)]);
    verifier
}

fn advertisement() -> Advertisement {
    Advertisement {
        family: Family::V4,
        source: [10, 0, 0, 1].into(),
        vrid: 51,
        priority: 200,
        interval_cs: 20,
        addresses: vec![[10, 0, 0, 100].into()],
    }
}

fn sign(signer: &mut Signer, vrid: u8) -> Vec<u8> {
    let advertisement = Advertisement { vrid, ..advertisement() };
    encode(&advertisement, MULTICAST_V4.into(), ChecksumForm::Rfc9568, Some(signer)).unwrap()
}

fn verify(verifier: &mut Verifier, payload: &[u8]) -> Result<Signature, DropReason> {
    verify_from(verifier, [10, 0, 0, 1], MULTICAST_V4.octets(), payload)
}

fn verify_from(
    verifier: &mut Verifier,
    source: [u8; 4],
    destination: [u8; 4],
    payload: &[u8],
) -> Result<Signature, DropReason> {
    let (source, destination) = (source.into(), destination.into());
    let datagram = Datagram { source, destination, hop_limit: None, payload };
    decode(&datagram, Some(verifier)).map(|received: Received| received.signature)
}

const GOOD: Result<Signature, DropReason> = Ok(Signature::Good { node_id: SENDER });
const BAD: Result<Signature, DropReason> = Ok(Signature::Bad(DropReason::BadSignature));

#[test]
fn a_good_signature_names_its_node() {
    let bytes = sign(&mut signer(), 51);
    assert_eq!(bytes.len(), 8 + 4 + TRAILER_BYTES);
    assert_eq!(verify(&mut verifier(), &bytes), GOOD);
}

#[test]
fn no_signature_and_one_that_nobody_checks_are_told_apart() {
    let bytes = sign(&mut signer(), 51);
    assert_eq!(verify(&mut verifier(), &bytes[..12]), Ok(Signature::Absent));
    let datagram = Datagram {
        source: [10, 0, 0, 1].into(),
        destination: MULTICAST_V4.into(),
        hop_limit: None,
        payload: &bytes,
    };
    assert_eq!(decode(&datagram, None).unwrap().signature, Signature::Unchecked);
}

#[test]
fn another_key_under_the_same_number_is_bad() {
    let mut signer = signer();
    signer.use_key(SigningKey::new(1, &[9; KEY_BYTES]));
    assert_eq!(verify(&mut verifier(), &sign(&mut signer, 51)), BAD);
}

#[test]
fn another_number_is_an_unknown_key() {
    let mut signer = signer();
    signer.use_key(key(2));
    let unknown = Ok(Signature::Bad(DropReason::UnknownKey));
    assert_eq!(verify(&mut verifier(), &sign(&mut signer, 51)), unknown);
}

#[test]
fn keys_overlap_while_they_are_exchanged() {
    let (mut signer, mut verifier) = (signer(), verifier());
    verifier.accept_keys([key(1), key(2)]);
    assert_eq!(verify(&mut verifier, &sign(&mut signer, 51)), GOOD);
    signer.use_key(key(2));
    assert_eq!(verify(&mut verifier, &sign(&mut signer, 51)), GOOD);
    verifier.accept_keys([key(2)]);
    signer.use_key(key(1));
    assert_ne!(verify(&mut verifier, &sign(&mut signer, 51)), GOOD);
}

#[test]
fn a_signature_is_for_one_source_and_one_destination() {
    let bytes = sign(&mut signer(), 51);
    let multicast = MULTICAST_V4.octets();
    assert_eq!(verify_from(&mut verifier(), [10, 0, 0, 2], multicast, &bytes), BAD);
    assert_eq!(verify_from(&mut verifier(), [10, 0, 0, 1], [10, 0, 0, 9], &bytes), BAD);
}

#[test]
fn what_was_heard_before_is_a_replay() {
    let (mut signer, mut verifier) = (signer(), verifier());
    let first = sign(&mut signer, 51);
    let second = sign(&mut signer, 51);
    assert_eq!(verify(&mut verifier, &second), GOOD);
    assert_eq!(verify(&mut verifier, &second), Err(DropReason::Replayed));
    assert_eq!(verify(&mut verifier, &first), Err(DropReason::Replayed));
    assert_eq!(verify(&mut verifier, &sign(&mut signer, 51)), GOOD);
}

#[test]
fn a_bad_signature_does_not_move_the_counter() {
    let (mut signer, mut verifier) = (signer(), verifier());
    let first = sign(&mut signer, 51);
    let mut forged = sign(&mut signer, 51);
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(verify(&mut verifier, &forged), BAD);
    assert_eq!(verify(&mut verifier, &first), GOOD);
}

#[test]
fn virtual_routers_are_counted_apart() {
    let (mut signer, mut verifier) = (signer(), verifier());
    let one = sign(&mut signer, 51);
    let other = sign(&mut signer, 52);
    // Their sockets are read in any order.
    assert_eq!(verify(&mut verifier, &other), GOOD);
    assert_eq!(verify(&mut verifier, &one), GOOD);
}

#[test]
fn a_restarted_sender_is_heard_and_its_former_life_is_not() {
    let mut verifier = verifier();
    let mut before = signer();
    let old = [sign(&mut before, 51), sign(&mut before, 51)];
    assert_eq!(verify(&mut verifier, &old[0]), GOOD);
    let mut after = Signer::new(key(1), SENDER, 4);
    assert_eq!(verify(&mut verifier, &sign(&mut after, 51)), GOOD);
    assert_eq!(verify(&mut verifier, &old[1]), Err(DropReason::Replayed));
}

#[test]
fn a_restarted_receiver_refuses_epochs_that_it_was_told_are_over() {
    let old = sign(&mut signer(), 51);
    assert_eq!(verify(&mut verifier(), &old), GOOD);
    let mut verifier = verifier();
    verifier.require_epoch(SENDER, 4);
    // Never backwards.
    verifier.require_epoch(SENDER, 2);
    assert_eq!(verify(&mut verifier, &old), Err(DropReason::Replayed));
    let now = sign(&mut Signer::new(key(1), SENDER, 4), 51);
    assert_eq!(verify(&mut verifier, &now), GOOD);
}

#[test]
fn its_own_advertisements_are_not_news() {
    let bytes = sign(&mut Signer::new(key(1), OWN, 1), 51);
    assert_eq!(verify(&mut verifier(), &bytes), Err(DropReason::Own));
}

#[test]
fn senders_are_remembered_up_to_a_bound_and_forgotten_with_their_node() {
    let mut verifier = verifier();
    for node in 0..=MAX_STREAMS_COUNT as u64 {
        let mut signer = Signer::new(key(1), 100 + node, 1);
        let expected = if node < MAX_STREAMS_COUNT as u64 {
            Ok(Signature::Good { node_id: 100 + node })
        } else {
            Err(DropReason::TooManySenders)
        };
        assert_eq!(verify(&mut verifier, &sign(&mut signer, 51)), expected);
    }
    verifier.retain_nodes(&BTreeSet::from([100]));
    let mut signer = Signer::new(key(1), 50_000, 1);
    let good = Ok(Signature::Good { node_id: 50_000 });
    assert_eq!(verify(&mut verifier, &sign(&mut signer, 51)), good);
}

#[test]
fn no_more_keys_are_taken_than_are_needed() {
    let mut verifier = Verifier::new(OWN);
    verifier.accept_keys((1..=5).map(key));
    let mut with = |id| {
        let mut signer = Signer::new(key(id), SENDER, id);
        verify(&mut verifier, &sign(&mut signer, 51))
    };
    assert_eq!(with(4), GOOD);
    assert_eq!(with(5), Ok(Signature::Bad(DropReason::UnknownKey)));
}

#[test]
fn the_last_counter_is_not_followed_by_the_first() {
    let mut signer = signer();
    signer.counter = u64::MAX - 1;
    assert_eq!(verify(&mut verifier(), &sign(&mut signer, 51)), GOOD);
    let destination = MULTICAST_V4.into();
    let error = encode(&advertisement(), destination, ChecksumForm::Rfc9568, Some(&mut signer));
    assert_eq!(error, Err(SignError::CounterUsedUp.into()));
}

#[test]
fn keys_are_not_shown() {
    assert_eq!(format!("{:?}", key(4)), "SigningKey(4)");
}
