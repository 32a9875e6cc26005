//! Where deliveries may go, and how a receiver has to show who it is.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use domain::webhooks::{DeliveryState, Targets};
use tokio::net::TcpStream;
use tokio_rustls::rustls::RootCertStore;
use worker::webhook::{Network, Sender, System, Work};

use super::Fixture;
use super::receiver::{Receiver, status};

const PUBLIC: &str = "93.184.215.14";

/// A network in which a name has these addresses in turn, and all of them lead to one receiver.
#[derive(Clone)]
struct Net {
    receiver: SocketAddr,
    answers: Arc<Mutex<VecDeque<Vec<IpAddr>>>>,
    connected: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Net {
    fn new(receiver: &Receiver, answers: &[&[&str]]) -> Self {
        let addresses = |texts: &&[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Self {
            receiver: receiver.addr,
            answers: Arc::new(Mutex::new(answers.iter().map(addresses).collect())),
            connected: Arc::default(),
        }
    }

    fn connected(&self) -> Vec<String> {
        let connected = self.connected.lock().unwrap();
        connected.iter().map(ToString::to_string).collect()
    }

    /// Look-ups that were not made.
    fn left(&self) -> usize {
        self.answers.lock().unwrap().len()
    }
}

impl Network for Net {
    fn resolve<'a>(&'a self, _name: &'a str) -> Work<'a, Vec<IpAddr>> {
        let answer = self.answers.lock().unwrap().pop_front();
        Box::pin(async { answer.ok_or_else(|| io::Error::other("no such name")) })
    }

    fn connect(&self, address: SocketAddr) -> Work<'_, TcpStream> {
        self.connected.lock().unwrap().push(address);
        Box::pin(TcpStream::connect(self.receiver))
    }
}

/// A network whose resolver is away: it says so, or nothing.
struct Unnamed {
    silent: bool,
}

impl Network for Unnamed {
    fn resolve<'a>(&'a self, _name: &'a str) -> Work<'a, Vec<IpAddr>> {
        if self.silent {
            Box::pin(std::future::pending())
        } else {
            Box::pin(async { Err(io::ErrorKind::TimedOut.into()) })
        }
    }

    fn connect(&self, address: SocketAddr) -> Work<'_, TcpStream> {
        panic!("nobody has named {address}")
    }
}

#[tokio::test]
async fn that_our_resolver_is_away_is_not_held_against_an_endpoint() {
    let attempts = [false, true].map(|silent| async move {
        let sender = Sender::new(Targets::Public, Unnamed { silent });
        let fixture = Fixture::with("https://hooks.example.com/", sender).await;
        fixture.event("{}").await;
        let made = fixture.attempt().await.delivery;
        assert_eq!(made.state, DeliveryState::Pending);
        let error = made.error.unwrap();
        assert!(error.starts_with("our resolver did not answer"), "{error}");
        assert_eq!(fixture.endpoint().await.failing_since, None);
    });
    futures_util::future::join_all(attempts).await;
}

async fn receiver() -> (Receiver, RootCertStore) {
    Receiver::start_tls("hooks.example.com", status(200)).await
}

/// A sender that may go to public addresses, as outside of development.
fn sender(net: &Net, roots: RootCertStore) -> Sender {
    Sender::new(Targets::Public, net.clone()).with_authorities(roots)
}

#[tokio::test]
async fn a_name_is_resolved_once_and_the_checked_address_is_called_by_tls() {
    let (receiver, roots) = receiver().await;
    // The second look-up would lead home.
    let net = Net::new(&receiver, &[&[PUBLIC], &["127.0.0.1"], &[PUBLIC]]);
    let fixture = Fixture::with("https://hooks.example.com/a", sender(&net, roots)).await;
    fixture.event("{}").await;
    let made = fixture.attempt().await;
    assert_eq!(made.delivery.state, DeliveryState::Delivered, "{made:?}");
    assert_eq!(net.connected(), [format!("{PUBLIC}:443")]);
    assert_eq!(net.left(), 2);
    let request = receiver.requests().pop().unwrap();
    assert_eq!(request.header("host"), "hooks.example.com");
    assert!(request.is_signed_by(&fixture.secret));

    // The next attempt asks again, and goes nowhere.
    fixture.event("{}").await;
    let made = fixture.attempt().await;
    assert_eq!(made.delivery.state, DeliveryState::Pending);
    let error = made.delivery.error.unwrap();
    assert_eq!(
        error,
        "the host's name leads to an address that is not public"
    );
    assert_eq!(net.connected().len(), 1);
    // And heals by itself.
    let made = fixture.attempt().await;
    assert_eq!(made.delivery.state, DeliveryState::Delivered);
}

