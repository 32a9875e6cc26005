use std::net::SocketAddr;

use super::Reader;

/// What Prometheus reads.
#[derive(Clone, Copy, Debug)]
pub struct Metrics {
    /// Where it is answered, if it is.
    pub addr: Option<SocketAddr>,
}

impl Metrics {
    /// Reads `METRICS_ADDR`.
    pub fn read(reader: &mut Reader) -> Self {
        let right = "an address and a port, such as 127.0.0.1:9464";
        let addr = reader.optional_text("METRICS_ADDR").and_then(|text| {
            let addr = text.parse().ok();
            if addr.is_none() {
                reader.problem("METRICS_ADDR", format!("{text:?} is not {right}"), "");
            }
            addr
        });
        Self { addr }
    }
}
