//! Where a request comes from, as far as it can be believed.

use std::net::{IpAddr, Ipv6Addr};

use actix_web::HttpRequest;

/// The address of the connection; behind a proxy of ours the last one in X-Forwarded-For, which the proxy wrote itself: what
/// stands before it anybody can have written.
pub fn source(request: &HttpRequest, is_behind_proxy: bool) -> IpAddr {
    let peer = request.peer_addr().map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.ip());
    if !is_behind_proxy {
        return peer;
    }
    let last = request.headers().get_all("x-forwarded-for").last().and_then(|value| value.to_str().ok());
    last.and_then(|text| address(text.rsplit(',').next()?.trim())).unwrap_or(peer)
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = || text.trim_start_matches('[').trim_end_matches(']').parse().ok();
    bare().or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|with_port| with_port.ip()))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn only_what_our_own_proxy_wrote_is_believed() {
        let ask = |headers: &[&str], is_behind_proxy| {
            let mut request = TestRequest::default().peer_addr("10.0.0.9:4711".parse().unwrap());
            for value in headers {
                request = request.append_header(("X-Forwarded-For", *value));
            }
            source(&request.to_http_request(), is_behind_proxy).to_string()
        };
        assert_eq!(ask(&["192.0.2.1"], false), "10.0.0.9");
        assert_eq!(ask(&["192.0.2.1"], true), "192.0.2.1");
        assert_eq!(ask(&["1.2.3.4, 192.0.2.1"], true), "192.0.2.1", "what a caller wrote stands before");
        assert_eq!(ask(&["1.2.3.4", "192.0.2.1:8080"], true), "192.0.2.1");
        assert_eq!(ask(&["[2001:db8::1]:443"], true), "2001:db8::1");
        assert_eq!(ask(&["2001:db8::1"], true), "2001:db8::1");
        for unclear in [&["unknown"][..], &[""], &[]] {
            assert_eq!(ask(unclear, true), "10.0.0.9");
        }
    }
}
