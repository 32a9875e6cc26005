//! The client programs of Postgres and Redis, logged in to the native servers.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Native, account, postgres, redis, servers};
use crate::secrets;
use crate::stack::{self, Mode};
use crate::verbose::Shown as _;

impl Native<'_> {
    pub(super) fn postgres_program(&self, program: &str, role: &str) -> Result<Command> {
        self.require("postgres")?;
        let (postgres, port) = (self.postgres()?, self.port("postgres")?);
        // `secrets/` may have changed since `up`.
        postgres::write_passwords(self.project, &self.place, port)?;
        let client = postgres::client(&self.place, &postgres, port, program, role);
        Ok(client)
    }

    /// The programs of the version that made the data: a dump is read by no older one.
    fn postgres(&self) -> Result<servers::Postgres> {
        let major = self.version_of_data();
        servers::postgres(major).context("the programs of Postgres are not installed any more")
    }

    /// The major version of Postgres that made the data, if there are data.
    pub(super) fn version_of_data(&self) -> Option<u32> {
        let data = account::chosen_postgres_data(self.project)?;
        postgres::version_of_data(&data)
    }

    pub(super) fn become_psql(&self, args: &[String]) -> Result<()> {
        let mut psql = self.postgres_program("psql", "slipway_owner")?;
        let error = psql.args(["--dbname", "slipway"]).args(args).shown().exec();
        Err(error).context("psql cannot be run")
    }

    pub(super) fn become_redis_cli(&self, args: &[String]) -> Result<()> {
        secrets::fit::require_settled(self.project, Mode::Native)?;
        let mut cli = self.redis_program()?;
        // `-e`, as below.
        let error = cli.arg("-e").args(args).shown().exec();
        Err(error).with_context(|| format!("{} cannot be run", cli.get_program().display()))
    }

    /// `-e`: an error that Redis answers is one of the program, too.
    pub(super) fn redis_answer(&self, words: &[&str]) -> Result<String> {
        stack::answer(self.redis_program()?.arg("-e").args(words))
    }

    fn redis_program(&self) -> Result<Command> {
        self.require("redis")?;
        let redis = servers::redis().context("no Redis is installed")?;
        redis::cli(self.project, &redis, self.port("redis")?)
    }
}
