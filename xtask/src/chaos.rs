//! `cargo xtask chaos`: breaks everything around the queue, and checks that it keeps its promises.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

use crate::cargo;
use crate::native::account;
use crate::native::postgres::Cluster;
use crate::native::servers;
use crate::ports;
use crate::project::Project;
use crate::verbose::Shown as _;

/// A crash of the server must not lose a commit; one of the machine may.
const POSTGRES_SETTINGS: [&str; 4] = [
    "fsync=off",
    "full_page_writes=off",
    "max_connections=300",
    // In its own folder, where it goes with everything else.
    "dynamic_shared_memory_type=mmap",
];

/// Options of `chaos`, but for the first those of the harness itself.
#[derive(Args)]
pub(crate) struct Chaos {
    /// Build it optimised
    #[arg(long)]
    pub(crate) release: bool,
    /// How long faults come, without the silence after them [default: 60, and 15 per seed without --seed]
    #[arg(long)]
    seconds: Option<u64>,
    /// What decides all faults and jobs
    #[arg(long)]
    seed: Option<u64>,
    /// Only these faults: kill,stop,redis-loss (a wrong one is answered with the list)
    #[arg(long)]
    faults: Option<String>,
    /// The workers' lease in ms [default: 2000]
    #[arg(long)]
    lease: Option<u64>,
    /// The servers that the queues are on: one, sentinel or cluster [default: one]
    #[arg(long)]
    redis: Option<String>,
    /// Worker processes [default: 4]
    #[arg(long)]
    workers: Option<u64>,
    /// Keep histories and logs also after a good run
    #[arg(long)]
    keep: bool,
}

impl Chaos {
    /// The words for the harness.
    pub(crate) fn words(&self) -> Vec<String> {
        let number = |value: Option<u64>| value.map(|value| value.to_string());
        let options = [
            ("--seconds", number(self.seconds)),
            ("--seed", number(self.seed)),
            ("--faults", self.faults.clone()),
            ("--lease", number(self.lease)),
            ("--workers", number(self.workers)),
            ("--redis", self.redis.clone()),
        ];
        options
            .into_iter()
            .filter_map(|(name, value)| Some([name.to_owned(), value?]))
            .flatten()
            .chain(self.keep.then(|| "--keep".to_owned()))
            .collect()
    }
}

/// Builds the harness, makes a Postgres for it, and runs it.
pub(crate) fn run(project: &Project, args: &Chaos) -> Result<()> {
    let (postgres, redis) = servers::ensure(false, true)?;
    let redis = redis.context("there is no Redis")?;
    let built = build(project, args.release)?;
    let folder = std::env::temp_dir().join(format!("slipway-chaos-{}", std::process::id()));
    // Not one that is there already: it could be anybody's.
    fs::create_dir(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    // A copy: it starts itself again and again, also while somebody builds the next one.
    let harness = folder.join("chaos");
    fs::copy(built, &harness)?;
    let account = account::for_postgres()?;
    let data = folder.join("postgres");
    let cluster = Cluster {
        postgres: &postgres,
        account,
        data: &data,
    };
    cluster.make(None)?;
    let port = ports::unused()?;
    let programs = json!({
        "redis": redis.server,
        "postgres": postgres.program("postgres"),
        "postgres_args": cluster.args(port, &POSTGRES_SETTINGS),
        "postgres_port": port,
        "postgres_account": account.map(|account| (account.uid, account.gid)),
        "folder": folder,
    });
    let mut harness = Harness::start(&harness, &args.words(), &programs)?;
    let status = harness.child.wait()?;
    match status.code() {
        Some(0) => Ok(()),
        Some(1) => bail!("a promise of the queue was broken"),
        _ => bail!("the harness itself failed: {status}"),
    }
}

/// The binary's path, as cargo tells it.
fn build(project: &Project, release: bool) -> Result<String> {
    let output = cargo::command(project)
        .args([
            "build",
            "--package",
            "chaos",
            "--message-format",
            "json-render-diagnostics",
        ])
        .args(release.then_some("--release"))
        .stderr(Stdio::inherit())
        .shown()
        .output()
        .context("cargo cannot be started")?;
    if !output.status.success() {
        bail!("the harness does not build");
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "chaos")
        .find_map(|message| Some(message["executable"].as_str()?.to_owned()))
        .context("cargo names no binary `chaos`")
}

/// The running harness. Whatever becomes of it or of us, what it has started ends.
struct Harness {
    child: Child,
    /// The harness ends with its input.
    _input: ChildStdin,
}

impl Harness {
    /// In a process group of its own: Ctrl-C is for us, and reaches it as the end of its input.
    fn start(program: &Path, args: &[String], programs: &Value) -> Result<Self> {
        let mut child = Command::new(program)
            .arg("run")
            .args(args)
            .stdin(Stdio::piped())
            .process_group(0)
            .shown()
            .spawn()
            .context("the harness cannot be started")?;
        let mut input = child.stdin.take().context("its input is a pipe")?;
        let told = writeln!(input, "{programs}");
        let harness = Self {
            child,
            _input: input,
        };
        told?;
        Ok(harness)
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        // All of them are in its group, and without it they have nobody who would end them.
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}
