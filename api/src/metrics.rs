//! What is counted of requests.
//!
//! A request costs an atomic addition at its start, and four at its end. No label is looked up: each
//! endpoint keeps its [`Route`], and a route the series of the statuses that it has answered.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::http::{Method, StatusCode};
use service::metrics::{
    Metrics,
    prometheus::{Histogram, HistogramOpts, HistogramVec, IntGauge},
};

/// Upper bounds in seconds: an answer takes from some hundred microseconds up to the time limit.
const BUCKETS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// The methods that are told apart; a client can think of others, which are one.
const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "_OTHER",
];

/// How many statuses of an endpoint are found without a lock; few answer with half as many.
const STATUSES: usize = 10;

/// The requests of one API.
pub(crate) struct Requests {
    durations: HistogramVec,
    active: IntGauge,
    /// Paths that no route has.
    nowhere: Arc<Route>,
}

impl Requests {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let durations = HistogramOpts::new(
            "http_server_request_duration_seconds",
            "How long requests took until their answer began, by its status.",
        );
        let durations = metrics.register(HistogramVec::new(
            durations.buckets(BUCKETS.into()),
            &[
                "http_request_method",
                "http_route",
                "http_response_status_code",
            ],
        ));
        let active = metrics.register(IntGauge::new(
            "http_server_active_requests",
            "Requests that have no answer yet.",
        ));
        Self {
            nowhere: Arc::new(Route::new("", durations.clone())),
            durations,
            active,
        }
    }

    /// What is counted of the route with this template.
    pub(crate) fn route(&self, template: &str) -> Arc<Route> {
        Arc::new(Route::new(template, self.durations.clone()))
    }

    /// Counts a request from now on.
    pub(crate) fn begin(&self, method: &Method) -> Measured<'_> {
        self.active.inc();
        Measured {
            requests: self,
            method: index(method),
        }
    }
}

/// A request that is in hand, until it is dropped.
pub(crate) struct Measured<'a> {
    requests: &'a Requests,
    /// In [`METHODS`].
    method: usize,
}

impl Measured<'_> {
    /// Counts its answer, which came from this route, if from any.
    pub(crate) fn answered(&self, route: Option<&Arc<Route>>, status: StatusCode, took: Duration) {
        let route = route.unwrap_or(&self.requests.nowhere);
        route.observe(self.method, status, took);
    }
}

/// Also where the client went away before the answer.
impl Drop for Measured<'_> {
    fn drop(&mut self) {
        self.requests.active.dec();
    }
}

/// The series of one route.
pub(crate) struct Route {
    template: Box<str>,
    durations: HistogramVec,
    /// Those of each method, in the order in which their statuses were first answered.
    seen: [[OnceLock<Series>; STATUSES]; METHODS.len()],
}

struct Series {
    status: StatusCode,
    durations: Histogram,
}

impl Route {
    fn new(template: &str, durations: HistogramVec) -> Self {
        Self {
            template: template.into(),
            durations,
            seen: Default::default(),
        }
    }

    fn observe(&self, method: usize, status: StatusCode, took: Duration) {
        let took = took.as_secs_f64();
        for seen in &self.seen[method] {
            let series = seen.get_or_init(|| self.series(method, status));
            if series.status == status {
                return series.durations.observe(took);
            }
        }
        self.series(method, status).durations.observe(took);
    }

    /// Looks the series up, or begins it.
    fn series(&self, method: usize, status: StatusCode) -> Series {
        let labels = [METHODS[method], &self.template, status.as_str()];
        Series {
            status,
            durations: self.durations.with_label_values(&labels),
        }
    }
}

/// A method's name, of which there are few: whoever makes one up may write as much as fits a head.
pub(crate) fn name(method: &Method) -> &'static str {
    METHODS[index(method)]
}

fn index(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::PATCH => 4,
        Method::DELETE => 5,
        Method::OPTIONS => 6,
        _ => METHODS.len() - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_has_its_own_name() {
        for (at, name) in METHODS.iter().enumerate() {
            assert_eq!(index(&name.parse().unwrap()), at, "{name}");
        }
    }

    #[test]
    fn every_status_is_counted_apart_however_many_there_are() {
        let requests = Requests::new(&Metrics::new("api", "1"));
        let route = requests.route("/v1/me");
        for status in (200..200 + 2 * STATUSES as u16).chain([200, 219]) {
            let status = StatusCode::from_u16(status).unwrap();
            let measured = requests.begin(&Method::GET);
            assert_eq!(requests.active.get(), 1);
            measured.answered(Some(&route), status, Duration::from_millis(2));
        }
        assert_eq!(requests.active.get(), 0);
        let count = |status: &str| {
            let labels = ["GET", "/v1/me", status];
            let series = requests.durations.with_label_values(&labels);
            series.get_sample_count()
        };
        assert_eq!(["200", "201", "218", "219"].map(count), [2, 1, 1, 2]);
    }
}
