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

/// Runs `work` in the scope of a job's own trace, if it has one.
pub(crate) async fn inherit<F: Future>(traceparent: Option<&str>, work: F) -> F::Output {
    match traceparent {
        Some(traceparent) => scope(traceparent.to_owned(), work).await,
        None => work.await,
    }
}

/// The trace's id in a trace context, as it stands in the log lines of a request.
pub(crate) fn id(traceparent: &str) -> Option<&str> {
    traceparent.split('-').nth(1)
}

/// The trace context of the scope that this is called in.
pub(crate) fn current() -> Option<String> {
    TRACEPARENT.try_with(Clone::clone).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_scope_ends_with_its_work_and_jobs_pass_it_on() {
        let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(current(), None);
        let inside = scope(traceparent.to_owned(), async { current() }).await;
        assert_eq!(inside.as_deref(), Some(traceparent));
        assert_eq!(
            inherit(inside.as_deref(), async { current() }).await,
            inside
        );
        assert_eq!(inherit(None, async { current() }).await, None);
        assert_eq!(id(traceparent), Some("0af7651916cd43dd8448eb211c80319c"));
    }
}
