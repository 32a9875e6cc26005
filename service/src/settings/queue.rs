use std::{collections::BTreeMap, time::Duration};

use super::{
    QueueKeys, Reader,
    queues::{at_least_one, per_queue},
};

/// The queue, for those who fill it and for those who empty it.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Prefix of its keys.
    pub namespace: String,
    /// How long a silent worker keeps its jobs.
    pub lease: Duration,
    /// Most unfinished jobs of each queue named; producers are refused above it.
    pub limits: BTreeMap<String, u64>,
    /// Partitions of each queue that has several.
    pub partitions: BTreeMap<String, u16>,
    /// Payloads of more bytes are compressed.
    pub compress_above: Option<usize>,
    /// What they are encrypted with.
    pub keys: QueueKeys,
}

impl Queue {
    /// Reads `QUEUE_*`.
    pub fn read(reader: &mut Reader) -> Self {
        let namespace = "1 to 64 of a-z, 0-9, _, - and .";
        Self {
            namespace: reader.parsed("QUEUE_NAMESPACE", namespace, |text| {
                let valid = |c| matches!(c, 'a'..='z' | '0'..='9' | '_' | '-' | '.');
                (text.len() <= 64 && text.chars().all(valid)).then(|| text.to_owned())
            }),
            lease: reader.seconds("QUEUE_LEASE_SECONDS", 2..=300),
            limits: per_queue(reader, "QUEUE_LIMITS", "limit", "100000", at_least_one),
            partitions: per_queue(
                reader,
                "QUEUE_PARTITIONS",
                "partitions, 1 to 64",
                "4",
                |text| text.parse().ok().filter(|number| (1..=64).contains(number)),
            ),
            compress_above: reader.parsed(
                "QUEUE_COMPRESS_ABOVE",
                "bytes, or off",
                |text| match text {
                    "off" => Some(None),
                    bytes => bytes.parse().ok().map(Some),
                },
            ),
            keys: QueueKeys::read(reader),
        }
    }
}
