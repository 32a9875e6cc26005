//! The stack in containers, by `docker compose`.

use std::fmt;

use anyhow::{Result, bail};

use crate::project::Project;
use crate::stack::{Fault, LogOptions, Mode, ServiceState, Stack, UpOptions};

/// Why Docker cannot be used here, as the end of the sentence "runs natively, because ...".
#[derive(Debug)]
pub(crate) struct Reason(pub(crate) String);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether the engine answers, Compose is new enough and the images are there or can be had.
pub(crate) fn usable(_project: &Project) -> Result<(), Reason> {
    Err(Reason("Docker mode is not there yet".to_owned()))
}

/// The stack of one checkout in Docker.
pub(crate) struct Docker<'a> {
    #[expect(dead_code, reason = "the builder of compose calls needs it")]
    project: &'a Project,
}

impl<'a> Docker<'a> {
    /// For this checkout.
    pub(crate) fn new(project: &'a Project) -> Self {
        Self { project }
    }
}

impl Stack for Docker<'_> {
    fn mode(&self) -> Mode {
        Mode::Docker
    }
    fn up(&self, _options: &UpOptions) -> Result<Vec<ServiceState>> {
        bail!("Docker mode is not there yet")
    }
    fn down(&self, _volumes: bool) -> Result<()> {
        bail!("Docker mode is not there yet")
    }
    fn restart(&self, _services: &[String]) -> Result<()> {
        bail!("Docker mode is not there yet")
    }
    fn ps(&self) -> Result<Vec<ServiceState>> {
        bail!("Docker mode is not there yet")
    }
    fn logs(&self, _options: &LogOptions) -> Result<()> {
        bail!("Docker mode is not there yet")
    }
    fn build(&self) -> Result<()> {
        bail!("Docker mode is not there yet")
    }
    fn exec(&self, _service: &str, _command: &[String]) -> Result<()> {
        bail!("Docker mode is not there yet")
    }
    fn psql(&self, _args: &[String]) -> Result<()> {
        bail!("Docker mode is not there yet")
    }
    fn redis_cli(&self, _args: &[String]) -> Result<()> {
        bail!("Docker mode is not there yet")
    }
    fn migrate(&self, _args: &[String]) -> Result<()> {
        bail!("Docker mode is not there yet")
    }
    fn inflict(&self, _service: &str, _fault: Fault) -> Result<()> {
        bail!("Docker mode is not there yet")
    }
    fn links(&self) -> Result<Vec<(String, String)>> {
        bail!("Docker mode is not there yet")
    }
}
