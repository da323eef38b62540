//! Where the request that is being answered came from, and its number: for the audit log, which is written far from the
//! socket.

use std::net::IpAddr;

use uuid::Uuid;

use crate::domain::audit::Origin;

/// What the audit log says of a request beside who made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    pub origin: Origin,
    pub number: Uuid,
}

tokio::task_local! {
    static ASKED: Asked;
}

/// What is known of the request that the running task answers; nothing where it answers none.
pub fn asked() -> Option<Asked> {
    ASKED.try_with(|asked| *asked).ok()
}

impl Asked {
    /// Runs `work` as the answer to this request.
    pub async fn scope<T>(self, work: impl Future<Output = T>) -> T {
        ASKED.scope(self, work).await
    }
}

/// The kind of network an address belongs to.
pub fn origin(address: Option<IpAddr>, is_forwarded: bool) -> Origin {
    if is_forwarded {
        return Origin::Proxy;
    }
    match address.map(|address| address.to_canonical()) {
        Some(address) if address.is_loopback() => Origin::Loopback,
        Some(IpAddr::V4(v4)) if v4.is_private() || v4.is_link_local() => Origin::Private,
        Some(IpAddr::V6(v6)) if v6.is_unique_local() || v6.is_unicast_link_local() => Origin::Private,
        Some(_) | None => Origin::Internet,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_known_by_the_kind_of_its_network_only() {
        for (address, expected) in [
            ("127.0.0.1", Origin::Loopback),
            ("::1", Origin::Loopback),
            ("::ffff:10.1.2.3", Origin::Private),
            ("192.168.0.9", Origin::Private),
            ("fd00::1", Origin::Private),
            ("193.10.1.1", Origin::Internet),
            ("2001:db8::1", Origin::Internet),
        ] {
            assert_eq!(origin(address.parse().ok(), false), expected, "{address}");
            assert_eq!(origin(address.parse().ok(), true), Origin::Proxy);
        }
        assert_eq!(origin(None, false), Origin::Internet, "what is not known is not trusted");
    }
}
