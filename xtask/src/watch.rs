//! What a build reads, and how `dev` sees that some of it was saved.
//!
//! The files are asked for their times a few times a second. The kernel could tell as well, but in
//! another way on each system, and on some file systems (network mounts, a virtual machine's) it
//! does not; asking works everywhere, and costs a hundredth of a processor.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// The least time from one look to the next.
const POLL: Duration = Duration::from_millis(50);

/// The longest time from one look to the next.
const LONGEST_POLL: Duration = Duration::from_millis(300);

/// A look may take this part of the time: where files answer slowly, they are asked less often.
const SHARE: u32 = 20;

/// An editor may write a file in steps, and a formatter after it: the next look that finds nothing
/// new ends the save.
const SETTLE: Duration = Duration::from_millis(15);

/// A file's time may be so much behind the clock: systems read a coarser one for it.
const COARSE: Duration = Duration::from_millis(20);

/// Members of the workspace that no service is built from.
const NO_SERVICES: [&str; 2] = ["chaos", "xtask"];

/// Files at the top that a build reads too.
const AT_THE_TOP: [&str; 4] = [
    ".cargo/config.toml",
    "Cargo.lock",
    "Cargo.toml",
    "rust-toolchain.toml",
];

/// Read at a start, and by no build; whoever saves it wants to know that.
pub(crate) const SETTINGS: &str = ".env";

/// Folders of a member that no binary is built from.
const NO_SOURCE: [&str; 4] = ["benches", "examples", "target", "tests"];

/// Each file with the time of its last change and its size, in bytes.
type Times = BTreeMap<PathBuf, (SystemTime, u64)>;

/// Looks at the source of one checkout.
pub(crate) struct Watch {
    root: PathBuf,
    seen: Times,
    looked: SystemTime,
}

/// What was saved since the last one.
#[derive(Debug, PartialEq)]
pub(crate) struct Save {
    /// Files that were written, made or removed, relative to the checkout.
    pub(crate) files: Vec<PathBuf>,
    /// When the last of them was.
    pub(crate) at: SystemTime,
}

impl Watch {
    /// From now on.
    pub(crate) fn start(root: &Path) -> Self {
        let looked = SystemTime::now();
        Self {
            root: root.to_owned(),
            seen: times(root),
            looked,
        }
    }

    /// Waits for the next save. What was saved since the last call comes at once.
    pub(crate) fn next(&mut self) -> Save {
        loop {
            let began = Instant::now();
            if let Some(save) = self.look() {
                return save;
            }
            crate::clock::pause((began.elapsed() * SHARE).clamp(POLL, LONGEST_POLL));
        }
    }

    fn look(&mut self) -> Option<Save> {
        let mut looked = SystemTime::now();
        let mut found = times(&self.root);
        if found == self.seen {
            self.looked = looked;
            return None;
        }
        loop {
            crate::clock::pause(SETTLE);
            let again = SystemTime::now();
            let settled = times(&self.root);
            if settled == found {
                break;
            }
            (looked, found) = (again, settled);
        }
        let files = changed(&self.seen, &found);
        let written = files
            .iter()
            .filter_map(|file| Some(found.get(file)?.0))
            .max();
        // A file that was removed, or moved here with its old time, was so at an unknown moment.
        let at = written.filter(|at| (self.looked - COARSE..=looked).contains(at));
        let save = Save {
            files: files
                .iter()
                .map(|file| file.strip_prefix(&self.root).unwrap_or(file).to_owned())
                .collect(),
            at: at.unwrap_or(looked),
        };
        (self.seen, self.looked) = (found, looked);
        (!save.files.is_empty()).then_some(save)
    }
}

/// The files that are not in both with the same time and size.
fn changed(before: &Times, now: &Times) -> Vec<PathBuf> {
    let removed = before.keys().filter(|file| !now.contains_key(*file));
    let written = now
        .iter()
        .filter(|(file, what)| before.get(*file) != Some(what));
    removed
        .chain(written.map(|(file, _)| file))
        .cloned()
        .collect()
}

