//! Postgres or Redis away, and back, without a restart.

use std::time::Duration;

use axum::http::StatusCode;
use migrations::testing::{TestDatabase, database, empty_database};
use queue::redis::{ConnectionAddr, IntoConnectionInfo};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::app::{Answer, PASSWORD, TestApp, pool, settings};

/// A way to a server that can be cut and mended.
struct Cable {
    port: u16,
    line: watch::Sender<Line>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Whole,
    /// Connections are closed.
    Cut,
    /// Connections stay open for ever, and nothing comes through, also when others do again.
    Silent,
}

impl Cable {
    async fn to(host: String, port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (line, state) = watch::channel(Line::Whole);
        let cable = Self {
            port: listener.local_addr().unwrap().port(),
            line,
        };
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (host, mut state) = (host.clone(), state.clone());
                tokio::spawn(async move {
                    let mut line = *state.borrow();
                    let mut far = TcpStream::connect((host, port)).await.unwrap();
                    if line == Line::Whole {
                        tokio::select! {
                            _ = tokio::io::copy_bidirectional(&mut near, &mut far) => return,
                            lost = state.wait_for(|line| *line != Line::Whole) => {
                                line = *lost.unwrap();
                            }
                        }
                    }
                    if line == Line::Silent {
                        std::future::pending::<()>().await;
                    }
                });
            }
        });
        cable
    }
}

async fn behind(database: TestDatabase, port: u16) -> TestApp {
    let pool = pool(&database, port);
    TestApp::over(database, pool, queue::testing::settings(), &settings()).await
}

fn assert_unavailable(answer: &Answer) {
    answer.problem(StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("retry-after"), "2");
}

