//! The HTTP service.
//!
//! To add an endpoint, you
//!
//! 1. write it as `routes/<resource>/<verb>.rs`, one public function named like the verb;
//! 2. describe it above the function, with `#[utoipa::path]`: only what is its own, see [`openapi`];
//! 3. give it to `routes!` in the resource's `mod.rs`, and a new resource a line in `routes::router`;
//! 4. test it in `tests/it/<resource>.rs`, through the whole router;
//! 5. run `cargo xtask openapi`, which writes `openapi.json` anew.
//!
//! A handler takes a JSON body with [`body::Body`], a form with [`form::Form`], a query with [`query::Query`], ids with
//! [`path::Path`], the account of its caller with [`caller::Caller`], and fails with a
//! [`problem::Problem`]. Lists are a [`page::Page`] at a time; what can be changed has an
//! [`etag::ETag`]. It holds no SQL: what the product does is in `domain`.
//!
//! Architecture invariant: this crate never runs a job and never migrates.

pub mod body;
mod by_route;
pub mod caller;
pub mod client;
pub mod etag;
mod failure;
pub mod fields;
pub mod form;
mod json;
mod layers;
pub mod limit;
mod message;
mod metrics;
pub mod openapi;
pub mod page;
pub mod path;
pub mod problem;
pub mod query;
pub mod request;
mod routes;
mod schema;
mod server;
pub mod settings;
pub mod token;

use std::{ops::Deref, sync::Arc};

use domain::webhooks::{Keys, Targets};
use queue::Queue;
use service::{health::Health, metrics::Metrics, settings::Http, telemetry::chain};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

pub use self::{
    layers::Api,
    server::{Connections, CutOff, Drain, serve},
};
use self::{limit::Limits, metrics::Requests, settings::Settings, token::AccessTokens};

/// What handlers share. To clone it is to count it.
#[derive(Clone)]
pub struct App(Arc<Shared>);

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// The parts of an [`App`].
pub struct Shared {
    /// Postgres.
    pub pool: PgPool,
    /// The queues, to be looked into; what a request enqueues goes through the outbox.
    pub queue: Queue,
    /// Signs and checks access tokens.
    pub tokens: AccessTokens,
    /// How often a client may try what could be guessed.
    pub limits: Limits,
    /// Make the signing secrets of webhooks.
    pub webhook_keys: Keys,
    /// Where webhooks may lead.
    pub webhook_targets: Targets,
    /// What Prometheus reads.
    pub metrics: Metrics,
    health: Health,
    http: Http,
}

impl App {
    /// Puts the parts together. Readiness ends when `draining` is cancelled.
    pub fn new(
        pool: PgPool,
        queue: Queue,
        settings: &Settings,
        draining: CancellationToken,
    ) -> Self {
        let metrics = Metrics::new("api", env!("CARGO_PKG_VERSION")).with_pool(pool.clone());
        Self(Arc::new(Shared {
            limits: Limits::new(&queue, settings.limits.clone(), &metrics),
            metrics,
            health: health(pool.clone(), queue.clone(), draining),
            queue,
            pool,
            tokens: AccessTokens::new(&settings.auth, &settings.http.public_url),
            webhook_keys: Keys::new(&settings.webhooks.keys),
            webhook_targets: Targets::new(settings.webhooks.allow_private),
            http: settings.http.clone(),
        }))
    }
}

impl Api {
    /// Every route, with everything around them.
    pub fn new(app: App) -> Self {
        let (routes, _) = routes::router().split_for_parts();
        let routes = routes.merge(app.health.clone().router());
        let http = app.http.clone();
        let requests = Requests::new(&app.metrics);
        Self::around(routes.with_state(app), &http, requests)
    }
}

fn health(pool: PgPool, queue: Queue, draining: CancellationToken) -> Health {
    Health::new(draining)
        .with_probe("postgres", move || postgres(pool.clone()))
        .with_probe("redis", move || redis(queue.clone()))
}

/// One statement that both reaches Postgres and reads the schema's version.
async fn postgres(pool: PgPool) -> Result<(), String> {
    migrations::check_current(&pool)
        .await
        .map(drop)
        .map_err(|error| {
            tracing::warn!(error = %chain(&error), "Postgres is not ready");
            error.to_string()
        })
}

async fn redis(queue: Queue) -> Result<(), String> {
    queue.ping().await.map_err(|error| {
        tracing::warn!(error = %chain(&error), "Redis does not answer");
        "does not answer".to_owned()
    })
}
