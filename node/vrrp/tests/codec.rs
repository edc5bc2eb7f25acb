//! The codec against arbitrary input: nothing makes it panic, what is written can be read, and of a
//! signed message no bit can be changed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ballast_vrrp::Family;
use ballast_vrrp::wire::{
    Advertisement, ChecksumForm, Datagram, Signature, Signer, SigningKey, TRAILER_BYTES, Verifier,
    decode, encode, ipv4_packet, peek_vrid,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn key() -> SigningKey {
    SigningKey::new(1, &[7; 32])
}

fn verifier() -> Verifier {
    let mut verifier = Verifier::new(1);
    verifier.accept_keys([key()]);
    verifier
}

fn link_local() -> impl Strategy<Value = Ipv6Addr> {
    any::<u64>().prop_map(|low| Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(low)))
}

fn advertisements() -> impl Strategy<Value = Advertisement> {
    let of_v4 = (any::<Ipv4Addr>(), vec(any::<Ipv4Addr>(), 1..=255)).prop_map(|(source, list)| {
        (Family::V4, IpAddr::V4(source), list.into_iter().map(IpAddr::V4).collect())
    });
    let of_v6 = (link_local(), link_local(), vec(any::<Ipv6Addr>(), 0..=63)).prop_map(
        |(source, first, rest)| {
            let addresses: Vec<IpAddr> =
                std::iter::once(first).chain(rest).map(IpAddr::V6).collect();
            (Family::V6, IpAddr::V6(source), addresses)
        },
    );
    (prop_oneof![of_v4, of_v6], 1..=255_u8, any::<u8>(), 1..=4095_u16).prop_map(
        |((family, source, addresses), vrid, priority, interval_cs)| Advertisement {
            family,
            source,
            vrid,
            priority,
            interval_cs,
            addresses,
        },
    )
}

fn datagram<'a>(advertisement: &Advertisement, payload: &'a [u8]) -> Datagram<'a> {
    Datagram {
        source: advertisement.source,
        destination: advertisement.family.multicast(),
        hop_limit: Some(255),
        payload,
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in vec(any::<u8>(), 0..300),
        v4 in any::<bool>(),
        hop_limit in any::<Option<u8>>(),
    ) {
        let family = if v4 { Family::V4 } else { Family::V6 };
        let source = family.multicast();
        let datagram = Datagram { source, destination: source, hop_limit, payload: &bytes };
        let _ = decode(&datagram, Some(&mut verifier()));
        let _ = ipv4_packet(&bytes);
        let _ = peek_vrid(&bytes);
    }

    #[test]
    fn bytes_that_look_right_never_panic(
        mut bytes in vec(any::<u8>(), 8..300),
        trailer in vec(any::<u8>(), TRAILER_BYTES),
        count in 0..20_u8,
    ) {
        bytes[0] = 0x31;
        bytes[3] = count;
        let message_bytes = 8 + usize::from(count) * 4;
        if bytes.len() > message_bytes {
            bytes.truncate(message_bytes);
            bytes.extend(b"BLV\x01");
            bytes.extend(&trailer[4..]);
        }
        let source = Family::V4.multicast();
        let datagram = Datagram { source, destination: source, hop_limit: None, payload: &bytes };
        let _ = decode(&datagram, Some(&mut verifier()));
    }

    #[test]
    fn what_is_written_is_read(advertisement in advertisements(), pseudo in any::<bool>()) {
        let form = if pseudo { ChecksumForm::PseudoHeader } else { ChecksumForm::Rfc9568 };
        let destination = advertisement.family.multicast();
        let bytes = encode(&advertisement, destination, form, None).unwrap();
        let received = decode(&datagram(&advertisement, &bytes), None).unwrap();
        prop_assert_eq!(received.advertisement, advertisement);
        prop_assert_eq!(received.signature, Signature::Absent);
    }

    #[test]
    fn a_changed_bit_of_a_signed_message_is_never_accepted(
        advertisement in advertisements(),
        bit in any::<prop::sample::Index>(),
    ) {
        let mut signer = Signer::new(key(), 2, 1);
        let destination = advertisement.family.multicast();
        let form = ChecksumForm::default();
        let bytes = encode(&advertisement, destination, form, Some(&mut signer)).unwrap();
        let good = decode(&datagram(&advertisement, &bytes), Some(&mut verifier())).unwrap();
        prop_assert_eq!(good.signature, Signature::Good { node_id: 2 });
        prop_assert_eq!(&good.advertisement, &advertisement);

        let mut changed = bytes.clone();
        let bit = bit.index(bytes.len() * 8);
        changed[bit / 8] ^= 1 << (bit % 8);
        let accepted = decode(&datagram(&advertisement, &changed), Some(&mut verifier()))
            .is_ok_and(|received| matches!(received.signature, Signature::Good { .. }));
        prop_assert!(!accepted, "bit {} of {}", bit, bytes.len() * 8);
    }
}
