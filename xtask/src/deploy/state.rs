//! How the services of a stack stand, out of three answers of the engine.

use serde_json::{Value, json};

use crate::terminal::{self, GREEN, RED, Style, YELLOW};

/// One service.
#[derive(Debug, Clone, Default)]
pub(super) struct ServiceState {
    /// Without the stack's name: `api`.
    pub(super) name: String,
    /// Replicas that run and are healthy: until then, Swarm says that they start.
    pub(super) running: u64,
    pub(super) desired: u64,
    /// Of a job: how often it has ended well, and how often it has to.
    pub(super) completed: Option<(u64, u64)>,
    pub(super) image: String,
    /// The image before the last deployment.
    pub(super) previous: Option<String>,
    /// How far the engine is with an update: `updating`, `completed`, `rollback_completed`, ...
    pub(super) update: Option<String>,
    /// Tasks that have failed, the newest first.
    pub(super) failed: Vec<Task>,
}

/// One attempt to run a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) id: String,
    /// What the engine says of its end.
    pub(super) error: String,
}

impl ServiceState {
    /// All that was wanted is there: replicas run, or the job has ended.
    pub(super) fn is_whole(&self) -> bool {
        match self.completed {
            Some((done, wanted)) => done >= wanted,
            None => self.running >= self.desired,
        }
    }

    /// There is a release before. Behind one that was put back already stands the one that it was
    /// put back from: to go back there would be to go forward.
    pub(super) fn can_go_back(&self) -> bool {
        let is_back = self.update.as_deref();
        let is_back = is_back.is_some_and(|update| update.starts_with("rollback"));
        self.previous.is_some() && !is_back
    }

    /// In one word or two.
    fn summary(&self) -> (String, Style) {
        let (word, style) = match self.update.as_deref() {
            Some("updating") => ("updating", YELLOW),
            Some("rollback_started") => ("rolling back", YELLOW),
            Some("paused" | "rollback_paused") => ("stuck", RED),
            Some("rollback_completed") if self.is_whole() => ("rolled back", YELLOW),
            _ if self.completed.is_some() && self.is_whole() => ("done", GREEN),
            _ if self.is_whole() => ("healthy", GREEN),
            _ if self.failed.is_empty() => ("starting", YELLOW),
            _ => ("failing", RED),
        };
        (word.to_owned(), style)
    }

    fn replicas(&self) -> String {
        match self.completed {
            Some(_) => String::new(),
            None => format!("{}/{}", self.running, self.desired),
        }
    }
}

