//! What the API costs over the SQL that it runs.
//!
//! `cargo xtask bench api -- [--only CASE] [--seconds N] [--rounds N] [--connections N] [--json]`;
//! by itself it needs `TEST_DATABASE_URL` and `TEST_REDIS_URL`, as the tests do. There are two
//! services in processes of their own, on one core, over one database that is made for this.
//! The *real* one is `api serve` with its whole middleware, its log lines written to a pipe; the
//! *bare* one is axum and sqlx with the same SQL and nothing else. They take turns, and each pair
//! of turns gives one ratio; the medians are printed.
//!
//! Where there are cores to spare, the load has its own. Postgres runs where it likes.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]
#![expect(clippy::cast_precision_loss, reason = "rates need no more")]

mod bare;
mod cases;
mod cores;
mod load;
mod services;
mod setup;

use std::{collections::BTreeMap, time::Duration};

use cases::Case;
use load::Turn;
use services::{Kind, Service};
use setup::Database;

/// What to run.
struct Options {
    only: Option<String>,
    seconds: f64,
    rounds: usize,
    connections: usize,
    json: bool,
}

impl Options {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            only: None,
            seconds: 2.0,
            rounds: 7,
            connections: 16,
            json: false,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            let number = |text: String| text.parse().map_err(|_| format!("{word}: a number"));
            match word.as_str() {
                "--only" => options.only = Some(value()?),
                "--seconds" => {
                    options.seconds = value()?.parse().map_err(|_| "--seconds: a number")?;
                }
                "--rounds" => options.rounds = number(value()?)?,
                "--connections" => options.connections = number(value()?)?,
                "--json" => options.json = true,
                _ => return Err(format!("unknown argument {word}")),
            }
        }
        Ok(options)
    }

    fn turn(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

fn main() {
    let mut words = std::env::args().skip(1).peekable();
    if words.next_if(|word| word == "serve").is_some() {
        return services::serve(words);
    }
    let options = Options::read(words).unwrap_or_else(|error| {
        eprintln!("{error}");
        std::process::exit(2);
    });
    // Before the runtime, whose threads inherit it.
    cores::take(cores::For::Load);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(run(&options));
}

async fn run(options: &Options) {
    let database = Database::make().await;
    let real = Service::start(Kind::Real, &database);
    let bare = Service::start(Kind::Bare, &database);
    let mut figures = BTreeMap::new();
    for case in Case::ALL {
        if options.only.as_ref().is_none_or(|name| name == case.name()) {
            let pairs = measure(case, options, &database, [&real, &bare]).await;
            report(case, &pairs, options.json, &mut figures);
        }
    }
    if options.json {
        println!("{}", serde_json::to_string(&figures).unwrap());
    }
}

/// Turns of the real service and of the bare one, in changing order.
async fn measure(
    case: Case,
    options: &Options,
    database: &Database,
    services: [&Service; 2],
) -> Vec<[Turn; 2]> {
    let mut pairs = Vec::new();
    // The first round fills caches and pools, and does not count.
    for round in 0..=options.rounds {
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        let mut pair = [Turn::default(), Turn::default()];
        for which in order {
            let request = case.request(database);
            let port = services[which].port;
            pair[which] = load::turn(port, request, options.connections, options.turn()).await;
        }
        if round > 0 {
            pairs.push(pair);
        }
    }
    pairs
}

fn report(case: Case, pairs: &[[Turn; 2]], json: bool, figures: &mut BTreeMap<String, f64>) {
    let median_of = |figure: &dyn Fn(&[Turn; 2]) -> f64| {
        let mut values: Vec<_> = pairs.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let name = case.name();
    let all = [
        ("rate", median_of(&|[real, _]| real.rate())),
        ("bare_rate", median_of(&|[_, bare]| bare.rate())),
        (
            "rate_share",
            median_of(&|[real, bare]| real.rate() / bare.rate()),
        ),
        ("p50_ms", median_of(&|[real, _]| real.percentile(50))),
        ("bare_p50_ms", median_of(&|[_, bare]| bare.percentile(50))),
        ("p99_ms", median_of(&|[real, _]| real.percentile(99))),
        ("bare_p99_ms", median_of(&|[_, bare]| bare.percentile(99))),
        (
            "p99_times",
            median_of(&|[real, bare]| real.percentile(99) / bare.percentile(99)),
        ),
    ];
    if !json {
        println!("{}", case.title());
    }
    for (figure, value) in all {
        if !json {
            println!("  {figure:12} {value:12.3}");
        }
        figures.insert(format!("{name}_{figure}"), value);
    }
}
