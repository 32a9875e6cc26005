//! What leaves the house, byte by byte.

use std::path::Path;

use queue::JobId;
use service::settings::{Mail, Smtp, SmtpTls};
use worker::mail::{Content, Mailer, SendError, SetupError};

use super::smtp::Server;

fn settings(dir: &Path, server: Option<&Server>) -> Mail {
    Mail {
        from: "Slipway <no-reply@example.org>".to_owned(),
        dir: dir.to_owned(),
        smtp: server.map(|server| Smtp {
            host: server.addr.ip().to_string(),
            port: server.addr.port(),
            credentials: None,
            tls: SmtpTls::None,
        }),
    }
}

fn content() -> Content {
    Content {
        subject: "Hello",
        text: "Plain words.\n".to_owned(),
        html: "<p>Marked words.</p>\n".to_owned(),
    }
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_folder_is_made_and_gets_one_file_per_job_in_their_order() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("to/be/made");
    let mailer = Mailer::new(&settings(&dir, None)).unwrap();
    let (first, second) = (JobId::new(), JobId::new());
    for job in [second, first, first] {
        mailer
            .send(job, "ada@example.com", content())
            .await
            .unwrap();
    }
    let names = files(&dir);
    assert_eq!(
        names.len(),
        2,
        "a second attempt replaces the first one's file: {names:?}"
    );
    assert!(names[0].ends_with(&format!("-{first}.eml")), "{names:?}");
    assert!(names[1].ends_with(&format!("-{second}.eml")), "{names:?}");

    let mail = std::fs::read_to_string(dir.join(&names[0])).unwrap();
    for line in [
        "From: Slipway <no-reply@example.org>",
        "To: ada@example.com",
        "Subject: Hello",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Type: text/html; charset=utf-8",
        "Content-Transfer-Encoding: 7bit",
        "Plain words.",
        "<p>Marked words.</p>",
        &format!("Message-ID: <{first}@example.org>"),
    ] {
        assert!(
            mail.lines().any(|found| found == line),
            "{line}\n---\n{mail}"
        );
    }
}

#[tokio::test]
async fn the_same_mail_goes_by_smtp() {
    let temp = tempfile::tempdir().unwrap();
    let server = Server::start("250 ok").await;
    let mailer = Mailer::new(&settings(temp.path(), Some(&server))).unwrap();
    let job = JobId::new();
    mailer
        .send(job, "ada@example.com", content())
        .await
        .unwrap();
    let mails = server.mails();
    assert_eq!(mails.len(), 1);
    assert!(mails[0].contains(&format!("Message-ID: <{job}@example.org>")));
    assert!(files(temp.path()).is_empty());
}

#[tokio::test]
async fn the_servers_answer_decides_whether_to_try_again() {
    let temp = tempfile::tempdir().unwrap();
    for (reply, permanent) in [
        ("550 no such mailbox", true),
        ("554 we do not like you", true),
        ("450 mailbox busy", false),
        ("421 shutting down", false),
        // Our log-in is wrong: not the mail's fault.
        ("530 authentication required", false),
        ("535 wrong password", false),
    ] {
        let server = Server::start(reply).await;
        let mailer = Mailer::new(&settings(temp.path(), Some(&server))).unwrap();
        let refused = mailer
            .send(JobId::new(), "ada@example.com", content())
            .await;
        let found = matches!(refused.unwrap_err(), SendError::Permanent(_));
        assert_eq!(found, permanent, "{reply}");
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_worth_another_try() {
    let temp = tempfile::tempdir().unwrap();
    let mut settings = settings(temp.path(), Some(&Server::start("250 ok").await));
    // A port that nobody listens on.
    settings.smtp.as_mut().unwrap().port = 1;
    let mailer = Mailer::new(&settings).unwrap();
    let refused = mailer
        .send(JobId::new(), "ada@example.com", content())
        .await;
    assert!(matches!(refused, Err(SendError::Temporary(_))));
}

#[tokio::test]
async fn an_unencrypted_server_gets_nothing_when_encryption_is_asked_for() {
    let temp = tempfile::tempdir().unwrap();
    let server = Server::start("250 ok").await;
    let mut settings = settings(temp.path(), Some(&server));
    settings.smtp.as_mut().unwrap().tls = SmtpTls::StartTls;
    let mailer = Mailer::new(&settings).unwrap();
    let refused = mailer
        .send(JobId::new(), "ada@example.com", content())
        .await;
    assert!(matches!(refused, Err(SendError::Temporary(_))));
    assert_eq!(server.arrived(), 0);
}

#[tokio::test]
async fn an_address_cannot_become_a_header() {
    let temp = tempfile::tempdir().unwrap();
    let mailer = Mailer::new(&settings(temp.path(), None)).unwrap();
    for to in [
        "ada@example.com\r\nBcc: eve@example.com",
        "ada@example.com\nBcc: eve@example.com",
        "\"a\r\nBcc: eve\"@example.com",
        "ada@example.com, eve@example.com",
        "ada@example.com>\r\nRCPT TO:<eve@example.com",
        "",
    ] {
        let refused = mailer.send(JobId::new(), to, content()).await;
        assert!(matches!(refused, Err(SendError::Permanent(_))), "{to:?}");
    }
    assert!(files(temp.path()).is_empty());

    let mut settings = settings(temp.path(), None);
    settings.from = "Slipway\r\nBcc: eve@example.com <no-reply@example.org>".to_owned();
    assert!(matches!(Mailer::new(&settings), Err(SetupError::From(_))));
}