/// Every file that the services are built from, and their settings.
fn times(root: &Path) -> Times {
    let mut found = Times::new();
    for file in AT_THE_TOP.into_iter().chain([SETTINGS]) {
        note(root.join(file), &mut found);
    }
    let mut folders = vec![root.join(".sqlx")];
    for entry in entries(root) {
        let name = entry.file_name();
        let is_service = !NO_SERVICES.iter().any(|other| *other == name);
        if is_service && entry.path().join("Cargo.toml").is_file() {
            folders.push(entry.path());
        }
    }
    while let Some(folder) = folders.pop() {
        for entry in entries(&folder) {
            let name = entry.file_name();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            // Editors keep what is not saved yet, and what was there before, beside the file.
            let name = name.to_string_lossy();
            if name.starts_with('.') || name.ends_with('~') {
                continue;
            }
            if !is_folder {
                note(entry.path(), &mut found);
            } else if !NO_SOURCE.contains(&name.as_ref()) {
                folders.push(entry.path());
            }
        }
    }
    found
}

fn entries(folder: &Path) -> impl Iterator<Item = fs::DirEntry> {
    fs::read_dir(folder).into_iter().flatten().flatten()
}

fn note(path: PathBuf, found: &mut Times) {
    // A file that an editor is just replacing is there at the next look.
    if let Ok(meta) = fs::metadata(&path)
        && let Ok(changed) = meta.modified()
    {
        found.insert(path, (changed, meta.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A checkout of two members, removed at the test's end.
    struct Checkout(PathBuf);

    impl Checkout {
        fn new(name: &str) -> Self {
            let checkout =
                Self(std::env::temp_dir().join(format!("watch-{}-{name}", std::process::id())));
            checkout.write("Cargo.toml", "");
            checkout.write("api/Cargo.toml", "");
            checkout.write("api/src/routes/me.rs", "a");
            checkout.write("xtask/Cargo.toml", "");
            checkout
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
        }

        fn look(watch: &mut Watch) -> Vec<String> {
            let save = watch.look();
            let files = save.into_iter().flat_map(|save| save.files);
            files.map(|file| file.display().to_string()).collect()
        }
    }

    impl Drop for Checkout {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    #[test]
    fn what_the_services_are_built_from_is_seen() {
        let checkout = Checkout::new("seen");
        let mut watch = Watch::start(&checkout.0);
        assert!(Checkout::look(&mut watch).is_empty());
        for file in [
            "api/src/routes/me.rs",
            "api/src/new.rs",
            "domain/Cargo.toml",
            "migrations/Cargo.toml",
            ".sqlx/query-1.json",
            "Cargo.lock",
            ".env",
        ] {
            checkout.write(file, "ab");
            assert_eq!(Checkout::look(&mut watch), [file]);
        }
        fs::remove_file(checkout.0.join("api/src/new.rs")).unwrap();
        assert_eq!(Checkout::look(&mut watch), ["api/src/new.rs"]);
    }

    #[test]
    fn what_no_service_is_built_from_is_not() {
        let checkout = Checkout::new("unseen");
        let mut watch = Watch::start(&checkout.0);
        for file in [
            "xtask/src/main.rs",
            "chaos/Cargo.toml",
            "docs/development.md",
            "secrets/jwt_secret",
            "target/debug/api",
            "api/tests/it/main.rs",
            "api/src/routes/.me.rs.swp",
            "api/src/routes/me.rs~",
        ] {
            checkout.write(file, "ab");
            assert!(Checkout::look(&mut watch).is_empty(), "{file}");
        }
    }

    #[test]
    fn a_save_has_the_time_of_the_file() {
        let checkout = Checkout::new("time");
        let mut watch = Watch::start(&checkout.0);
        let file = checkout.0.join("api/src/routes/me.rs");
        // As written long ago, and moved here now.
        let moved = fs::File::options().write(true).open(&file).unwrap();
        moved.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let before = SystemTime::now();
        assert!(watch.look().unwrap().at >= before);

        checkout.write("api/src/routes/me.rs", "ab");
        let written = fs::metadata(&file).unwrap().modified().unwrap();
        assert_eq!(watch.look().unwrap().at, written);
    }
}
