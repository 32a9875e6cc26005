use std::collections::BTreeMap;

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};
use domain::jobs::QUEUES;
use futures_util::future::try_join_all;
use queue::{
    Queue,
    inspect::{Consumer, span},
};

use super::{page::Page, row::process_of};
use crate::{
    App,
    problem::Problem,
    routes::admin::{
        layout::{self, Layout},
        signed_in::SignedIn,
    },
};

/// The section of the workers.
pub(super) const SECTION: &str = "/admin/workers";

#[derive(Template)]
#[template(path = "admin/workers.html")]
struct Workers<'a> {
    layout: Layout<'a>,
    page: Page<'a>,
    workers: Vec<Worker>,
}

/// A process, with what it has in each queue.
struct Worker {
    process: String,
    leases: Vec<Lease>,
}

/// A worker as one queue knows it.
pub(super) struct Lease {
    pub(super) queue: &'static str,
    /// Its name there.
    pub(super) consumer: String,
    /// Until it ends; none when it has ended.
    pub(super) left: Option<String>,
    pub(super) in_hand: u64,
}

/// `GET /admin/workers`: who works, until when that is certain, and how much each has in hand.
///
/// One round trip to Redis for each queue and partition, all at once.
pub(in crate::routes::admin) async fn show(
    State(app): State<App>,
    admin: SignedIn,
) -> Result<Response, Problem> {
    let mut workers: BTreeMap<String, Vec<Lease>> = BTreeMap::new();
    for lease in leases(&app.queue).await? {
        let process = process_of(&lease.consumer).to_owned();
        workers.entry(process).or_default().push(lease);
    }
    let workers = workers.into_iter();
    let template = Workers {
        layout: Layout::of(&admin, SECTION),
        page: Page::live(&admin, None),
        workers: workers
            .map(|(process, leases)| Worker { process, leases })
            .collect(),
    };
    Ok(layout::page(StatusCode::OK, &template))
}

/// All workers of all queues.
pub(super) async fn leases(queue: &Queue) -> Result<Vec<Lease>, queue::Error> {
    let all = try_join_all(QUEUES.map(|name| queue.consumers(name))).await?;
    let all = QUEUES.into_iter().zip(all);
    let leases = all.flat_map(|(queue, consumers)| {
        let consumers = consumers.into_iter();
        consumers.map(move |consumer| Lease::of(queue, consumer))
    });
    Ok(leases.collect())
}

impl Lease {
    fn of(queue: &'static str, consumer: Consumer) -> Self {
        Self {
            queue,
            consumer: consumer.name,
            left: consumer.lease.map(span),
            in_hand: consumer.in_hand,
        }
    }
}