async fn until_ready(app: &TestApp) {
    let mut answer = app.get("/readyz").await;
    for _ in 0..100 {
        if answer.status == StatusCode::OK {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        answer = app.get("/readyz").await;
    }
    answer.expect(StatusCode::OK);
}

#[tokio::test]
async fn without_postgres_requests_get_503_and_then_their_answer() {
    let database = database().await;
    let host = database.options.get_host().to_owned();
    let cable = Cable::to(host, database.options.get_port()).await;
    let app = behind(database, cable.port).await;
    app.verified("ada@example.com").await;
    app.get("/readyz").await.expect(StatusCode::OK);

    cable.line.send_replace(Line::Cut);
    assert_unavailable(&app.sign_up("eve@example.com").await);
    assert_unavailable(&app.log_in("ada@example.com", PASSWORD).await);
    let report = app.get("/readyz").await;
    let report = report.expect(StatusCode::SERVICE_UNAVAILABLE).json();
    assert_ne!(report["checks"]["postgres"], "ok");
    assert_eq!(report["checks"]["redis"], "ok");
    assert_eq!(app.get("/readyz").await.header("retry-after"), "2");
    app.get("/livez").await.expect(StatusCode::OK);

    cable.line.send_replace(Line::Whole);
    app.sign_up("eve@example.com")
        .await
        .expect(StatusCode::ACCEPTED);
    let answer = app.log_in("ada@example.com", PASSWORD).await;
    answer.expect(StatusCode::OK);
    app.get("/readyz").await.expect(StatusCode::OK);
}

#[tokio::test]
async fn connections_that_fell_silent_are_replaced() {
    let database = database().await;
    let host = database.options.get_host().to_owned();
    let cable = Cable::to(host, database.options.get_port()).await;
    let pool = pool(&database, cable.port);
    let mut settings = settings();
    settings.http.request_timeout = Duration::from_millis(500);
    let app = TestApp::over(
        database,
        pool.clone(),
        queue::testing::settings(),
        &settings,
    )
    .await;
    // As many as the pool may have: there is none to fall back on.
    let all = futures_util::future::join_all([pool.acquire(), pool.acquire(), pool.acquire()]);
    drop(all.await);
    while pool.num_idle() < 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    cable.line.send_replace(Line::Silent);
    let who = ["a@a.test", "b@b.test", "c@c.test", "d@d.test"];
    for answer in futures_util::future::join_all(who.map(|who| app.sign_up(who))).await {
        assert_unavailable(&answer);
    }
    // Every connection was given back in the middle of a statement and will never answer again.
    cable.line.send_replace(Line::Whole);
    until_ready(&app).await;
    let mut answer = app.sign_up("eve@example.com").await;
    for _ in 0..20 {
        if answer.status == StatusCode::ACCEPTED {
            break;
        }
        answer = app.sign_up("eve@example.com").await;
    }
    answer.expect(StatusCode::ACCEPTED);
}

#[tokio::test]
async fn no_statement_and_no_lock_is_held_for_ever() {
    let database = database().await;
    let pool = pool(&database, database.options.get_port());
    for (setting, limit) in [
        ("statement_timeout", "15s"),
        ("idle_in_transaction_session_timeout", "30s"),
    ] {
        let shown: String = sqlx::query_scalar("SELECT current_setting($1)")
            .bind(setting)
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(shown, limit, "{setting}");
    }
}

#[tokio::test]
async fn what_may_succeed_the_next_time_is_a_503() {
    let app = TestApp::new().await;
    sqlx::raw_sql(
        "CREATE TABLE next_failure (code text);
         CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN RAISE EXCEPTION USING ERRCODE = (SELECT code FROM next_failure); END $$;
         CREATE TRIGGER fail BEFORE INSERT ON accounts FOR EACH ROW EXECUTE FUNCTION fail();
         INSERT INTO next_failure VALUES ('');",
    )
    .execute(&app.database.pool)
    .await
    .unwrap();
    let fail = async |code: &str| {
        sqlx::query("UPDATE next_failure SET code = $1")
            .bind(code)
            .execute(&app.database.pool)
            .await
            .unwrap();
        app.sign_up("ada@example.com").await
    };
    // Cancelled by its time limit, no lock in time, a conflict of transactions, a deadlock.
    for code in ["57014", "55P03", "40001", "40P01"] {
        assert_unavailable(&fail(code).await);
    }
    let fault = fail("23514").await;
    fault.problem(StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn a_service_that_starts_before_postgres_and_its_schema_says_so() {
    let database = empty_database().await;
    let port = database.options.get_port();
    let app = behind(database, port).await;
    let report = app.get("/readyz").await;
    let report = report.expect(StatusCode::SERVICE_UNAVAILABLE).json();
    let said = report["checks"]["postgres"].as_str().unwrap();
    assert!(
        said.contains("no schema") && said.contains("migrate run"),
        "{said}"
    );
    assert_unavailable(&app.sign_up("ada@example.com").await);

    migrations::MIGRATOR.run(&app.database.pool).await.unwrap();
    app.get("/readyz").await.expect(StatusCode::OK);
    app.sign_up("ada@example.com")
        .await
        .expect(StatusCode::ACCEPTED);
}

#[tokio::test]
async fn an_older_schema_is_not_ready_and_a_newer_one_is() {
    let app = TestApp::new().await;
    let newest = "UPDATE _sqlx_migrations SET version = version + $1
                  WHERE version = (SELECT max(version) FROM _sqlx_migrations)";
    let shift = async |by: i64| {
        let shifted = sqlx::query(newest)
            .bind(by)
            .execute(&app.database.pool)
            .await;
        assert_eq!(shifted.unwrap().rows_affected(), 1);
        app.get("/readyz").await
    };
    shift(1).await.expect(StatusCode::OK);
    let report = shift(-2).await;
    let report = report.expect(StatusCode::SERVICE_UNAVAILABLE).json();
    let said = report["checks"]["postgres"].as_str().unwrap();
    assert!(said.contains("is needed: run"), "{said}");
}

#[tokio::test]
async fn without_redis_it_limits_nobody_and_so_lets_nobody_in_and_loses_no_mail() {
    let mut redis = queue::testing::settings();
    let ConnectionAddr::Tcp(host, port) = redis.redis.addr().clone() else {
        panic!("TEST_REDIS_URL is a TCP address");
    };
    let cable = Cable::to(host, port).await;
    let login = redis.redis.redis_settings().clone();
    redis.redis = ConnectionAddr::Tcp("127.0.0.1".to_owned(), cable.port)
        .into_connection_info()
        .unwrap()
        .set_redis_settings(login);
    let database = database().await;
    let pool = pool(&database, database.options.get_port());
    let app = TestApp::over(database, pool, redis, &settings()).await;
    app.get("/readyz").await.expect(StatusCode::OK);
    app.sign_up("ada@example.com")
        .await
        .expect(StatusCode::ACCEPTED);

    cable.line.send_replace(Line::Cut);
    let report = app.get("/readyz").await;
    let report = report.expect(StatusCode::SERVICE_UNAVAILABLE).json();
    assert_ne!(report["checks"]["redis"], "ok");
    assert_eq!(report["checks"]["postgres"], "ok");
    // Nobody counts how often they try, so nobody may.
    assert_unavailable(&app.sign_up("eve@example.com").await);
    assert_unavailable(&app.log_in("ada@example.com", PASSWORD).await);
    // What was accepted waits in the outbox, and goes out when Redis is back.
    assert_eq!(app.mails().await.len(), 1);

    cable.line.send_replace(Line::Whole);
    // The connection comes back in the background.
    until_ready(&app).await;
    app.sign_up("eve@example.com")
        .await
        .expect(StatusCode::ACCEPTED);
}