#[tokio::test]
async fn one_private_address_among_several_is_one_too_many() {
    for addresses in [
        &[PUBLIC, "10.0.0.1"][..],
        &["169.254.169.254", PUBLIC],
        &["::1"],
        &["::ffff:127.0.0.1"],
        &["fd00:ec2::254"],
        &["64:ff9b::7f00:1"],
        &["0.0.0.0"],
    ] {
        let (receiver, roots) = receiver().await;
        let net = Net::new(&receiver, &[addresses]);
        let fixture = Fixture::with("https://hooks.example.com/", sender(&net, roots)).await;
        fixture.event("{}").await;
        let error = fixture.attempt().await.delivery.error.unwrap();
        assert_eq!(
            error,
            "the host's name leads to an address that is not public"
        );
        assert_eq!(receiver.connections(), 0, "{addresses:?}");
    }
}

/// Endpoints that were made while private targets were allowed.
#[tokio::test]
async fn a_private_address_is_not_called_in_any_spelling() {
    let receiver = Receiver::start([status(200)]).await;
    let port = receiver.addr.port();
    for host in [
        "127.0.0.1",
        "0x7f.1",
        "2130706433",
        "127.1",
        "[::ffff:127.0.0.1]",
        "localhost",
    ] {
        let url = format!("https://{host}:{port}/");
        let fixture = Fixture::with(&url, Sender::new(Targets::Public, System)).await;
        fixture.event("{}").await;
        let made = fixture.attempt().await.delivery;
        assert_eq!(
            (made.state, made.response_status),
            (DeliveryState::Pending, None)
        );
        let error = made.error.unwrap();
        assert!(
            error.starts_with("the URL must lead to a public address"),
            "{error}"
        );
    }
    let fixture = Fixture::with(&receiver.url(), Sender::new(Targets::Public, System)).await;
    fixture.event("{}").await;
    let error = fixture.attempt().await.delivery.error.unwrap();
    assert!(
        error.starts_with("the URL must begin with https://"),
        "{error}"
    );
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn a_certificate_has_to_be_the_names_and_signed_by_somebody_known() {
    let url = "https://hooks.example.com/";
    let (other, roots) = Receiver::start_tls("other.example.com", status(200)).await;
    let (stranger, _) = receiver().await;
    for (receiver, error) in [
        (
            &other,
            "the receiver's certificate is not valid: it is for another name",
        ),
        (
            &stranger,
            "the receiver's certificate is not valid: no known authority has signed it",
        ),
    ] {
        let net = Net::new(receiver, &[&[PUBLIC]]);
        let fixture = Fixture::with(url, sender(&net, roots.clone())).await;
        fixture.event("{}").await;
        let made = fixture.attempt().await.delivery;
        assert_eq!(made.error.as_deref(), Some(error));
        assert!(receiver.requests().is_empty());
    }
}

#[tokio::test]
async fn who_cannot_be_found_or_reached_is_tried_again() {
    let receiver = Receiver::start([status(200)]).await;
    let nowhere = Net::new(&receiver, &[]);
    let fixture = Fixture::with(
        "https://hooks.example.com/",
        sender(&nowhere, RootCertStore::empty()),
    )
    .await;
    fixture.event("{}").await;
    let made = fixture.attempt().await.delivery;
    assert_eq!(
        made.error.as_deref(),
        Some("the host's name cannot be resolved")
    );
    assert_eq!(made.state, DeliveryState::Pending);

    // Nobody listens there any more.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", closed.local_addr().unwrap());
    drop(closed);
    let fixture = Fixture::new(&url).await;
    fixture.event("{}").await;
    let made = fixture.attempt().await.delivery;
    assert_eq!(
        made.error.as_deref(),
        Some("the receiver cannot be connected to")
    );
}
