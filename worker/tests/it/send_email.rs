//! The job `send_email`: from a sign-up to the mail.

use std::sync::Arc;

use domain::Token;
use domain::accounts::{Email, Password, sign_up, verify};
use domain::jobs::{Mail, SendEmail};
use domain::webhooks::{Keys, Targets};
use migrations::testing::{TestDatabase, database};
use queue::testing::{Namespace, Outcome, Report, perform_envelope, run_until_empty};
use queue::{Job, Queue};
use service::metrics::Metrics;
use service::settings;
use sqlx::PgPool;
use worker::App;
use worker::jobs::registry;
use worker::mail::Mailer;
use worker::metrics::Counts;
use worker::webhook::{Sender, System};

use super::smtp::Server;

/// What the job works with: a database, a queue and a folder of this test alone.
pub(crate) struct Fixture {
    database: TestDatabase,
    dir: tempfile::TempDir,
    app: Arc<App>,
    namespace: Namespace,
}

impl Fixture {
    /// Without a mail server, mails are files in the folder.
    pub(crate) async fn new(smtp: Option<&Server>) -> Self {
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
            webhook_keys: Keys::new(&["hT5nQ8wYc2Vz9KfR4mLx7Bd0Js3GpA6e".into()]),
            webhooks: Sender::new(Targets::Public, System),
            counts: Counts::new(&Metrics::new("worker", "test")),
        };
        Self {
            database,
            dir,
            app: Arc::new(app),
            namespace: Namespace::new(queue::testing::settings()),
        }
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.database.pool
    }

    async fn sign_up(&self) {
        let email = Email::parse("Ada@Example.com").unwrap();
        let password = Password::parse("correct horse").unwrap();
        sign_up(self.pool(), &email, password).await.unwrap();
    }

    /// Takes the jobs out of the outbox and runs them to their end.
    pub(crate) async fn work(&self) -> Report {
        let queue = Queue::connect(self.namespace.settings().clone());
        let queue = queue.await.unwrap();
        let relay = outbox::Relay::new(self.pool().clone(), queue.clone());
        relay.relay_batch().await.unwrap();
        let app = Arc::clone(&self.app);
        run_until_empty(&queue, registry(), app).await.unwrap()
    }

    /// The mails in the folder, oldest first.
    pub(crate) fn mails(&self) -> Vec<String> {
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

    /// Empties the folder.
    pub(crate) fn forget(&self) {
        for entry in std::fs::read_dir(self.dir.path()).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }

    /// The jobs that are not finished, by their tokens.
    pub(crate) async fn left(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM job_outbox")
            .fetch_one(self.pool())
            .await
            .unwrap()
    }

    /// Does all that waits, and returns all mails.
    pub(crate) async fn done(&self) -> Vec<String> {
        self.work().await.assert_all_done();
        assert_eq!(self.left().await, 0);
        self.mails()
    }

    /// Checks that nothing is left in Redis.
    pub(crate) async fn end(self) {
        self.namespace.end().await;
    }
}

/// The token that the mail shows on a line of its own.
pub(crate) fn token(mail: &str) -> Token {
    let line = mail.lines().find_map(|line| line.strip_prefix("Token: "));
    Token::parse(line.unwrap_or_else(|| panic!("no token line\n{mail}"))).unwrap()
}

#[tokio::test]
async fn a_sign_up_gets_a_mail_whose_token_verifies_it() {
    let fixture = Fixture::new(None).await;
    fixture.sign_up().await;
    let mails = fixture.done().await;
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
    .fetch_one(fixture.pool())
    .await
    .unwrap();
    assert_eq!(mails[0].matches(&when).count(), 2, "{when}\n{}", mails[0]);
    verify(fixture.pool(), &token).await.unwrap();

    // And a sign-up for the address that is now verified.
    fixture.sign_up().await;
    let mails = fixture.done().await;
    assert_eq!(mails.len(), 2);
    assert!(mails[1].contains("Subject: You already have an account"));
    assert!(!mails[1].contains("Token: "));
    fixture.end().await;
}

#[tokio::test]
async fn a_mail_is_plain_ascii_in_short_lines_without_anything_from_elsewhere() {
    let fixture = Fixture::new(None).await;
    fixture.sign_up().await;
    let mail = fixture.done().await.remove(0);
    verify(fixture.pool(), &token(&mail)).await.unwrap();
    fixture.sign_up().await;
    for mail in fixture.done().await {
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
    fixture.end().await;
}

#[tokio::test]
async fn a_mail_that_has_become_pointless_is_not_sent() {
    let fixture = Fixture::new(None).await;
    let template = Mail::VerifyAddress {
        account_id: uuid::Uuid::now_v7(),
        sign_up_id: uuid::Uuid::now_v7(),
    };
    let job = SendEmail {
        to: "ada@example.com".to_owned(),
        template,
    };
    let mut conn = fixture.pool().acquire().await.unwrap();
    outbox::enqueue(&mut conn, &job).await.unwrap();
    assert!(fixture.done().await.is_empty());
    fixture.end().await;
}

#[tokio::test]
async fn a_refused_mail_is_a_dead_letter_and_keeps_its_token() {
    let server = Server::start("550 no such mailbox").await;
    let fixture = Fixture::new(Some(&server)).await;
    fixture.sign_up().await;
    let report = fixture.work().await;
    let end = report.jobs[0].outcome();
    assert!(
        matches!(
            end,
            Outcome::Dead {
                why: "discarded",
                ..
            }
        ),
        "{report}"
    );
    assert_eq!((fixture.left().await, server.arrived()), (1, 0));
    fixture.end().await;
}

#[tokio::test]
async fn a_mail_that_is_refused_for_now_is_tried_until_no_attempt_is_left() {
    let server = Server::start("450 mailbox busy").await;
    let fixture = Fixture::new(Some(&server)).await;
    fixture.sign_up().await;
    let waiting = outbox::testing::assert_enqueued::<SendEmail>(fixture.pool(), |mail| {
        mail.to == "Ada@Example.com"
    });
    // One attempt, in place.
    let mut mail = waiting.await.envelope;
    let app = Arc::clone(&fixture.app);
    let first = perform_envelope(&registry(), app, &mail).await;
    assert!(matches!(first, Outcome::Retry { .. }), "{first}");
    mail.attempt = SendEmail::MAX_ATTEMPTS;
    let app = Arc::clone(&fixture.app);
    let last = perform_envelope(&registry(), app, &mail).await;
    assert!(
        matches!(
            last,
            Outcome::Dead {
                why: "attempts",
                ..
            }
        ),
        "{last}"
    );

    // All of them, with a worker.
    let report = fixture.work().await;
    let ran = report.job(mail.id).unwrap();
    assert_eq!(ran.attempts.len(), usize::from(SendEmail::MAX_ATTEMPTS));
    assert_eq!((fixture.left().await, server.arrived()), (1, 0));
    fixture.end().await;
}

#[tokio::test]
async fn a_mail_that_was_sent_is_not_sent_again() {
    let server = Server::start("250 ok").await;
    let fixture = Fixture::new(Some(&server)).await;
    fixture.sign_up().await;
    let waiting = outbox::testing::enqueued::<SendEmail>(fixture.pool()).await;
    for _ in 0..2 {
        let app = Arc::clone(&fixture.app);
        let outcome = perform_envelope(&registry(), app, &waiting[0].envelope).await;
        assert_eq!(outcome, Outcome::Done);
    }
    assert_eq!((fixture.left().await, server.mails().len()), (0, 1));
    fixture.end().await;
}
