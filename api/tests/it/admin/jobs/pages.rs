//! What the pages show, and that they show it to admins alone.

use api::{Api, App};
use axum::http::{Method, StatusCode};
use queue::{Queue, inspect::State, redis::IntoConnectionInfo};

use super::{Act, Fixture, until};
use crate::{
    admin::{Browser, failure, is_sent_away},
    app::{pool, settings},
};

/// Every page there is with jobs in every state.
#[tokio::test]
async fn every_state_has_its_page_and_every_job_its_own() {
    let mut fixture = Fixture::new().await;
    let jobs = fixture.fill().await;
    let browser = fixture.browser().await;
    let overview = browser.get("/admin").await;
    let html = overview.expect(StatusCode::OK).text();
    for state in State::ALL {
        assert!(html.contains(&format!("/admin/queues/default/{state}")));
        assert!(html.contains(&format!("/admin/queues/webhooks/{state}")));
    }
    for (queue, state, job, says) in [
        ("webhooks", "ready", jobs.ready, "deliver_webhook"),
        ("default", "in-hand", jobs.in_hand, "/admin/workers/"),
        ("default", "delayed", jobs.retrying, "retrying"),
        ("default", "delayed", jobs.scheduled, "scheduled"),
        (
            "default",
            "parked",
            jobs.parked,
            "no handler for resend_verification of version 1",
        ),
        (
            "default",
            "blocked",
            jobs.blocked,
            "until no other job with its key runs",
        ),
        ("default", "dead", jobs.dead, "the task was to fail: dead"),
    ] {
        let list = browser.get(&format!("/admin/queues/{queue}/{state}")).await;
        let html = list.expect(StatusCode::OK).text();
        let link = format!("/admin/queues/{queue}/jobs/{job}\"");
        assert!(
            html.contains(&link) && html.contains(says),
            "{state}: {html}"
        );
        let page = browser
            .get(&format!("/admin/queues/{queue}/jobs/{job}"))
            .await;
        let html = page.expect(StatusCode::OK).text();
        let id = job.to_string();
        assert!(
            html.contains(&id) && html.contains(state),
            "{state}: {html}"
        );
    }
    fixture.end().await;
}

#[tokio::test]
async fn a_dead_job_tells_its_payload_and_its_error() {
    let mut fixture = Fixture::new().await;
    fixture.work();
    let job = fixture.enqueue(Act::Discard, "grace").await;
    fixture
        .until_counts("it is dead", |counts| counts.dead == 1)
        .await;
    let browser = fixture.browser().await;
    let page = browser
        .get(&format!("/admin/queues/default/jobs/{job}"))
        .await;
    let html = page.expect(StatusCode::OK).text();
    for told in [
        "task",
        "discarded",
        "the task was to fail: grace",
        // Printed for people.
        "  &#34;text&#34;: &#34;grace&#34;",
        "32 bytes",
        "of 5",
    ] {
        assert!(html.contains(told), "{told}: {html}");
    }
    fixture.end().await;
}

#[tokio::test]
async fn a_list_goes_on_where_the_page_before_ended() {
    let fixture = Fixture::new().await;
    let mut jobs = Vec::new();
    for number in 0..120 {
        jobs.push(fixture.enqueue(Act::Succeed, &number.to_string()).await);
    }
    let browser = fixture.browser().await;
    let (mut path, mut seen) = ("/admin/queues/default/ready".to_owned(), Vec::new());
    loop {
        let page = browser.get(&path).await;
        let html = page.expect(StatusCode::OK).text();
        let rows = html.split("<tr id=\"job-").skip(1);
        let page: Vec<_> = rows.map(|row| row[..36].to_owned()).collect();
        assert!(page.len() <= 50);
        seen.extend(page);
        let Some((_, next)) = html.split_once("?after=") else {
            break;
        };
        let next = next.split('"').next().unwrap();
        path = format!("/admin/queues/default/ready?after={next}");
    }
    let jobs: Vec<_> = jobs.iter().map(ToString::to_string).collect();
    assert_eq!(seen, jobs);
    // A cursor of another list, and what is none.
    for strange in ["0192a0b1-c2d3", "1700000000000%2F0192", "%00", ""] {
        let page = browser
            .get(&format!("/admin/queues/default/ready?after={strange}"))
            .await;
        assert!(failure(&page, StatusCode::NOT_FOUND).contains("begin with the first"));
    }
    fixture.end().await;
}

#[tokio::test]
async fn where_nothing_is_it_says_what_would_be() {
    let fixture = Fixture::new().await;
    let browser = fixture.browser().await;
    for (page, says) in [
        ("workers", "No worker is there"),
        ("schedules", "No worker has told of a schedule"),
        ("queues/default/dead", "No job of default is dead"),
        ("queues/default/parked", "as during a deployment"),
    ] {
        let page = browser.get(&format!("/admin/{page}")).await;
        assert!(
            page.expect(StatusCode::OK).text().contains(says),
            "{page:?}"
        );
    }
    let page = browser.get("/admin").await;
    assert!(
        page.expect(StatusCode::OK)
            .text()
            .contains("0 done, 0 failed")
    );
    fixture.end().await;
}

