use super::*;
use crate::Packer;
use proptest::prelude::*;

prop_compose! {
    fn any_envelope()(
        id: u128,
        queue in "[a-z]{1,9}",
        name in ".{0,20}",
        numbers: (u16, u16, u16, u64, u64),
        flags: (bool, bool),
        priority in proptest::sample::select(Priority::ALL.to_vec()),
        unique: Option<UniqueHash>,
        slot: Option<([u8; 16], NonZeroU16)>,
        batches: (Option<u128>, Option<u128>),
        next: Option<Vec<u8>>,
        packing: Option<(bool, Option<u32>)>,
        traceparent in proptest::option::of(".{0,60}"),
        payload: Vec<u8>,
    ) -> Envelope {
        let (version, attempt, max_attempts, enqueued_at_ms, timeout_ms) = numbers;
        let (once, replaceable) = flags;
        Envelope {
            id: Uuid::from_u128(id).into(),
            queue, name, version, attempt, max_attempts,
            enqueued_at_ms, timeout_ms, once, priority, unique, replaceable,
            slot: slot.map(|(key, limit)| Slot { key, limit }),
            batch: batches.0.map(Uuid::from_u128),
            follows: batches.1.map(Uuid::from_u128),
            next,
            packing: packing.map(|(compressed, key)| Packing { compressed, key }),
            traceparent, payload,
        }
    }
}

proptest! {
    #[test]
    fn survives_the_round_trip(envelope in any_envelope()) {
        prop_assert_eq!(Envelope::decode(&envelope.encode()), Ok(envelope));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _ = Envelope::decode(&bytes);
    }
}

#[derive(Serialize, Deserialize)]
struct Ping(u8);

impl Job for Ping {
    const NAME: &'static str = "ping";
    const QUEUE: &'static str = "net";
}

#[test]
fn the_short_way_makes_the_same_bytes() {
    let packer = Packer::default();
    for unique in [None, Some(unique_hash(Ping::NAME, "a"))] {
        let extras = Extras {
            unique,
            ..Extras::default()
        };
        let mut sealer = Sealer::new(Priority::Normal, extras, &packer);
        // Some of the same millisecond, and some of the next.
        for number in 0..50 {
            let (id, bytes) = sealer.seal(&Ping(number)).unwrap();
            let sealed = Envelope::decode(bytes).unwrap();
            let mut long = Envelope::new(&Ping(number)).unwrap();
            long.id = id;
            long.unique = unique;
            assert!(long.enqueued_at_ms.abs_diff(sealed.enqueued_at_ms) < 60_000);
            assert_eq!(sealed.enqueued_at_ms, id.made_at_ms());
            long.enqueued_at_ms = sealed.enqueued_at_ms;
            assert_eq!(sealed, long);
            if number == 40 {
                std::thread::park_timeout(Duration::from_millis(2));
            }
        }
    }
}

/// The bytes that each release must read for ever, and write for such a job.
#[test]
fn the_bytes_of_each_version_stay_as_they_are() {
    let plain = Envelope {
        id: Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_00ff).into(),
        queue: "net".to_owned(),
        name: "ping".to_owned(),
        version: 300,
        attempt: 2,
        max_attempts: 20,
        enqueued_at_ms: 1_700_000_000_000,
        timeout_ms: 60_000,
        once: true,
        traceparent: Some("00-ab".to_owned()),
        payload: b"7".to_vec(),
        ..Envelope::new(&Ping(7)).unwrap()
    };
    let unique = Envelope {
        unique: Some(unique_hash("ping", "a")),
        ..plain.clone()
    };
    let header = b"\x01\x92\0\0\0\0\x70\0\x80\0\0\0\0\0\0\xff\
        \x03net\x04ping\xac\x02\x02\x14\x80\xd0\x95\xff\xbc\x31\xe0\xd4\x03\x01\x01\x0500-ab";
    // printf 'ping\0a' | sha256sum
    let hash = b"\x60\x4e\x34\x91\x5e\x76\x42\xc8\x24\xbb\x8d\x8b\x87\x73\xb9\xcb";
    let extended = Envelope {
        priority: Priority::High,
        replaceable: true,
        slot: Some(Slot {
            key: *b"0123456789abcdef",
            limit: NonZeroU16::new(300).unwrap(),
        }),
        batch: Some(Uuid::from_bytes(*b"0123456789ABCDEF")),
        follows: None,
        packing: Some(Packing {
            compressed: true,
            key: Some(300),
        }),
        next: Some(b"next".to_vec()),
        ..unique.clone()
    };
    let extras = [
        &b"\x01"[..],
        hash,
        b"\x01",
        b"\x010123456789abcdef\xac\x02",
        b"\x01\x100123456789ABCDEF",
        b"\x00",
        b"\x01\x01\x01\xac\x02",
        b"\x01\x04next",
    ]
    .concat();
    let versions = [
        (plain, &b"\x01"[..], &[][..]),
        (unique, b"\x02", hash),
        (extended, b"\x03\x01", &extras),
    ];
    for (envelope, version, extras) in versions {
        let golden = [version, &header[..], extras, b"7"].concat();
        assert_eq!(envelope.encode(), golden);
        assert_eq!(Envelope::decode(&golden), Ok(envelope));
    }
}

#[test]
fn names_and_keys_do_not_run_into_each_other() {
    assert_ne!(unique_hash("a", "bc"), unique_hash("ab", "c"));
    assert_ne!(unique_hash("a", ""), unique_hash("a", "\0"));
}

#[test]
fn newer_versions_are_told_from_damage() {
    assert_eq!(Envelope::decode(&[]), Err(DecodeError::Empty));
    assert_eq!(Envelope::decode(&[0, 0]), Err(DecodeError::Foreign));
    let newer = Err(DecodeError::Version(4));
    assert_eq!(Envelope::decode(&[4, 0]), newer);
    for known in [1, 2, 3] {
        let damaged = Envelope::decode(&[known, 0]);
        assert!(matches!(damaged, Err(DecodeError::Header(_))));
    }
    let extras = Extras {
        unique: Some(UniqueHash::default()),
        ..Extras::default()
    };
    let packer = Packer::default();
    let mut sealer = Sealer::new(Priority::Normal, extras, &packer);
    let (_, unique) = sealer.seal(&Ping(7)).unwrap();
    let seen_before = Header::read(unique, PLAIN).map(drop);
    assert_eq!(seen_before, Err(DecodeError::Version(UNIQUE)));
}
