//! How many of a service run: `up --scale worker=3`, remembered until another number is asked for.

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use crate::nearest::unknown_service;
use crate::project::Project;
use crate::stack::Mode;

/// The most that is sensible on one machine.
const MOST: u32 = 64;

/// Services that cannot be more than one.
const SINGLE: [&str; 7] = [
    "postgres",
    "redis",
    "maildev",
    "migrate",
    "builder",
    "proxy",
    "prometheus",
];

/// A number for a service.
pub(crate) type Scale = (String, u32);

/// Reads `worker=3`.
pub(crate) fn parse(text: &str) -> Result<Scale> {
    let (service, count) = text
        .split_once('=')
        .context("not of the form SERVICE=NUMBER: worker=3")?;
    match count.parse() {
        Ok(count @ 1..=MOST) => Ok((service.to_owned(), count)),
        _ => bail!("`{count}` is no number from 1 to {MOST}"),
    }
}

/// The numbers that were asked for, of those services that are not alone.
pub(crate) fn of(project: &Project) -> Vec<Scale> {
    let remembered = project.recall("scale").unwrap_or_default();
    let counts = remembered.as_object().into_iter().flatten();
    counts
        .filter_map(|(service, count)| {
            Some((service.clone(), u32::try_from(count.as_u64()?).ok()?))
        })
        .collect()
}

/// How many of this service are to run.
pub(crate) fn count(project: &Project, service: &str) -> u32 {
    let scale = of(project);
    let found = scale.into_iter().find(|(name, _)| name == service);
    found.map_or(1, |(_, count)| count)
}

/// Remembers new numbers beside those of before.
///
/// # Errors
/// For a service that cannot be more than one: the sentence says why.
pub(crate) fn remember(project: &Project, mode: Mode, wanted: &[Scale]) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    for (service, count) in wanted.iter().filter(|(_, count)| *count > 1) {
        require_scalable(project, mode, service)
            .with_context(|| format!("{count} of `{service}` cannot run"))?;
    }
    let mut counts: Map<String, Value> = of(project)
        .into_iter()
        .map(|(service, count)| (service, json!(count)))
        .collect();
    for (service, count) in wanted {
        counts.remove(service);
        if *count > 1 {
            counts.insert(service.clone(), json!(count));
        }
    }
    project.remember("scale", Value::Object(counts))
}

fn require_scalable(project: &Project, mode: Mode, service: &str) -> Result<()> {
    match (service, mode) {
        ("worker", _) => Ok(()),
        ("api", Mode::Docker) => match project.settings()?.get("API_PORT").as_deref() {
            Some("0") => Ok(()),
            _ => bail!(
                "they would share one port\n  \
                 next: set API_PORT=0 and COMPOSE_PROFILES=mail,proxy in .env; then the proxy spreads requests"
            ),
        },
        ("api", Mode::Native) => bail!(
            "they would share one port, and natively no proxy stands before them\n  \
             next: `cargo xtask up --docker` with the profile proxy, or scale the worker"
        ),
        _ if !SINGLE.contains(&service) => bail!(unknown_service(service, &["api", "worker"])),
        _ => bail!("it keeps data, or is one by its nature\n  next: `--scale worker=3`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_or_explained() {
        assert_eq!(parse("worker=3").unwrap(), ("worker".to_owned(), 3));
        for (text, part) in [
            ("worker", "SERVICE=NUMBER"),
            ("worker=0", "from 1"),
            ("worker=many", "`many`"),
            ("worker=65", "to 64"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn numbers_are_kept_until_they_are_changed() {
        let root = std::env::temp_dir().join(format!("slipway-scale-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        let project = Project::at(&root).unwrap();
        let wanted = |count| [("worker".to_owned(), count)];
        remember(&project, Mode::Native, &wanted(3)).unwrap();
        remember(&project, Mode::Native, &[]).unwrap();
        assert_eq!(count(&project, "worker"), 3);
        remember(&project, Mode::Native, &wanted(1)).unwrap();
        assert_eq!(of(&project), []);
        let refused = remember(&project, Mode::Native, &[("postgres".to_owned(), 2)]);
        assert!(format!("{:#}", refused.unwrap_err()).contains("keeps data"));
        let unknown = remember(&project, Mode::Native, &[("wroker".to_owned(), 2)]);
        let said = format!("{:#}", unknown.unwrap_err());
        assert!(said.contains("did you mean `worker`?"), "{said}");
        std::fs::remove_dir_all(root).unwrap();
    }
}
