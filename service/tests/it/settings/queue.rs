//! What a queue is told.

use super::*;

#[test]
fn limits_are_told_queue_by_queue() {
    let limits = read(&[("QUEUE_LIMITS", "default=100000, mail=5,")]).unwrap();
    let expected = [("default".to_owned(), 100_000), ("mail".to_owned(), 5)];
    assert_eq!(limits.queue.limits, expected.into());
    assert!(read(&[]).unwrap().queue.limits.is_empty());
    let partitions = read(&[("QUEUE_PARTITIONS", "default=4")]).unwrap();
    let expected = [("default".to_owned(), 4)];
    assert_eq!(partitions.queue.partitions, expected.into());
    let gated = [
        ("WORKER_AT_ONCE", "mail=2"),
        ("WORKER_RATES", "mail=100/60"),
    ];
    let worker = read(&gated).unwrap().worker;
    assert_eq!(worker.at_once, [("mail".to_owned(), 2)].into());
    let rate = worker.rates["mail"];
    assert_eq!((rate.jobs, rate.seconds, rate.burst), (100, 60, 1));
}

#[test]
fn keys_stand_in_lines_and_the_first_one_encrypts() {
    const SEVEN: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
    const EIGHT: &str = "CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=";
    let both: &str = &format!("\n70000 {SEVEN} \n\n  8  {EIGHT}\n");
    let none: &str = &format!("none\n8 {EIGHT}");
    let keys = |text: &str| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let path = [("QUEUE_KEYS_FILE", file.path().to_str().unwrap())];
        let secrets = SECRETS.into_iter().chain(path);
        let read = Reader::from_pairs(secrets).read(Queue::read);
        read.map(|queue| queue.keys)
    };
    let read = keys(both).unwrap();
    assert_eq!(read.current, Some(70_000));
    let secrets: Vec<_> = read.secrets().collect();
    assert_eq!(secrets, [(70_000, &[7; 32]), (8, &[8; 32])]);
    let told = format!("{read:?}");
    assert_eq!(
        told,
        "QueueKeys { current: Some(70000), ids: [70000, 8], .. }"
    );
    let read = keys(none).unwrap();
    assert_eq!((read.current, read.secrets().count()), (None, 1));

    for (text, wrong) in [
        (format!("8 {EIGHT}\n8 {SEVEN}"), "line 2 has the id 8 again"),
        (format!("8 {EIGHT}\nnone"), "line 2 is no key"),
        (format!("-1 {EIGHT}"), "line 1 is no key"),
        (format!("8 {SEVEN}{EIGHT}"), "line 1 is no key"),
        (EIGHT.to_owned(), "line 1 is no key"),
    ] {
        let told = keys(&text).unwrap_err().to_string();
        assert!(told.contains(wrong) && !told.contains(EIGHT), "{told}");
    }
}

#[test]
fn compression_is_off_or_has_a_size() {
    let above = |text| read(&[("QUEUE_COMPRESS_ABOVE", text)]).map(|all| all.queue.compress_above);
    assert_eq!(above("off"), Ok(None));
    assert_eq!(above("1024"), Ok(Some(1024)));
}
