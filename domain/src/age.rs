//! How old a row is, by its id.

use std::time::{Duration, SystemTime};

use uuid::{Builder, Uuid};

/// The smallest id of version 7 that is younger than `age`: whatever is below it is older.
pub(crate) fn first_id_after(age: Duration) -> Uuid {
    first_id_since(SystemTime::now() - age)
}

/// The smallest id of version 7 that was made at this time: whatever is below it is older.
///
/// The first 48 bits are the milliseconds since the Unix epoch (RFC 9562, section 5.7).
pub(crate) fn first_id_since(time: SystemTime) -> Uuid {
    let then = time.duration_since(SystemTime::UNIX_EPOCH);
    let ms = then.map_or(0, |then| then.as_millis());
    let ms = u64::try_from(ms).unwrap_or(u64::MAX);
    Builder::from_unix_timestamp_millis(ms, &[0; 10]).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_older_or_younger() {
        let now = Uuid::now_v7();
        assert!(now < first_id_after(Duration::ZERO) || now.get_version_num() == 7);
        assert!(now > first_id_after(Duration::from_secs(1)));
        assert!(first_id_after(Duration::from_secs(2)) < first_id_after(Duration::from_secs(1)));
        let epoch = first_id_after(Duration::from_secs(60 * 365 * 86_400));
        assert!(epoch < first_id_after(Duration::from_secs(86_400)));
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert!(first_id_since(before) <= epoch);
    }
}
