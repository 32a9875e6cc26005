//! The conductor: round after round, and the verdict over all.

use std::{
    fs,
    io::{BufRead, Read, stdin, stdout},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Args;
use tokio::sync::{Mutex, oneshot};

use crate::{
    faults::{FAULTS, applies},
    history::Fault,
    round::{self, Plan},
    servers::{Kind, Postgres, Programs},
    total,
};

/// The longest round. Histories stay small, and what breaks is found soon.
const LONGEST_ROUND: u64 = 60;
/// What runs where no seed is given, besides a random one: together they bring every fault.
pub(crate) const SEEDS: [u64; 3] = [1240, 1332, 1486];
/// How long each of these runs where nothing is said.
pub(crate) const SHORT_ROUND: u64 = 15;

/// Options of `chaos run`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How long faults come, without the silence after them; per seed, where none is given
    #[arg(long)]
    seconds: Option<u64>,
    /// What decides all faults and jobs; without it three fixed seeds and a random one
    #[arg(long)]
    seed: Option<u64>,
    /// Only these faults, with commas between them, or `none`
    #[arg(long, value_parser = Faults::read)]
    faults: Option<Faults>,
    /// The workers' lease in ms
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(500..))]
    lease: u64,
    /// Worker processes; the last is of the release before
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=8))]
    workers: u64,
    /// The servers that the queues are on
    #[arg(long, value_enum, default_value_t = Kind::One)]
    redis: Kind,
    /// Keep histories and logs also after a good run
    #[arg(long)]
    keep: bool,
}

/// Faults by their names on the command line.
#[derive(Debug, Clone)]
struct Faults(Vec<Fault>);

impl Faults {
    fn read(list: &str) -> Result<Self, String> {
        if list == "none" {
            return Ok(Self(Vec::new()));
        }
        let fault = |name| {
            let known = FAULTS.iter().find(|(.., known)| *known == name);
            known.map(|(fault, ..)| *fault).ok_or_else(|| {
                let names = FAULTS.map(|(.., name)| name).join(",");
                format!("{name} is no fault; these are: {names}")
            })
        };
        list.split(',')
            .map(fault)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl Options {
    /// Those that are enabled, and apply to these servers.
    fn faults(&self) -> Vec<Fault> {
        let faults = match &self.faults {
            Some(Faults(faults)) => faults.clone(),
            None => FAULTS.map(|(fault, ..)| fault).to_vec(),
        };
        let faults = faults.into_iter();
        faults.filter(|fault| applies(*fault, self.redis)).collect()
    }

    /// Rounds of at most a minute; each later one has the next seed.
    fn plans(&self) -> Vec<Plan> {
        let plan = |seed, seconds| Plan {
            seed,
            length: Duration::from_secs(seconds),
            lease: Duration::from_millis(self.lease),
            workers: usize::try_from(self.workers).unwrap_or(1),
            faults: self.faults(),
            redis: self.redis,
        };
        let Some(seed) = self.seed else {
            let random = fastrand::u64(..1 << 32);
            let seconds = self.seconds.unwrap_or(SHORT_ROUND);
            let seeds = SEEDS.into_iter().chain([random]);
            return seeds.map(|seed| plan(seed, seconds)).collect();
        };
        let mut left = self.seconds.unwrap_or(LONGEST_ROUND);
        let mut plans = Vec::new();
        while left > 0 {
            let seconds = left.min(LONGEST_ROUND);
            plans.push(plan(seed + plans.len() as u64, seconds));
            left -= seconds;
        }
        plans
    }
}

/// Reads the servers' programs from standard input, and runs until it ends, or all is done.
pub(crate) fn main(options: &Options) -> Result<ExitCode> {
    let mut line = String::new();
    stdin().lock().read_line(&mut line)?;
    let programs: Programs = serde_json::from_str(&line)
        .context("standard input names no servers: use `cargo xtask chaos`")?;
    let runtime = tokio::runtime::Runtime::new()?;
    let passed = runtime.block_on(async {
        let interrupted = end_of_input();
        tokio::select! {
            passed = run(options, &programs) => passed,
            _ = interrupted => anyhow::bail!("interrupted"),
        }
    });
    // Its tasks hold processes, which end with them.
    drop(runtime);
    if options.keep || matches!(passed, Ok(false)) {
        println!("history and logs: {}", programs.folder.display());
    } else {
        fs::remove_dir_all(&programs.folder)?;
    }
    Ok(if passed? {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Comes when whoever started us is gone, in whatever way.
fn end_of_input() -> oneshot::Receiver<()> {
    let (ended, end) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = stdin().lock().read_to_end(&mut Vec::new());
        let _ = ended.send(());
    });
    end
}

/// Whether no promise was broken.
async fn run(options: &Options, programs: &Programs) -> Result<bool> {
    let postgres = Mutex::new(Postgres::start(programs).await?);
    let plans = options.plans();
    let mut total = None;
    for plan in &plans {
        println!("seed {}, {} s of faults", plan.seed, plan.length.as_secs());
        let folder = programs.folder.join(format!("seed-{}", plan.seed));
        let report = round::run(plan, programs, &postgres, &folder).await?;
        println!("{report}");
        if !report.violations.is_empty() {
            return Ok(false);
        }
        total = Some(total::add(total, report));
        if !options.keep {
            fs::remove_dir_all(&folder)?;
        }
    }
    if let Some(total) = total.filter(|_| plans.len() > 1) {
        total::print(&total, &mut stdout())?;
    }
    Ok(true)
}
