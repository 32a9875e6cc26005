//! What the supervisor is to run: one [`Spec`] per service, in the order of their start.
//!
//! A plan travels as JSON. It holds paths of secret files, never a secret.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::account::Account;
use super::probe::Probe;

/// How to run one service. Two equal specs mean: nothing to restart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spec {
    /// `api`, `worker`, `postgres` or `redis`.
    pub(crate) name: String,
    /// The program, absolute.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) args: Vec<String>,
    /// Its whole environment: nothing is inherited.
    pub(crate) env: BTreeMap<String, String>,
    /// The folder it starts in.
    pub(crate) folder: PathBuf,
    /// Who runs it; none for whoever runs the supervisor.
    pub(crate) account: Option<Account>,
    /// How its health is asked.
    pub(crate) probe: Probe,
    /// Where it listens: `127.0.0.1:8000`.
    pub(crate) address: String,
    /// The signal for an orderly stop is SIGINT, not SIGTERM (Postgres: "fast" instead of "when
    /// the last client has left").
    pub(crate) stops_on_interrupt: bool,
    /// How long an orderly stop may take before SIGKILL, in seconds.
    pub(crate) grace_seconds: u64,
    /// Changes when the program or a file that it reads at its start changes: see [`stamp`].
    pub(crate) stamp: String,
}

impl Spec {
    /// The signal for an orderly stop.
    pub(crate) fn stop_signal(&self) -> Signal {
        if self.stops_on_interrupt {
            Signal::INT
        } else {
            Signal::TERM
        }
    }

    /// The time for an orderly stop.
    pub(crate) fn grace(&self) -> Duration {
        Duration::from_secs(self.grace_seconds)
    }

    /// As it travels to the supervisor.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "program": self.program,
            "args": self.args,
            "env": self.env,
            "folder": self.folder,
            "account": self.account.map(|account| [account.uid, account.gid]),
            "probe": self.probe.to_json(),
            "address": self.address,
            "stops_on_interrupt": self.stops_on_interrupt,
            "grace_seconds": self.grace_seconds,
            "stamp": self.stamp,
        })
    }

    /// The reverse of [`Spec::to_json`].
    pub(crate) fn from_json(value: &Value) -> Result<Self> {
        let text = |key: &str| {
            value[key]
                .as_str()
                .map(str::to_owned)
                .with_context(|| format!("a service without {key}"))
        };
        let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
        let args = value["args"].as_array().context("a service without args")?;
        let env = value["env"].as_object().context("a service without env")?;
        Ok(Self {
            name: text("name")?,
            program: text("program")?.into(),
            args: args
                .iter()
                .filter_map(|arg| arg.as_str().map(str::to_owned))
                .collect(),
            env: env
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                .collect(),
            folder: text("folder")?.into(),
            account: match &value["account"] {
                Value::Null => None,
                ids => Some(Account {
                    uid: number(&ids[0]).context("an account without uid")?,
                    gid: number(&ids[1]).context("an account without gid")?,
                }),
            },
            probe: Probe::from_json(&value["probe"])?,
            address: text("address")?,
            stops_on_interrupt: value["stops_on_interrupt"].as_bool().unwrap_or(false),
            grace_seconds: value["grace_seconds"].as_u64().unwrap_or(10),
            stamp: text("stamp")?,
        })
    }
}

/// Size and time of the last change of each file: differs when one was rebuilt or edited.
pub(crate) fn stamp(files: &[&Path]) -> String {
    let of_file = |path: &&Path| {
        let Ok(meta) = fs::metadata(path) else {
            return "-".to_owned();
        };
        let changed = meta
            .modified()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        format!("{}.{}", meta.len(), changed.unwrap_or_default().as_nanos())
    };
    files.iter().map(of_file).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_arrives_as_it_was_sent() {
        let spec = Spec {
            name: "postgres".into(),
            program: "/usr/bin/postgres".into(),
            args: vec!["-D".into(), "/data dir".into()],
            env: BTreeMap::from([("LANG".to_owned(), "C.UTF-8".to_owned())]),
            folder: "/".into(),
            account: Some(Account { uid: 1, gid: 2 }),
            probe: Probe::Http {
                address: "127.0.0.1:1".into(),
            },
            address: "127.0.0.1:5".into(),
            stops_on_interrupt: true,
            grace_seconds: 3,
            stamp: stamp(&[Path::new("/nowhere")]),
        };
        let text = spec.to_json().to_string();
        assert_eq!(
            Spec::from_json(&serde_json::from_str(&text).unwrap()).unwrap(),
            spec
        );
    }
}
