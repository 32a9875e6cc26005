//! What comes from outside is text on these pages, and no page does more than its policy says.

use axum::http::StatusCode;
use domain::jobs::ResendVerification;
use queue::Envelope;

use super::{Act, Fixture};

const HTML: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>";

/// All pages of a queue with this job in it.
async fn pages(fixture: &Fixture, job: &str) -> Vec<String> {
    let browser = fixture.browser().await;
    let mut pages = Vec::new();
    for path in [
        "/admin".to_owned(),
        "/admin/workers".to_owned(),
        "/admin/schedules".to_owned(),
        "/admin/queues/default/ready".to_owned(),
        "/admin/queues/default/dead".to_owned(),
        "/admin/queues/default/parked".to_owned(),
        format!("/admin/queues/default/jobs/{job}"),
        format!("/admin/queues/default/jobs/{job}/delete"),
        format!("/admin/queues/default/jobs/{job}/cancel"),
        "/admin/queues/default/retry-all".to_owned(),
    ] {
        let page = browser.get(&path).await;
        page.expect(StatusCode::OK);
        let policy = page.header("content-security-policy");
        assert!(policy.contains("script-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        pages.push(page.text().to_owned());
    }
    pages
}

/// The tags of a page, without their brackets.
fn tags(html: &str) -> impl Iterator<Item = &str> {
    let tags = html.split('<').skip(1);
    tags.filter_map(|rest| rest.split_once('>').map(|(tag, _)| tag))
}

#[tokio::test]
async fn payloads_and_errors_are_text() {
    let mut fixture = Fixture::new().await;
    fixture.work();
    let job = fixture.enqueue(Act::Discard, HTML).await;
    fixture
        .until_counts("it is dead", |counts| counts.dead == 1)
        .await;
    let pages = pages(&fixture, &job.to_string()).await;
    for html in &pages {
        assert!(
            !html.contains("alert(1)</script>") && !html.contains("<img"),
            "{html}"
        );
    }
    let shown = pages
        .iter()
        .filter(|html| html.contains("alert(1)"))
        .count();
    assert_eq!(shown, 2, "the list has the error, the job its payload too");
    fixture.end().await;
}

/// A name that no code of ours gives: somebody else has written into Redis.
#[tokio::test]
async fn names_of_jobs_and_workers_are_text() {
    let fixture = Fixture::new().await;
    let mut envelope = Envelope::new(&ResendVerification {
        email: "ada@example.com".to_owned(),
    })
    .unwrap();
    envelope.name = HTML.to_owned();
    envelope.traceparent = Some(format!("00-{HTML}-00-00"));
    let stream = format!("{{{}:default}}:s:0", fixture.app.namespace);
    let client = queue::redis::Client::open(queue::testing::redis_url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let mut ask = queue::redis::pipe();
    ask.cmd("XADD")
        .arg(&stream)
        .arg("*")
        .arg("e")
        .arg(envelope.encode())
        .ignore();
    let alive = format!("{{{}:default}}:alive", fixture.app.namespace);
    ask.cmd("ZADD")
        .arg(alive)
        .arg("9999999999999")
        .arg(format!("{HTML}:1:a"))
        .ignore();
    ask.exec_async(&mut redis).await.unwrap();
    let pages = pages(&fixture, &envelope.id.to_string()).await;
    for html in &pages {
        assert!(
            !html.contains("<script>") && !html.contains("<img"),
            "{html}"
        );
    }
    let shown = pages
        .iter()
        .filter(|html| html.contains("alert(1)"))
        .count();
    assert!(shown >= 3, "{shown}");
    fixture.end().await;
}

#[tokio::test]
async fn a_long_payload_is_cut() {
    let mut fixture = Fixture::new().await;
    fixture.work();
    let job = fixture.enqueue(Act::Discard, &"<é>".repeat(50_000)).await;
    fixture
        .until_counts("it is dead", |counts| counts.dead == 1)
        .await;
    let browser = fixture.browser().await;
    let page = browser
        .get(&format!("/admin/queues/default/jobs/{job}"))
        .await;
    let html = page.expect(StatusCode::OK).text();
    assert!(
        html.contains("200027 bytes, the beginning of which is here"),
        "{}",
        &html[..3000]
    );
    let list = browser.get("/admin/queues/default/dead").await;
    assert!(
        list.expect(StatusCode::OK).body.len() < 20_000,
        "{}",
        list.body.len()
    );
    fixture.end().await;
}

#[tokio::test]
async fn no_page_has_a_style_or_a_script_in_it() {
    let mut fixture = Fixture::new().await;
    let jobs = fixture.fill().await;
    for html in pages(&fixture, &jobs.dead.to_string()).await {
        for tag in tags(&html) {
            let name = tag.split_whitespace().next().unwrap_or_default();
            assert_ne!(name, "style");
            assert!(name != "script" || tag.contains(" src=\""), "{tag}");
            let attributes = tag.split_whitespace().skip(1);
            for attribute in attributes.filter_map(|word| word.split_once('=')) {
                let (name, value) = attribute;
                assert!(name != "style" && !name.starts_with("on"), "{tag}");
                assert!(
                    !value.contains("javascript:") && !value.contains("//"),
                    "{tag}"
                );
            }
        }
        assert!(!html.contains("<script></script>"));
    }
    fixture.end().await;
}
