use super::*;

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(ATTRIBUTE_HEADER_BYTES + value.len()).unwrap();
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT_BYTES), 0);
    bytes
}

fn link(flags: i32, attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.extend(7_u32.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(attributes.concat());
    bytes
}

fn in_message(kind: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(MESSAGE_HEADER_BYTES + body.len()).unwrap();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend([2, 0]);
    bytes.extend(5_u32.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(body);
    bytes
}

#[test]
fn odd_attributes_do_not_hide_the_device() {
    let body = link(
        libc::IFF_UP | libc::IFF_RUNNING | libc::IFF_MULTICAST,
        &[
            attribute(libc::IFLA_MTU, &[1]),
            attribute(60_000, b"what no kernel of today says"),
            attribute(libc::IFLA_LINKINFO, &[0xff; 5]),
            attribute(libc::IFLA_AF_SPEC, &[]),
            attribute(libc::IFLA_ADDRESS, &[0x80, 0, 0, 0x48, 0xfe, 0x80, 0, 0]),
            attribute(libc::IFLA_IFNAME, b"ib0\0"),
        ],
    );
    let device = device(&body).expect("a device");
    assert_eq!((device.index, device.name.as_str(), device.mac), (7, "ib0", [0; 6]));
    assert!(device.up && device.multicast && !device.loopback);
}

#[test]
fn an_attribute_that_is_cut_short_ends_the_message_and_harms_no_other() {
    let name = attribute(libc::IFLA_IFNAME, b"eth0\0");
    let mut cut = link(0, std::slice::from_ref(&name));
    cut.extend([200, 0, 1, 0]);
    let datagram =
        [in_message(libc::RTM_NEWLINK, &cut), in_message(libc::RTM_NEWLINK, &link(0, &[name]))]
            .concat();
    let names: Vec<_> =
        messages(&datagram).filter_map(|it| device(it.body)).map(|device| device.name).collect();
    assert_eq!(names, ["eth0", "eth0"]);
}

#[test]
fn bytes_that_are_no_message_are_none() {
    for length in 0..40 {
        for byte in [0, 1, 4, 16, 17, 0xff] {
            let bytes = vec![byte; length];
            let _count = messages(&bytes).count();
            assert_eq!(device(&bytes), None);
            let _address = address(&bytes);
        }
    }
}

#[test]
fn a_macvlan_is_told_from_other_devices_on_top_of_one() {
    let on_top = |kind: &[u8]| {
        let info = attribute(libc::IFLA_INFO_KIND, kind);
        device(&link(
            libc::IFF_UP,
            &[
                attribute(libc::IFLA_IFNAME, b"top\0"),
                attribute(libc::IFLA_LINK, &3_u32.to_ne_bytes()),
                attribute(libc::IFLA_IFALIAS, b"mine"),
                attribute(libc::IFLA_LINKINFO, &info),
            ],
        ))
        .expect("a device")
        .macvlan
    };
    let expected = Macvlan { parent: 3, alias: "mine".to_owned(), set_up: true };
    assert_eq!(on_top(b"macvlan\0"), Some(expected));
    assert_eq!(on_top(b"vlan\0"), None);
}

#[test]
fn an_address_is_leased_unless_the_kernel_calls_it_permanent() {
    let told = |flags: u32| {
        let mut body = vec![u8::try_from(libc::AF_INET).unwrap(), 24, 0, 0];
        body.extend(2_u32.to_ne_bytes());
        body.extend(attribute(libc::IFA_ADDRESS, &[192, 0, 2, 9]));
        body.extend(attribute(libc::IFA_LOCAL, &[192, 0, 2, 1]));
        body.extend(attribute(libc::IFA_FLAGS, &flags.to_ne_bytes()));
        address(&body).expect("an address")
    };
    let expected = |leased| {
        let address = Ipv4Addr::new(192, 0, 2, 1).into();
        (2, DeviceAddress { address, prefix_length: 24, leased })
    };
    assert_eq!(told(libc::IFA_F_NOPREFIXROUTE), expected(true));
    assert_eq!(told(libc::IFA_F_PERMANENT), expected(false));
}
