use proptest::prelude::*;

use super::*;

/// An entry on the wire: its id, and its fields and values.
type Sent = ((u64, u64), Option<Vec<(Vec<u8>, Vec<u8>)>>);

fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn answer(streams: &[(Priority, Vec<Sent>)]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", streams.len()).into_bytes();
    for (priority, entries) in streams {
        out.extend_from_slice(b"*2\r\n");
        bulk(&mut out, format!("s:{}", priority.level()).as_bytes());
        entries_of(&mut out, entries);
    }
    out
}

fn entries_of(out: &mut Vec<u8>, entries: &[Sent]) {
    out.extend_from_slice(format!("*{}\r\n", entries.len()).as_bytes());
    for ((ms, seq), fields) in entries {
        out.extend_from_slice(b"*2\r\n");
        bulk(out, format!("{ms}-{seq}").as_bytes());
        let Some(fields) = fields else {
            out.extend_from_slice(b"*-1\r\n");
            continue;
        };
        out.extend_from_slice(format!("*{}\r\n", 2 * fields.len()).as_bytes());
        for (field, value) in fields {
            bulk(out, field);
            bulk(out, value);
        }
    }
}

fn expected(streams: &[(Priority, Vec<Sent>)]) -> Vec<Fetched> {
    let entries = streams
        .iter()
        .flat_map(|(priority, entries)| entries.iter().map(|entry| (*priority, entry)));
    let present = entries.filter_map(|(priority, ((ms, seq), fields))| {
        let fields = fields.as_ref()?;
        let envelope = fields.iter().find(|(field, _)| field == b"e");
        let envelope = envelope.map(|(_, value)| value.clone());
        let id = EntryId::new(*ms, *seq);
        Some((EntryRef { id, priority }, envelope.unwrap_or_default()))
    });
    present.collect()
}

fn any_streams() -> impl Strategy<Value = Vec<(Priority, Vec<Sent>)>> {
    let field = prop_oneof![Just(b"e".to_vec()), any::<Vec<u8>>()];
    let fields = prop::collection::vec((field, any::<Vec<u8>>()), 0..4);
    let entry = (any::<(u64, u64)>(), prop::option::weighted(0.9, fields));
    let entries = prop::collection::vec(entry, 0..20);
    let priority = prop::sample::select(Priority::ALL.to_vec());
    prop::collection::vec((priority, entries), 0..4)
}

/// Reads as a connection does: what has been read leaves the buffer.
fn read_in_pieces(bytes: &[u8], pieces: &[usize]) -> Result<(Vec<Fetched>, usize), Malformed> {
    let mut answer = Answer::default();
    let (mut buffer, mut at, mut come) = (Vec::new(), 0, 0);
    let mut pieces = pieces.iter().copied().cycle();
    loop {
        match answer.read(&buffer, &mut at)? {
            Step::Entries(entries) => return Ok((entries, come - buffer.len() + at)),
            Step::Single => return Err(Malformed),
            Step::Incomplete { missing } => {
                assert!(missing > 0 && come < bytes.len(), "it asks for too much");
                buffer.drain(..at);
                at = 0;
                let piece = pieces.next().unwrap_or(1).clamp(1, bytes.len() - come);
                buffer.extend_from_slice(&bytes[come..come + piece]);
                come += piece;
            }
        }
    }
}

proptest! {
    #[test]
    fn what_comes_in_pieces_is_what_was_sent(
        entries in any_streams(),
        pieces in prop::collection::vec(1usize..200, 1..9),
    ) {
        let mut bytes = answer(&entries);
        let length = bytes.len();
        bytes.extend_from_slice(b"+the next answer\r\n");
        let read = read_in_pieces(&bytes, &pieces);
        let (entries_read, used) = read.map_err(|_| TestCaseError::fail("malformed"))?;
        prop_assert_eq!(entries_read, expected(&entries));
        prop_assert!(used <= bytes.len() && used == length);
    }

    #[test]
    fn it_reads_what_the_redis_crate_reads(entries in any_streams()) {
        let bytes = answer(&entries);
        let theirs = redis::parse_redis_value(&bytes).unwrap();
        let redis::Value::Array(streams) = theirs else { panic!("no array") };
        let mut read = Vec::new();
        for stream in streams {
            let redis::Value::Array(stream) = stream else { panic!("no stream") };
            let redis::Value::Array(theirs) = &stream[1] else { panic!("no entries") };
            let theirs = theirs.iter().cloned();
            read.extend(theirs.filter_map(crate::worker::entry::parse_entry));
        }
        let (ours, _) = read_in_pieces(&bytes, &[usize::MAX]).unwrap();
        let ours: Vec<_> = ours.into_iter().map(|(at, envelope)| (at.id, envelope)).collect();
        prop_assert_eq!(ours, read);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let mut at = 0;
        let _ = Answer::default().read(&bytes, &mut at);
        prop_assert!(at <= bytes.len());
        let _ = single(&bytes);
    }

    #[test]
    fn a_changed_byte_is_read_or_refused(
        entries in any_streams(),
        position: prop::sample::Index,
        byte: u8,
    ) {
        let mut bytes = answer(&entries);
        let position = position.index(bytes.len());
        bytes[position] = byte;
        let mut at = 0;
        let _ = Answer::default().read(&bytes, &mut at);
        prop_assert!(at <= bytes.len());
    }
}

#[test]
fn nothing_in_time_and_errors_are_told_from_entries() {
    let step = |bytes: &[u8]| Answer::default().read(bytes, &mut 0);
    assert_eq!(step(b"*-1\r\n"), Ok(Step::Entries(Vec::new())));
    assert_eq!(step(b"-NOGROUP no such key\r\n"), Ok(Step::Single));
    assert_eq!(step(b"$-1\r\n"), Ok(Step::Single));
    assert_eq!(step(b"*2\r\n"), Ok(Step::Incomplete { missing: 1 }));
    assert_eq!(step(b"*1\r\n*2\r\n$3\r\ns:9\r\n"), Err(Malformed));
    assert_eq!(step(b"*1\r\n*2\r\n$-1\r\n"), Err(Malformed));
    let too_long = b"*1\r\n*2\r\n$999999999999\r\n";
    assert_eq!(step(too_long), Err(Malformed));
}

#[test]
fn single_values_end_where_they_end() {
    for (bytes, length) in [
        (&b"+OK\r\n+OK\r\n"[..], Ok(Some(5))),
        (b":42\r\n", Ok(Some(5))),
        (b"-ERR no\r\n", Ok(Some(9))),
        (b"$2\r\nab\r\n", Ok(Some(8))),
        (b"$-1\r\n", Ok(Some(5))),
        (b"*-1\r\n", Ok(Some(5))),
        (b"$2\r\nab", Ok(None)),
        (b"+OK\r", Ok(None)),
        (b"", Ok(None)),
        (b"*1\r\n", Err(Malformed)),
        (b"%1\r\n", Err(Malformed)),
    ] {
        assert_eq!(single(bytes), length, "{bytes:?}");
    }
}
