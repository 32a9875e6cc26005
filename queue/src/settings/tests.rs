use super::*;
use redis::IntoConnectionInfo;

#[test]
fn defaults_hold_their_own_rules() {
    let redis = "redis://127.0.0.1".into_connection_info().unwrap();
    Settings::new(redis, "slipway").check().unwrap();
    WorkerSettings::default().check().unwrap();
}

#[test]
fn all_mistakes_are_told_at_once() {
    let redis = "redis://127.0.0.1".into_connection_info().unwrap();
    let mut settings = Settings::new(redis, "a{b");
    settings.lease = Duration::from_millis(1);
    settings.limits = BTreeMap::from([("mail".to_owned(), 0), ("B".to_owned(), 1)]);
    settings.partitions = BTreeMap::from([("mail".to_owned(), 65)]);
    settings.tuning.marker_ttl = Duration::ZERO;
    settings.tuning.unique_ttl = Duration::ZERO;
    settings.tuning.dead_max_age = Duration::MAX;
    settings.tuning.schedule_ttl = Duration::ZERO;
    let Err(Error::Settings(wrong)) = settings.check() else {
        panic!("accepted");
    };
    assert_eq!(wrong.len(), 10, "{wrong:?}");
}

#[test]
fn times_that_never_work_are_refused() {
    let redis = "redis://127.0.0.1".into_connection_info().unwrap();
    type Spoil = fn(&mut Settings);
    let wrong: [(&str, Spoil); 14] = [
        ("lease", |settings| settings.lease = Duration::MAX),
        ("scan", |settings| settings.tuning.scan = Duration::ZERO),
        ("scan", |settings| settings.tuning.scan = settings.lease),
        ("connect_timeout", |settings| {
            settings.tuning.connect_timeout = Duration::ZERO;
        }),
        ("connect_timeout", |settings| {
            settings.tuning.connect_timeout = settings.lease;
        }),
        ("response_timeout", |settings| {
            settings.tuning.response_timeout = Duration::ZERO;
        }),
        ("response_timeout", |settings| {
            settings.tuning.response_timeout = Duration::MAX;
        }),
        ("tick", |settings| settings.tuning.tick = Duration::ZERO),
        ("tick", |settings| settings.tuning.tick = MINUTE),
        ("block", |settings| settings.tuning.block = Duration::ZERO),
        ("block", |settings| settings.tuning.block = Duration::MAX),
        ("reconcile", |settings| {
            settings.tuning.reconcile = Duration::ZERO;
        }),
        ("reconcile", |settings| {
            settings.tuning.reconcile = Duration::MAX;
        }),
        ("dead_max_len", |settings| settings.tuning.dead_max_len = 0),
    ];
    for (name, spoil) in wrong {
        let mut settings = Settings::new(redis.clone(), "slipway");
        spoil(&mut settings);
        let Err(Error::Settings(wrong)) = settings.check() else {
            panic!("accepted: {settings:?}");
        };
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert!(wrong[0].starts_with(name), "{wrong:?}");
    }
}

#[test]
fn a_worker_needs_queues_that_can_run() {
    let settings = WorkerSettings {
        queues: vec!["a".into(), "a".into(), QueueSettings::limited("B", 0)],
        concurrency: 0,
        drain_timeout: Duration::MAX,
        on_span: None,
    };
    let Err(Error::Settings(wrong)) = settings.check() else {
        panic!("accepted");
    };
    assert_eq!(wrong.len(), 5, "{wrong:?}");
}
