use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use proptest::prelude::*;

use super::{keyring::encrypt_with, *};
use crate::{
    EnqueueError, Job, JobId, Priority,
    envelope::{Extras, Sealer},
};

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Text(String);

impl Job for Text {
    const NAME: &'static str = "ping";
    const QUEUE: &'static str = "net";
    const VERSION: u16 = 300;
}

fn keyring(current: Option<u32>, ids: &[u32]) -> Keyring {
    let secret = |id: u32| std::array::from_fn(|at| at as u8 ^ (id - 7) as u8);
    let secrets: Vec<(u32, [u8; 32])> = ids.iter().map(|id| (*id, secret(*id))).collect();
    Keyring::new(current, secrets.iter().map(|(id, secret)| (*id, secret))).unwrap()
}

fn packer(compress_above: Option<usize>, key: Option<u32>) -> Packer {
    Packer {
        compress_above,
        keys: keyring(key, &[7, 8]),
    }
}

fn envelope(json: &[u8]) -> Envelope {
    let mut envelope = Envelope::new(&Text(String::new())).unwrap();
    envelope.id = uuid::Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_00ff).into();
    (envelope.enqueued_at_ms, envelope.payload) = (7, json.to_vec());
    envelope
}

fn packed(packer: &Packer, json: &[u8]) -> Envelope {
    let mut envelope = envelope(json);
    packer.pack(&mut envelope);
    envelope
}

fn refusal(mut envelope: Envelope) -> UnpackError {
    let packer = packer(None, None);
    packer.unpack(&mut envelope).unwrap_err()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

proptest! {
    #[test]
    fn what_was_packed_comes_back(
        json in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300),
            (any::<u8>(), 0..5000_usize).prop_map(|(byte, length)| vec![byte; length]),
        ],
        compress_above in proptest::option::of(0..400_usize),
        key in proptest::sample::select(vec![None, Some(7), Some(8)]),
    ) {
        let packer = packer(compress_above, key);
        let plain = envelope(&json);
        let written = packer.encode(&plain);
        let mut read = Envelope::decode(&written).unwrap();
        prop_assert_eq!(read.packing.and_then(|packing| packing.key), key);
        prop_assert_eq!(&*packer.pack_encoded(&written), &written, "packed once");
        packer.unpack(&mut read).unwrap();
        prop_assert_eq!(&read, &plain);
        packer.unpack(&mut read).unwrap();
        prop_assert_eq!(read, plain, "unpacked once");
    }

    #[test]
    fn any_bytes_are_unpacked_or_refused(bytes: Vec<u8>, compressed: bool, key: Option<u32>) {
        let mut envelope = envelope(&bytes);
        envelope.packing = Some(Packing { compressed, key });
        let _ = packer(None, None).unpack(&mut envelope);
    }
}

/// The bytes that each release must read for ever: made by another program, from the
/// definitions of XChaCha20-Poly1305 and of LZ4's blocks.
#[test]
fn the_bytes_of_the_format_stay_as_they_are() {
    let nonce = b"0123456789abcdefghijklmn";
    let block = "2c0000003f5b226101000f706161616161225d";
    let encrypted = "3bc868b6be840cc7b8cb8155c5a69071b81321bd64287ebbf4319fe1";
    let both = "6cea1cd9a3e50cc7ddaaac5806b4d8f42883d2202f6652e70a4c8dcc5183cf5b477863";
    let short = br#"{"to":"ada"}"#;
    let long = format!("[\"{}\"]", "a".repeat(40));
    let bytes = |hex: &str| -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2);
        let byte = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16);
        digits.map(|two| byte(two).unwrap()).collect()
    };
    let behind = |hex: &str| [nonce, &bytes(hex)[..]].concat();
    let cases = [
        (true, None, bytes(block), long.as_bytes()),
        (false, Some(7), behind(encrypted), short),
        (true, Some(7), behind(both), long.as_bytes()),
    ];
    for (compressed, key, payload, json) in cases {
        let mut packed = envelope(&payload);
        packed.packing = Some(Packing { compressed, key });
        packer(None, None).unpack(&mut packed).unwrap();
        assert_eq!(packed, envelope(json));
    }

    let secret: [u8; 32] = std::array::from_fn(|at| at as u8);
    let cipher = XChaCha20Poly1305::new(&secret.into());
    let packing = Packing {
        compressed: false,
        key: Some(7),
    };
    let authenticated = authenticated(&envelope(b"").header(), &packing);
    let written = encrypt_with(&cipher, nonce.into(), &authenticated, short);
    assert_eq!(hex(&written), hex(&behind(encrypted)));
}

