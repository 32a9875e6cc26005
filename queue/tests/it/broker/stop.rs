//! Scripts that fail half way.

use std::collections::BTreeSet;

use queue::{
    redis::{RedisError, Value},
    testing,
};

use super::{Broker, Call};

const STOP: &str = "stopped after a write";

/// A script that was made to stop after a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stopped {
    /// The line of that write in the script's file.
    pub(crate) line: usize,
}

impl Broker {
    /// Runs a script up to its write of this number, as if it had failed there.
    ///
    /// Returns its answer when it has fewer writes.
    pub(crate) async fn run_until(&mut self, call: &Call, write: usize) -> Result<Value, Stopped> {
        let writes = self.write_commands().await;
        let stopping = stopping(source(call.script), &writes, write);
        match self.eval(&stopping, call).await {
            Ok(answer) => Ok(answer),
            Err(error) => Err(stopped(&error)),
        }
    }

    /// The lines of a script that write.
    pub(crate) async fn writing_lines(&mut self, file: &str) -> BTreeSet<usize> {
        let writes = self.write_commands().await;
        let writing = |line: &str| {
            let mut calls = line.split("call('").skip(1);
            calls.any(|call| {
                let name = call.split('\'').next().unwrap();
                writes.contains(&name.to_lowercase())
            })
        };
        let lines = source(file).lines().enumerate();
        lines
            .filter(|(_, line)| writing(line))
            .map(|(at, _)| at + 1)
            .collect()
    }

    /// The commands that write, in lower case, as the server has them.
    async fn write_commands(&mut self) -> BTreeSet<String> {
        let commands: Vec<String> = self.ask(&["ACL", "CAT", "write"]).await;
        let name = |command: String| command.split('|').next().map(ToOwned::to_owned);
        commands.into_iter().filter_map(name).collect()
    }
}

/// The source of the script in this file.
pub(super) fn source(file: &str) -> &'static str {
    let mut scripts = testing::scripts();
    scripts.find(|(name, _)| *name == file).unwrap().1
}

/// The script with a `redis` that raises an error after a write of this number.
///
/// The error is raised in the name of the caller, so that it tells the line. The
/// wrapping stands on the second line, before a comment, so that lines keep their
/// numbers.
fn stopping(source: &str, writes: &BTreeSet<String>, write: usize) -> String {
    let writes = writes.iter().map(|name| format!("['{name}']=1,"));
    let writes: String = writes.collect();
    let (shebang, script) = source.split_once('\n').unwrap();
    assert!(script.starts_with("--"));
    format!(
        "{shebang}\nlocal redis = (function(real, left) local writes = {{{writes}}} \
         local function counted(run) return function(name, ...) \
         local answer = run(name, ...) \
         if writes[string.lower(name)] then left = left - 1 \
         if left == 0 then error('{STOP}', 2) end end \
         return answer end end \
         return {{call = counted(real.call), pcall = counted(real.pcall)}} \
         end)(redis, {write}) {script}"
    )
}

/// Reads `user_script:LINE: stopped after a write ...`.
fn stopped(error: &RedisError) -> Stopped {
    let text = error.to_string();
    assert!(text.contains(STOP), "the script fails by itself: {text}");
    let at = text.find("user_script:").unwrap();
    let digits = text[at + "user_script:".len()..].split(':').next();
    Stopped {
        line: digits.unwrap().parse().unwrap(),
    }
}
