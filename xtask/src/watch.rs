//! `cargo xtask watch` (hidden): what runs in the development containers.
//!
//! `watch build` is the one compiler. It asks for the times of the files a few times a second
//! instead of being told by the kernel, because a change made outside never reaches a container as
//! an event on some systems (virtual machines, network mounts). What has compiled, it puts side by
//! side into `watch/` of the target folder, each file in one step and only if all compiled: until
//! then the last good version goes on serving.
//!
//! `watch run api serve` runs such a binary, and again when it has been replaced.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow, bail};
use clap::Subcommand;
use rustix::process::{Pid, Signal, kill_process};

/// What compiles, and the binaries that come out of it.
const PACKAGES: [&str; 3] = ["api", "worker", "migrations"];
const BINARIES: [&str; 3] = ["api", "worker", "migrate"];

/// How often files are asked for their time.
const POLL: Duration = Duration::from_millis(300);

/// How long a service may finish its work before it is killed: its own grace period ends earlier.
const GRACE: Duration = Duration::from_secs(30);

/// The two halves.
#[derive(Debug, Subcommand)]
pub(crate) enum Watch {
    /// Builds whenever the source changes
    Build {
        /// Once, and fail when it does not compile
        #[arg(long)]
        once: bool,
    },
    /// Runs a binary, and again whenever it was built
    #[command(trailing_var_arg = true)]
    Run {
        /// api or worker
        service: String,
        /// Its arguments
        #[arg(allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

/// Until stopped.
pub(crate) fn run(watch: &Watch) -> Result<()> {
    match watch {
        Watch::Build { once } => build(*once),
        Watch::Run { service, args } => serve(service, args),
    }
}

fn build(once: bool) -> Result<()> {
    let source = std::env::current_dir()?;
    // `target/debug/xtask` is this program.
    let this = std::env::current_exe()?;
    let built = this.parent().context("a program without a folder")?;
    let shelf = built.with_file_name("watch");
    fs::create_dir_all(&shelf)?;
    let ready = shelf.join("ready");
    if !once && ready.exists() {
        fs::remove_file(&ready)?;
    }
    loop {
        // Before the build: what is saved while it runs starts the next one.
        let seen = times(&source);
        let is_built = compile(&source)?;
        if is_built {
            publish(built, &shelf)?;
            fs::write(&ready, "")?;
        }
        if once {
            return if is_built {
                Ok(())
            } else {
                Err(anyhow!("it does not compile"))
            };
        }
        if !is_built {
            eprintln!("watch: the last version that compiled goes on; save a file to try again");
        }
        while times(&source) == seen {
            pause(POLL);
        }
    }
}

fn compile(source: &Path) -> Result<bool> {
    let begun = Instant::now();
    let status = Command::new("cargo")
        // The source is mounted read-only, so the lock file cannot follow a changed manifest.
        .args(["build", "--locked"])
        .args(PACKAGES.iter().flat_map(|package| ["--package", package]))
        .current_dir(source)
        .status()
        .context("cargo cannot be started")?;
    if status.success() {
        eprintln!("watch: built in {:.1} s", begun.elapsed().as_secs_f64());
    }
    Ok(status.success())
}

/// Puts what was built where the services look. A hard link costs nothing, and cargo never writes
/// into a file that it has linked: it makes a new one.
fn publish(built: &Path, shelf: &Path) -> Result<()> {
    for name in BINARIES.iter().chain(&["xtask"]) {
        let (fresh, place) = (built.join(name), shelf.join(name));
        if identity(&fresh).is_some() && identity(&fresh) == identity(&place) {
            continue;
        }
        let passing = shelf.join(format!("{name}.new"));
        if passing.exists() {
            fs::remove_file(&passing)?;
        }
        fs::hard_link(&fresh, &passing)
            .and_then(|()| fs::rename(&passing, &place))
            .with_context(|| format!("{} cannot be put into place", place.display()))?;
    }
    Ok(())
}

/// Which file stands at this path: another one after every build that changed it.
fn identity(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|meta| meta.ino())
}

/// Every file that a build reads, with the time of its last change and its size.
fn times(source: &Path) -> BTreeMap<PathBuf, (SystemTime, u64)> {
    let mut found = BTreeMap::new();
    let mut folders = Vec::new();
    for entry in fs::read_dir(source).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_member = path.join("Cargo.toml").is_file() && !path.ends_with("xtask");
        if is_member || path.ends_with(".sqlx") {
            folders.push(path);
        }
    }
    for name in ["Cargo.toml", "Cargo.lock", ".cargo/config.toml"] {
        note_time(&source.join(name), &mut found);
    }
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else {
                note_time(&path, &mut found);
            }
        }
    }
    found
}

