//! The pool of connections, where Postgres does not behave.

use secrecy::SecretString;
use service::{
    database::{self, Returns},
    settings::Database,
    shutdown::Shutdown,
};
use tokio::net::TcpListener;

fn settings(port: u16) -> Database {
    Database {
        host: "127.0.0.1".to_owned(),
        port,
        name: "slipway".to_owned(),
        user: "slipway_app".to_owned(),
        password: SecretString::from("k3Vx8aPq0ZtR5mWy"),
        pool_size: 1,
    }
}

#[tokio::test]
async fn the_hard_signal_ends_the_wait_for_connections_in_use() {
    // It takes connections and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pool = database::pool(
        &settings(silent.local_addr().unwrap().port()),
        Returns::Asked,
    );
    let using = tokio::spawn({
        let pool = pool.clone();
        async move { pool.acquire().await.map(drop) }
    });
    let _open = silent.accept().await.unwrap();

    let shutdown = Shutdown::default();
    let closing = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { database::close(&pool, &shutdown).await }
    });
    tokio::task::yield_now().await;
    assert!(!closing.is_finished(), "a connection is in use");
    shutdown.hard.cancel();
    closing.await.unwrap();
    assert!(!using.is_finished(), "nothing else has ended the wait");
}
