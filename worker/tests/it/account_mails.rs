//! The mails about what an owner changes, and about what was asked for in their name.

use domain::accounts::{
    Email, Name, Password, ProfileChange, change_profile, complete_email_change,
    complete_password_reset, delete, find, find_by_email, request_email_change,
    request_password_reset, request_resend, sign_up, verify,
};
use domain::jobs::{Mail, SendEmail};
use sqlx::PgPool;
use uuid::Uuid;

use super::send_email::{Fixture, token};

const ADA: &str = "ada@example.com";

fn email(text: &str) -> Email {
    Email::parse(text).unwrap()
}

fn password(text: &str) -> Password {
    Password::parse(text).unwrap()
}

impl Fixture {
    /// What was sent since the last call, with what the jobs have enqueued themselves.
    async fn sent(&self) -> Vec<String> {
        while self.left().await > 0 {
            self.work().await.assert_all_done();
        }
        let mails = self.mails();
        self.forget();
        mails
    }

    /// An account whose mail has been followed.
    async fn verified(&self, address: &str) -> Uuid {
        let pool = self.pool();
        sign_up(pool, &email(address), password("correct horse"))
            .await
            .unwrap();
        let mails = self.sent().await;
        verify(pool, &token(&mails[0])).await.unwrap()
    }
}

/// The mail's first lines, up to the empty one.
fn headers(mail: &str) -> Vec<&str> {
    mail.lines().take_while(|line| !line.is_empty()).collect()
}

fn assert_headers(mail: &str, to: &str, subject: &str) {
    let headers = headers(mail);
    for line in [format!("To: {to}"), format!("Subject: {subject}")] {
        assert!(headers.contains(&&*line), "{line}\n---\n{mail}");
    }
}

fn assert_link(mail: &str, page: &str) {
    let link = format!(
        "https://app.example.org/{page}?token={}",
        token(mail).expose()
    );
    assert_eq!(
        mail.lines().filter(|line| *line == link).count(),
        2,
        "{mail}"
    );
}

async fn has_mail(pool: &PgPool, account: Uuid) -> String {
    find(pool, account).await.unwrap().unwrap().email
}

#[tokio::test]
async fn a_reset_goes_to_the_address_of_the_account_and_tells_of_its_end() {
    let fixture = Fixture::new(None).await;
    let pool = fixture.pool();
    fixture.verified("Ada@Example.com").await;
    request_password_reset(pool, &email("ADA@example.com"))
        .await
        .unwrap();
    let mail = fixture.sent().await.remove(0);
    assert_headers(&mail, "Ada@Example.com", "Choose a new password");
    assert_link(&mail, "reset");
    complete_password_reset(pool, &token(&mail), password("battery staple"))
        .await
        .unwrap();
    let mails = fixture.sent().await;
    assert_eq!(mails.len(), 1);
    assert_headers(&mails[0], "Ada@Example.com", "Your password was changed");
    fixture.end().await;
}

#[tokio::test]
async fn an_unknown_address_hears_nothing_of_a_reset_or_a_resend() {
    let fixture = Fixture::new(None).await;
    request_password_reset(fixture.pool(), &email(ADA))
        .await
        .unwrap();
    request_resend(fixture.pool(), &email(ADA)).await.unwrap();
    assert!(fixture.done().await.is_empty());
    fixture.end().await;
}

#[tokio::test]
async fn a_resend_brings_the_mail_of_the_sign_up_once_more() {
    let fixture = Fixture::new(None).await;
    let pool = fixture.pool();
    sign_up(pool, &email(ADA), password("correct horse"))
        .await
        .unwrap();
    let first = fixture.sent().await.remove(0);
    request_resend(pool, &email("ADA@example.com"))
        .await
        .unwrap();
    let second = fixture.sent().await.remove(0);
    assert_headers(&second, ADA, "Confirm your address");
    assert_ne!(token(&first).expose(), token(&second).expose());
    verify(pool, &token(&second)).await.unwrap();
    request_resend(pool, &email(ADA)).await.unwrap();
    let mails = fixture.sent().await;
    assert_eq!(mails.len(), 1);
    assert_headers(&mails[0], ADA, "Your address is confirmed already");
    fixture.end().await;
}

#[tokio::test]
async fn a_change_of_the_address_is_told_to_both() {
    let fixture = Fixture::new(None).await;
    let pool = fixture.pool();
    let account = fixture.verified(ADA).await;
    let new = email("ada@example.org");
    request_email_change(pool, account, password("correct horse"), &new)
        .await
        .unwrap();
    let mails = fixture.sent().await;
    assert_eq!(mails.len(), 2);
    assert_headers(&mails[0], "ada@example.org", "Confirm your new address");
    assert_link(&mails[0], "email");
    assert_headers(&mails[1], ADA, "Your address is about to change");
    complete_email_change(pool, &token(&mails[0]))
        .await
        .unwrap();
    assert_eq!(has_mail(pool, account).await, "ada@example.org");
    let mails = fixture.sent().await;
    assert_eq!(mails.len(), 1);
    assert_headers(&mails[0], ADA, "Your account has another address now");
    fixture.end().await;
}