/// The states, from the lines of `docker stack services`, the array of `docker service inspect` and
/// the lines of `docker stack ps`.
pub(super) fn states(
    stack: &str,
    services: &[Value],
    inspected: &Value,
    tasks: &[Value],
) -> Vec<ServiceState> {
    let start = format!("{stack}_");
    let mut states: Vec<ServiceState> = services
        .iter()
        .map(|service| {
            let full = text(service, "Name");
            let replicas = text(service, "Replicas");
            let (running, desired) = fraction(&replicas).unwrap_or((0, 0));
            let inside = replicas.split_once('(').map(|(_, rest)| rest);
            let mut details = inspected.as_array().into_iter().flatten();
            let details = details.find(|one| one["Spec"]["Name"] == full.as_str());
            let details = details.cloned().unwrap_or_default();
            let image = |spec: &str| {
                let container = &details[spec]["TaskTemplate"]["ContainerSpec"]["Image"];
                container.as_str().map(|image| tagged(image).to_owned())
            };
            let ours = |task: &&Value| {
                let name = text(task, "Name");
                let name = name.trim_start_matches([' ', '\\', '_']);
                name.rsplit_once('.').is_some_and(|(name, _)| name == full)
            };
            let failed = tasks.iter().filter(ours).filter(|task| {
                let state = text(task, "CurrentState");
                state.starts_with("Failed") || state.starts_with("Rejected")
            });
            ServiceState {
                name: full.strip_prefix(&start).unwrap_or(&full).to_owned(),
                running,
                desired,
                completed: inside.and_then(fraction),
                image: image("Spec").unwrap_or_default(),
                previous: image("PreviousSpec"),
                update: details["UpdateStatus"]["State"].as_str().map(str::to_owned),
                failed: failed
                    .map(|task| Task {
                        id: text(task, "ID"),
                        // Untruncated, it comes in quotes.
                        error: text(task, "Error").trim_matches('"').to_owned(),
                    })
                    .collect(),
            }
        })
        .collect();
    states.sort_by(|a, b| a.name.cmp(&b.name));
    states
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

/// `2/3` at the beginning of a text.
fn fraction(text: &str) -> Option<(u64, u64)> {
    let (left, right) = text.split_once('/')?;
    let digits = right.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((left.trim().parse().ok()?, digits.parse().ok()?))
}

/// An image's name without the digest that the engine adds to it.
fn tagged(image: &str) -> &str {
    image.split('@').next().unwrap_or(image)
}

/// For people.
pub(super) fn table(states: &[ServiceState]) -> String {
    let rows: Vec<_> = states
        .iter()
        .map(|service| {
            let (summary, style) = service.summary();
            let newest = service.failed.first().filter(|_| !service.is_whole());
            vec![
                (service.name.clone(), None),
                (summary, Some(style)),
                (service.replicas(), None),
                (service.image.clone(), None),
                (
                    newest.map_or(String::new(), |task| in_words(&task.error)),
                    None,
                ),
            ]
        })
        .collect();
    let with_failures = rows.iter().any(|row| !row[4].0.is_empty());
    let heading = ["service", "state", "replicas", "image", "last failure"];
    terminal::table(&heading[..if with_failures { 5 } else { 4 }], &rows)
}

/// For machines.
pub(super) fn document(stack: &str, states: &[ServiceState]) -> String {
    let services: Vec<Value> = states
        .iter()
        .map(|service| {
            json!({
                "name": service.name,
                "state": service.summary().0,
                "running": service.running,
                "desired": service.desired,
                "image": service.image,
                "error": service.failed.first().map(|task| &task.error),
            })
        })
        .collect();
    json!({ "stack": stack, "services": services }).to_string()
}

/// What the engine says of a task's end, for people.
pub(super) fn in_words(error: &str) -> String {
    let code = error
        .split_once("non-zero exit (")
        .and_then(|(_, rest)| rest.split([')', ':']).next());
    match code {
        Some("137") => "was killed: out of memory, or too slow to stop (exit code 137)".to_owned(),
        Some(code) => format!("ended with exit code {code}"),
        None if error.contains("unhealthy") => "did not become healthy".to_owned(),
        None if error.contains("No such image") => {
            "has an image that is not to be had on its machine".to_owned()
        }
        None if error.contains("already in use") => {
            format!("wants a port that is taken: {error}")
        }
        None if error.is_empty() => "failed".to_owned(),
        None => format!("failed: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed() -> Vec<ServiceState> {
        let services = [
            json!({"Name": "shop_api", "Mode": "replicated", "Replicas": "1/2"}),
            json!({"Name": "shop_migrate", "Mode": "replicated job", "Replicas": "0/1 (1/1 completed)"}),
        ];
        let inspected = json!([
            {"Spec": {"Name": "shop_api", "TaskTemplate": {"ContainerSpec": {"Image": "shop:2@sha256:1"}}},
             "PreviousSpec": {"TaskTemplate": {"ContainerSpec": {"Image": "shop:1"}}},
             "UpdateStatus": {"State": "rollback_completed"}},
            {"Spec": {"Name": "shop_migrate", "TaskTemplate": {"ContainerSpec": {"Image": "shop:2"}}}},
        ]);
        let task = |id: &str, name: &str, state: &str, error: &str| json!({"ID": id, "Name": name, "CurrentState": state, "Error": error});
        let tasks = [
            task("a", "shop_api.1", "Running 2 minutes ago", ""),
            task(
                "b",
                " \\_ shop_api.1",
                "Failed 3 minutes ago",
                "task: non-zero exit (1)",
            ),
            task("c", "shop_api_of_another.1", "Failed 3 minutes ago", ""),
            task("d", "shop_migrate.1", "Complete 5 minutes ago", ""),
        ];
        states("shop", &services, &inspected, &tasks)
    }

    #[test]
    fn three_answers_become_one() {
        let states = parsed();
        let [api, migrate] = states.as_slice() else {
            panic!("{states:?}")
        };
        assert_eq!((api.name.as_str(), api.running, api.desired), ("api", 1, 2));
        assert_eq!(
            (api.image.as_str(), api.previous.as_deref()),
            ("shop:2", Some("shop:1"))
        );
        let failed = Task {
            id: "b".to_owned(),
            error: "task: non-zero exit (1)".to_owned(),
        };
        assert_eq!(api.failed, [failed]);
        assert!(!api.is_whole() && migrate.is_whole());
        assert!(!api.can_go_back(), "it is back already");
        let updated = ServiceState {
            update: Some("completed".to_owned()),
            ..api.clone()
        };
        assert!(updated.can_go_back() && !migrate.can_go_back());
        let table = table(&states);
        assert!(table.contains("ended with exit code 1"), "{table}");
        assert!(document("shop", &states).contains(r#""state":"done""#));
    }

    #[test]
    fn the_end_of_a_task_is_told_in_words() {
        for (error, words) in [
            ("task: non-zero exit (1)", "exit code 1"),
            (
                "task: non-zero exit (137): dockerexec: unhealthy container",
                "killed",
            ),
            ("starting container failed: unhealthy container", "healthy"),
            ("No such image: shop:9", "not to be had"),
            ("", "failed"),
        ] {
            assert!(
                in_words(error).contains(words),
                "{error}: {}",
                in_words(error)
            );
        }
    }
}
