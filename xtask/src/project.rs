//! Where the checkout is, what it is called, and what `.slipway/` remembers about it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

use crate::settings::Settings;
use crate::stack::Mode;
use crate::terminal;

/// One checkout of the project.
pub(crate) struct Project {
    root: PathBuf,
    name: String,
}

impl Project {
    /// The checkout that `cargo xtask` was started in.
    #[expect(
        clippy::disallowed_methods,
        reason = "cargo says where the package is only through the environment"
    )]
    pub(crate) fn find() -> Result<Self> {
        if let Some(manifest) = std::env::var_os("CARGO_MANIFEST_DIR")
            && let Some(root) = Path::new(&manifest).parent()
        {
            return Self::at(root);
        }
        // Started without cargo: the checkout is where we stand, or above.
        let here = std::env::current_dir().context("the current folder cannot be read")?;
        match here
            .ancestors()
            .find(|folder| folder.join("xtask/Cargo.toml").is_file())
        {
            Some(root) => Self::at(root),
            None => bail!("not inside a checkout of the project: no `xtask/` here or above"),
        }
    }

    /// The checkout at `root`.
    pub(crate) fn at(root: &Path) -> Result<Self> {
        let root = root
            .canonicalize()
            .with_context(|| format!("{} cannot be read", root.display()))?;
        // A name given in the environment or `.env` wins, as it does for `docker compose` itself.
        // Whatever else is wrong there: doctor names it, and those who act on a setting refuse.
        let (settings, _) = Settings::examine(&root);
        let given = settings.get("COMPOSE_PROJECT_NAME");
        let name = given.unwrap_or_else(|| name_of(&root));
        Ok(Self { root, name })
    }

    /// The checkout's folder, absolute.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The Compose project's name, also the name of folders outside of the checkout.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// `.slipway/`: state, logs, native data. Removing it forgets everything.
    pub(crate) fn state_dir(&self) -> PathBuf {
        self.root.join(".slipway")
    }

    /// As [`Project::state_dir`], made where it is not there yet.
    pub(crate) fn make_state_dir(&self) -> Result<PathBuf> {
        let folder = self.state_dir();
        fs::create_dir_all(&folder).map_err(|error| no_access(&folder, &error))?;
        Ok(folder)
    }

    /// `secrets/`: one file per secret.
    pub(crate) fn secrets_dir(&self) -> PathBuf {
        self.root.join("secrets")
    }

    /// What the developer set, in the shell or in `.env`.
    ///
    /// # Errors
    /// When a line of `.env` cannot be read: it may be the one that forbids what is asked for.
    pub(crate) fn settings(&self) -> Result<Settings> {
        Settings::load(&self.root)
    }

    /// The mode of the stack that was started last and not taken down.
    pub(crate) fn mode(&self) -> Option<Mode> {
        Mode::from_name(self.recall("mode")?.as_str()?)
    }

    /// Remembers the mode; `None` when its data are removed.
    pub(crate) fn remember_mode(&self, mode: Option<Mode>) -> Result<()> {
        self.remember("mode", mode.map_or(Value::Null, |mode| json!(mode.name())))
    }

    /// The host port that `service` got last time.
    pub(crate) fn port(&self, service: &str) -> Option<u16> {
        u16::try_from(self.recall("ports")?.get(service)?.as_u64()?).ok()
    }

    /// Whether another service has this host port.
    pub(crate) fn is_given_to_another(&self, service: &str, port: u16) -> bool {
        let ports = self.recall("ports").unwrap_or_default();
        let mut others = ports
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, _)| *name != service);
        others.any(|(_, given)| *given == json!(port))
    }

    /// Remembers a host port, so that it stays the same from one `up` to the next.
    pub(crate) fn remember_port(&self, service: &str, port: u16) -> Result<()> {
        let mut ports = self
            .recall("ports")
            .filter(Value::is_object)
            .unwrap_or_else(|| json!({}));
        ports[service] = json!(port);
        self.remember("ports", ports)
    }

    /// A value of `.slipway/state.json`. None as well when the file came from another folder:
    /// a copied checkout must not act on the original's servers.
    pub(crate) fn recall(&self, key: &str) -> Option<Value> {
        let state = self.state();
        state.get(key).filter(|value| !value.is_null()).cloned()
    }

    /// Writes one value into `.slipway/state.json`.
    pub(crate) fn remember(&self, key: &str, value: Value) -> Result<()> {
        if self.state().get(key) == Some(&value) {
            return Ok(());
        }
        self.make_state_dir()?;
        // Another command may be writing another value.
        let lock = File::create(self.state_dir().join("state.lock"))?;
        lock.lock()?;
        let mut state = self.state();
        if let Some(original) = self.copied_from() {
            self.set_copy_aside(&original)?;
        }
        state["root"] = json!(self.root);
        state[key] = value;
        write_whole(&self.state_file(), &format!("{state:#}\n"))
    }

    /// The checkout that `.slipway/` was copied from, as `cp -a` does. None for our own, and for that
    /// of a checkout that is gone: it was moved here.
    pub(crate) fn copied_from(&self) -> Option<PathBuf> {
        let text = fs::read_to_string(self.state_file()).ok()?;
        let state: Value = serde_json::from_str(&text).ok()?;
        let root = PathBuf::from(state["root"].as_str()?);
        (root != self.root && root.join(".slipway").exists()).then_some(root)
    }

    /// Begins anew in a copied checkout. What came along may be torn, because the original's servers
    /// wrote to it meanwhile, and it names processes and ports that are not ours.
    fn set_copy_aside(&self, original: &Path) -> Result<()> {
        let folder = self.state_dir();
        let aside = (1..)
            .map(|number| folder.join(format!("copied-{number}")))
            .find(|aside| !aside.exists())
            .context("no name is free")?;
        fs::create_dir(&aside).with_context(|| format!("{} cannot be made", aside.display()))?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let text = name.to_string_lossy();
            // Nobody writes to a backup that is there, and we may hold a lock.
            let stays = text == "backups" || text.starts_with("copied-") || text.ends_with(".lock");
            if !stays {
                fs::rename(entry.path(), aside.join(entry.file_name()))?;
            }
        }
        terminal::note(&format!(
            "this checkout is a copy of {}, which is left alone: here begin data of its own\n  \
             what came along is in {}; remove it when you do not need it",
            original.display(),
            aside.display()
        ));
        Ok(())
    }

    fn state_file(&self) -> PathBuf {
        self.state_dir().join("state.json")
    }

    fn state(&self) -> Value {
        fs::read_to_string(self.state_file())
            .ok()
            .and_then(|text| serde_json::from_str::<Value>(&text).ok())
            .filter(|state| state["root"] == json!(self.root))
            .unwrap_or_else(|| json!({}))
    }
}

