use std::{fmt::Display, time::Duration};

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};
use queue::{
    Envelope,
    inspect::{Located, Place, State as JobState, moment, span},
};

use super::{
    find,
    page::Page,
    payload::{MOST, Payload, beginning},
    row::{Row, When},
};
use crate::{
    App,
    path::Path,
    problem::Problem,
    routes::admin::{
        ROOT,
        layout::{self, Layout},
        signed_in::SignedIn,
    },
};

#[derive(Template)]
#[template(path = "admin/job.html")]
struct Job<'a> {
    layout: Layout<'a>,
    page: Page<'a>,
    queue: &'a str,
    id: &'a str,
    state: JobState,
    row: Row,
    facts: Vec<Fact>,
    error: Option<&'a str>,
    payload: Option<Payload>,
}

/// One thing that is known of a job.
struct Fact {
    name: &'static str,
    text: String,
    /// What there is to add, less loud.
    aside: String,
    /// Whether the text names one.
    is_worker: bool,
    /// Whether it is for machines.
    exact: bool,
}

/// `GET /admin/queues/{queue}/jobs/{id}`: all that is known of a job, its payload too, which may
/// hold personal data.
///
/// As many round trips to Redis as [`find`](queue::Queue::find) needs: a few for a job that waits
/// where one would look first, and some hundreds at the most. So this page does not follow the job
/// by itself.
pub(in crate::routes::admin) async fn show(
    State(app): State<App>,
    admin: SignedIn,
    Path((queue, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let job = find(&app, &queue, &id).await?;
    let row = Row::from(&job);
    let mut facts = facts_of_place(&job, &row);
    let envelope = Envelope::decode(&job.envelope).ok();
    if let Some(envelope) = &envelope {
        facts.extend(facts_of_job(envelope));
    }
    let error = match &job.place {
        Place::Dead { error, .. } => Some(beginning(error, MOST)),
        _ => None,
    };
    let template = Job {
        layout: Layout::of(&admin, ROOT),
        page: Page::still(&admin),
        queue: &queue,
        id: &id,
        state: job.place.state(),
        payload: envelope.map(|envelope| Payload::read(envelope, app.queue.packer())),
        row,
        facts,
        error,
    };
    Ok(layout::page(StatusCode::OK, &template))
}

/// Where it is.
fn facts_of_place(job: &Located, row: &Row) -> Vec<Fact> {
    let state = job.place.state();
    let mut facts = vec![Fact::new("State", &state)];
    match &job.place {
        Place::Ready { entry, .. } => facts.push(Fact::time("Ready since", entry.ms())),
        Place::InHand {
            since, deliveries, ..
        } => {
            facts.push(match &row.worker {
                Some(process) => Fact {
                    is_worker: true,
                    ..Fact::new("Worker", process)
                },
                None => Fact::new("Worker", &"between two"),
            });
            facts.push(Fact::new("In hand for", &span(*since)));
            facts.push(Fact::new("Deliveries", &deliveries));
        }
        Place::Delayed { due_ms } => {
            facts.push(Fact::time("Due", *due_ms));
            facts.push(Fact::new("Why", &row.about));
        }
        Place::Parked { .. } => facts.push(Fact::new("Waits, as there is", &row.about)),
        Place::Blocked { .. } => facts.push(Fact::new("Waits", &row.about)),
        Place::Dead {
            letter,
            why,
            attempts,
            ..
        } => {
            facts.push(Fact::time("Died", letter.ms()));
            facts.push(Fact::new("Why", why).with(after(*attempts)));
        }
    }
    facts.push(Fact::new("Queue", &job.queue));
    facts
}

/// What it is.
fn facts_of_job(job: &Envelope) -> Vec<Fact> {
    let mut facts = vec![
        Fact::new("Kind", &job.name).with(format!("version {}", job.version)),
        Fact::new("Attempt", &job.attempt).with(format!("of {}", job.max_attempts)),
        Fact::new("Priority", &job.priority),
        Fact::time("Enqueued", job.enqueued_at_ms),
        Fact::new("Time-out", &span(Duration::from_millis(job.timeout_ms))),
    ];
    if job.once {
        facts.push(Fact::new("Effect", &"once").with("by its row in the outbox".to_owned()));
    }
    if let Some(key) = job.unique {
        let after = if job.replaceable {
            "the last one is kept"
        } else {
            ""
        };
        facts.push(Fact::exact("Hash of its unique key", &hex(&key)).with(after.to_owned()));
    }
    if let Some(slot) = job.slot {
        let most = format!("{} at once", slot.limit);
        facts.push(Fact::exact("Hash of its limited key", &hex(&slot.key)).with(most));
    }
    if let Some(batch) = job.batch {
        facts.push(Fact::exact("Batch", &batch));
    }
    if let Some(batch) = job.follows {
        facts.push(Fact::exact("Follows the batch", &batch));
    }
    if job.next.is_some() {
        facts.push(Fact::new("In a chain", &"another job follows it"));
    }
    // `00-TRACE-PARENT-FLAGS` (W3C Trace Context, 3.2).
    let trace = job.traceparent.as_deref();
    if let Some(trace) = trace.and_then(|text| text.split('-').nth(1)) {
        facts.push(Fact::exact("Trace", &trace));
    }
    facts
}

impl Fact {
    fn new(name: &'static str, text: &dyn Display) -> Self {
        Self {
            name,
            text: text.to_string(),
            aside: String::new(),
            is_worker: false,
            exact: false,
        }
    }

    fn exact(name: &'static str, text: &dyn Display) -> Self {
        Self {
            exact: true,
            ..Self::new(name, text)
        }
    }

    fn time(name: &'static str, ms: u64) -> Self {
        Self::new(name, &When::at(ms).text).with(moment(ms))
    }

    fn with(self, aside: String) -> Self {
        Self { aside, ..self }
    }
}

/// `attempts` of a dead letter.
fn after(attempts: u32) -> String {
    match attempts {
        1 => "after one attempt".to_owned(),
        more => format!("after {more} attempts"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
