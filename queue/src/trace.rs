//! The trace that jobs are enqueued from, passed along with the task instead of as an argument.

tokio::task_local! {
    static TRACEPARENT: String;
}

/// Runs `work`; every job that it enqueues carries `traceparent`, a W3C trace context.
///
/// It holds for the task that polls the future, not for tasks that `work` spawns.
pub async fn scope<F: Future>(traceparent: String, work: F) -> F::Output {
    TRACEPARENT.scope(traceparent, work).await
}

/// The trace context of the scope that this is called in.
pub(crate) fn current() -> Option<String> {
    TRACEPARENT.try_with(Clone::clone).ok()
}
