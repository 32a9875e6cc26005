//! The binary `api`.

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use api::{
    Api, App, Connections, Drain,
    settings::{Settings, queue_settings},
};
use clap::Parser;
use queue::Queue;
use service::{
    database, health, metrics,
    settings::{Environment, Http, Reader},
    shutdown::{Shutdown, Tasks},
    telemetry,
};
use tokio::net::TcpListener;

mod admin;
mod seed;

/// The HTTP service
#[derive(Parser)]
#[command(name = "api", version)]
enum Command {
    /// Serve until SIGTERM or SIGINT
    Serve,
    /// Print the OpenAPI document; needs no settings
    Openapi,
    /// Make demo data, in development alone
    Seed,
    /// Ask a running `api serve` whether it is ready; exit with 1 if not
    Healthcheck {
        /// Ask only whether it is alive
        #[arg(long)]
        live: bool,
    },
    /// Say who is an admin, or change it
    Admin {
        #[command(subcommand)]
        verb: admin::Admin,
    },
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Serve => serve(),
        Command::Openapi => {
            print!("{}", api::openapi::text());
            Ok(())
        }
        Command::Seed => seed::run(),
        Command::Healthcheck { live } => healthcheck(live),
        Command::Admin { verb } => admin::run(verb),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("api: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn serve() -> anyhow::Result<()> {
    let settings = Settings::read(Reader::from_env())?;
    let name = env!("CARGO_PKG_NAME");
    telemetry::init_with_spans(&settings.telemetry, settings.traces.as_ref(), name);
    let shutdown = Shutdown::on_signals(settings.shutdown.grace)?;

    let pool = database::pool(&settings.database, database::Returns::Trusted);
    tokio::spawn(database::announce(pool.clone()));
    let redis =
        queue_settings(&settings.redis, &settings.queue).context("REDIS_CA cannot be used")?;
    let queue = Queue::connect(redis).await?;
    let app = App::new(pool.clone(), queue, &settings, shutdown.soft.clone());

    let scrapes = metrics::listen(&settings.metrics).await?;
    let addr = settings.http.addr;
    let listener = TcpListener::bind(addr)
        .await
        .with_context(|| format!("cannot listen on {addr}; API_ADDR names another address"))?;
    let connections = Connections::at_most(settings.http.connections);
    tracing::info!(
        address = %listener.local_addr()?,
        version = env!("CARGO_PKG_VERSION"),
        environment = ?settings.environment,
        connections = connections.most,
        "listening",
    );

    let drain = Drain {
        lead: drain_lead(settings.environment),
        request_timeout: settings.http.request_timeout,
    };
    let mut tasks = Tasks::new(shutdown.clone());
    tasks.spawn_background("metrics", metrics::serve(scrapes, app.metrics.clone()));
    tasks.spawn(
        "http",
        api::serve(
            listener,
            Api::new(app),
            connections,
            shutdown.clone(),
            drain,
        ),
    );
    let served = tasks.run().await;
    database::close(&pool, &shutdown).await;
    telemetry::spans::flush(&shutdown).await;
    Ok(served?)
}

/// How long a stopping service still accepts connections while its readiness is already 503.
///
/// A load balancer needs that time to look; a developer who restarts does not want to wait.
fn drain_lead(environment: Environment) -> Duration {
    match environment {
        Environment::Development => Duration::ZERO,
        Environment::Staging | Environment::Production => Duration::from_secs(2),
    }
}

fn healthcheck(live: bool) -> anyhow::Result<()> {
    // Where it listens says nothing about where it runs.
    let http = Reader::from_env().read(|reader| Http::read(reader, Environment::Development))?;
    health::check(http.addr, if live { "/livez" } else { "/readyz" })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Command::command().debug_assert();
    }
}
