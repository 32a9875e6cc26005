//! What the buttons do, and for whom.

use axum::http::{Method, StatusCode};
use queue::inspect::{Place, Search};
use tracing::Level;

use super::{Act, Fixture, Jobs, until};
use crate::{
    admin::{Browser, failure},
    app::Log,
};

/// Where an action leads.
#[track_caller]
fn leads_to(answer: &crate::app::Answer, place: &str) {
    answer.expect(StatusCode::SEE_OTHER);
    let location = answer.header("location");
    assert!(location.ends_with(place), "{location}");
}

async fn letter(fixture: &Fixture) -> String {
    let letters = fixture.queue.dead_letters("default", 1).await.unwrap();
    letters[0].id.to_string()
}

#[tokio::test]
async fn a_dead_letter_is_retried_once() {
    let mut fixture = Fixture::new().await;
    let jobs = fixture.fill().await;
    let browser = fixture.browser().await;
    let path = format!(
        "/admin/queues/default/letters/{}/retry",
        letter(&fixture).await
    );
    let answer = browser.post(&path, "").await;
    leads_to(&answer, "/admin/queues/default/dead?done=retried");
    // It dies again, as another letter.
    until("it is dead again", async || {
        let found = fixture.queue.find("default", jobs.dead).await.unwrap();
        matches!(found.found().map(|job| job.place), Some(Place::Dead { .. }))
    })
    .await;
    let answer = browser.post(&path, "").await;
    assert!(failure(&answer, StatusCode::NOT_FOUND).contains("no dead letter any more"));
    let page = browser.get("/admin/queues/default/dead?done=retried").await;
    assert!(page.text().contains("The job is ready again"));
    // Only words of its own are said.
    let page = browser
        .get("/admin/queues/default/dead?done=Call%20us")
        .await;
    assert!(!page.text().contains("Call us") && !page.text().contains("class=\"notice\""));
    fixture.end().await;
}

#[tokio::test]
async fn all_dead_letters_are_retried_after_a_question() {
    let mut fixture = Fixture::new().await;
    fixture.work();
    for text in ["one", "other"] {
        fixture.enqueue(Act::Discard, text).await;
    }
    fixture
        .until_counts("they are dead", |counts| counts.dead == 2)
        .await;
    // It would run them again at once.
    fixture.stop().await;
    let browser = fixture.browser().await;
    let path = "/admin/queues/default/retry-all";
    let asked = browser.get(path).await;
    assert!(asked.expect(StatusCode::OK).text().contains("Dead now: 2."));
    let answer = browser.post(path, "").await;
    leads_to(&answer, "/admin/queues/default/dead?done=retried-all");
    let counts = fixture.queue.counts("default").await.unwrap();
    assert_eq!((counts.dead, counts.ready), (0, 2), "{counts:?}");
}

#[tokio::test]
async fn a_job_is_deleted_unless_a_worker_has_it() {
    let mut fixture = Fixture::new().await;
    let jobs = fixture.fill().await;
    let browser = fixture.browser().await;
    for (job, state) in [
        (jobs.dead, "dead"),
        (jobs.scheduled, "delayed"),
        (jobs.parked, "parked"),
    ] {
        let path = format!("/admin/queues/default/jobs/{job}/delete");
        let asked = browser.get(&path).await;
        assert!(
            asked
                .expect(StatusCode::OK)
                .text()
                .contains(&format!("{job} is {state}"))
        );
        // To ask is to do nothing.
        let found = fixture.queue.find("default", job).await.unwrap();
        assert!(matches!(found, Search::Found(_)));
        let answer = browser.post(&path, "").await;
        leads_to(
            &answer,
            &format!("/admin/queues/default/{state}?done=deleted"),
        );
        assert_eq!(
            fixture.queue.find("default", job).await.unwrap(),
            Search::Absent
        );
        failure(&browser.post(&path, "").await, StatusCode::NOT_FOUND);
    }
    let path = format!("/admin/queues/default/jobs/{}/delete", jobs.in_hand);
    let answer = browser.post(&path, "").await;
    assert!(failure(&answer, StatusCode::CONFLICT).contains("has it in hand"));
    fixture.end().await;
}

