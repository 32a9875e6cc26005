//! Which route a request has found, told to its span and its metrics: both begin before that is known.

use std::{
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use axum::extract::{MatchedPath, Request};
use tower::{Layer, Service};

use crate::{
    metrics::{Requests, Route},
    request::{self, RequestId},
};

/// The layer that has each endpoint say which route it is of.
#[derive(Clone)]
pub(crate) struct ByRoute(Arc<Requests>);

impl ByRoute {
    /// For endpoints whose requests are counted here.
    pub(crate) fn new(requests: &Arc<Requests>) -> Self {
        Self(Arc::clone(requests))
    }
}

impl<S> Layer<S> for ByRoute {
    type Service = AtRoute<S>;

    fn layer(&self, endpoint: S) -> AtRoute<S> {
        AtRoute {
            endpoint,
            found: Arc::new(Found {
                requests: Arc::clone(&self.0),
                route: OnceLock::new(),
            }),
        }
    }
}

/// An endpoint that says so.
#[derive(Clone)]
pub(crate) struct AtRoute<S> {
    endpoint: S,
    /// For all copies of the endpoint, of which each request has one.
    found: Arc<Found>,
}

/// What is counted of an endpoint, found by its first request.
struct Found {
    requests: Arc<Requests>,
    route: OnceLock<Arc<Route>>,
}

impl<S: Service<Request>> Service<Request> for AtRoute<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.endpoint.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> S::Future {
        let extensions = request.extensions();
        // Neither where no route is found.
        if let (Some(template), Some(id)) = (
            extensions.get::<MatchedPath>(),
            extensions.get::<RequestId>(),
        ) {
            let template = template.as_str();
            request::name_route(template);
            let Found { requests, route } = &*self.found;
            id.found(route.get_or_init(|| requests.route(template)));
        }
        self.endpoint.call(request)
    }
}
