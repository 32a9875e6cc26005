//! How fast the queue is, beside what a bare program gets from the same Redis.
//!
//! `cargo run --release -p queue --example bench -- --redis URL [--jobs N]
//! [--payload BYTES] [--rounds N] [--only FIGURE] [--limit] [--json]`: one worker in this process,
//! at least once, nothing switched off. Each job is counted, and must be done once.
//!
//! A figure is the median of the rounds. With `--limit` the queue and the bare
//! program take turns within a round, so that both meet the same machine: what
//! else runs there changes from second to second, and their ratio hardly does.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]
#![expect(clippy::cast_precision_loss, reason = "rates need no more")]

mod limit;
mod measure;

use std::{collections::BTreeMap, io::IsTerminal};

use queue::redis::IntoConnectionInfo;

/// What to run.
#[derive(Clone)]
struct Options {
    redis: String,
    jobs: usize,
    payload: usize,
    rounds: usize,
    /// One figure alone, for a profile of it.
    only: Option<String>,
    limit: bool,
    json: bool,
}

impl Options {
    fn read() -> Result<Self, String> {
        let mut options = Self {
            redis: "redis://127.0.0.1:6379".to_owned(),
            jobs: 100_000,
            payload: 100,
            rounds: 5,
            only: None,
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
                "--rounds" => {
                    options.rounds = value()?.parse().map_err(|_| "--rounds: a number")?;
                }
                "--only" => options.only = Some(value()?),
                "--limit" => options.limit = true,
                "--json" => options.json = true,
                _ => return Err(format!("unknown argument {word}")),
            }
        }
        Ok(options)
    }

    fn wants(&self, figure: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == figure)
    }

    /// Jobs where each waits for the one before: a tenth, because each takes a
    /// round trip.
    fn one_by_one(&self) -> usize {
        (self.jobs / 10).max(1)
    }
}

/// What was measured so far, by name.
#[derive(Default)]
struct Samples {
    rounds: BTreeMap<&'static str, Vec<f64>>,
    lost: u64,
    doubled: u64,
}

impl Samples {
    fn add(&mut self, name: &'static str, sample: f64) {
        self.rounds.entry(name).or_default().push(sample);
    }

    /// The median of each figure; what was lost or doubled counts over all rounds.
    fn figures(mut self) -> BTreeMap<&'static str, f64> {
        let medians = self.rounds.iter_mut();
        let mut figures: BTreeMap<_, _> = medians
            .map(|(name, samples)| (*name, percentile(samples, 50)))
            .collect();
        figures.insert("lost", self.lost as f64);
        figures.insert("doubled", self.doubled as f64);
        figures
    }
}

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
    let mut samples = Samples::default();
    for round in 0..options.rounds.max(1) {
        if std::io::stderr().is_terminal() {
            eprintln!("round {} of {}", round + 1, options.rounds.max(1));
        }
        one_round(&options, &mut samples).await;
    }
    let figures = samples.figures();
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

/// Everything once, each figure beside its limit.
async fn one_round(options: &Options, samples: &mut Samples) {
    if options.wants("enqueue_one") {
        measure::enqueue_one(options, samples).await;
        if options.limit {
            limit::enqueue_one(options, samples).await;
        }
    }
    if options.wants("enqueue_concurrent") {
        measure::enqueue_concurrent(options, samples).await;
    }
    if options.wants("enqueue_many") {
        measure::enqueue_many(options, samples).await;
    }
    if options.limit && (options.wants("enqueue_many") || options.wants("drain")) {
        limit::enqueue_many_and_drain(options, samples).await;
    }
    if options.wants("drain") {
        measure::drain(options, samples).await;
    }
    if options.wants("steady") {
        measure::steady(options, samples).await;
        if options.limit {
            limit::steady(options, samples).await;
        }
    }
    if options.wants("retry") {
        measure::retry(options, samples).await;
    }
    if options.wants("unique") {
        measure::unique(options, samples).await;
    }
    if options.wants("pickup") {
        measure::pickup(options, samples).await;
        if options.limit {
            limit::pickup(options, samples).await;
        }
    }
}

/// The given percentile of the samples, in the unit they have.
fn percentile(samples: &mut [f64], percent: usize) -> f64 {
    samples.sort_by(f64::total_cmp);
    let last = samples.len().saturating_sub(1);
    samples.get(last * percent / 100).copied().unwrap_or(0.0)
}
