//! How fast the queue is, beside what a bare program gets from the same Redis.
//!
//! `cargo run --release -p queue --example bench -- --redis URL [--jobs N]
//! [--payload BYTES] [--limit] [--json]`: one worker in this process, at least
//! once, nothing switched off. Each job is counted, and must be done once.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]
#![expect(clippy::cast_precision_loss, reason = "rates need no more")]

mod limit;
mod measure;

use std::collections::BTreeMap;

use queue::redis::IntoConnectionInfo;

/// What to run.
#[derive(Clone)]
struct Options {
    redis: String,
    jobs: usize,
    payload: usize,
    limit: bool,
    json: bool,
}

impl Options {
    fn read() -> Result<Self, String> {
        let mut options = Self {
            redis: "redis://127.0.0.1:6379".to_owned(),
            jobs: 100_000,
            payload: 100,
            limit: false,
            json: false,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--redis" => options.redis = value()?,
                "--jobs" => options.jobs = value()?.parse().map_err(|_| "--jobs: a number")?,
                "--payload" => {
                    options.payload = value()?.parse().map_err(|_| "--payload: a number")?;
                }
                "--limit" => options.limit = true,
                "--json" => options.json = true,
                _ => return Err(format!("unknown argument {word}")),
            }
        }
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
    assert!(
        options.redis.as_str().into_connection_info().is_ok(),
        "--redis is no address"
    );
    let mut figures = Figures::new();
    measure::all(&options, &mut figures).await;
    if options.limit {
        limit::all(&options, &mut figures).await;
    }
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

/// The given percentile of the samples, in the unit they have.
fn percentile(samples: &mut [f64], percent: usize) -> f64 {
    samples.sort_by(f64::total_cmp);
    let last = samples.len().saturating_sub(1);
    samples.get(last * percent / 100).copied().unwrap_or(0.0)
}