fn note_time(path: &Path, found: &mut BTreeMap<PathBuf, (SystemTime, u64)>) {
    // A file that an editor is just replacing is seen at the next look.
    if let Ok(meta) = fs::metadata(path)
        && let Ok(changed) = meta.modified()
    {
        found.insert(path.to_owned(), (changed, meta.len()));
    }
}

fn serve(service: &str, args: &[String]) -> Result<()> {
    let this = std::env::current_exe()?;
    let binary = this.with_file_name(service);
    loop {
        let Some(version) = identity(&binary) else {
            bail!("{} is not there: `watch build` makes it", binary.display());
        };
        let begun = Instant::now();
        let mut child = Command::new(&binary)
            .args(args)
            .spawn()
            .with_context(|| format!("{} cannot be started", binary.display()))?;
        match until_ended_or_replaced(&mut child, &binary, version)? {
            None => {
                eprintln!("watch: {service} was built anew, restarting it");
                stop(&mut child)?;
            }
            // Stopped from outside: the engine's init sends SIGTERM to the child as well.
            Some(status) if status.success() => return Ok(()),
            Some(status) => {
                eprintln!("watch: {service} ended ({status})");
                // Not at once: the engine would wait longer and longer before it starts a container
                // again that ends within 10 s, and a corrected version would wait with it.
                while begun.elapsed() < Duration::from_secs(11)
                    && identity(&binary) == Some(version)
                {
                    pause(POLL);
                }
                if identity(&binary) == Some(version) {
                    bail!("{service} is started again by the engine");
                }
            }
        }
    }
}

/// Its status when it ended by itself; None when there is a newer binary.
fn until_ended_or_replaced(
    child: &mut Child,
    binary: &Path,
    version: u64,
) -> Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if identity(binary).is_some_and(|now| now != version) {
            return Ok(None);
        }
        pause(POLL);
    }
}

/// SIGTERM, and SIGKILL when it has not ended in time.
fn stop(child: &mut Child) -> Result<()> {
    // An error means that it has just ended.
    kill_process(Pid::from_child(child), Signal::TERM).ok();
    let end = Instant::now() + GRACE;
    while Instant::now() < end {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        pause(Duration::from_millis(20));
    }
    child.kill()?;
    child.wait()?;
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the command has no executor to block"
)]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own for one test, removed at its end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("watch-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    #[test]
    fn sources_of_members_are_seen_and_nothing_else() {
        let folder = Folder::new("times");
        folder.write("Cargo.toml", "");
        folder.write("api/Cargo.toml", "");
        let source = folder.write("api/src/routes/me.rs", "a");
        folder.write("xtask/Cargo.toml", "");
        folder.write("xtask/src/main.rs", "");
        folder.write("target/debug/api", "");
        folder.write("secrets/jwt_secret", "");
        let before = times(&folder.0);
        assert_eq!(before.len(), 3, "{before:?}");
        fs::write(&source, "ab").unwrap();
        assert_ne!(times(&folder.0), before);
    }

    #[test]
    fn only_a_rebuilt_binary_is_published_anew() {
        let folder = Folder::new("publish");
        for name in BINARIES.iter().chain(&["xtask"]) {
            folder.write(&format!("debug/{name}"), "1");
        }
        let (built, shelf) = (folder.0.join("debug"), folder.0.join("watch"));
        fs::create_dir_all(&shelf).unwrap();
        publish(&built, &shelf).unwrap();
        let (api, worker) = (
            identity(&shelf.join("api")),
            identity(&shelf.join("worker")),
        );
        // As cargo does it: away with the old file, then a new one.
        fs::remove_file(built.join("api")).unwrap();
        fs::write(built.join("api"), "2").unwrap();
        publish(&built, &shelf).unwrap();
        assert_ne!(identity(&shelf.join("api")), api);
        assert_eq!(identity(&shelf.join("worker")), worker);
        assert_eq!(fs::read_to_string(shelf.join("api")).unwrap(), "2");
    }

    #[test]
    fn a_service_is_stopped_in_order() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        stop(&mut child).unwrap();
        assert!(!child.wait().unwrap().success());
    }
}
