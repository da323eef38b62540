//! Judges every address at the moment it is connected to: a name that leads elsewhere today than it did yesterday is caught.
//!
//! Names are resolved here and nowhere else, and the connection is made to the very addresses that were judged; an address
//! that stands in the URL itself never comes to the resolver and is judged before the request. Redirects are not followed.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::domain::delivery::Outcome;
use crate::domain::outgoing::{Barred, Outgoing};

/// The resolver of every client.
#[derive(Debug, Clone)]
pub struct Guard {
    outgoing: Arc<Outgoing>,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Guard {
    pub fn new(outgoing: Arc<Outgoing>) -> Self {
        Self { outgoing }
    }

    /// The addresses of a name that may be connected to; an error where there is none.
    fn choose(&self, found: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, Barred> {
        let (mut chosen, mut barred) = (Vec::new(), None);
        for address in found {
            match self.outgoing.judge(address.ip()) {
                Ok(()) => chosen.push(address),
                Err(why) => barred = Some(why),
            }
        }
        match barred {
            Some(why) if chosen.is_empty() => Err(why),
            _ => Ok(chosen),
        }
    }

    /// Judges an address that stands in the URL in place of a name.
    pub fn check(&self, url: &Url) -> Result<(), Outcome> {
        let Some(address) = url.host_str().and_then(literal) else { return Ok(()) };
        self.outgoing.judge(address).map_err(outcome)
    }

    /// Whether an address that the partner told us may be asked, having asked at `asked`.
    pub fn may_follow(&self, asked: &Url, learnt: &Url) -> bool {
        let origin = |url: &Url| url.origin().ascii_serialization();
        let has_user = !learnt.username().is_empty() || learnt.password().is_some();
        !has_user && self.outgoing.may_follow(&origin(asked), &origin(learnt))
    }
}

fn literal(host: &str) -> Option<IpAddr> {
    host.trim_matches(['[', ']']).parse().ok()
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(Failure::from)?;
            let chosen = guard.choose(found).map_err(Failure::from)?;
            Ok(Box::new(chosen.into_iter()) as Addrs)
        })
    }
}

/// What a barred address means for a delivery. The reason says what to configure, and no address: a name may be secret.
fn outcome(barred: Barred) -> Outcome {
    Outcome::Barred { reason: format!("the partner's address is not connected to: {barred}") }
}

/// Whether a request failed because its address is barred.
pub fn barred(error: &reqwest::Error) -> Option<Outcome> {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(barred) = inner.downcast_ref::<Barred>() {
            return Some(outcome(*barred));
        }
        source = inner.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leads_to_good_and_bad_is_connected_to_the_good_ones_only() {
        let guard = Guard::new(Arc::default());
        let chosen = |addresses: &[&str]| guard.choose(addresses.iter().map(|a| a.parse().unwrap()));
        assert_eq!(chosen(&["10.0.0.1:0", "169.254.169.254:0"]), Ok(vec!["10.0.0.1:0".parse().unwrap()]));
        assert_eq!(chosen(&["169.254.169.254:0"]), Err(Barred::LinkLocal));
        assert_eq!(chosen(&["127.0.0.1:0", "[::1]:0"]), Err(Barred::Loopback));
        assert_eq!(chosen(&[]), Ok(Vec::new()));
    }

    #[test]
    fn an_address_in_the_url_is_judged_in_every_writing() {
        let guard = Guard::new(Arc::default());
        for url in [
            "http://127.1/",
            "http://0x7f000001/",
            "http://2130706433/",
            "http://[::ffff:7f00:1]/",
            "http://169.254.169.254/",
        ] {
            let url = Url::parse(url).unwrap();
            assert!(matches!(guard.check(&url), Err(Outcome::Barred { .. })), "{url}");
        }
        assert!(guard.check(&Url::parse("https://192.0.2.1/r4").unwrap()).is_ok());
        assert!(guard.check(&Url::parse("https://fhir.example.se/r4").unwrap()).is_ok());
    }
}
