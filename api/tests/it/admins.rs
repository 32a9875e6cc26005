//! What admins may do, and nobody else.

use std::process::Command;

use axum::http::{Method, StatusCode};
use domain::accounts::{Email, grant_admin, revoke_admin};
use serde_json::Value;

use crate::app::{Answer, PASSWORD, TestApp};

const ADA: &str = "ada@example.com";

async fn list(app: &TestApp, token: &str, query: &str) -> Answer {
    let path = format!("/v1/accounts{query}");
    app.call(Method::GET, &path, token, &[], &Value::Null).await
}

/// The addresses of a page.
fn emails(answer: &Answer) -> Vec<String> {
    let page = answer.expect(StatusCode::OK).json();
    let accounts = page["data"].as_array().unwrap().iter();
    accounts
        .map(|account| account["email"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn accounts_are_for_admins_as_the_database_has_them() {
    let app = TestApp::new().await;
    let token = app.logged_in(ADA).await;
    let refused = list(&app, &token, "").await.problem(StatusCode::FORBIDDEN);
    assert!(refused["detail"].as_str().unwrap().contains("admins"));

    // The role is in no token: it counts at once, and so does its end.
    let (pool, email) = (&app.database.pool, Email::parse(ADA).unwrap());
    grant_admin(pool, &email).await.unwrap();
    assert_eq!(emails(&list(&app, &token, "").await), [ADA]);
    revoke_admin(pool, &email, true).await.unwrap();
    list(&app, &token, "").await.problem(StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_list_comes_in_pages_and_finds_an_address() {
    let app = TestApp::new().await;
    let token = app.logged_in(ADA).await;
    grant_admin(&app.database.pool, &Email::parse(ADA).unwrap())
        .await
        .unwrap();
    for n in 0..4 {
        app.sign_up(&format!("a{n}@example.com")).await;
    }
    let first = list(&app, &token, "?limit=3").await;
    assert_eq!(
        emails(&first),
        ["a3@example.com", "a2@example.com", "a1@example.com"]
    );
    let account = &first.json()["data"][0];
    assert_eq!(
        (&account["verified"], &account["role"]),
        (&false.into(), &"member".into())
    );
    let cursor = first.json()["next_cursor"].as_str().unwrap().to_owned();
    let rest = list(&app, &token, &format!("?cursor={cursor}")).await;
    assert_eq!(emails(&rest), ["a0@example.com", ADA]);
    assert_eq!(rest.json()["next_cursor"], Value::Null);

    let found = list(&app, &token, "?email=A1@Example.com").await;
    assert_eq!(emails(&found), ["a1@example.com"]);
    assert!(emails(&list(&app, &token, "?email=nobody@example.com").await).is_empty());
    let odd = list(&app, &token, "?email=nobody").await;
    let odd = odd.problem(StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(odd["errors"][0]["parameter"], "email");
}

/// `api admin` with these words, in a process of its own: whether it did it, what it said, and
/// what it logged and complained.
fn admin(app: &TestApp, words: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_api"))
        .arg("admin")
        .args(words)
        .env_clear()
        .env("LOG_FORMAT", "json")
        .envs(app.database.env())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.success(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[tokio::test]
async fn the_command_makes_the_first_admin_and_keeps_the_last() {
    let app = TestApp::new().await;
    let token = app.logged_in(ADA).await;
    app.sign_up("new@example.com").await;
    assert_eq!(admin(&app, &["list"]), (true, String::new(), String::new()));

    for (email, said) in [
        (
            "nobody@example.com",
            "no account has this address: sign up with it first",
        ),
        (
            "new@example.com",
            "not verified: follow the link in its mail first",
        ),
        ("nobody", "\"nobody\" is no address"),
    ] {
        let (done, _, complaint) = admin(&app, &["grant", email]);
        assert!(!done && complaint.contains(said), "{complaint}");
    }
    let (done, said, log) = admin(&app, &["grant", "ADA@example.com"]);
    assert!(done, "{log}");
    assert_eq!(said, "ADA@example.com is an admin\n");
    // Logged by the account, and not by the address, which is personal.
    let line: Value = serde_json::from_str(&log).unwrap();
    let (_, listed, _) = admin(&app, &["list"]);
    assert_eq!(
        listed,
        format!("{} {ADA}\n", line["account.id"].as_str().unwrap())
    );
    assert!(!log.to_lowercase().contains(ADA), "{log}");
    list(&app, &token, "").await.expect(StatusCode::OK);

    let end = async || {
        let body = serde_json::json!({ "password": PASSWORD });
        app.call(Method::POST, "/v1/me/delete", &token, &[], &body)
            .await
    };
    let problem = end().await.problem(StatusCode::CONFLICT);
    assert_eq!(problem["type"], "urn:problem-type:slipway:last-admin");
    let (done, _, complaint) = admin(&app, &["revoke", ADA]);
    assert!(
        !done && complaint.contains("this is the last admin"),
        "{complaint}"
    );
    let (done, said, _) = admin(&app, &["revoke", ADA, "--force"]);
    assert!(done && said == format!("{ADA} is a member\n"));
    list(&app, &token, "").await.problem(StatusCode::FORBIDDEN);
}
