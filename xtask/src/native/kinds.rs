//! Other kinds of Redis than this machine has, for tests: out of the packages of another Debian
//! release, or out of an image, unpacked beside the build's output. Nothing is installed.
//!
//! They bring the libraries that they were made for, and those libraries' loader starts them, so
//! that it matters little what this machine has.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::docker;
use crate::project::Project;
use crate::terminal;

/// The release whose packages are taken.
const RELEASE: &str = "trixie";
/// Who has signed them: a file that every Debian has.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// What its servers are linked with.
const LIBRARIES: [&str; 11] = [
    "libatomic1",
    "libc6",
    "libcap2",
    "libgcc-s1",
    "libjemalloc2",
    "liblzf1",
    "libssl3t64",
    "libstdc++6",
    "libsystemd0",
    "libzstd1",
    "zlib1g",
];

/// A Redis, or what speaks its language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Redis 8
    Redis8,
    /// Valkey 8
    Valkey8,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Redis8 => "redis8",
            Self::Valkey8 => "valkey8",
        }
    }

    /// The server's program, which is also the name of its package, and the package with what
    /// that is a link to.
    fn packages(self) -> [&'static str; 2] {
        match self {
            Self::Redis8 => ["redis-server", "redis-tools"],
            Self::Valkey8 => ["valkey-server", "valkey-tools"],
        }
    }

    /// Where there is no Debian; of Redis, what the stack runs on.
    fn image(self, project: &Project) -> Result<String> {
        match self {
            Self::Redis8 => docker::image(project, "redis"),
            Self::Valkey8 => Ok("valkey/valkey:8.1".to_owned()),
        }
    }

    /// What its server says of its version, at first.
    fn version(self) -> &'static str {
        match self {
            Self::Redis8 => "Redis server v=8.",
            Self::Valkey8 => "Valkey server v=8.",
        }
    }
}

/// A folder with a `redis-server` of this kind, to be the first of PATH.
///
/// # Errors
/// When neither the packages can be had, for which this machine must be a Debian, nor the image.
pub(crate) fn folder(project: &Project, kind: Kind) -> Result<PathBuf> {
    let home = project.root().join("target/redis").join(kind.name());
    let server = home.join("bin/redis-server");
    if says(&server, kind).is_err() {
        terminal::note(&format!("{} is not here yet: unpacking it", kind.name()));
        unpack(project, &home, kind).with_context(|| {
            format!(
                "{} cannot be had\n  next: put a redis-server of that kind first in PATH, and \
                 leave --redis out",
                kind.name()
            )
        })?;
    }
    terminal::note(&says(&server, kind)?);
    Ok(home.join("bin"))
}

/// What the server says of its version.
fn says(server: &Path, kind: Kind) -> Result<String> {
    let output = Command::new(server).arg("--version").output();
    let output = output.with_context(|| format!("{} cannot be run", server.display()))?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !version.starts_with(kind.version()) {
        bail!("{} says {version:?}", server.display());
    }
    Ok(version)
}

/// Gets the server with its libraries into `root`, and makes the script that starts it.
fn unpack(project: &Project, home: &Path, kind: Kind) -> Result<()> {
    // What was left by a run that was cut short.
    if home.exists() {
        fs::remove_dir_all(home)?;
    }
    let root = home.join("root");
    for folder in ["root", "bin"] {
        fs::create_dir_all(home.join(folder))?;
    }
    if let Err(error) = unpack_packages(home, &root, kind) {
        let image = kind.image(project)?;
        terminal::note(&format!("{error:#}\nusing the image {image}"));
        unpack_image(&root, &image)?;
    }
    let [program, _] = kind.packages();
    let program = ["usr/bin", "usr/local/bin"]
        .map(|folder| root.join(folder).join(program))
        .into_iter()
        .find(|program| program.is_file())
        .with_context(|| format!("there is no {program} in it"))?;
    let libraries = libraries(&root)?;
    let line = format!(
        "#!/bin/sh\nexec '{}' --library-path '{}' '{}' \"$@\"\n",
        loader(&libraries)?.display(),
        libraries.display(),
        program.display()
    );
    let server = home.join("bin/redis-server");
    fs::write(&server, line)?;
    fs::set_permissions(&server, fs::Permissions::from_mode(0o755))?;
    says(&server, kind).map(drop)
}

