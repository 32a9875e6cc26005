//! What worker and producer processes have in common.

use std::{io::Read, process::ExitCode};

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::brief::Brief;

/// Runs `body` on a small runtime, with a log on standard error.
pub(crate) fn main<F: Future<Output = Result<()>>>(
    brief: &str,
    body: impl FnOnce(Brief) -> F,
) -> Result<ExitCode> {
    let brief: Brief = serde_json::from_str(brief).context("the brief is no JSON")?;
    end_with_the_conductor();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(body(brief))?;
    Ok(ExitCode::SUCCESS)
}

/// Ends this process when its standard input ends: whoever started it is gone.
fn end_with_the_conductor() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
        std::process::exit(3);
    });
}

/// A token that SIGTERM cancels.
pub(crate) fn on_sigterm() -> Result<CancellationToken> {
    let mut term = signal(SignalKind::terminate())?;
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    tokio::spawn(async move {
        term.recv().await;
        token.cancel();
    });
    Ok(shutdown)
}
