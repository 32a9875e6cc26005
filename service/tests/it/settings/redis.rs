//! The settings of Redis.

use service::settings::RedisServers;

use super::read;

#[test]
fn tls_to_redis_trusts_public_authorities_or_the_given_ones() {
    let tls = |changes: &[(&'static str, &'static str)]| read(changes).map(|all| all.redis.tls);
    assert!(tls(&[]).unwrap().is_none());
    assert!(tls(&[("REDIS_TLS", "on")]).unwrap().is_some());
    let told = tls(&[("REDIS_TLS", "on"), ("REDIS_CA", "/etc/ca.pem")]);
    let told = told.map(drop).unwrap_err();
    assert!(told.contains("REDIS_CA  no certificate"), "{told}");
    assert!(told.contains("set REDIS_CA_FILE to the path"), "{told}");
}

#[test]
fn servers_are_named_one_by_one() {
    let read = |changes: &[(&'static str, &'static str)]| {
        let all = read(changes)?;
        Ok::<_, String>(all.redis.servers)
    };
    assert!(matches!(read(&[]), Ok(RedisServers::One)));
    let named = "one:26379, [::1]:26380,";
    let expected = [("one".to_owned(), 26379), ("::1".to_owned(), 26380)];
    let given = read(&[
        ("REDIS_SENTINELS", named),
        ("REDIS_SENTINEL_PASSWORD", "ours"),
    ]);
    let Ok(RedisServers::Sentinel { nodes, set, login }) = given else {
        panic!("Sentinels are set");
    };
    assert_eq!(nodes, expected);
    assert_eq!(set, "primary");
    assert_eq!(login.password(), Some("ours"));
    let Ok(RedisServers::Cluster { nodes }) = read(&[("REDIS_CLUSTER", named)]) else {
        panic!("a Cluster is set");
    };
    assert_eq!(nodes, expected);
    let both = read(&[("REDIS_CLUSTER", named), ("REDIS_SENTINELS", named)]);
    assert!(both.unwrap_err().contains("keep one of the two"));
}
