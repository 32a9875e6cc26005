//! What can be typed, and the page that `--help` prints.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::native::kinds::Kind;
use crate::{
    bench, chaos, completions, db, deploy, dev, doctor, down, fuzz, generate, logs, migrate,
    rename, up, wait,
};

/// The page of `cargo xtask --help`, grouped by what one wants to do. A test holds it complete.
const PAGE: &str = "\
Runs, inspects and tests this project: API, worker, Postgres and Redis.

Usage: cargo xtask <verb> [options]      cargo xtask <verb> --help

Run it
  up         Build and start everything, wait until healthy, say where it is
             --docker or --native choose how; without one, `up` chooses and says why
             up worker starts that and what it needs; --scale worker=3 starts three
  dev        The same, then replace what is built from each file you save, until Ctrl-C
  down       Stop everything; data is kept (--volumes removes it, after asking)
  restart    Restart one service, or all
  build      Build what `up` would start

Look at it
  ps         Which services run, their health and addresses (--json)
  wait       Until all services, or those named, are healthy: wait api --timeout 60
  open       Show in the browser: open docs | jobs | mail | ...
  logs       What they say: logs -f, logs -f worker, logs --since 10m --level warn
  exec       Run a command in a service's surroundings: exec worker worker --help
  psql       The database's prompt
  redis-cli  The queue's prompt
  jobs       What is in the queues: jobs list | show | retry | cancel | pause | workers ...
  admin      Who is an admin: admin list | grant EMAIL | revoke EMAIL
  doctor     What is wrong with this machine or checkout, and the remedy (--json)
             doctor --fix does the remedies that lose nothing

Change it
  generate   Begin something: generate resource project name:text | job ship_order | migration NAME
  migrate    Move the schema: migrate run | status | revert | new NAME
             migrate check finds files that would hurt, without a database
  db         db backup | backups | verify | restore: its data, in a file and back again
             db reset | seed: begin with nothing, or with demo accounts to log in with
             db rotate-password: new passwords, in the servers and in secrets/ together
             db prepare writes .sqlx/, which checks the SQL at compile time
  rename     Give the product your name, in every file: rename harbour (--dry-run)
  openapi    Write api/openapi.json anew from the handlers (--check: only compare)

Prove it
  test       Every test, against throw-away servers: test -- -p queue
             --redis redis8 or valkey8: against another Redis than this machine's
  e2e        Drive the stack from outside, as a client would
  fuzz       Send the API what api/openapi.json allows, and what it forbids
  chaos      Break everything around the queue, check that it keeps its promises
             chaos --seconds 300 --seed 7; without a seed, a minute as CI does
  bench      Measure: bench queue | outbox | api
             bench api -- --only me --json; nothing else should run beside it
  check      Format, migrations, clippy, rustdoc and .sqlx, as CI does
  ci         check and test

Ship it
  deploy     To Docker Swarm: check, migrate, roll out, watch; deploy status | rollback

  completions Complete `cargo xtask <TAB>`: completions bash | zsh | fish

Begin with `cargo xtask up`. Nothing else has to be installed or prepared.

Options:
      --verbose  Show each command that is run, as a line to paste; never a secret
  -h, --help     This page; after a verb, that verb's options
  -V, --version  The version
";

