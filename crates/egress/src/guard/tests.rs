use proptest::prelude::*;

use super::*;

fn guard(allow: &[&str], deny: &[&str]) -> Guard {
    let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    Guard { allow: nets(allow), deny: nets(deny), api_server: vec!["10.96.0.1".parse().unwrap()] }
}

#[test]
fn what_is_built_in() {
    let check = |addresses: &[&str], expect: Option<&str>| {
        for address in addresses {
            assert_eq!(guard(&[], &[]).refuses(address.parse().unwrap()), expect, "{address}");
        }
    };
    check(&["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "::127.0.0.1"], Some(LOOPBACK));
    check(&["64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::", "::ffff:0:7f00:1"], Some(LOOPBACK));
    check(&["0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0", "64:ff9b::"], Some(UNSPECIFIED));
    check(&["169.254.169.254", "169.254.170.2", "169.254.0.1"], Some(LINK_LOCAL));
    check(
        &["::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "fe80::1", "febf::1"],
        Some(LINK_LOCAL),
    );
    check(&["168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd00:ec2::23"], Some(METADATA));
    check(&["fd20:ce::254", "::ffff:100.100.100.200"], Some(METADATA));
    check(&["224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "ff02::1"], Some(NOT_A_HOST));
    check(&["10.96.0.1", "::ffff:10.96.0.1"], Some("the API server's address"));
    // A Jenkins in the cluster is as private as anything else there.
    check(&["10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "fd00::1", "10.96.0.2"], None);
    check(&["1.1.1.1", "128.0.0.1", "169.253.0.1", "168.63.129.17", "223.255.255.255", "2606:4700::1111"], None);
}

#[test]
fn allow_wins_over_deny_and_both_over_what_is_built_in() {
    let check = |guard: &Guard, address: &str, expect: bool| {
        assert_eq!(guard.refuses(address.parse().unwrap()).is_none(), expect, "{address}");
    };
    let some = guard(&["127.0.0.2/32", "10.1.0.0/16"], &["10.0.0.0/8", "fc00::/7"]);
    check(&some, "127.0.0.2", true);
    check(&some, "::ffff:127.0.0.2", true);
    check(&some, "127.0.0.1", false);
    check(&some, "10.1.2.3", true);
    check(&some, "10.2.2.3", false);
    check(&some, "fd00::1", false);
    check(&some, "192.168.0.1", true);
    let only = guard(&["203.0.113.7/32"], &["0.0.0.0/0", "::/0"]);
    check(&only, "203.0.113.7", true);
    check(&only, "203.0.113.8", false);
    check(&only, "2606:4700::1111", false);
    check(&guard(&["10.96.0.1/32"], &[]), "10.96.0.1", true);
}

proptest! {
    #[test]
    fn no_way_to_write_an_address_gets_around(bits: u32, form in 0usize..6) {
        let address = Ipv4Addr::from_bits(bits);
        let low = u128::from(bits);
        let carried = match form {
            0 => low,
            1 => 0xffff << 32 | low,
            2 => 0xffff << 48 | low,
            3 => 0x0064_ff9b << 96 | low,
            4 => 0x0064_ff9b_0001 << 80 | low,
            _ => 0x2002 << 112 | low << 80 | 1,
        };
        let guard = guard(&[], &[]);
        if guard.refuses(address.into()).is_some() {
            prop_assert!(guard.refuses(Ipv6Addr::from_bits(carried).into()).is_some());
        }
    }
}