#[tokio::test]
async fn that_an_address_is_taken_is_said_to_it_alone() {
    let fixture = Fixture::new(None).await;
    let pool = fixture.pool();
    let account = fixture.verified(ADA).await;
    fixture.verified("eve@example.com").await;
    let taken = email("eve@example.com");
    request_email_change(pool, account, password("correct horse"), &taken)
        .await
        .unwrap();
    let mails = fixture.sent().await;
    assert_headers(
        &mails[0],
        "eve@example.com",
        "This address already has an account",
    );
    assert!(!mails[0].contains("Token: ") && !mails[0].contains(ADA));
    assert_headers(&mails[1], ADA, "Your address is about to change");
    fixture.end().await;
}

#[tokio::test]
async fn a_deletion_is_told_and_leaves_the_other_jobs_nothing_to_say() {
    let fixture = Fixture::new(None).await;
    let pool = fixture.pool();
    let account = fixture.verified(ADA).await;
    request_password_reset(pool, &email(ADA)).await.unwrap();
    request_resend(pool, &email(ADA)).await.unwrap();
    let new = email("ada@example.org");
    request_email_change(pool, account, password("correct horse"), &new)
        .await
        .unwrap();
    delete(pool, account, password("correct horse"))
        .await
        .unwrap();
    assert!(find_by_email(pool, &email(ADA)).await.unwrap().is_none());
    let mails = fixture.sent().await;
    assert_eq!(mails.len(), 2, "the warning that was owed, and the end");
    assert_headers(&mails[0], ADA, "Your address is about to change");
    assert_headers(&mails[1], ADA, "Your account was deleted");
    fixture.end().await;
}

/// Names and addresses are what strangers choose. The one stands in no mail, the other in `To`.
#[tokio::test]
async fn no_name_and_no_address_breaks_a_mail() {
    let fixture = Fixture::new(None).await;
    let pool = fixture.pool();
    // As odd as an address may be: what HTML, headers and templates have a use for.
    let odd = "o'neil&{{7919*6841}}%#!=?/|`~^@example.com";
    let account = fixture.verified(odd).await;
    for line_break in [
        "Ada\r\nBcc: eve@example.com",
        "Ada\nBcc: eve@example.com",
        "Ada\0",
    ] {
        Name::parse(line_break).unwrap_err();
    }
    let name = "<script>alert(1)</script> Bcc: eve@example.com {{ 7919*6841 }}";
    let change = ProfileChange {
        name: Some(Name::parse(name).unwrap()),
    };
    change_profile(pool, account, &change, None).await.unwrap();

    request_password_reset(pool, &email(odd)).await.unwrap();
    request_resend(pool, &email(odd)).await.unwrap();
    request_email_change(
        pool,
        account,
        password("correct horse"),
        &email("e'v&e@example.org"),
    )
    .await
    .unwrap();
    let mut mails = fixture.sent().await;
    delete(pool, account, password("correct horse"))
        .await
        .unwrap();
    mails.extend(fixture.sent().await);
    assert_eq!(mails.len(), 5);
    for mail in &mails {
        let names: Vec<_> = headers(mail)
            .into_iter()
            .filter_map(|line| Some(line.split_once(": ")?.0))
            .collect();
        let ours = [
            "From",
            "To",
            "Date",
            "Message-ID",
            "Auto-Submitted",
            "Subject",
            "MIME-Version",
            "Content-Type",
        ];
        let mut sorted = names.clone();
        sorted.sort_unstable();
        let mut expected = ours.to_vec();
        expected.sort_unstable();
        assert_eq!(sorted, expected, "{mail}");
        for word in ["script", "Bcc", "eve@example.com", "54173879"] {
            let body = mail.split_once("\r\n\r\n").unwrap().1;
            // Tokens may hold any letters and digits.
            let said = body.lines().filter(|line| !line.contains("oken"));
            let said: Vec<_> = said.filter(|line| line.len() != 43).collect();
            assert!(
                !said.iter().any(|line| line.contains(word)),
                "{word}\n{mail}"
            );
        }
    }
    fixture.end().await;
}

#[tokio::test]
async fn every_mail_is_plain_ascii_in_short_lines_without_anything_from_elsewhere() {
    let fixture = Fixture::new(None).await;
    let pool = fixture.pool();
    let account = fixture.verified(ADA).await;
    let new = email("ada@example.org");
    request_email_change(pool, account, password("correct horse"), &new)
        .await
        .unwrap();
    let mut conn = pool.acquire().await.unwrap();
    for template in [
        Mail::AlreadyRegistered,
        Mail::AlreadyVerified,
        Mail::ResetPassword,
        Mail::PasswordChanged,
        Mail::AddressChanged,
        Mail::AccountDeleted,
    ] {
        let to = ADA.to_owned();
        outbox::enqueue(&mut conn, &SendEmail { to, template })
            .await
            .unwrap();
    }
    drop(conn);
    let mails = fixture.sent().await;
    assert_eq!(mails.len(), 8);
    for mail in mails {
        assert!(mail.is_ascii());
        assert!(mail.lines().all(|line| line.len() <= 100), "{mail}");
        let plain = mail.matches("Content-Transfer-Encoding: 7bit");
        assert_eq!(plain.count(), 2, "{mail}");
        for word in ["src=", "<img", "<script", "<link", "url(", "{{", "{%"] {
            assert!(!mail.contains(word), "{word}\n{mail}");
        }
        // The sentence that everybody needs who did not ask for it stands in both forms.
        assert_eq!(mail.matches("was not you?").count(), 2, "{mail}");
    }
    fixture.end().await;
}
