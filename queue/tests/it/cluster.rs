//! A Redis Cluster: queues on several nodes, a failover, and a slot that moves.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use queue::{
    Cancelled, Cluster, Counts, EnqueueError, Enqueued, Envelope, Job, JobId, Options, Queue,
    Relayed, Run, Servers, Worker, WorkerSettings,
};
use tokio_util::sync::CancellationToken;

use crate::{harness::*, server::ClusterServers};

const QUEUES: [&str; 6] = ["default", "mail", "reports", "images", "billing", "search"];

async fn fixture(servers: &ClusterServers) -> Fixture {
    Fixture::tuned(|settings| {
        settings.servers = Servers::Cluster(Cluster {
            nodes: servers.nodes(),
        });
    })
    .await
}

fn envelope(queue: &str, act: Act) -> Envelope {
    let mut envelope = Envelope::new(&task(act)).unwrap();
    queue.clone_into(&mut envelope.queue);
    envelope
}

fn relayed(envelope: &Envelope) -> Relayed {
    Relayed {
        envelope: envelope.encode(),
        id: envelope.id,
        queue: envelope.queue.clone(),
        run_at: Some(SystemTime::now()),
        again_after: Duration::ZERO,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_on_several_nodes_are_served_by_one_worker() {
    let servers = ClusterServers::start().await;
    let fixture = fixture(&servers).await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let mut ids: Vec<JobId> = Vec::new();
    let mut rows = Vec::new();
    let mut places = BTreeSet::new();
    for name in QUEUES {
        for act in [Act::Succeed, Act::FailTimes(1)] {
            let envelope = envelope(name, act);
            ids.push(queue.enqueue_envelope(&envelope).await.unwrap().id());
        }
        let row = envelope(name, Act::Succeed);
        ids.push(row.id);
        rows.push(relayed(&row));
        let key = format!("{{{}:{name}}}:s:0", fixture.settings().namespace);
        places.insert(servers.place_of(&key).await);
    }
    assert!(places.len() > 1, "all of {QUEUES:?} are on one node");
    queue.relay(&rows).await.unwrap();
    queue.relay(&rows).await.unwrap();
    ids.extend(
        queue
            .enqueue_many(&vec![task(Act::Succeed); 30])
            .await
            .unwrap(),
    );
    let unique = queue
        .enqueue_unique(&task(Act::Succeed), "a")
        .await
        .unwrap();
    ids.push(unique.id());

    let shutdown = CancellationToken::new();
    let worker = Worker::new(
        queue.clone(),
        registry(),
        Arc::clone(log),
        WorkerSettings {
            queues: QUEUES.map(Into::into).to_vec(),
            ..WorkerSettings::default()
        },
    );
    let worker = tokio::spawn(worker.run(shutdown.clone(), CancellationToken::new()));
    until_done(log, ids.len()).await;
    log.assert_each_done_once(&ids);
    for name in QUEUES {
        until("it is settled", async || {
            queue.counts(name).await.unwrap() == Counts::default()
        })
        .await;
    }
    shutdown.cancel();
    worker.await.unwrap().unwrap();
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_node_holds_up_its_own_queues_alone() {
    let servers = ClusterServers::start().await;
    let fixture = fixture(&servers).await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let place_of = async |name: &str| {
        let key = format!("{{{}:{name}}}:s:0", fixture.settings().namespace);
        servers.place_of(&key).await
    };
    let well = place_of("default").await;
    let mut other = None;
    for name in (0..99).map(|number| format!("queue-{number}")) {
        if place_of(&name).await != well {
            other = Some(name);
            break;
        }
    }
    let other = other.unwrap();
    servers.wait_for_nodes(Duration::from_secs(60)).await;
    servers.freeze(place_of(&other).await);

    // Of the silent node alone, and more than goes into one script.
    let silent: Vec<_> = (0..200)
        .map(|_| relayed(&envelope(&other, Act::Succeed)))
        .collect();
    for rows in [&silent[..1], &silent] {
        let refused = queue.relay(rows).await.unwrap_err();
        assert!(matches!(&refused, EnqueueError::Queue { queue, .. } if *queue == other));
    }
    let row = envelope("default", Act::Succeed);
    let both = [relayed(&row), silent[0].clone()];
    queue.relay(&both).await.unwrap_err();
    assert_eq!(queue.counts("default").await.unwrap().ready, 1);
    queue.ping().await.unwrap();

    let shutdown = CancellationToken::new();
    let worker = Worker::new(
        queue.clone(),
        registry(),
        Arc::clone(log),
        WorkerSettings {
            queues: vec![other.as_str().into(), "default".into()],
            ..WorkerSettings::default()
        },
    );
    let worker = tokio::spawn(worker.run(shutdown.clone(), CancellationToken::new()));
    let long = task(Act::Sleep(3 * LEASE.as_millis() as u64));
    let ids = [row.id, queue.enqueue(&long).await.unwrap()];
    until_done(log, 2).await;
    log.assert_each_done_once(&ids);
    assert_settled(queue, 0).await;
    shutdown.cancel();
    worker.await.unwrap().unwrap();
    servers.thaw_all();
    until("it answers again", async || {
        queue.counts(&other).await.is_ok()
    })
    .await;
    fixture.end().await;
}

/// Enqueues until it works, and returns the id.
async fn enqueue(queue: &Queue) -> JobId {
    let mut enqueued = None;
    until("a job can be enqueued", async || {
        enqueued = queue.enqueue(&task(Act::Succeed)).await.ok();
        enqueued.is_some()
    })
    .await;
    enqueued.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_goes_on_when_the_queues_node_is_gone() {
    let mut servers = ClusterServers::start().await;
    let fixture = fixture(&servers).await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let worker = fixture.start(2);
    let ids = queue.enqueue_many(&vec![task(Act::Sleep(20)); 20]).await;
    until("some are done", async || log.done_count() >= 3).await;
    let place = servers.place_of(&fixture.key("s:0")).await;
    let mut primary = servers.connection(place).await;
    until("the replica has all", async || {
        query::<u8>(&mut primary, &["WAIT", "1", "100"]).await == 1
    })
    .await;
    servers.kill(place);
    let mut ids = ids.unwrap();
    ids.push(enqueue(queue).await);
    until("all are done", async || {
        let done = log.done.lock().unwrap();
        ids.iter().all(|id| done.contains(id))
    })
    .await;
    until("nothing is left", async || {
        let counts = queue.counts(Task::QUEUE).await;
        counts.is_ok_and(|counts| counts == Counts::default())
    })
    .await;
    worker.stop().await;
    let mut alive = fixture.settings().clone();
    let nodes = servers.nodes();
    alive.servers = Servers::Cluster(Cluster { nodes });
    fixture.end_at(alive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_goes_on_when_the_slot_moves() {
    let servers = ClusterServers::start().await;
    let fixture = fixture(&servers).await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let worker = fixture.start(2);
    let mut ids = queue
        .enqueue_many(&vec![task(Act::Sleep(20)); 60])
        .await
        .unwrap();
    until("some are done", async || log.done_count() >= 3).await;

    let key = fixture.key("s:0");
    let from = servers.place_of(&key).await;
    let to = (from + 1) % 3;
    let (mut source, mut target) = (servers.connection(from).await, servers.connection(to).await);
    let slot: u16 = query(&mut source, &["CLUSTER", "KEYSLOT", &key]).await;
    let slot = &slot.to_string();
    let source_id: String = query(&mut source, &["CLUSTER", "MYID"]).await;
    let target_id: String = query(&mut target, &["CLUSTER", "MYID"]).await;
    let set = |state, id| ["CLUSTER", "SETSLOT", slot.as_str(), state, id];
    let () = query(&mut target, &set("IMPORTING", &source_id)).await;
    let () = query(&mut source, &set("MIGRATING", &target_id)).await;
    let port = &servers.port(to).to_string();
    loop {
        let page = ["CLUSTER", "GETKEYSINSLOT", slot, "100"];
        let keys: Vec<String> = query(&mut source, &page).await;
        if keys.is_empty() {
            break;
        }
        let mut migrate = vec!["MIGRATE", "127.0.0.1", port, "", "0", "5000", "KEYS"];
        migrate.extend(keys.iter().map(String::as_str));
        let () = query(&mut source, &migrate).await;
    }
    let () = query(&mut target, &set("NODE", &target_id)).await;
    let () = query(&mut source, &set("NODE", &target_id)).await;

    ids.push(enqueue(queue).await);
    until_done(log, ids.len()).await;
    log.assert_each_done_once(&ids);
    assert_settled(queue, 0).await;
    assert_eq!(servers.place_of(&key).await, to);
    worker.stop().await;
    fixture.end().await;
}

/// A fixture whose default queue is spread over the nodes.
async fn partitioned(servers: &ClusterServers) -> Fixture {
    Fixture::tuned(|settings| {
        settings.servers = Servers::Cluster(Cluster {
            nodes: servers.nodes(),
        });
        settings.partitions.insert("default".to_owned(), 8);
    })
    .await
}

/// The nodes, among the servers, that have the default queue's partitions.
async fn places(servers: &ClusterServers, fixture: &Fixture) -> Vec<usize> {
    let namespace = &fixture.settings().namespace;
    let mut places = vec![servers.place_of(&fixture.key("s:0")).await];
    for number in 1..8 {
        let key = format!("{{{namespace}:default:{number}}}:s:0");
        places.push(servers.place_of(&key).await);
    }
    places
}

#[tokio::test(flavor = "multi_thread")]
async fn the_partitions_of_a_queue_are_on_several_nodes() {
    let servers = ClusterServers::start().await;
    let fixture = partitioned(&servers).await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let mut ids: Vec<JobId> = Vec::new();
    for _ in 0..60 {
        ids.push(queue.enqueue(&task(Act::Succeed)).await.unwrap());
    }
    let jobs = vec![task(Act::FailTimes(1)); 40];
    ids.extend(queue.enqueue_many(&jobs).await.unwrap());
    let rows: Vec<_> = (0..20).map(|_| envelope("default", Act::Succeed)).collect();
    ids.extend(rows.iter().map(|row| row.id));
    let rows: Vec<Relayed> = rows.iter().map(relayed).collect();
    queue.relay(&rows).await.unwrap();
    queue.relay(&rows).await.unwrap();
    for key in 0..20 {
        let (job, key) = (task(Act::Succeed), key.to_string());
        let first = queue.enqueue_unique(&job, key.as_str()).await.unwrap();
        let second = queue.enqueue_unique(&job, key.as_str()).await.unwrap();
        assert_eq!(second, Enqueued::Duplicate(first.id()));
        ids.push(first.id());
    }
    assert_eq!(queue.counts("default").await.unwrap().ready, 140);
    let mut nodes = BTreeSet::new();
    let mut sum = 0;
    for (number, place) in (0..8).zip(places(&servers, &fixture).await) {
        let partition = queue.counts(&format!("default:{number}")).await.unwrap();
        assert!(partition.ready > 0, "nothing in {number}");
        sum += partition.ready;
        nodes.insert(place);
    }
    assert_eq!(sum, 140);
    assert!(nodes.len() > 1, "all partitions are on one node");

    let worker = fixture.start(4);
    until_done(log, ids.len()).await;
    log.assert_each_done_once(&ids);
    assert_settled(queue, 0).await;
    worker.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_partitions_go_on_while_one_has_no_node() {
    let mut servers = ClusterServers::start().await;
    let fixture = partitioned(&servers).await;
    let (queue, log) = (&fixture.queue, &fixture.log);
    let worker = fixture.start(2);
    let jobs = vec![task(Act::Sleep(20)); 80];
    let mut ids = queue.enqueue_many(&jobs).await.unwrap();
    let later = task(Act::Succeed);
    let soon = queue.enqueue_in(&later, Duration::from_secs(1)).await;
    ids.push(soon.unwrap());
    // So that some of them are on the node that dies.
    let mut unique = Vec::new();
    for key in 0..16 {
        let options = Options {
            run: Run::In(Duration::from_secs(3600)),
            unique: Some(key.to_string()),
            ..Options::default()
        };
        unique.push(queue.enqueue_with(&later, &options).await.unwrap().id());
    }
    until("some are done", async || log.done_count() >= 3).await;
    let places = places(&servers, &fixture).await;
    let dying = places[0];
    let other = (0..8).find(|number| places[*number] != dying).unwrap();
    let mut primary = servers.connection(dying).await;
    until("the replica has all", async || {
        query::<u8>(&mut primary, &["WAIT", "1", "100"]).await == 1
    })
    .await;
    servers.kill(dying);
    until("the others are worked off", async || {
        let counts = queue.counts(&format!("default:{other}")).await.unwrap();
        counts.ready + counts.in_hand == 0
    })
    .await;
    ids.push(enqueue(queue).await);
    until("all are done", async || {
        let done = log.done.lock().unwrap();
        ids.iter().all(|id| done.contains(id))
    })
    .await;
    // The producer's connections find their new nodes as they are used.
    until("all partitions answer", async || {
        queue.counts("default").await.is_ok()
    })
    .await;
    for (key, id) in unique.into_iter().enumerate() {
        let again = queue.enqueue_unique(&later, key.to_string()).await;
        assert_eq!(again.unwrap(), Enqueued::Duplicate(id));
        let cancelled = queue.cancel("default", id).await.unwrap();
        assert_eq!(cancelled, Cancelled::Removed);
    }
    let just_cancelled = Counts {
        cancelled: 16,
        ..Counts::default()
    };
    until("nothing is left", async || {
        let counts = queue.counts("default").await;
        counts.is_ok_and(|counts| counts == just_cancelled)
    })
    .await;
    worker.stop().await;
    let mut alive = fixture.settings().clone();
    let nodes = servers.nodes();
    alive.servers = Servers::Cluster(Cluster { nodes });
    fixture.end_at(alive).await;
}
