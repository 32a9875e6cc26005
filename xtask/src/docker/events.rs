//! What the engine tells of a project's containers while they start.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, TryIter};
use std::thread;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::interrupt::{self, Guard};
use crate::verbose::Shown as _;

/// Something that happened to a container.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Event {
    pub(super) container: String,
    pub(super) service: String,
    /// 1, or more where a service has several containers.
    pub(super) number: u32,
    /// In seconds since 1970, as `docker logs --since` takes it.
    pub(super) at: String,
    pub(super) what: What,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum What {
    Created,
    Started,
    Healthy,
    /// The kernel killed a process of it for its memory limit.
    OutOfMemory,
    /// With its exit code.
    Ended(i64),
}

/// The stream of events, from now on, to be asked for.
pub(super) struct Events {
    _listener: Listener,
    receiver: Receiver<Event>,
}

impl Events {
    /// Begins to listen for the containers of a Compose project.
    pub(super) fn of(project: &str) -> Result<Self> {
        let (sender, receiver) = mpsc::channel();
        let send = move |event| match event {
            Some(event) => sender.send(event).is_ok(),
            None => false,
        };
        Ok(Self {
            _listener: Listener::of(project, send)?,
            receiver,
        })
    }

    /// What has come since the last call.
    pub(super) fn new_ones(&self) -> TryIter<'_, Event> {
        self.receiver.try_iter()
    }
}

/// The `docker events` behind a stream; without it, nothing more comes.
pub(super) struct Listener {
    docker: Child,
    _guard: Guard,
}

impl Listener {
    /// Hands each event over as it comes, and None at the end of the stream, until `to` says that
    /// it wants no more.
    pub(super) fn of(
        project: &str,
        mut to: impl FnMut(Option<Event>) -> bool + Send + 'static,
    ) -> Result<Self> {
        let mut docker = Command::new("docker")
            .args(arguments(project))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .shown()
            .spawn()
            .context("`docker` cannot be started")?;
        let guard = interrupt::ends_with_us(&docker);
        if let Some(stdout) = docker.stdout.take() {
            thread::spawn(move || {
                let lines = BufReader::new(stdout).lines().map_while(Result::ok);
                for event in lines.filter_map(|line| parse(&line)) {
                    if !to(Some(event)) {
                        return;
                    }
                }
                to(None);
            });
        }
        Ok(Self {
            docker,
            _guard: guard,
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // It ends by nothing else.
        let _ = self.docker.kill();
        let _ = self.docker.wait();
    }
}

fn arguments(project: &str) -> Vec<String> {
    let label = format!("label=com.docker.compose.project={project}");
    let words = ["events", "--filter", "type=container", "--filter", &label];
    let format = ["--format", "{{json .}}"];
    words
        .iter()
        .chain(&format)
        .map(|&word| word.to_owned())
        .collect()
}

fn parse(line: &str) -> Option<Event> {
    let event: Value = serde_json::from_str(line).ok()?;
    let attributes = &event["Actor"]["Attributes"];
    let text = |name: &str| attributes[name].as_str();
    // A container of `docker compose run` is nobody's service.
    if text("com.docker.compose.oneoff") == Some("True") {
        return None;
    }
    let what = match event["Action"].as_str()? {
        "create" => What::Created,
        "start" => What::Started,
        "health_status: healthy" => What::Healthy,
        "oom" => What::OutOfMemory,
        "die" => What::Ended(text("exitCode")?.parse().ok()?),
        _ => return None,
    };
    let nanoseconds = event["timeNano"].as_u64()?;
    Some(Event {
        container: event["Actor"]["ID"].as_str()?.to_owned(),
        service: text("com.docker.compose.service")?.to_owned(),
        number: text("com.docker.compose.container-number")?.parse().ok()?,
        at: format!(
            "{}.{:09}",
            nanoseconds / 1_000_000_000,
            nanoseconds % 1_000_000_000
        ),
        what,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(action: &str, oneoff: &str) -> String {
        serde_json::json!({
            "Action": action, "timeNano": 1_795_363_436_014_831_618_u64,
            "Actor": {"ID": "c1", "Attributes": {
                "com.docker.compose.service": "worker",
                "com.docker.compose.container-number": "2",
                "com.docker.compose.oneoff": oneoff, "exitCode": "137",
            }},
        })
        .to_string()
    }

    #[test]
    fn events_of_services_are_read_and_others_left() {
        let ended = parse(&event("die", "False")).unwrap();
        assert_eq!((ended.service.as_str(), ended.number), ("worker", 2));
        assert_eq!(ended.at, "1795363436.014831618");
        assert_eq!(ended.what, What::Ended(137));
        assert_eq!(parse(&event("die", "True")), None);
        assert_eq!(parse(&event("exec_start: pg_isready", "False")), None);
        assert_eq!(parse("not json"), None);
    }

    #[test]
    fn only_the_projects_containers_are_listened_to() {
        assert_eq!(
            arguments("shop-1a2b3c").join(" "),
            "events --filter type=container \
             --filter label=com.docker.compose.project=shop-1a2b3c --format {{json .}}"
        );
    }
}
