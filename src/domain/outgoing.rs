//! Where the gateway may connect to: decided on the address that a name became, not on the name.
//!
//! A gateway inside a region's network can reach what a stranger cannot, so an address that it was told must never lead it
//! to itself, to the machine's own network or to a cloud's metadata. Private ranges are where regional systems live: they
//! are allowed for what an administrator configured. What the gateway only learnt (a `next` link) must be where it asked.

// `core` knows what an address is, and nothing of sockets.
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What may be connected to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// Whether this machine is: true where the gateway itself can only be reached from it.
    pub loopback: bool,
    /// `[outgoing] allow`: networks that may be connected to beside what is always allowed.
    pub networks: Vec<Network>,
    /// `[outgoing] allow`: origins (`https://host:port`) that a learnt address may lead to.
    pub origins: Vec<String>,
}

/// A network: all addresses that share so many first bits with this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// Why an address is not connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Barred {
    #[error("it is on this machine; if that is meant, put the address into [outgoing] allow")]
    Loopback,
    #[error("it is link-local, where a cloud keeps its metadata; it is never connected to")]
    LinkLocal,
    #[error("it is a multicast or broadcast address; it is never connected to")]
    Many,
    #[error("it is no address of one machine; it is never connected to")]
    Nowhere,
}

impl Network {
    /// `10.1.2.3`, `10.0.0.0/8`, `::1`, `fd00::/8`.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address.parse().ok()?, Some(bits.parse().ok()?)),
            None => (text.parse().ok()?, None),
        };
        let most = if matches!(address, IpAddr::V4(_)) { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Self { address, bits })
    }

    fn holds(&self, address: IpAddr) -> bool {
        let shift = |all: u32| all.checked_sub(u32::from(self.bits));
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = u32::from(own) ^ u32::from(other);
                shift(32).and_then(|s| differ.checked_shr(s)).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = u128::from(own) ^ u128::from(other);
                shift(128).and_then(|s| differ.checked_shr(s)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl Outgoing {
    /// Whether this address may be connected to. What is never allowed is not made allowed by a list either.
    pub fn judge(&self, address: IpAddr) -> Result<(), Barred> {
        // The same machine under another writing: ::ffff:127.0.0.1, 64:ff9b::a9fe:a9fe, 2002:7f00:1::.
        for inner in embedded(address) {
            self.judge_v4(inner)?;
        }
        match address {
            IpAddr::V4(address) => self.judge_v4(address),
            IpAddr::V6(address) => self.judge_v6(address),
        }
    }

    fn judge_v4(&self, address: Ipv4Addr) -> Result<(), Barred> {
        if address.octets().first() == Some(&0) {
            return Err(Barred::Nowhere); // 0.0.0.0 reaches this machine on most systems
        }
        if address.is_link_local() {
            return Err(Barred::LinkLocal);
        }
        if address.is_multicast() || address.is_broadcast() {
            return Err(Barred::Many);
        }
        if address.is_loopback() && !self.may_loop(IpAddr::V4(address)) {
            return Err(Barred::Loopback);
        }
        Ok(())
    }

    fn judge_v6(&self, address: Ipv6Addr) -> Result<(), Barred> {
        if address.is_loopback() {
            return if self.may_loop(IpAddr::V6(address)) { Ok(()) } else { Err(Barred::Loopback) };
        }
        if address.is_unspecified() {
            return Err(Barred::Nowhere);
        }
        // fec0::/10 was for sites once; fd00:ec2::254 is a cloud's metadata behind a unique local address.
        let [first, ..] = address.segments();
        let is_site_local = first & 0xffc0 == 0xfec0;
        if address.is_unicast_link_local() || is_site_local || address == METADATA {
            return Err(Barred::LinkLocal);
        }
        if address.is_multicast() { Err(Barred::Many) } else { Ok(()) }
    }

    fn may_loop(&self, address: IpAddr) -> bool {
        self.loopback || self.networks.iter().any(|network| network.holds(address))
    }

    /// Whether an address that was only learnt may be followed: where it was asked, or where the settings say.
    pub fn may_follow(&self, asked_origin: &str, learnt_origin: &str) -> bool {
        asked_origin == learnt_origin || self.origins.iter().any(|origin| origin == learnt_origin)
    }
}

const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// IPv4 addresses that an IPv6 address stands for: mapped and compatible (RFC 4291), NAT64 (RFC 6052, 8215), 6to4 (RFC 3056).
fn embedded(address: IpAddr) -> Vec<Ipv4Addr> {
    let IpAddr::V6(address) = address else { return Vec::new() };
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0] if !address.is_loopback() && !address.is_unspecified() => vec![v4(g, h)],
        [0, 0, 0, 0, 0, 0xffff] | [0, 0, 0, 0, 0xffff, 0] | [0x64, 0xff9b, 0, 0, 0, 0] => vec![v4(g, h)],
        [0x64, 0xff9b, 1, ..] => vec![v4(g, h)],
        [0x2002, ..] => vec![v4(b, c)],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(outgoing: &Outgoing, address: &str) -> Result<(), Barred> {
        outgoing.judge(address.parse().unwrap())
    }

    #[test]
    fn every_kind_of_address_is_judged_in_every_writing() {
        let strict = Outgoing::default();
        let table: &[(Result<(), Barred>, &[&str])] = &[
            (Ok(()), &["192.0.2.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "2001:db8::1", "fd12::1"]),
            (Ok(()), &["::ffff:192.0.2.1", "::ffff:10.0.0.1", "64:ff9b::192.0.2.1", "2002:c000:201::1"]),
            (Err(Barred::Loopback), &["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "::127.0.0.1"]),
            (Err(Barred::Loopback), &["::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::"]),
            (Err(Barred::LinkLocal), &["169.254.169.254", "169.254.0.1", "fe80::1", "febf::1", "fec0::1"]),
            (Err(Barred::LinkLocal), &["::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::"]),
            (Err(Barred::LinkLocal), &["fd00:ec2::254"]),
            (Err(Barred::Many), &["224.0.0.1", "239.1.1.1", "255.255.255.255", "ff02::1", "::ffff:224.0.0.1"]),
            (Err(Barred::Nowhere), &["0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0", "64:ff9b::"]),
        ];
        for (expected, addresses) in table {
            for address in *addresses {
                assert_eq!(judge(&strict, address), *expected, "{address}");
            }
        }
    }

    #[test]
    fn this_machine_is_reached_where_the_gateway_listens_on_it_or_the_settings_say() {
        let demo = Outgoing { loopback: true, ..Outgoing::default() };
        let listed = Outgoing { networks: vec![Network::parse("127.0.0.2").unwrap()], ..Outgoing::default() };
        for (outgoing, address, expected) in [
            (&demo, "127.0.0.1", Ok(())),
            (&demo, "::1", Ok(())),
            (&demo, "::ffff:127.0.0.1", Ok(())),
            (&demo, "169.254.169.254", Err(Barred::LinkLocal)),
            (&demo, "0.0.0.0", Err(Barred::Nowhere)),
            (&listed, "127.0.0.2", Ok(())),
            (&listed, "127.0.0.1", Err(Barred::Loopback)),
            (&listed, "::1", Err(Barred::Loopback)),
        ] {
            assert_eq!(judge(outgoing, address), expected, "{address}");
        }
    }

    #[test]
    fn no_list_opens_the_way_to_a_clouds_metadata() {
        let all = ["0.0.0.0/0", "::/0", "169.254.169.254"].map(|text| Network::parse(text).unwrap());
        let outgoing = Outgoing { loopback: true, networks: all.to_vec(), origins: Vec::new() };
        for address in ["169.254.169.254", "fe80::1", "255.255.255.255", "::ffff:169.254.169.254"] {
            assert!(judge(&outgoing, address).is_err(), "{address}");
        }
    }

    #[test]
    fn a_network_holds_what_shares_its_first_bits() {
        for (network, address, holds) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "fd00::1", false),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("fd00::/8", "fdff::1", true),
            ("::/0", "2001:db8::1", true),
            ("::1", "::1", true),
        ] {
            assert_eq!(Network::parse(network).unwrap().holds(address.parse().unwrap()), holds, "{network} {address}");
        }
        for text in ["10.0.0.0/33", "::/129", "host", "10.0.0/8", "10.0.0.0/", ""] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_was_learnt_leads_back_or_where_the_settings_say() {
        let outgoing = Outgoing { origins: vec!["https://pages.example.se".into()], ..Outgoing::default() };
        let asked = "https://fhir.example.se";
        assert!(outgoing.may_follow(asked, asked));
        assert!(outgoing.may_follow(asked, "https://pages.example.se"));
        for learnt in ["http://fhir.example.se", "https://fhir.example.se:8443", "https://evil.example"] {
            assert!(!outgoing.may_follow(asked, learnt), "{learnt}");
        }
    }
}
