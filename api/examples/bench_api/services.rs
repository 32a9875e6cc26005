//! The two services, each in a process of its own.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
};

use api::{Api, App, Connections, Drain};
use queue::Queue;
use service::{
    database::{self, Returns},
    settings::Reader,
    shutdown::Shutdown,
    telemetry,
};
use sqlx::postgres::PgPoolOptions;
use tokio::net::TcpListener;

use crate::{
    bare::{self, Bare},
    cores,
    setup::{self, Database},
};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Real,
    Bare,
}

/// A running one; it ends when this is dropped.
pub(crate) struct Service {
    pub(crate) port: u16,
    child: Child,
}

impl Service {
    pub(crate) fn start(kind: Kind, database: &Database) -> Self {
        let name = if kind == Kind::Real { "real" } else { "bare" };
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["serve", name, &database.account.to_string()])
            .envs(database.env())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // As in production its lines are written; nobody has to read them here.
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let said = child.stdout.take().unwrap();
        BufReader::new(said).read_line(&mut line).unwrap();
        let port = line.trim().parse().unwrap();
        Self { port, child }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The child's side: serves until its input ends.
pub(crate) fn serve(mut words: impl Iterator<Item = String>) {
    cores::take(cores::For::Service);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    std::thread::spawn(|| {
        // An error ends the input as well.
        let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        println!("{}", listener.local_addr().unwrap().port());
        let settings = setup::settings(Reader::from_env());
        let pool = database::pool(&settings.database, Returns::Trusted);
        if words.next().as_deref() == Some("bare") {
            let account = words.next().unwrap().parse().unwrap();
            // As sqlx makes one by itself.
            let pool = PgPoolOptions::new()
                .max_connections(settings.database.pool_size)
                .connect_lazy_with(pool.connect_options().as_ref().clone());
            let router = bare::router(Bare::new(pool, account).await);
            axum::serve(listener, router).await.unwrap();
            return;
        }
        telemetry::init(&settings.telemetry);
        let shutdown = Shutdown::default();
        let queue = Queue::connect(queue::testing::settings()).await.unwrap();
        let app = App::new(pool, queue, &settings, shutdown.soft.clone());
        let drain = Drain {
            lead: settings.http.request_timeout,
            request_timeout: settings.http.request_timeout,
        };
        let connections = Connections::at_most(settings.http.connections);
        let served = api::serve(listener, Api::new(app), connections, shutdown, drain).await;
        served.unwrap();
    });
}
