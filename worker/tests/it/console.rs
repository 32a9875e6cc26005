//! `worker jobs`, as it is typed.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use queue::testing::{self, Namespace};
use queue::{
    Counts, Job, JobContext, JobError, JobId, Keyring, Packer, Queue, Registry, Schedule, Worker,
    WorkerSettings,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{redis_env, until};

#[derive(Serialize, Deserialize)]
struct Parcel {
    to: String,
}

impl Job for Parcel {
    const NAME: &'static str = "parcel";
}

/// A queue and the command that looks into it.
struct Console {
    queue: Queue,
    namespace: Namespace,
}

impl Console {
    async fn new() -> Self {
        Self::partitioned(1).await
    }

    async fn partitioned(partitions: u16) -> Self {
        let mut settings = testing::settings();
        let default = "default".to_owned();
        settings.partitions.insert(default, partitions);
        Self {
            queue: Queue::connect(settings.clone()).await.unwrap(),
            namespace: Namespace::new(settings),
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
        command
            .arg("jobs")
            .args(words)
            .env_clear()
            .envs(redis_env(self.namespace.settings()))
            .env(
                "QUEUE_PARTITIONS",
                format!("default={}", self.queue.partitions("default")),
            )
            .stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// What it says.
    fn ok(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let said = String::from_utf8(output.stdout).unwrap();
        let wrong = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{words:?}: {wrong}");
        assert!(
            !said.contains('\x1b'),
            "colours away from a terminal: {said}"
        );
        said
    }

    fn json(&self, words: &[&str]) -> Value {
        let said = self.ok(&[words, &["--json"]].concat());
        serde_json::from_str(&said).unwrap()
    }

    /// Why it refuses.
    fn refused(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    async fn parcel(&self, to: &str) -> JobId {
        let to = to.to_owned();
        self.queue.enqueue(&Parcel { to }).await.unwrap()
    }

    /// A dead letter: its handler refuses the job.
    async fn dead(&self) -> JobId {
        async fn refuse(_: Parcel, _: JobContext<()>) -> Result<(), JobError> {
            Err(JobError::discard("no such street"))
        }
        let id = self.parcel("nowhere").await;
        let registry = Registry::new().register(refuse);
        let settings = WorkerSettings::default();
        let worker = Worker::new(self.queue.clone(), registry, (), settings);
        let (shutdown, abort) = <(CancellationToken, CancellationToken)>::default();
        let running = tokio::spawn(worker.run(shutdown.clone(), abort));
        until("it is dead", async || {
            self.queue.counts("default").await.unwrap().dead == 1
        })
        .await;
        let workers = self.json(&["workers"]);
        let worker = &workers["workers"][0];
        assert!(worker["lease_seconds"].as_f64().unwrap() > 0.0, "{workers}");
        let name = worker["name"].as_str().unwrap();
        assert!(self.ok(&["workers"]).contains(name));
        assert!(self.ok(&["workers", name]).contains("nothing in hand"));
        shutdown.cancel();
        running.await.unwrap().unwrap();
        let load = self.json(&["load", "--target", "5"]);
        let minutes = load["queues"][0]["minutes"].as_array().unwrap();
        assert_eq!(minutes.len(), 61);
        let dead = minutes.iter().filter_map(|minute| minute["dead"].as_u64());
        assert_eq!(dead.sum::<u64>(), 1);
        assert_eq!(load["queues"][0]["waiting"], 0);
        id
    }
}

#[tokio::test]
async fn an_empty_queue_is_told_as_one() {
    let console = Console::new().await;
    let overview = console.json(&["list"]);
    assert_eq!(overview["queues"][0]["queue"], "default");
    assert_eq!(overview["queues"][0]["ready"], 0);
    assert_eq!(overview["queues"][0]["oldest_seconds"], Value::Null);
    for (words, said) in [
        (&["list", "dead"][..], "no job is dead"),
        (&["workers"], "no worker is there"),
        (&["schedules"], "no worker has told of a schedule"),
    ] {
        assert_eq!(console.ok(words).trim(), said);
    }
    let unknown = JobId::new().to_string();
    assert!(
        console
            .refused(&["cancel", &unknown, "--yes"])
            .contains(&unknown)
    );
    for verb in ["show", "retry", "delete"] {
        assert!(console.refused(&[verb, &unknown]).contains(&unknown));
    }
    assert!(
        console
            .refused(&["list", "--queue", "mail"])
            .contains("default")
    );
    console.namespace.end().await;
}

#[tokio::test]
async fn a_payload_is_shown_where_its_key_is() {
    const KEYS: &str = "7 BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
    let console = Console::new().await;
    let mut settings = console.namespace.settings().clone();
    settings.packing = Packer {
        compress_above: Some(0),
        keys: Keyring::new(Some(7), [(7, &[7; 32])]).unwrap(),
    };
    let queue = Queue::connect(settings).await.unwrap();
    let to = "nowhere".repeat(20);
    let id = queue.enqueue(&Parcel { to: to.clone() }).await.unwrap();
    let words = ["show", &id.to_string(), "--json"];
    let without: Value = serde_json::from_str(&console.ok(&words)).unwrap();
    assert_eq!(
        (&without["key"], &without["compressed"]),
        (&7.into(), &true.into())
    );
    assert_eq!(without["payload"], Value::Null);
    assert_eq!(
        without["not_shown"],
        "encrypted with key 7, which is not here"
    );
    let text = console.ok(&words[..2]);
    assert!(text.contains("compressed, encrypted with key 7") && text.contains("cannot be shown"));

    let shown = console
        .command(&words[..2])
        .env("QUEUE_KEYS", KEYS)
        .output();
    let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
    assert!(
        shown.contains(&to) && !shown.contains("cannot be shown"),
        "{shown}"
    );
    console.ok(&["delete", &id.to_string(), "--yes"]);
    console.namespace.end().await;
}

#[tokio::test]
async fn a_queue_is_paused_and_a_job_cancelled() {
    let console = Console::new().await;
    let id = console.parcel("Emma").await.to_string();
    let said = console.ok(&["pause"]);
    assert_eq!(said.trim(), "default is paused\nwebhooks is paused");
    assert!(console.ok(&["list"]).contains("default (paused)"));
    assert_eq!(console.json(&["list"])["queues"][0]["paused"], true);
    // Nobody answers its question here.
    assert!(console.refused(&["cancel", &id]).contains("--yes"));
    let cancelled = console.json(&["cancel", &id, "--yes"]);
    assert_eq!(cancelled["outcome"], "cancelled");
    assert_eq!(console.json(&["resume"])["queues"][0]["paused"], false);
    let overview = console.json(&["list"]);
    let queue = &overview["queues"][0];
    assert_eq!(
        (&queue["ready"], &queue["cancelled"]),
        (&0.into(), &1.into())
    );
    console.namespace.end().await;
}

#[tokio::test]
async fn a_dead_letter_is_seen_and_retried() {
    let console = Console::new().await;
    let id = console.dead().await;
    let name = id.to_string();
    let listed = console.ok(&["list", "dead"]);
    assert!(listed.contains(&name) && listed.contains("discarded: no such street"));
    assert!(
        !listed.contains("nowhere"),
        "a payload is shown where it is asked for"
    );
    let job = console.json(&["show", &name]);
    assert_eq!(job["id"], name.as_str());
    assert_eq!(job["state"], "dead");
    assert_eq!(job["error"], "no such street");
    assert_eq!(job["payload"]["to"], "nowhere");
    assert!(console.ok(&["show", &name]).contains(r#"{"to":"nowhere"}"#));

    assert_eq!(console.json(&["retry", &name])["outcome"], "retried");
    let again = console.refused(&["retry", &name]);
    assert!(again.contains("ready in default"), "{again}");
    assert_eq!(
        console.json(&["retry", "--all-dead"])["queues"][0]["retried"],
        0
    );
    assert_eq!(console.json(&["list"])["queues"][0]["ready"], 1);
    // Somebody is needed for it.
    assert_eq!(console.json(&["load"])["queues"][0]["workers_needed"], 1);
    assert!(console.ok(&["load"]).contains("needed (16 slots each)"));
    console.ok(&["delete", &name, "--yes"]);
    console.namespace.end().await;
}

#[tokio::test]
async fn a_job_is_deleted_by_who_means_it() {
    let console = Console::new().await;
    let id = console.parcel("Ada").await.to_string();
    // Nobody is there to be asked.
    let refused = console.refused(&["delete", &id]);
    assert!(refused.contains("--yes"), "{refused}");
    assert_eq!(
        console.json(&["delete", &id, "--yes"])["outcome"],
        "deleted"
    );
    assert!(
        console
            .refused(&["delete", &id, "--yes"])
            .contains("no job")
    );
    console.namespace.end().await;
}

#[tokio::test]
async fn pages_go_on_where_the_one_before_ended() {
    let console = Console::new().await;
    let hour = Duration::from_secs(3600);
    let mut enqueued = Vec::new();
    for to in ["Ada", "Grace", "Mary"] {
        let to = to.to_owned();
        let id = console
            .queue
            .enqueue_in(&Parcel { to }, hour)
            .await
            .unwrap();
        enqueued.push(id.to_string());
    }
    let mut found = Vec::new();
    let mut words = vec!["list".to_owned(), "delayed".to_owned()];
    words.extend(["--queue", "default", "--limit", "1"].map(str::to_owned));
    loop {
        let all: Vec<&str> = words.iter().map(String::as_str).collect();
        let page = &console.json(&all)["pages"][0];
        for job in page["jobs"].as_array().unwrap() {
            found.push(job["id"].as_str().unwrap().to_owned());
        }
        match page["next"].as_str() {
            Some(next) => {
                words.truncate(6);
                words.extend(["--after".to_owned(), next.to_owned()]);
            }
            None => break,
        }
    }
    assert_eq!(found, enqueued);
    let text = console.ok(&["list", "delayed", "--limit", "2"]);
    assert!(text.contains("more: --queue default --after '"), "{text}");
    let left = Counts {
        delayed: 3,
        ..Counts::default()
    };
    console.namespace.end_leaving(left).await;
}

#[tokio::test]
async fn a_schedule_runs_now() {
    async fn take(_: Parcel, _: JobContext<()>) -> Result<(), JobError> {
        Ok(())
    }
    let console = Console::new().await;
    let refused = console.refused(&["run", "nightly"]);
    assert!(refused.contains("no schedule \"nightly\""), "{refused}");
    let nightly = Schedule::cron("nightly", "0 6 1 1 *");
    let registry = Registry::new()
        .register(take)
        .schedule(nightly, |_| Parcel { to: String::new() });
    let settings = WorkerSettings::default();
    let worker = Worker::new(console.queue.clone(), registry, (), settings);
    let (shutdown, abort) = <(CancellationToken, CancellationToken)>::default();
    let running = tokio::spawn(worker.run(shutdown.clone(), abort));
    until("it is known", async || {
        !console.queue.schedules("default").await.unwrap().is_empty()
    })
    .await;
    let asked = console.json(&["run", "nightly"]);
    assert_eq!(asked["queue"], "default");
    assert_eq!(asked["outcome"], "asked for");
    asked["id"].as_str().unwrap().parse::<JobId>().unwrap();
    until("it has run", async || {
        let rates = console.queue.rates("default").await.unwrap();
        rates.iter().map(|minute| minute.done).sum::<u64>() == 1
    })
    .await;
    shutdown.cancel();
    running.await.unwrap().unwrap();
    console.namespace.end().await;
}

#[tokio::test]
async fn partitions_are_told_together_and_one_by_one() {
    let console = Console::partitioned(3).await;
    for _ in 0..30 {
        console.parcel("all over the place").await;
    }
    assert_eq!(console.json(&["list"])["queues"][0]["ready"], 30);
    let page = console.json(&["list", "ready", "--limit", "100"]);
    let jobs = page["pages"][0]["jobs"].as_array().unwrap();
    assert_eq!(jobs.len(), 30);
    let mut ready = 0;
    for (number, named) in [(0, "default"), (1, "default:1"), (2, "default:2")] {
        let alone = format!("default:{number}");
        let alone = console.json(&["list", "--queue", &alone]);
        let here = jobs.iter().filter(|job| job["queue"] == named);
        assert_eq!(alone["queues"][0]["ready"], here.count());
        ready += alone["queues"][0]["ready"].as_u64().unwrap();
    }
    assert_eq!(ready, 30);
    for job in jobs {
        let id = job["id"].as_str().unwrap();
        assert_eq!(console.json(&["show", id])["queue"], job["queue"]);
        console.ok(&["cancel", id, "--yes"]);
    }
    console.namespace.end().await;
}
