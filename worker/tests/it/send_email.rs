//! From a sign-up to the mail, with the worker in this process.

use std::time::Duration;

use domain::Token;
use domain::accounts::{Email, Password, sign_up, verify};
use domain::jobs::{Mail, SendEmail};
use migrations::testing::{TestDatabase, database};
use queue::{Queue, WorkerSettings};
use service::settings;
use service::shutdown::Shutdown;
use sqlx::PgPool;
use worker::App;
use worker::mail::Mailer;

use super::smtp::Server;
use super::until;

/// A worker that runs until the test is over.
struct Running {
    database: TestDatabase,
    dir: tempfile::TempDir,
    queue: queue::Settings,
    shutdown: Shutdown,
    task: tokio::task::JoinHandle<Result<(), queue::WorkerError>>,
}

impl Running {
    async fn start(smtp: Option<&Server>) -> Self {
        let database = database().await;
        let dir = tempfile::tempdir().unwrap();
        let mailer = Mailer::new(&settings::Mail {
            from: "Slipway <no-reply@example.org>".to_owned(),
            dir: dir.path().to_owned(),
            smtp: smtp.map(|server| settings::Smtp {
                host: server.addr.ip().to_string(),
                port: server.addr.port(),
                credentials: None,
                tls: settings::SmtpTls::None,
            }),
        })
        .unwrap();
        let app = App {
            pool: database.pool.clone(),
            mailer,
            public_url: "https://app.example.org".to_owned(),
        };
        let queue = queue::testing::settings();
        let shutdown = Shutdown::default();
        let task = tokio::spawn(worker::run(
            app,
            Queue::connect(queue.clone()).await.unwrap(),
            WorkerSettings {
                drain_timeout: Duration::from_secs(5),
                ..WorkerSettings::default()
            },
            shutdown.clone(),
        ));
        Self {
            database,
            dir,
            queue,
            shutdown,
            task,
        }
    }

    fn pool(&self) -> &PgPool {
        &self.database.pool
    }

    async fn sign_up(&self) {
        let email = Email::parse("Ada@Example.com").unwrap();
        let password = Password::parse("correct horse").unwrap();
        sign_up(self.pool(), &email, password).await.unwrap();
    }

    /// The mails in the folder, oldest first.
    fn mails(&self) -> Vec<String> {
        let mut paths: Vec<_> = std::fs::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|end| end == "eml"))
            .collect();
        paths.sort();
        paths
            .iter()
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect()
    }

    async fn left(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM job_outbox")
            .fetch_one(self.pool())
            .await
            .unwrap()
    }

    /// Waits until no job is left, and returns the mails.
    async fn done(&self) -> Vec<String> {
        until("the outbox is empty", async || self.left().await == 0).await;
        self.mails()
    }

    async fn stop(self) {
        self.shutdown.soft.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// The token that the mail shows on a line of its own.
fn token(mail: &str) -> Token {
    let line = mail.lines().find_map(|line| line.strip_prefix("Token: "));
    Token::parse(line.unwrap_or_else(|| panic!("no token line\n{mail}"))).unwrap()
}

#[tokio::test]
async fn a_sign_up_gets_a_mail_whose_token_verifies_it() {
    let running = Running::start(None).await;
    running.sign_up().await;
    let mails = running.done().await;
    assert_eq!(mails.len(), 1);
    let token = token(&mails[0]);
    let link = format!("https://app.example.org/verify?token={}", token.expose());
    assert!(mails[0].lines().any(|line| line == link), "{}", mails[0]);
    assert!(mails[0].contains("To: Ada@Example.com"));
    // By the time the owner can tell their own sign-up from a stranger's. Once in each form.
    let when: String = sqlx::query_scalar(
        r#"SELECT to_char(created_at AT TIME ZONE 'UTC', 'FMDD FMMonth YYYY "at" HH24:MI "UTC"')
           FROM sign_ups"#,
    )
    .fetch_one(running.pool())
    .await
    .unwrap();
    assert_eq!(mails[0].matches(&when).count(), 2, "{when}\n{}", mails[0]);
    verify(running.pool(), &token).await.unwrap();

    // And a sign-up for the address that is now verified.
    running.sign_up().await;
    let mails = running.done().await;
    assert_eq!(mails.len(), 2);
    assert!(mails[1].contains("Subject: You already have an account"));
    assert!(!mails[1].contains("Token: "));
    running.stop().await;
}

#[tokio::test]
async fn a_mail_is_plain_ascii_in_short_lines_without_anything_from_elsewhere() {
    let running = Running::start(None).await;
    running.sign_up().await;
    let mail = running.done().await.remove(0);
    verify(running.pool(), &token(&mail)).await.unwrap();
    running.sign_up().await;
    for mail in running.done().await {
        assert!(mail.is_ascii());
        assert!(mail.lines().all(|line| line.len() <= 100), "{mail}");
        assert_eq!(
            mail.matches("Content-Transfer-Encoding: 7bit").count(),
            2,
            "{mail}"
        );
        for word in ["src=", "<img", "<script", "<link", "url(", "{{", "{%"] {
            assert!(!mail.contains(word), "{word}\n{mail}");
        }
    }
    running.stop().await;
}

#[tokio::test]
async fn a_mail_that_has_become_pointless_is_not_sent() {
    let running = Running::start(None).await;
    let template = Mail::VerifyAddress {
        account_id: uuid::Uuid::now_v7(),
        sign_up_id: uuid::Uuid::now_v7(),
    };
    let job = SendEmail {
        to: "ada@example.com".to_owned(),
        template,
    };
    let mut conn = running.pool().acquire().await.unwrap();
    outbox::enqueue(&mut conn, &job).await.unwrap();
    assert!(running.done().await.is_empty());
    running.stop().await;
}

#[tokio::test]
async fn a_refused_mail_is_a_dead_letter_and_keeps_its_token() {
    let server = Server::start("550 no such mailbox").await;
    let running = Running::start(Some(&server)).await;
    running.sign_up().await;
    let client = queue::redis::Client::open(running.queue.redis.clone()).unwrap();
    let conn = client.get_multiplexed_async_connection().await.unwrap();
    let dead = format!("{{{}:default}}:dead", running.queue.namespace);
    until("a dead letter", async || {
        let mut conn = conn.clone();
        let length: usize = queue::redis::cmd("XLEN")
            .arg(&dead)
            .query_async(&mut conn)
            .await
            .unwrap();
        length == 1
    })
    .await;
    assert_eq!((running.left().await, server.arrived()), (1, 0));
    running.stop().await;
}
