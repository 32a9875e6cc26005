use std::{collections::BTreeMap, ops::RangeInclusive, str::FromStr, time::Duration};

use super::{QueueKeys, Reader};

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
            limits: per_queue(reader, "QUEUE_LIMITS", 1..=u64::MAX, "limit", "100000"),
            partitions: per_queue(
                reader,
                "QUEUE_PARTITIONS",
                1..=64,
                "partitions, 1 to 64",
                "4",
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

/// Reads `queue=number,queue=number`.
fn per_queue<T: FromStr + PartialOrd>(
    reader: &mut Reader,
    name: &'static str,
    range: RangeInclusive<T>,
    what: &str,
    example: &str,
) -> BTreeMap<String, T> {
    let mut numbers = BTreeMap::new();
    for item in reader.list(name) {
        match item
            .split_once('=')
            .map(|(queue, number)| (queue, number.parse()))
        {
            Some((queue, Ok(number))) if !queue.is_empty() && range.contains(&number) => {
                numbers.insert(queue.to_owned(), number);
            }
            _ => {
                let wrong =
                    format!("{item:?} is not a queue and its {what}, such as default={example}");
                reader.problem(name, wrong, "");
            }
        }
    }
    numbers
}