fn unpack_image(root: &Path, image: &str) -> Result<()> {
    let output = Command::new("docker")
        .args(["create", image])
        .stderr(Stdio::inherit())
        .output()
        .context("docker cannot be started")?;
    if !output.status.success() {
        bail!("`docker create {image}` failed");
    }
    let container = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let mut export = Command::new("docker")
        .args(["export", &container])
        .stdout(Stdio::piped())
        .spawn()
        .context("docker cannot be started")?;
    let mut tar = Command::new("tar");
    // Who is not root may make no devices.
    tar.arg("-x").arg("-C").arg(root).arg("usr");
    if let Some(files) = export.stdout.take() {
        tar.stdin(files);
    }
    let unpacked = run(&mut tar);
    let exported = export.wait();
    run(Command::new("docker").args(["rm", "--volumes", &container]))?;
    unpacked?;
    if !exported?.success() {
        bail!("`docker export` failed");
    }
    Ok(())
}

fn unpack_packages(home: &Path, root: &Path, kind: Kind) -> Result<()> {
    let mirror = mirror()?;
    let packages = home.join("packages");
    for folder in ["packages", "lists/partial", "archives/partial"] {
        fs::create_dir_all(home.join(folder))?;
    }
    let source = format!("deb [signed-by={KEYRING}] {mirror} {RELEASE} main\n");
    fs::write(home.join("sources.list"), source)?;
    let apt = |words: &[&str]| {
        let mut apt = Command::new("apt-get");
        // Its own lists and caches: those of this machine stay as they are.
        for (option, path) in [
            ("Dir::Etc::SourceList", "sources.list"),
            ("Dir::State::Lists", "lists"),
            ("Dir::Cache", "."),
        ] {
            let path = home.join(path);
            apt.arg("-o").arg(format!("{option}={}", path.display()));
        }
        for option in [
            "Dir::Etc::SourceParts=/dev/null",
            "Acquire::Languages=none",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
            // It may not be let into this folder.
            "APT::Sandbox::User=root",
        ] {
            apt.args(["-o", option]);
        }
        run(apt.arg("-qq").args(words).current_dir(&packages))
    };
    apt(&["update"])?;
    let words = ["download"].into_iter().chain(kind.packages());
    apt(&words.chain(LIBRARIES).collect::<Vec<_>>())?;
    for file in fs::read_dir(&packages)? {
        run(Command::new("dpkg-deb")
            .arg("-x")
            .arg(file?.path())
            .arg(root))?;
    }
    Ok(())
}

/// The mirror that apt takes this machine's own Debian from.
fn mirror() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let codename = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .unwrap_or_default();
    if !release.lines().any(|line| line == "ID=debian") {
        bail!("this machine is no Debian");
    }
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", "$(SITE) $(RELEASE)"])
        .args(["Created-By: Packages", "Component: main"])
        .output()
        .context("`apt-get indextargets` cannot be run")?;
    let listed = String::from_utf8_lossy(&output.stdout);
    let of_release = |line: &str| {
        let (site, release) = line.split_once(' ')?;
        (release == codename).then(|| site.to_owned())
    };
    // The first: what it has of its own, not updates and fixes.
    let mirror = listed.lines().find_map(of_release);
    mirror.with_context(|| format!("apt has no source for Debian {codename}"))
}

/// The folder of the unpacked libraries, which is called as the machine is.
fn libraries(root: &Path) -> Result<PathBuf> {
    fs::read_dir(root.join("usr/lib"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|folder| folder.join("libc.so.6").exists())
        .context("the packages have no libc")
}

/// The program that starts others with these libraries.
fn loader(libraries: &Path) -> Result<PathBuf> {
    fs::read_dir(libraries)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|file| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("ld-linux")
        })
        .context("the packages have no loader")
}

fn run(command: &mut Command) -> Result<()> {
    // Its output goes to standard error: standard output is for our results.
    let command = command.stdout(std::io::stderr());
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .with_context(|| format!("`{program}` cannot be run"))?;
    if !status.success() {
        bail!("`{program}` failed with {status}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_another_version_is_not_taken() {
        let folder = std::env::temp_dir().join(format!("slipway-kinds-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let server = folder.join("redis-server");
        fs::write(&server, "#!/bin/sh\necho 'Redis server v=7.0.15 sha=0'\n").unwrap();
        fs::set_permissions(&server, fs::Permissions::from_mode(0o755)).unwrap();
        for kind in [Kind::Redis8, Kind::Valkey8] {
            let refused = says(&server, kind).unwrap_err().to_string();
            assert!(refused.contains("v=7.0.15"), "{refused}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