/// What to say where the checkout itself cannot be written to.
pub(crate) fn no_access(path: &Path, error: &std::io::Error) -> anyhow::Error {
    let next = match error.kind() {
        std::io::ErrorKind::PermissionDenied => "`sudo chown -R \"$(id -u)\" .`, in the checkout",
        std::io::ErrorKind::ReadOnlyFilesystem => {
            "clone the project to a disk that can be written to"
        }
        std::io::ErrorKind::StorageFull => "make room: `df -h .` says how full the disk is",
        _ => "`cargo xtask doctor` looks for the cause",
    };
    anyhow!(
        "{} cannot be written: {error}\n  next: {next}",
        path.display()
    )
}

/// Replaces a file in one step, so that a reader never sees half of it.
pub(crate) fn write_whole(path: &Path, text: &str) -> Result<()> {
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    fs::write(&fresh, text).with_context(|| format!("{} cannot be written", fresh.display()))?;
    fs::rename(&fresh, path).with_context(|| format!("{} cannot be written", path.display()))
}

/// The folder's name, plus a short hash of its whole path: two checkouts never share a name.
fn name_of(root: &Path) -> String {
    let folder = root
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    let mut name: String = folder
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect::<String>()
        .trim_matches('-')
        .chars()
        .take(30)
        .collect();
    if name.is_empty() {
        name.push_str("project");
    }
    format!("{name}-{:06x}", hash(&root.to_string_lossy()) & 0xff_ffff)
}

/// FNV-1a, 64 bits: the standard library's hasher may change with the compiler, a name may not.
pub(crate) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_fit_for_compose_and_differs_by_path() {
        let one = name_of(Path::new("/home/ann/My Shop"));
        assert!(one.starts_with("my-shop-"), "{one}");
        assert!(
            one.chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        );
        assert_ne!(one, name_of(Path::new("/home/bob/My Shop")));
        assert!(name_of(Path::new("/")).starts_with("project-"));
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named_with_the_next_step() {
        let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        assert_eq!(
            no_access(Path::new("/shop/.slipway"), &denied).to_string(),
            "/shop/.slipway cannot be written: permission denied\n  \
             next: `sudo chown -R \"$(id -u)\" .`, in the checkout"
        );
    }

    #[test]
    fn two_at_once_lose_nothing() {
        let root = std::env::temp_dir().join(format!("slipway-state-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        let project = Project::at(&root).unwrap();
        std::thread::scope(|scope| {
            for who in ["one", "two"] {
                let project = &project;
                scope.spawn(move || {
                    for number in 0..100 {
                        let key = format!("{who}-{number}");
                        project.remember(&key, json!(number)).unwrap();
                    }
                });
            }
        });
        for key in ["one-0", "one-99", "two-0", "two-99"] {
            assert!(project.recall(key).is_some(), "{key} is lost");
        }
        assert_eq!(project.state().as_object().unwrap().len(), 201);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn fnv_1a_of_the_published_test_vectors() {
        assert_eq!(hash(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(hash("foobar"), 0x8594_4171_f739_67e8);
    }
}
