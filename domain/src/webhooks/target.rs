//! Where an endpoint's events go: a URL that is safe to call for a stranger.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Position, Url};

use super::is_public;

/// Which targets there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Targets {
    /// Public addresses, by HTTPS.
    Public,
    /// All addresses, and plain HTTP as well: for development.
    Any,
}

/// A checked URL.
///
/// It is kept in the form in which it is used: `http://0x7f.1` is `http://127.0.0.1/` here, and an
/// international domain is in its `xn--` form.
#[derive(Clone, PartialEq, Eq)]
pub struct Target(Url);

/// Why a text is not a target we take. The message may be shown to whoever typed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    /// It is no URL of the web.
    #[error("must be a URL like https://example.com/hooks")]
    Malformed,
    /// It is longer than [`Target::MAX_LENGTH`].
    #[error("must be at most 2048 characters long")]
    TooLong,
    /// It would send in the open.
    #[error(
        "must begin with https://; in development, WEBHOOK_ALLOW_PRIVATE=true also allows http://"
    )]
    Plain,
    /// It has a user or a password, which would be shown wherever the URL is.
    #[error("must not hold a user name or a password")]
    Credentials,
    /// It has a part that is never sent.
    #[error("must not have a fragment, the part from # on")]
    Fragment,
    /// Its host is no name that could be, or has a dot at its end, or its port is 0.
    #[error(
        "must have a host of at most 253 characters, whose parts between dots have 1 to 63, and a \
         port above 0"
    )]
    Unusual,
    /// It leads to this host or its network.
    #[error("must lead to a public address; in development, WEBHOOK_ALLOW_PRIVATE=true allows all")]
    Private,
}

impl Targets {
    /// All of them where private ones are allowed, public ones otherwise.
    pub fn new(allow_private: bool) -> Self {
        if allow_private {
            Self::Any
        } else {
            Self::Public
        }
    }

    /// Whether a target may be at this address. To be asked of what a name resolves to, and then
    /// of nothing else: the connection has to go to the address that was checked.
    pub fn allow(self, address: IpAddr) -> bool {
        match self {
            Self::Public => is_public(address),
            Self::Any => true,
        }
    }
}

impl Target {
    /// The most characters of a target.
    pub const MAX_LENGTH: usize = 2048;

    /// Reads a URL, as browsers do (the WHATWG's URL standard).
    ///
    /// # Errors
    /// When it is none, or not one of `targets` as far as it says itself. A name says nothing of
    /// its addresses: those are checked at each delivery.
    pub fn parse(text: &str, targets: Targets) -> Result<Self, InvalidTarget> {
        if text.chars().count() > Self::MAX_LENGTH {
            return Err(InvalidTarget::TooLong);
        }
        // The standard drops line breaks anywhere in a URL.
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(InvalidTarget::Malformed);
        }
        let url = Url::parse(text).map_err(|_| InvalidTarget::Malformed)?;
        match (url.scheme(), targets) {
            ("https", _) | ("http", Targets::Any) => {}
            ("http", Targets::Public) => return Err(InvalidTarget::Plain),
            _ => return Err(InvalidTarget::Malformed),
        }
        if url.as_str().len() > Self::MAX_LENGTH {
            return Err(InvalidTarget::TooLong);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidTarget::Credentials);
        }
        if url.fragment().is_some() {
            return Err(InvalidTarget::Fragment);
        }
        let host = url.host().ok_or(InvalidTarget::Malformed)?;
        let nowhere = matches!(host, Host::Domain(name) if !is_name(name));
        if nowhere || url.port() == Some(0) {
            return Err(InvalidTarget::Unusual);
        }
        let allowed = match host {
            Host::Domain(name) => targets == Targets::Any || !is_localhost(name),
            Host::Ipv4(address) => targets.allow(address.into()),
            Host::Ipv6(address) => targets.allow(address.into()),
        };
        if !allowed {
            return Err(InvalidTarget::Private);
        }
        Ok(Self(url))
    }

    /// The whole URL.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether it is called by HTTPS.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The address, if the URL has one in place of a name.
    pub fn address(&self) -> Option<IpAddr> {
        match self.0.host()? {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(address.into()),
            Host::Ipv6(address) => Some(address.into()),
        }
    }

    /// The host's name, or its address without brackets: what the certificate is for.
    pub fn host(&self) -> &str {
        let host = self.0.host_str().unwrap_or_default();
        host.trim_matches(['[', ']'])
    }

    /// The port, also where the URL leaves it out.
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or_default()
    }

    /// Host and port as the header `Host` has them.
    pub fn authority(&self) -> &str {
        &self.0[Position::BeforeHost..Position::AfterPort]
    }

    /// Path and query: what the request line asks for.
    pub fn path(&self) -> &str {
        &self.0[Position::BeforePath..Position::AfterQuery]
    }
}