#[test]
fn each_bit_that_is_flipped_is_noticed() {
    let packed = packed(&packer(Some(0), Some(7)), &[b'7'; 100]);
    for bit in 0..packed.payload.len() * 8 {
        let mut flipped = packed.clone();
        flipped.payload[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(refusal(flipped), UnpackError::Encryption(7), "bit {bit}");
    }
    for length in 0..packed.payload.len() {
        let mut shorter = packed.clone();
        shorter.payload.truncate(length);
        assert_eq!(refusal(shorter), UnpackError::Encryption(7));
    }
    let mut reframed = packed;
    reframed.packing = Some(Packing {
        compressed: false,
        key: Some(7),
    });
    assert_eq!(refusal(reframed), UnpackError::Encryption(7));
}

#[test]
fn a_payload_is_worth_nothing_to_another_job() {
    let mine = packed(&packer(None, Some(7)), b"7");
    type Move = fn(&mut Envelope);
    let others: [Move; 5] = [
        |job| job.id = JobId::new(),
        |job| job.queue = "nets".to_owned(),
        |job| job.name = "pong".to_owned(),
        |job| job.version += 1,
        |job| (job.queue, job.name) = ("netp".to_owned(), "ing".to_owned()),
    ];
    for make in others {
        let mut other = mine.clone();
        make(&mut other);
        assert_eq!(refusal(other), UnpackError::Encryption(7));
    }
    let mut again = mine;
    (again.attempt, again.priority) = (9, Priority::High);
    packer(None, None).unpack(&mut again).unwrap();
    assert_eq!(again.payload, b"7", "an attempt is no other job");
}

#[test]
fn a_chain_is_packed_to_its_end() {
    let packer = packer(None, Some(7));
    let mut next = Some(b"not an envelope".to_vec());
    for number in 0..200 {
        let mut link = envelope(b"7");
        if number % 2 == 0 {
            // As when somebody has packed it before.
            packer.pack(&mut link);
        }
        link.next = next.take();
        next = Some(link.encode());
    }
    let mut first = envelope(b"7");
    first.next = next;
    let written = packer.encode(&first);
    packer.pack(&mut first);
    for mut link in [Envelope::decode(&written).unwrap(), first] {
        let mut seen = 1;
        loop {
            packer.unpack(&mut link).unwrap();
            assert_eq!(link.payload, b"7");
            let Ok(next) = Envelope::decode(&link.next.unwrap()) else {
                break;
            };
            assert!(next.packing.is_some());
            (link, seen) = (next, seen + 1);
        }
        assert_eq!(seen, 201);
    }
}

#[test]
fn keys_are_told_apart_by_their_ids() {
    let old = packed(&packer(None, Some(7)), b"7");
    let new = packed(&packer(None, Some(8)), b"7");
    for (id, job) in [(7, &old), (8, &new)] {
        let one = Packer {
            keys: keyring(None, &[id]),
            ..Packer::default()
        };
        let both = [&old, &new].map(|job| one.unpack(&mut job.clone()));
        let other = Err(UnpackError::Key(15 - id));
        let mut expected = [Ok(()), other];
        if id == 8 {
            expected.reverse();
        }
        assert_eq!(both, expected);
        let mut mislabelled = job.clone();
        mislabelled.packing.as_mut().unwrap().key = Some(15 - id);
        assert_eq!(refusal(mislabelled), UnpackError::Encryption(15 - id));
    }
    assert_ne!(
        old.payload,
        packed(&packer(None, Some(7)), b"7").payload,
        "nonces differ"
    );
}

#[test]
fn only_what_shrinks_is_compressed() {
    let packer = packer(Some(100), None);
    let cases = [(&[b'7'; 100][..], false), (&[b'7'; 101], true)];
    for (json, compressed) in cases {
        let packed = packed(&packer, json);
        assert_eq!(packed.packing.is_some(), compressed, "{} bytes", json.len());
        assert_eq!(packed.payload.len() < json.len(), compressed);
    }
    let random: Vec<u8> = (0..1000).map(|_| fastrand::u8(..)).collect();
    assert_eq!(packed(&packer, &random), envelope(&random));
    let text = r#"{"to":"ada@example.org","subject":"Welcome"},"#.repeat(50);
    let size = packed(&packer, text.as_bytes()).payload.len();
    assert!(size * 10 < text.len(), "{size} of {}", text.len());
}

#[test]
fn no_more_is_decompressed_than_a_payload_may_have() {
    let honest = vec![b'7'; Envelope::MAX_PAYLOAD];
    let mut largest = packed(&packer(Some(0), None), &honest);
    packer(None, None).unpack(&mut largest).unwrap();
    assert_eq!(largest.payload, honest);
    let larger = packed(&packer(Some(0), None), &[&honest[..], b"7"].concat());
    assert_eq!(refusal(larger.clone()), UnpackError::Compression);
    for lie in [0, 1, Envelope::MAX_PAYLOAD as u32, u32::MAX] {
        let mut lying = larger.clone();
        lying.payload[..4].copy_from_slice(&lie.to_le_bytes());
        assert_eq!(refusal(lying), UnpackError::Compression, "{lie} bytes");
    }
}

#[test]
fn the_limit_is_that_of_the_json() {
    let packer = packer(Some(0), Some(7));
    let mut sealer = Sealer::plain(&packer);
    let largest = Text("7".repeat(Envelope::MAX_PAYLOAD - 2));
    sealer.seal(&largest).unwrap();
    let larger = Text("7".repeat(Envelope::MAX_PAYLOAD - 1));
    let refused = sealer.seal(&larger).map(drop);
    assert!(matches!(refused, Err(EnqueueError::TooLarge { .. })));

    // Encryption makes it a little longer, which is no reason to refuse it.
    let random = vec![b'7'; Envelope::MAX_PAYLOAD];
    let mut whole = envelope(&random);
    super::tests::packer(None, Some(7)).pack(&mut whole);
    whole.check().unwrap();
    whole.packing = None;
    whole.check().unwrap_err();
}

#[test]
fn the_short_way_packs_each_job_by_itself() {
    let packer = packer(Some(50), None);
    let extras = Extras {
        unique: Some([7; 16]),
        ..Extras::default()
    };
    let mut sealer = Sealer::new(Priority::Normal, extras, &packer);
    for length in [0, 100, 0, 0, 100, 100, 0] {
        let job = Text("7".repeat(length));
        let (id, bytes) = sealer.seal(&job).unwrap();
        let mut envelope = Envelope::decode(bytes).unwrap();
        assert_eq!(envelope.packing.is_some(), length > 50);
        packer.unpack(&mut envelope).unwrap();
        assert_eq!((envelope.id, envelope.unique), (id, extras.unique));
        assert_eq!(
            serde_json::from_slice::<Text>(&envelope.payload).unwrap(),
            job
        );
    }
}

#[test]
fn secrets_are_not_told() {
    let told = format!("{:?}", packer(Some(1024), Some(7)));
    assert_eq!(
        told,
        "Packer { compress_above: Some(1024), keys: Keyring { current: Some(7), keys: [7, 8] } }"
    );
}
