//! How fast jobs get into the outbox, from there to Redis, and out of it again.
//!
//! `cargo run --release -p outbox --example outbox_bench -- --database URL --redis URL
//! [--rows N] [--payload BYTES] [--json]`: one relay in this process, in a database and a
//! namespace of its own, which it makes and removes; the role must be allowed to make one. Every
//! row is counted: it must reach Redis once, and its token can be spent once.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]
#![expect(clippy::cast_precision_loss, reason = "rates need no more")]

mod measure;
mod servers;

use std::collections::BTreeMap;
use std::str::FromStr as _;

use queue::redis::IntoConnectionInfo as _;
use sqlx::postgres::PgConnectOptions;

/// What to run.
struct Options {
    database: String,
    redis: String,
    rows: usize,
    payload: usize,
    json: bool,
}

impl Options {
    fn read() -> Result<Self, String> {
        let mut options = Self {
            database: "postgres://postgres@127.0.0.1:5432/postgres".to_owned(),
            redis: "redis://127.0.0.1:6379".to_owned(),
            rows: 100_000,
            payload: 100,
            json: false,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--database" => options.database = value()?,
                "--redis" => options.redis = value()?,
                "--rows" => options.rows = value()?.parse().map_err(|_| "--rows: a number")?,
                "--payload" => {
                    options.payload = value()?.parse().map_err(|_| "--payload: a number")?;
                }
                "--json" => options.json = true,
                _ => return Err(format!("unknown argument {word}")),
            }
        }
        PgConnectOptions::from_str(&options.database).map_err(|_| "--database is no address")?;
        let redis = options.redis.as_str().into_connection_info();
        redis.map_err(|_| "--redis is no address")?;
        Ok(options)
    }
}

/// The figures by name.
type Figures = BTreeMap<&'static str, f64>;

#[tokio::main]
async fn main() {
    let options = Options::read().unwrap_or_else(|error| {
        eprintln!("{error}");
        std::process::exit(2);
    });
    let figures = measure::all(&options).await;
    if options.json {
        println!("{}", serde_json::to_string(&figures).unwrap());
    } else {
        for (name, figure) in &figures {
            println!("{name:24} {figure:12.2}");
        }
    }
    if figures["lost"] + figures["doubled"] > 0.0 {
        std::process::exit(1);
    }
}