/// Whether there could be such a name (RFC 1035, 2.3.4), and it is written without the root's dot.
fn is_name(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(|label| (1..=63).contains(&label.len()))
}

/// Names that are this host without anybody being asked (RFC 6761, 6.3).
fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

/// Path and query often hold a key of the receiver's: the host is enough for a log line.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({}://{}/…)", self.0.scheme(), self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use InvalidTarget::{Credentials, Fragment, Malformed, Plain, Private, TooLong, Unusual};
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn a_target_is_taken_apart_for_the_request() {
        let parse = |text| Target::parse(text, Targets::Public).unwrap();
        let target = parse("https://Hooks.Example.com:8443/a%20b?key=1&x");
        assert_eq!(
            target.as_str(),
            "https://hooks.example.com:8443/a%20b?key=1&x"
        );
        assert_eq!(target.host(), "hooks.example.com");
        assert_eq!((target.port(), target.is_https()), (8443, true));
        assert_eq!(target.authority(), "hooks.example.com:8443");
        assert_eq!(target.path(), "/a%20b?key=1&x");
        assert_eq!(target.address(), None);
        assert_eq!(
            format!("{target:?}"),
            "Target(https://hooks.example.com:8443/…)"
        );
        let target = parse("https://[2606:4700:4700::1111]");
        assert_eq!(target.host(), "2606:4700:4700::1111");
        assert_eq!(target.authority(), "[2606:4700:4700::1111]");
        assert_eq!((target.port(), target.path()), (443, "/"));
        assert!(target.address().is_some_and(|address| address.is_ipv6()));
        assert_eq!(
            parse("https://bücher.example/").host(),
            "xn--bcher-kva.example"
        );
        assert_eq!(parse("https://1.1.1.1:443/").authority(), "1.1.1.1");
    }

    #[test]
    fn every_spelling_of_a_private_address_is_one() {
        for (text, expected) in [
            ("http://0x7f.1", "http://127.0.0.1/"),
            ("http://0x7f000001", "http://127.0.0.1/"),
            ("http://2130706433", "http://127.0.0.1/"),
            ("http://017700000001", "http://127.0.0.1/"),
            ("http://0177.0.0.1", "http://127.0.0.1/"),
            ("http://127.1", "http://127.0.0.1/"),
            ("http://127.0.0.1.", "http://127.0.0.1/"),
            ("http://%31%32%37.0.0.1", "http://127.0.0.1/"),
            ("http://１２７。０。０。１", "http://127.0.0.1/"),
            ("http://①②⑦.0.0.1", "http://127.0.0.1/"),
            ("http:\\\\127.0.0.1", "http://127.0.0.1/"),
            ("http:127.0.0.1", "http://127.0.0.1/"),
            ("http://0", "http://0.0.0.0/"),
            (
                "http://169.254.169.254/latest",
                "http://169.254.169.254/latest",
            ),
            ("http://2852039166", "http://169.254.169.254/"),
            ("http://[::1]", "http://[::1]/"),
            ("http://[::]", "http://[::]/"),
            ("http://[0:0:0:0:0:0:0:1]", "http://[::1]/"),
            ("http://[::ffff:127.0.0.1]", "http://[::ffff:7f00:1]/"),
            ("http://[::ffff:7f00:1]", "http://[::ffff:7f00:1]/"),
            ("http://[64:ff9b::10.0.0.1]", "http://[64:ff9b::a00:1]/"),
            ("http://[2002:7f00:1::]", "http://[2002:7f00:1::]/"),
            ("http://localhost", "http://localhost/"),
            ("http://LOCALHOST:9000", "http://localhost:9000/"),
            ("http://a.localhost", "http://a.localhost/"),
        ] {
            let any = Target::parse(text, Targets::Any).unwrap();
            assert_eq!(any.as_str(), expected, "{text}");
            let by_tls = text.replacen("http", "https", 1);
            let refused = Target::parse(&by_tls, Targets::Public);
            assert_eq!(refused, Err(Private), "{by_tls}");
        }
    }

    #[test]
    fn what_is_no_target_is_refused() {
        let long = format!("https://example.com/{}", "a".repeat(2048));
        let grows = format!("https://example.com/{}", "é".repeat(600));
        let long_label = format!("https://{}.com/", "a".repeat(64));
        let long_name = format!("https://{}b.com/", "a.".repeat(125));
        for (text, expected) in [
            ("", Malformed),
            ("example.com", Malformed),
            ("/hooks", Malformed),
            ("https://", Malformed),
            ("https://exa mple.com", Malformed),
            ("https://exam\nple.com", Malformed),
            (" https://example.com", Malformed),
            ("https://example.com/\0", Malformed),
            ("https://[::1", Malformed),
            ("https://[fe80::1%25eth0]/", Malformed),
            ("https://256.256.256.256/", Malformed),
            ("https://example.com:99999/", Malformed),
            ("ftp://example.com/", Malformed),
            ("file:///etc/passwd", Malformed),
            ("javascript:alert(1)", Malformed),
            ("gopher://example.com/", Malformed),
            ("http://example.com/", Plain),
            ("https://user@example.com/", Credentials),
            ("https://user:password@example.com/", Credentials),
            ("https://:password@example.com/", Credentials),
            ("https://example.com@127.0.0.1/", Credentials),
            ("https://example.com/#part", Fragment),
            ("https://example.com/#", Fragment),
            ("https://example.com./", Unusual),
            ("https://localhost./", Unusual),
            ("https://example.com:0/", Unusual),
            ("https://a..b/", Unusual),
            ("https://.example.com/", Unusual),
            (&long_label, Unusual),
            (&long_name, Unusual),
            (&long, TooLong),
            (&grows, TooLong),
        ] {
            assert_eq!(
                Target::parse(text, Targets::Public),
                Err(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn names_may_be_as_long_as_names_can_be() {
        let label = format!("https://{}.com/", "a".repeat(63));
        let name = format!("https://{}bcde/", "a.".repeat(124) + "a");
        for text in [&label, &name, "https://x/"] {
            let target = Target::parse(text, Targets::Public);
            assert!(target.is_ok(), "{text} {target:?}");
        }
    }

    proptest! {
        /// Whatever is taken, leads to no private address by itself, and reads the same again.
        #[test]
        fn a_target_is_public_in_every_form(text in r"https://[0-9a-fx:.\[\]%@]{1,30}(:[0-9]{1,6})?/.{0,9}") {
            if let Ok(target) = Target::parse(&text, Targets::Public) {
                prop_assert!(target.address().is_none_or(is_public), "{}", text);
                let again = Target::parse(target.as_str(), Targets::Public);
                prop_assert_eq!(again, Ok(target));
            }
        }

        #[test]
        fn an_address_is_refused_unless_it_is_public(four: u32, six: u128, mapped: bool) {
            let four = Ipv4Addr::from(four);
            let six = if mapped { four.to_ipv6_mapped() } else { Ipv6Addr::from(six) };
            for (text, address) in [
                (format!("https://{four}/"), IpAddr::from(four)),
                (format!("https://{}/", four.to_bits()), four.into()),
                (format!("https://[{six}]/"), six.into()),
            ] {
                let taken = Target::parse(&text, Targets::Public);
                prop_assert_eq!(taken.is_ok(), is_public(address), "{}", text);
            }
        }
    }
}