#[tokio::test]
async fn a_job_is_cancelled_wherever_it_is() {
    let mut fixture = Fixture::new().await;
    let jobs = fixture.fill().await;
    let browser = fixture.browser().await;
    for (job, place) in [
        (jobs.retrying, "ready?done=cancelled"),
        (jobs.blocked, "ready?done=cancelled"),
        (jobs.in_hand, "in-hand?done=asked-to-end"),
    ] {
        let path = format!("/admin/queues/default/jobs/{job}/cancel");
        let asked = browser.get(&path).await;
        assert!(
            asked
                .expect(StatusCode::OK)
                .text()
                .contains(&job.to_string())
        );
        leads_to(&browser.post(&path, "").await, place);
        until("it is gone", async || {
            fixture.queue.find("default", job).await.unwrap() == Search::Absent
        })
        .await;
        failure(&browser.post(&path, "").await, StatusCode::NOT_FOUND);
    }
    fixture.end().await;
}

#[tokio::test]
async fn a_queue_is_paused_and_resumed() {
    let fixture = Fixture::new().await;
    let browser = fixture.browser().await;
    let log = Log::capture(Level::INFO);
    for (word, paused, says) in [("pause", true, "paused"), ("resume", false, "resumed")] {
        let answer = browser
            .post(&format!("/admin/queues/webhooks/{word}"), "")
            .await;
        leads_to(&answer, &format!("/admin?done={says}"));
        assert_eq!(fixture.queue.is_paused("webhooks").await.unwrap(), paused);
        let page = browser.get("/admin").await;
        assert_eq!(page.text().contains(">paused</span>"), paused);
    }
    assert!(!fixture.queue.is_paused("default").await.unwrap());
    let lines = log.lines();
    let acts: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("an admin acts"))
        .collect();
    assert_eq!(acts.len(), 2, "{lines:?}");
    assert!(
        acts[0].contains("pause") && acts[0].contains("webhooks"),
        "{acts:?}"
    );
    fixture.end().await;
}

#[tokio::test]
async fn a_schedule_is_run_now() {
    let mut fixture = Fixture::new().await;
    fixture.work();
    until("the schedule is told", async || {
        !fixture.queue.schedules("default").await.unwrap().is_empty()
    })
    .await;
    let browser = fixture.browser().await;
    let path = "/admin/queues/default/schedules/hourly-task/run";
    leads_to(
        &browser.post(path, "").await,
        "/admin/schedules?done=asked-for",
    );
    until("its job has run", async || {
        let minutes = fixture.queue.rates("default").await.unwrap();
        minutes.iter().any(|minute| minute.done == 1)
    })
    .await;
    // The last is none that Postgres could write down.
    for other in ["nightly", "a%00b"] {
        let path = format!("/admin/queues/default/schedules/{other}/run");
        let answer = browser.post(&path, "").await;
        assert!(failure(&answer, StatusCode::NOT_FOUND).contains("follows this schedule"));
    }
    fixture.end().await;
}

/// Every action there is, by its path.
async fn actions(fixture: &Fixture, jobs: &Jobs) -> Vec<String> {
    let letter = letter(fixture).await;
    vec![
        format!("/admin/queues/default/letters/{letter}/retry"),
        "/admin/queues/default/retry-all".to_owned(),
        format!("/admin/queues/default/jobs/{}/delete", jobs.dead),
        format!("/admin/queues/default/jobs/{}/cancel", jobs.in_hand),
        "/admin/queues/default/pause".to_owned(),
        "/admin/queues/default/resume".to_owned(),
        "/admin/queues/default/schedules/hourly-task/run".to_owned(),
    ]
}

#[tokio::test]
async fn nothing_is_done_without_the_token_of_the_session_or_by_a_link() {
    let mut fixture = Fixture::new().await;
    let jobs = fixture.fill().await;
    let browser = fixture.browser().await;
    let stranger = Browser {
        app: &fixture.app,
        cookie: String::new(),
    };
    let csrf = browser.csrf().await;
    let before = fixture.queue.overview("default").await.unwrap();
    for path in actions(&fixture, &jobs).await {
        for form in ["", "csrf=", "csrf=AAAA"] {
            let answer = browser.with(Method::POST, &path, &[], form).await;
            failure(&answer, StatusCode::FORBIDDEN);
        }
        let form = format!("csrf={csrf}");
        let answer = stranger.with(Method::POST, &path, &[], &form).await;
        assert!(
            answer.header("location").ends_with("/admin/sign-in"),
            "{path}"
        );
        let other = [("origin", "https://example.com")];
        let answer = browser.with(Method::POST, &path, &other, &form).await;
        failure(&answer, StatusCode::FORBIDDEN);
        // What a link asks for is a question, or not there.
        let answer = browser.get(&path).await;
        assert!(
            matches!(answer.status.as_u16(), 200 | 404 | 405),
            "{path}: {answer:?}"
        );
    }
    let after = fixture.queue.overview("default").await.unwrap();
    assert_eq!((before.counts, before.paused), (after.counts, after.paused));
    fixture.end().await;
}
