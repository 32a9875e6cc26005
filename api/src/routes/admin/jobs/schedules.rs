use askama::Template;
use axum::{
    extract::{Query, State},
    http::StatusCode,
    response::Response,
};
use domain::jobs::QUEUES;
use futures_util::future::try_join_all;

use super::{done::After, page::Page, row::When};
use crate::{
    App,
    problem::Problem,
    routes::admin::{
        layout::{self, Layout},
        signed_in::SignedIn,
    },
};

#[derive(Template)]
#[template(path = "admin/schedules.html")]
struct Schedules<'a> {
    layout: Layout<'a>,
    page: Page<'a>,
    schedules: Vec<Schedule>,
}

struct Schedule {
    queue: &'static str,
    name: String,
    rule: String,
    next: When,
    /// When a worker that has it last said so.
    seen: When,
}

/// `GET /admin/schedules`: when which schedule comes. Two round trips to Redis for each queue.
pub(in crate::routes::admin) async fn show(
    State(app): State<App>,
    admin: SignedIn,
    Query(after): Query<After>,
) -> Result<Response, Problem> {
    let all = try_join_all(QUEUES.map(|name| app.queue.schedules(name))).await?;
    let all = QUEUES.into_iter().zip(all);
    let schedules = all.flat_map(|(queue, schedules)| {
        let schedules = schedules.into_iter();
        schedules.map(move |one| Schedule {
            queue,
            name: one.name,
            rule: one.rule,
            next: When::at(one.next_ms),
            seen: When::at(one.seen_ms),
        })
    });
    let template = Schedules {
        layout: Layout::of(&admin, "/admin/schedules"),
        page: Page::live(&admin, after.notice()),
        schedules: schedules.collect(),
    };
    Ok(layout::page(StatusCode::OK, &template))
}