#[tokio::test]
async fn workers_tell_what_they_hold_and_schedules_when_they_come() {
    let mut fixture = Fixture::new().await;
    let jobs = fixture.fill().await;
    let browser = fixture.browser().await;
    let workers = browser.get("/admin/workers").await;
    let html = workers.expect(StatusCode::OK).text().to_owned();
    let (_, link) = html.split_once("../admin/workers/").unwrap();
    let process = link.split('"').next().unwrap();
    let worker = browser.get(&format!("/admin/workers/{process}")).await;
    let html = worker.expect(StatusCode::OK).text();
    assert!(html.contains(&jobs.in_hand.to_string()), "{html}");
    let nobody = browser.get("/admin/workers/nobody:1").await;
    failure(&nobody, StatusCode::NOT_FOUND);

    until("the schedule is told", async || {
        !fixture.queue.schedules("default").await.unwrap().is_empty()
    })
    .await;
    let schedules = browser.get("/admin/schedules").await;
    let html = schedules.expect(StatusCode::OK).text();
    assert!(html.contains("cron 17 * * * * UTC"), "{html}");
    assert!(html.contains("schedules/hourly-task/run"), "{html}");
    fixture.end().await;
}

#[tokio::test]
async fn what_is_not_there_is_a_page_that_says_so() {
    let fixture = Fixture::new().await;
    let browser = fixture.browser().await;
    let job = "0192a0b1-c2d3-7000-8000-0192a0b1c2d3";
    for path in [
        "queues/mail/ready".to_owned(),
        "queues/default:1/ready".to_owned(),
        "queues/default:00/ready".to_owned(),
        "queues/default/running".to_owned(),
        format!("queues/default/jobs/{job}"),
        format!("queues/default/jobs/{job}/delete"),
        "queues/default/jobs/7".to_owned(),
        "queues/mail/retry-all".to_owned(),
        "nothing".to_owned(),
    ] {
        let answer = browser.get(&format!("/admin/{path}")).await;
        failure(&answer, StatusCode::NOT_FOUND);
    }
    fixture.end().await;
}

/// None of it is for anybody else, and none of it is kept.
#[tokio::test]
async fn all_of_it_is_for_admins() {
    let mut fixture = Fixture::new().await;
    let jobs = fixture.fill().await;
    let admin = fixture.browser().await;
    let stranger = Browser {
        app: &fixture.app,
        cookie: String::new(),
    };
    for path in [
        "/admin".to_owned(),
        "/admin/workers".to_owned(),
        "/admin/schedules".to_owned(),
        "/admin/queues/default/dead".to_owned(),
        format!("/admin/queues/default/jobs/{}", jobs.dead),
        format!("/admin/queues/default/jobs/{}/delete", jobs.dead),
        format!("/admin/queues/default/jobs/{}/cancel", jobs.dead),
        "/admin/queues/default/retry-all".to_owned(),
    ] {
        let answer = stranger.get(&path).await;
        answer.expect(StatusCode::SEE_OTHER);
        assert!(
            answer.header("location").contains("/admin/sign-in?next="),
            "{path}"
        );
        assert!(answer.body.is_empty());
        let answer = admin.with(Method::GET, &path, &[], "").await;
        answer.expect(StatusCode::OK);
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    is_sent_away(&stranger.get("/admin").await);
    fixture.end().await;
}

/// A page that says so, and whoever comes again finds all as it was.
#[tokio::test]
async fn without_redis_it_says_so_and_when_to_come_again() {
    let mut fixture = Fixture::new().await;
    let browser = fixture.browser().await;
    let (csrf, cookie) = (browser.csrf().await, browser.cookie);
    let mut redis = queue::testing::settings();
    redis.redis = "redis://127.0.0.1:1".into_connection_info().unwrap();
    let database = &fixture.app.database;
    let pool = pool(database, database.options.get_port());
    let queue = Queue::connect(redis).await.unwrap();
    let app = App::new(pool, queue, &settings(), fixture.app.draining.clone());
    fixture.app.api = Api::new(app);
    let app = &fixture.app;
    let browser = Browser { app, cookie };
    for path in [
        "/admin",
        "/admin/workers",
        "/admin/schedules",
        "/admin/queues/default/dead",
        "/admin/queues/default/retry-all",
    ] {
        let answer = browser.get(path).await;
        failure(&answer, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.header("retry-after"), "2", "{path}");
    }
    let form = format!("csrf={csrf}");
    let path = "/admin/queues/default/pause";
    let answer = browser.with(Method::POST, path, &[], &form).await;
    failure(&answer, StatusCode::SERVICE_UNAVAILABLE);
    fixture.end().await;
}
