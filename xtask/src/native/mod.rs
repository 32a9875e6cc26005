//! The stack as processes of this machine.

use std::path::Path;

use anyhow::{Result, bail};

use crate::project::Project;
use crate::stack::{Fault, LogOptions, Mode, ServiceState, Stack, UpOptions};

/// The stack of one checkout as processes.
pub(crate) struct Native<'a> {
    project: &'a Project,
}

impl<'a> Native<'a> {
    /// For this checkout.
    pub(crate) fn new(project: &'a Project) -> Self {
        Self { project }
    }
}

/// The hidden verb: the parent of all services.
pub(crate) fn supervise(_root: &Path) -> Result<()> {
    bail!("not there yet")
}

/// The hidden verb: servers for tests.
pub(crate) fn serve_throw_away(_postgres_only: bool) -> Result<()> {
    bail!("not there yet")
}

impl Stack for Native<'_> {
    fn mode(&self) -> Mode {
        Mode::Native
    }
    fn up(&self, _options: &UpOptions) -> Result<Vec<ServiceState>> {
        bail!("{}: not there yet", self.project.name())
    }
    fn down(&self, _volumes: bool) -> Result<()> {
        bail!("not there yet")
    }
    fn restart(&self, _services: &[String]) -> Result<()> {
        bail!("not there yet")
    }
    fn ps(&self) -> Result<Vec<ServiceState>> {
        bail!("not there yet")
    }
    fn logs(&self, _options: &LogOptions) -> Result<()> {
        bail!("not there yet")
    }
    fn build(&self) -> Result<()> {
        bail!("not there yet")
    }
    fn exec(&self, _service: &str, _command: &[String]) -> Result<()> {
        bail!("not there yet")
    }
    fn psql(&self, _args: &[String]) -> Result<()> {
        bail!("not there yet")
    }
    fn redis_cli(&self, _args: &[String]) -> Result<()> {
        bail!("not there yet")
    }
    fn migrate(&self, _args: &[String]) -> Result<()> {
        bail!("not there yet")
    }
    fn inflict(&self, _service: &str, _fault: Fault) -> Result<()> {
        bail!("not there yet")
    }
    fn links(&self) -> Result<Vec<(String, String)>> {
        bail!("not there yet")
    }
}
