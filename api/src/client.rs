//! Where a request comes from, and what its client has left of its limits.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, OnceLock},
};

use axum::{
    extract::{ConnectInfo, FromRequestParts, Request},
    http::{HeaderMap, HeaderName, HeaderValue, request::Parts},
    response::Response,
};

use crate::problem::Problem;

/// The header in which each proxy notes whom it was called by, behind what stood there before.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The headers that announce limits.
pub(crate) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(crate) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The client of a request.
///
/// Its address is personal data: it stands in Redis as a hash, for as long as a limit needs to
/// recover, and in no log line but that of a refusal.
#[derive(Clone, Debug)]
pub struct Client {
    address: IpAddr,
    announced: Arc<OnceLock<Announced>>,
}

/// What an answer says about limits, as lists of structured fields (RFC 9651).
#[derive(Debug)]
struct Announced {
    policies: Vec<String>,
    quotas: Vec<String>,
}

impl Client {
    fn at(address: IpAddr) -> Self {
        Self {
            address,
            announced: Arc::default(),
        }
    }

    /// Whose request it is; `proxies` is how many proxies stand in front of this service, as the
    /// settings say.
    pub(crate) fn of(request: &Request, proxies: usize) -> Self {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map_or(Ipv6Addr::UNSPECIFIED.into(), |peer| peer.0.ip());
        Self::at(forwarded_for(request.headers(), proxies).unwrap_or(peer))
    }

    /// Announces in the answer the limits that the request was counted in.
    pub(crate) fn announce_in(&self, response: &mut Response) {
        let Some(announced) = self.announced.get() else {
            return;
        };
        let said = [
            (RATE_LIMIT_POLICY, &announced.policies),
            (RATE_LIMIT, &announced.quotas),
        ];
        for (name, items) in said {
            let list = HeaderValue::try_from(items.join(", "));
            if let Some(list) = list.ok().filter(|list| !list.is_empty()) {
                response.headers_mut().insert(name, list);
            }
        }
    }

    /// What stands for the client in a limit: its IPv4 address, or the first half of its IPv6
    /// address.
    ///
    /// A home or a server gets 2^64 addresses of IPv6 (RFC 6177): a limit for each would be none.
    pub fn network(&self) -> IpAddr {
        match self.address.to_canonical() {
            IpAddr::V6(address) => {
                let prefix = u128::from(address) >> 64 << 64;
                Ipv6Addr::from(prefix).into()
            }
            v4 @ IpAddr::V4(_) => v4,
        }
    }

    /// Has the answer announce limits; a request is counted once.
    pub(crate) fn announce(&self, policies: Vec<String>, quotas: Vec<String>) {
        // A second time would be a handler's mistake, and the first stays true.
        let _ = self.announced.set(Announced { policies, quotas });
    }
}

/// What the middleware has found; without it, the client of no address, which all of them share.
impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let client = parts.extensions.get::<Self>().cloned();
        Ok(client.unwrap_or_else(|| Self::at(Ipv6Addr::UNSPECIFIED.into())))
    }
}

/// The client as the outermost of our proxies saw it; none where it did not say.
///
/// Each proxy appends the address that it was called by, so the n-th from the right was written
/// by the n-th proxy from here. What stands left of it came with the request and proves nothing.
fn forwarded_for(headers: &HeaderMap, proxies: usize) -> Option<IpAddr> {
    let place = proxies.checked_sub(1)?;
    let lines = headers.get_all(FORWARDED_FOR).iter().rev();
    let mut hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    let hop = std::str::from_utf8(hops.nth(place)?).ok()?.trim();
    let with_port = || hop.parse::<SocketAddr>().ok().map(|address| address.ip());
    hop.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(lines: &[&[u8]], proxies: usize) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(line).unwrap());
        }
        forwarded_for(&headers, proxies).map(|address| address.to_string())
    }

    #[test]
    fn only_what_our_own_proxies_wrote_counts() {
        let spoofed: &[&[u8]] = &[b"6.6.6.6, 7.7.7.7, 192.0.2.1"];
        assert_eq!(seen(spoofed, 0), None);
        assert_eq!(seen(spoofed, 1).unwrap(), "192.0.2.1");
        assert_eq!(seen(spoofed, 2).unwrap(), "7.7.7.7");
        assert_eq!(seen(spoofed, 4), None);
        // Several lines are one list (RFC 9110, 5.3).
        let lines: &[&[u8]] = &[b"6.6.6.6", b"192.0.2.1 ,\t192.0.2.2"];
        assert_eq!(seen(lines, 2).unwrap(), "192.0.2.1");
        assert_eq!(seen(lines, 3).unwrap(), "6.6.6.6");
    }

    #[test]
    fn what_is_no_address_is_none() {
        for wrong in [
            &b""[..],
            b"unknown",
            b"1.2.3",
            b"1.2.3.4,",
            b"\xff",
            b"_a:1",
        ] {
            assert_eq!(seen(&[wrong], 1), None, "{wrong:?}");
        }
        for (right, address) in [
            (&b"192.0.2.1:4711"[..], "192.0.2.1"),
            (b"[2001:db8::1]:4711", "2001:db8::1"),
            (b"2001:db8::1", "2001:db8::1"),
            (b"\xff, 192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(seen(&[right], 1).unwrap(), address);
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let network = |text: &str| Client::at(text.parse().unwrap()).network().to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
        assert_eq!(network("::ffff:192.0.2.7"), "192.0.2.7");
    }
}