/// The command line.
#[derive(Parser)]
#[command(
    name = "xtask",
    bin_name = "cargo xtask",
    version,
    about = "The developer's command",
    help_template = PAGE,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    /// Show each command that is run, as a line to paste (on standard error; never a secret)
    #[arg(long, global = true, display_order = 900)]
    pub(crate) verbose: bool,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// One verb each.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Build and start everything, wait until healthy, say where it is
    ///
    /// Makes `.env` and `secrets/` on the first run. Run it again after an edit: only what changed
    /// is rebuilt and restarted.
    Up(up::Up),
    /// Bring the stack up, then replace what is built from each file you save
    ///
    /// Stays in the foreground with the logs of api and worker until Ctrl-C. For each edit it prints
    /// how long it took from the saved file to the answer of the new version. Code that does not
    /// compile is shown at once, and what ran before goes on; a new migration is applied. In both
    /// modes; after Ctrl-C the stack goes on, and `cargo xtask down` stops it.
    Dev(dev::Dev),
    /// Stop everything; data is kept
    Down(down::Down),
    /// Restart these services, or all, and wait until they are healthy
    Restart {
        /// api, worker, postgres, redis, ...
        services: Vec<String>,
    },
    /// Which services run, their health and addresses
    Ps {
        /// For machines: {"mode", "services": [{"name", "state", "health", "address"}]}
        #[arg(long)]
        json: bool,
    },
    /// Until all services, or those named, are healthy
    ///
    /// Exits with 1 when they are not in time, or when one has ended and nobody starts it: `cargo xtask wait api --timeout 60`
    Wait(wait::Wait),
    /// Show an address of the stack in the browser, and print it
    ///
    /// Only prints it where there is no desktop, or no terminal: `curl $(cargo xtask open api)/readyz`
    Open {
        /// docs, api, mail, ... as `up` lists them (without a word: docs)
        word: Option<String>,
    },
    /// What the services say
    ///
    /// Readable, in the order of time, each line behind its service. In a pipe there are no colours;
    /// with --raw lines are as they were written: `cargo xtask logs api --raw | jq .message`
    Logs(logs::Logs),
    /// Build what `up` would start
    Build,
    /// Run a command in a service's surroundings
    ///
    /// In Docker inside the service's container (the image of api and worker has no shell and no tools:
    /// `exec worker worker --help`); natively, and with `up --infra`, on this machine with the service's
    /// environment: `exec api env`, `exec api cargo run -p api -- serve`. Its exit code is ours.
    #[command(trailing_var_arg = true)]
    Exec {
        /// api or worker; in Docker also postgres, redis, ...
        service: String,
        /// The command and its arguments
        #[arg(required = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// The database's prompt, as the schema's owner
    #[command(trailing_var_arg = true)]
    Psql {
        /// Passed on to psql: -c 'select 1'
        #[arg(allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// The queue's prompt
    #[command(trailing_var_arg = true)]
    RedisCli {
        /// Passed on to redis-cli: INFO memory
        #[arg(allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// What is in the queues, and who works (without a word: list)
    ///
    /// Runs `worker jobs` with the stack's settings; Redis has to run, a worker has not.
    /// `cargo xtask jobs help` has all verbs and examples.
    #[command(trailing_var_arg = true)]
    Jobs {
        /// Passed on to `worker jobs`: list dead, show ID, retry ID, cancel ID, pause, run SCHEDULE, workers, --json
        #[arg(allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Who is an admin (without a word: list)
    ///
    /// Runs `api admin` with the stack's settings; Postgres has to run, the API has not. The account
    /// has to be there and verified.
    #[command(trailing_var_arg = true)]
    Admin {
        /// Passed on to `api admin`: list, grant EMAIL, revoke EMAIL [--force]
        #[arg(allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Move the database's schema (without a word: run)
    Migrate {
        #[command(subcommand)]
        action: Option<migrate::Migrate>,
    },
    /// The database: its data, its passwords, and what is derived from it
    Db {
        #[command(subcommand)]
        action: db::Db,
    },
    /// Bring docker/stack.yml to a Docker Swarm, and watch it until it stands
    ///
    /// Checks the Swarm, settings, secrets and image; starts the data services; runs the migrations
    /// as a job; then rolls out. A service that does not become healthy is put back, and told of.
    Deploy(deploy::Deploy),
    /// Write the start of a resource, a job or a migration
    Generate {
        #[command(subcommand)]
        what: generate::Generate,
    },
    /// Give the product a name of your own, in every file
    ///
    /// Refuses while the stack has data: it is in a database of the old name.
    Rename(rename::Rename),
    /// Write api/openapi.json anew from the handlers
    Openapi {
        /// Write nothing; exit with 1 if it differs
        #[arg(long)]
        check: bool,
    },
    /// What is wrong with this machine or checkout, and the remedy
    ///
    /// Asks about the machine, Docker, the servers of this machine, ports, settings, secrets and
    /// sources. Exits with 1 when something fails that `up` or `test` needs. `doctor --fix` makes
    /// what is missing, sets modes and line ends, and says what it leaves to you.
    Doctor(doctor::Doctor),
    /// Every test, against throw-away servers
    ///
    /// Starts a Postgres and a Redis on free ports, exports TEST_DATABASE_URL and TEST_REDIS_URL,
    /// runs `cargo test --workspace`, and removes them again, also after a failure or Ctrl-C.
    Test {
        /// Another Redis than this machine's: redis8 or valkey8, unpacked below target/
        #[arg(long, value_enum)]
        redis: Option<Kind>,
        /// After `--`, passed on to `cargo test`: -- -p queue lease
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Drive the stack from outside, as a client would
    E2e {
        /// Against containers
        #[arg(long, conflicts_with = "native")]
        docker: bool,
        /// Against processes of this machine
        #[arg(long)]
        native: bool,
    },
    /// Send the API what `api/openapi.json` allows and what it forbids
    ///
    /// Schemathesis does, with all of its checks, without log-in and with: no 5xx, no answer that
    /// the document does not have. The service is one of its own, on throw-away servers. Installs
    /// what is missing below target/, and Python with the machine's packages.
    Fuzz(fuzz::Fuzz),
    /// Break everything around the queue, and check that it keeps its promises
    ///
    /// Starts a Redis, a Postgres, workers and producers of two releases; kills, freezes and
    /// partitions them by a plan that the seed decides; then judges the history of all. Without a
    /// seed: three fixed ones and a random one, which is printed. A broken promise is told with its
    /// seed and its job's history; `chaos/README.md` has the list.
    Chaos(chaos::Chaos),
    /// Measure the queue, the outbox or the API, on throw-away servers
    ///
    /// Each prints what it measured and, beside it, what a bare program reaches with the same
    /// commands or SQL. Options of the benchmark come after `--`; its source lists them.
    Bench {
        /// What to measure
        what: bench::Bench,
        /// Passed on to the benchmark: --json
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Format, migrations, clippy, rustdoc and .sqlx, as CI does
    Check,
    /// check, then test
    Ci,
    /// A script for your shell that completes `cargo xtask <TAB>`: verbs, options, services
    ///
    /// Keep it in a file, which the shell reads at its start:
    ///
    ///   cargo xtask completions bash > ~/.cargo-xtask.bash   and in ~/.bashrc: source ~/.cargo-xtask.bash
    ///   cargo xtask completions zsh  > ~/.cargo-xtask.zsh    and in ~/.zshrc, behind compinit: source ...
    ///   cargo xtask completions fish > ~/.config/fish/conf.d/cargo-xtask.fish
    ///
    /// The completion of cargo itself goes on as before. Do it again after an update that has new verbs.
    #[command(verbatim_doc_comment)]
    Completions {
        /// Which shell
        #[arg(value_enum)]
        shell: completions::Shell,
    },
    /// The parent of all native services
    #[command(hide = true)]
    Supervise {
        /// The checkout
        root: PathBuf,
    },
    /// Servers for tests, until stdin ends
    #[command(hide = true)]
    ThrowAway {
        /// No Redis
        #[arg(long)]
        postgres_only: bool,
        /// In containers
        #[arg(long)]
        docker: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_page_names_every_verb() {
        for verb in Cli::command()
            .get_subcommands()
            .filter(|verb| !verb.is_hide_set())
        {
            let line = format!("\n  {:<11}", verb.get_name());
            assert!(
                PAGE.contains(&line),
                "`{}` is not on the page",
                verb.get_name()
            );
        }
    }

    #[test]
    fn help_is_a_word_too() {
        for (typed, expected) in [("help", "Begin with"), ("help up", "--wait-timeout")] {
            let words = ["xtask"].into_iter().chain(typed.split(' '));
            let Err(help) = Cli::try_parse_from(words) else {
                panic!("`{typed}` is no help")
            };
            assert!(help.to_string().contains(expected), "{help}");
        }
    }
}
