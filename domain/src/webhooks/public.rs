//! Which addresses are on the public internet, and so may be called for a stranger.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IANA's registry of special-purpose IPv4 addresses, as of RFC 6890 and its updates: what is not
/// globally reachable, or is no single host. Beside it multicast (RFC 5771) and the former class E.
const SPECIAL_V4: [(Ipv4Addr, u32); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),       // this network, RFC 791
    (Ipv4Addr::new(10, 0, 0, 0), 8),      // private, RFC 1918
    (Ipv4Addr::new(100, 64, 0, 0), 10),   // carriers' NAT, RFC 6598
    (Ipv4Addr::new(127, 0, 0, 0), 8),     // loopback, RFC 1122
    (Ipv4Addr::new(169, 254, 0, 0), 16),  // link-local, with the clouds' metadata, RFC 3927
    (Ipv4Addr::new(172, 16, 0, 0), 12),   // private, RFC 1918
    (Ipv4Addr::new(192, 0, 0, 0), 24),    // protocol assignments, RFC 6890
    (Ipv4Addr::new(192, 0, 2, 0), 24),    // documentation, RFC 5737
    (Ipv4Addr::new(192, 31, 196, 0), 24), // AS112, RFC 7535
    (Ipv4Addr::new(192, 52, 193, 0), 24), // AMT, RFC 7450
    (Ipv4Addr::new(192, 88, 99, 0), 24),  // relays of 6to4, RFC 7526
    (Ipv4Addr::new(192, 168, 0, 0), 16),  // private, RFC 1918
    (Ipv4Addr::new(192, 175, 48, 0), 24), // AS112, RFC 7534
    (Ipv4Addr::new(198, 18, 0, 0), 15),   // benchmarks, RFC 2544
    (Ipv4Addr::new(198, 51, 100, 0), 24), // documentation, RFC 5737
    (Ipv4Addr::new(203, 0, 113, 0), 24),  // documentation, RFC 5737
];

/// IANA's registry of special-purpose IPv6 addresses inside of [`GLOBAL_V6`]. 64:ff9b::/96,
/// 2001::/32 and 2002::/16 hold an IPv4 address and are looked into.
const SPECIAL_V6: [(Ipv6Addr, u32); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // protocol assignments, RFC 2928
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation, RFC 3849
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48), // AS112, RFC 7534
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation, RFC 9637
];

/// All that has been given out for single hosts (RFC 4291, 2.5.4): the rest is loopback, local,
/// multicast or of no use yet.
const GLOBAL_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Whether the address belongs to a host that everybody on the internet can reach.
///
/// An IPv6 address that holds an IPv4 address, which a gateway on the way may unpack, is public
/// when both are.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let special = |(net, bits): &(Ipv4Addr, u32)| {
        (address.to_bits() ^ net.to_bits()).leading_zeros() >= *bits
    };
    // From 224.0.0.0 on: multicast, reserved, broadcast.
    address.octets()[0] < 224 && !SPECIAL_V4.iter().any(special)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let within = |(net, bits): &(Ipv6Addr, u32)| {
        (address.to_bits() ^ net.to_bits()).leading_zeros() >= *bits
    };
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| is_public_v4((u32::from(high) << 16 | u32::from(low)).into());
    match (a, b, c, d, e, f) {
        // IPv4-mapped, RFC 4291, and translated by a NAT64, RFC 6052.
        (0, 0, 0, 0, 0, 0xffff) | (0x64, 0xff9b, 0, 0, 0, 0) => v4(g, h),
        // 6to4, RFC 3056.
        (0x2002, ..) => v4(b, c),
        // Teredo, RFC 4380: the server, and the client behind its NAT, whose bits are turned over.
        (0x2001, 0, ..) => v4(c, d) && v4(!g, !h),
        _ => within(&GLOBAL_V6) && !SPECIAL_V6.iter().any(within),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn public(text: &str) -> bool {
        is_public(text.parse().unwrap())
    }

    #[test]
    fn hosts_of_the_internet_are_public() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::",
            "2001:4860:4860::8888",
            "2606:4700:4700::1111",
            "3ffe:ffff::1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
            // Teredo: server 8.8.8.8, client 1.1.1.1.
            "2001:0:808:808:0:0:fefe:fefe",
        ] {
            assert!(public(address), "{address}");
        }
    }

    #[test]
    fn everything_else_is_not() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.170",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            // IPv4-compatible, long deprecated, and what a stack may still make of it.
            "::127.0.0.1",
            "::8.8.8.8",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0:127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            // Teredo, with a private client and with a private server.
            "2001:0:808:808:0:0:f5ff:fffe",
            "2001:0:a00:1:0:0:fefe:fefe",
            "2001:1::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:a9fe:a9fe::1",
            "3fff:fff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!public(address), "{address}");
        }
    }

    proptest! {
        /// No way of writing an IPv4 address into an IPv6 one makes a private one public.
        #[test]
        fn an_address_inside_another_counts(bits: u32, subnet: u16, host: u64) {
            let inner = Ipv4Addr::from(bits);
            let (high, low) = ((bits >> 16) as u16, bits as u16);
            let outers = [
                inner.to_ipv6_mapped(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::from_bits(
                    u128::from(0x2002_u16) << 112
                        | u128::from(bits) << 80
                        | u128::from(subnet) << 64
                        | u128::from(host),
                ),
                Ipv6Addr::new(0x2001, 0, 0x808, 0x808, subnet, 0, !high, !low),
                Ipv6Addr::new(0x2001, 0, high, low, subnet, 0, 0xfefe, 0xfefe),
            ];
            for outer in outers {
                prop_assert_eq!(is_public(outer.into()), is_public(inner.into()), "{} in {}", inner, outer);
            }
        }

        /// What the standard library knows to be special is so here.
        #[test]
        fn nothing_that_the_standard_library_calls_local_is_public(bits: u32, wide: u128) {
            let four = Ipv4Addr::from(bits);
            let local = four.is_private() || four.is_loopback() || four.is_link_local()
                || four.is_multicast() || four.is_broadcast() || four.is_documentation()
                || four.is_unspecified();
            prop_assert!(!(local && is_public(four.into())), "{}", four);
            // All of the first byte's values, which chance would seldom give.
            for first in 0..=255_u128 {
                let six = Ipv6Addr::from(wide >> 8 | first << 120);
                let local = six.is_loopback() || six.is_multicast() || six.is_unique_local()
                    || six.is_unicast_link_local() || six.is_unspecified();
                prop_assert!(!(local && is_public(six.into())), "{}", six);
            }
        }
    }
}
